package wheel

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// Manifest lists an unpacked wheel: folders and files in the order in which to
// make them, folders first.
type Manifest struct {
	Name, Version              string // normalised
	RootIsPurelib              bool
	DistInfo                   string
	DataDir                    string // "" where the wheel has none
	ConsoleScripts, GUIScripts []EntryPoint
	Folders                    []string       // every folder that a file needs, parents first
	Files                      []ManifestFile // RECORD and signatures left out; sorted by Path
}

// ManifestFile is one file. Path is slash-separated and relative to Tree.Dir.
type ManifestFile struct {
	Path       string
	Size       int64
	SHA256     string // as RECORD writes it: urlsafe base64 without padding
	Hash       string // RECORD's own words where they are not sha256: "sha512=..."; else ""
	Executable bool
	Shebang    bool // a script below .data whose first line is #!python or #!pythonw, to be rewritten
}

// isScript tells whether the file belongs into the scripts folder.
func (m *Manifest) isScript(path string) bool {
	return m.DataDir != "" && strings.HasPrefix(path, m.DataDir+"/scripts/")
}

// The manifest's form on disk is a text, quick to read and easy to look at:
// a first line with the form's version, the fields, a line for each folder and
// file (size, sha256, flags, path), and a checksum of all that. No value holds
// a line break, and a path, which may hold spaces, comes last.
const (
	manifestMagic = "curdling-tree 1"
	maxManifest   = 256 << 20
)

// MarshalBinary writes the manifest for UnmarshalBinary.
func (m *Manifest) MarshalBinary() ([]byte, error) {
	b := make([]byte, 0, 512+32*len(m.Folders)+128*len(m.Files))
	b = fmt.Appendf(b, "%s\nname %s\nversion %s\npurelib %t\ndist-info %s\ndata %s\n",
		manifestMagic, m.Name, m.Version, m.RootIsPurelib, m.DistInfo, m.DataDir)
	for _, group := range [][]EntryPoint{m.ConsoleScripts, m.GUIScripts} {
		b = fmt.Appendf(b, "scripts %d\n", len(group))
		for _, e := range group {
			b = fmt.Appendf(b, "%s %s %s\n", e.Name, e.Module, e.Attr)
		}
	}
	b = fmt.Appendf(b, "folders %d\n", len(m.Folders))
	for _, folder := range m.Folders {
		b = append(append(b, folder...), '\n')
	}
	b = fmt.Appendf(b, "files %d\n", len(m.Files))
	for i := range m.Files {
		b = m.Files[i].append(b)
	}
	if len(b) > maxManifest {
		return nil, fmt.Errorf("manifest of %s: %d bytes, at most %d are allowed", m.Name, len(b), maxManifest)
	}
	return fmt.Appendf(b, "crc32 %08x\n", crc32.ChecksumIEEE(b)), nil
}

func (f *ManifestFile) append(b []byte) []byte {
	b = strconv.AppendInt(b, f.Size, 10)
	b = append(append(b, ' '), f.SHA256...)
	b = append(b, ' ')
	if f.Executable {
		b = append(b, 'x')
	}
	if f.Shebang {
		b = append(b, '!')
	}
	b = append(append(b, f.Hash...), ' ')
	return append(append(b, f.Path...), '\n')
}

// UnmarshalBinary reads what MarshalBinary wrote. Another version of the form,
// damage, and what Open would not have accepted are errors.
func (m *Manifest) UnmarshalBinary(b []byte) error {
	if len(b) > maxManifest {
		return fmt.Errorf("manifest: %d bytes, at most %d are allowed", len(b), maxManifest)
	}
	end := bytes.LastIndex(b, []byte("\ncrc32 ")) + 1
	if want := fmt.Appendf(nil, "crc32 %08x\n", crc32.ChecksumIEEE(b[:end])); !bytes.Equal(b[end:], want) {
		return errors.New("manifest: is damaged")
	}
	r := manifestReader{rest: string(b[:end])}
	*m = r.manifest()
	if r.err != nil {
		*m = Manifest{}
		return fmt.Errorf("manifest: %w", r.err)
	}
	return nil
}

// A manifestReader reads lines until the first error, which it keeps. All
// strings are parts of one, so that reading allocates next to nothing.
type manifestReader struct {
	rest string
	err  error
}

func (r *manifestReader) manifest() (m Manifest) {
	if line := r.line(); line != manifestMagic {
		r.fail("is of another form: %q", line)
		return m
	}
	m.Name, m.Version = r.field("name"), r.field("version")
	m.RootIsPurelib = r.field("purelib") == "true"
	m.DistInfo = r.field("dist-info")
	r.check(checkPath(m.DistInfo))
	if m.DataDir = r.field("data"); m.DataDir != "" {
		r.check(checkPath(m.DataDir))
	}
	m.ConsoleScripts, m.GUIScripts = r.scripts(), r.scripts()
	m.Folders = make([]string, r.count("folders"))
	for i := range m.Folders {
		m.Folders[i] = r.line()
		r.check(checkPath(m.Folders[i]))
	}
	m.Files = make([]ManifestFile, r.count("files"))
	for i := range m.Files {
		r.file(&m.Files[i])
	}
	if r.rest != "" {
		r.fail("more lines than expected")
	}
	return m
}

func (r *manifestReader) check(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *manifestReader) fail(format string, args ...any) { r.check(fmt.Errorf(format, args...)) }

func (r *manifestReader) line() (line string) {
	line, r.rest, _ = strings.Cut(r.rest, "\n")
	return line
}

// field gives the value of the line that must begin with key.
func (r *manifestReader) field(key string) string {
	got, value, ok := strings.Cut(r.line(), " ")
	if got != key || !ok {
		r.fail("%q is missing", key)
	}
	return value
}

// count reads how many lines follow, which can be no more than there are bytes.
func (r *manifestReader) count(key string) int {
	n, err := strconv.Atoi(r.field(key))
	if err != nil || n < 0 || n > len(r.rest) {
		r.fail("wrong number of %s", key)
		return 0
	}
	return n
}

func (r *manifestReader) scripts() []EntryPoint {
	n := r.count("scripts")
	if n == 0 {
		return nil
	}
	all := make([]EntryPoint, n)
	for i := range all {
		e := &all[i]
		e.Name, e.Module, _ = strings.Cut(r.line(), " ")
		e.Module, e.Attr, _ = strings.Cut(e.Module, " ")
		r.check(e.check())
	}
	return all
}

func (r *manifestReader) file(f *ManifestFile) {
	size, rest, _ := strings.Cut(r.line(), " ")
	sum, rest, _ := strings.Cut(rest, " ")
	flags, path, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil || n < 0 || len(sum) != 43 {
		r.fail("wrong line for %q", path)
	}
	r.check(checkPath(path))
	f.Path, f.Size, f.SHA256 = path, n, sum
	flags, f.Executable = strings.CutPrefix(flags, "x")
	if f.Hash, f.Shebang = strings.CutPrefix(flags, "!"); f.Hash != "" {
		r.check(checkHash(f.Hash))
	}
}
