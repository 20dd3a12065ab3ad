package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"cmp"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"time"
)

// A member is a file in an archive.
type member struct {
	name    string // parted by slashes
	mode    fs.FileMode
	content []byte
}

// shells are those that the programs complete in, and how the files of a program are called.
var shells = map[string]string{"bash": "%s.bash", "zsh": "_%s", "fish": "%s.fish", "powershell": "%s.ps1"}

// archives writes what is handed out to those who do not install with pip: a
// folder with both programs, manual pages, completions and licences.
func (r *release) archives(ctx context.Context) error {
	common, err := r.documentation(ctx)
	if err != nil {
		return err
	}
	unit, err := os.ReadFile("packaging/curd-server.service")
	if err != nil {
		return err
	}
	for _, p := range platforms {
		members := slices.Clone(common)
		if p.goos == "linux" {
			members = append(members, member{"systemd/curd-server.service", 0o644, unit})
		}
		for _, name := range programs {
			path, name := r.program(p, name)
			program, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			members = append(members, member{name, 0o755, program})
		}
		folder := "curdling-" + r.version + "-" + p.name
		for i, m := range members {
			members[i].name = folder + "/" + m.name
		}
		slices.SortFunc(members, func(a, b member) int { return cmp.Compare(a.name, b.name) })
		pack, ending := tarred, ".tar.gz"
		if p.goos == "windows" {
			pack, ending = zipped, ".zip"
		}
		archive, err := pack(r.time, members)
		if err != nil {
			return err
		}
		if err := r.write(folder+ending, archive); err != nil {
			return err
		}
	}
	return nil
}

// documentation is what is the same on all platforms.
func (r *release) documentation(ctx context.Context) ([]member, error) {
	members := []member{{"THIRD-PARTY-NOTICES", 0o644, r.notices}}
	for _, name := range []string{"LICENSE", "README.md", "docs/guide.md", "docs/server.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		members = append(members, member{path.Base(name), 0o644, text})
	}
	manuals := filepath.Join(r.built, "man")
	for _, program := range programs {
		if _, err := r.runHost(ctx, program, "man", manuals); err != nil {
			return nil, err
		}
	}
	pages, err := os.ReadDir(manuals)
	if err != nil {
		return nil, err
	}
	for _, page := range pages {
		text, err := os.ReadFile(filepath.Join(manuals, page.Name()))
		if err != nil {
			return nil, err
		}
		members = append(members, member{"man/man1/" + page.Name(), 0o644, text})
	}
	for _, program := range programs {
		for shell, name := range shells {
			text, err := r.runHost(ctx, program, "completion", shell)
			if err != nil {
				return nil, err
			}
			members = append(members, member{"completions/" + fmt.Sprintf(name, program), 0o644, text})
		}
	}
	return members, nil
}

// runHost runs one of the programs that were built, with nobody's settings, and gives what it prints.
func (r *release) runHost(ctx context.Context, name string, args ...string) ([]byte, error) {
	program, err := r.hostProgram(name)
	if err != nil {
		return nil, err
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = r.built
	cmd.Env = []string{"HOME=" + r.built}
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, args[0], err, &stderr)
	}
	return out, nil
}

// checksums writes SHA256SUMS, for `sha256sum -c`.
func (r *release) checksums(context.Context) error {
	const name = "SHA256SUMS"
	files, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, f := range files {
		if f.Name() == name {
			continue
		}
		content, err := os.ReadFile(filepath.Join(r.out, f.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(content), f.Name())
	}
	return r.write(name, b.Bytes())
}

// zipped writes a zip archive in the order of the members.
func zipped(t time.Time, members []member) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(w, flate.BestCompression)
	})
	for _, m := range members {
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate, Modified: t}
		h.SetMode(m.mode)
		w, err := z.CreateHeader(h)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(m.content); err != nil {
			return nil, err
		}
	}
	err := z.Close()
	return b.Bytes(), err
}

// tarred writes a .tar.gz in the order of the members. Nobody owns them.
func tarred(t time.Time, members []member) ([]byte, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(z)
	for _, m := range members {
		if err := w.WriteHeader(&tar.Header{Name: m.name, Mode: int64(m.mode), Size: int64(len(m.content)),
			ModTime: t, Format: tar.FormatPAX}); err != nil {
			return nil, err
		}
		if _, err := w.Write(m.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	err = z.Close()
	return b.Bytes(), err
}
