package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"strings"

	"curdling/internal/wheel"
)

// A project is what one program is called in an index.
type project struct {
	name, program, summary string
	fields                 string // lines of its own in METADATA, %s the version
}

var projects = []project{
	{"curdling", "curd", "An installer of Python packages over caches of wheels that all your machines share",
		"Provides-Extra: server\nRequires-Dist: curdling-server==%s; extra == 'server'\n"},
	{"curdling-server", "curd-server", "A server for a folder of wheels: a cache, and an index for every installer", ""},
}

// commonFields are in every METADATA. %s: name, version, summary.
const commonFields = `Metadata-Version: 2.4
Name: %s
Version: %s
Summary: %s
Author: The Curdling authors
License-Expression: MIT
License-File: LICENSE
License-File: THIRD-PARTY-NOTICES
Keywords: wheel,cache,index,installer,mirror
Classifier: Environment :: Console
Classifier: Intended Audience :: Developers
Classifier: Intended Audience :: System Administrators
Classifier: Operating System :: MacOS
Classifier: Operating System :: Microsoft :: Windows
Classifier: Operating System :: POSIX :: Linux
Classifier: Programming Language :: Python :: 3
Classifier: Topic :: Software Development :: Build Tools
Classifier: Topic :: System :: Software Distribution
Requires-Python: >=3.8
`

// wheels writes a wheel of each project for each platform.
func (r *release) wheels(context.Context) error {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		return err
	}
	licence, err := os.ReadFile("LICENSE")
	if err != nil {
		return err
	}
	for _, project := range projects {
		for _, p := range platforms {
			path, name := r.program(p, project.program)
			program, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if err := r.wheel(project, p.tags, readme,
				member{"licenses/LICENSE", 0o644, licence},
				member{"licenses/THIRD-PARTY-NOTICES", 0o644, r.notices},
				member{name, 0o755, program}); err != nil {
				return err
			}
		}
	}
	return nil
}

// wheel writes one. The members below licenses/ go to .dist-info, what may be run to where the environment has its programs.
func (r *release) wheel(p project, tags []string, readme []byte, members ...member) error {
	base := strings.ReplaceAll(p.name, "-", "_") + "-" + r.version
	filename := base + "-py3-none-" + strings.Join(tags, ".") + ".whl"
	members = append(members, member{"METADATA", 0o644, r.metadata(p, readme)}, member{"WHEEL", 0o644, wheelFields(tags)})
	for i, m := range members {
		folder := base + ".dist-info/"
		if m.mode&0o100 != 0 {
			folder = base + ".data/scripts/"
		}
		members[i].name = folder + m.name
	}
	slices.SortFunc(members, func(a, b member) int { return cmp.Compare(a.name, b.name) })

	// RECORD stands last, so that everything else is known.
	var record bytes.Buffer
	for _, m := range members {
		sum := sha256.Sum256(m.content)
		fmt.Fprintf(&record, "%s,sha256=%s,%d\n", m.name, base64.RawURLEncoding.EncodeToString(sum[:]), len(m.content))
	}
	fmt.Fprintf(&record, "%s.dist-info/RECORD,,\n", base)
	archive, err := zipped(r.time, append(members, member{base + ".dist-info/RECORD", 0o644, record.Bytes()}))
	if err != nil {
		return err
	}
	// One that curd would not take is not handed out.
	if _, err := wheel.Open(bytes.NewReader(archive), int64(len(archive)), filename); err != nil {
		return err
	}
	return r.write(filename, archive)
}

// metadata is METADATA, the README its body.
func (r *release) metadata(p project, readme []byte) []byte {
	text := fmt.Sprintf(commonFields, p.name, r.version, p.summary)
	if p.fields != "" {
		text += fmt.Sprintf(p.fields, r.version)
	}
	return append([]byte(text+"Description-Content-Type: text/markdown; charset=UTF-8; variant=GFM\n\n"), readme...)
}

// wheelFields is the file WHEEL.
func wheelFields(tags []string) []byte {
	text := "Wheel-Version: 1.0\nGenerator: curdling-packaging\nRoot-Is-Purelib: false\n"
	for _, t := range tags {
		text += "Tag: py3-none-" + t + "\n"
	}
	return []byte(text)
}
