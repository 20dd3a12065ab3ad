package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"curdling/internal/version"
	"curdling/internal/wheel"
)

func TestPep440(t *testing.T) {
	var last version.Version
	for i, tt := range []struct{ description, want string }{ // in the order of the versions
		{"v0.0-19-g702f84b", "0.1.dev19+g702f84b"},
		{"v0.0-20-g702f84b-dirty", "0.1.dev20+g702f84b.dirty"},
		{"v0.1.0rc1-0-g1234567", "0.1.0rc1"},
		{"v0.1.0rc1-3-g1234567", "0.1.0rc2.dev3+g1234567"},
		{"v0.1.0-0-g1234567", "0.1.0"},
		{"v0.1.0-0-g1234567-dirty", "0.1.1.dev0+g1234567.dirty"},
		{"v0.1.0-12-g1234567", "0.1.1.dev12+g1234567"},
		{"v0.1.9-12-g1234567", "0.1.10.dev12+g1234567"},
		{"v1.0-0-g1234567", "1.0"},
	} {
		got, err := pep440(tt.description)
		if err != nil || got != tt.want {
			t.Errorf("pep440(%q) = %q, %v; want %q", tt.description, got, err, tt.want)
		}
		v, err := version.Parse(got)
		if err != nil || v.String() != got {
			t.Errorf("%q: parsed as %q, %v", got, v, err)
		}
		if i > 0 && v.Compare(last) <= 0 {
			t.Errorf("%s is not newer than %s", v, last)
		}
		last = v
	}
	for _, bad := range []string{"", "702f84b", "0.1.0-0-g1234567", "v0.1.0"} {
		if got, err := pep440(bad); err == nil {
			t.Errorf("pep440(%q) = %q, want an error", bad, got)
		}
	}
}

// testRelease has programs of a few bytes, and the working directory of `go run`.
func testRelease(t *testing.T) *release {
	t.Chdir("..")
	r := &release{version: "1.2.3.dev4+g1234567", time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), out: t.TempDir(), built: t.TempDir(),
		notices: []byte("notices\n"),
		modules: []module{{"example.org/a", "v1.0.0", "h1:abc=", []string{"curd"}}, {goModule, "1.26.0", "", programs}}}
	for _, p := range platforms {
		for _, name := range programs {
			path, _ := r.program(p, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(name+" for "+p.name), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	return r
}

func TestWheels(t *testing.T) {
	r := testRelease(t)
	if err := r.wheels(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(r.out)
	if err != nil || len(files) != 2*len(platforms) {
		t.Fatalf("%d wheels, %v", len(files), err)
	}
	for _, f := range files {
		archive, err := os.ReadFile(filepath.Join(r.out, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		w, err := wheel.Open(bytes.NewReader(archive), int64(len(archive)), f.Name())
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if _, err := w.Unpack(t.Context(), dir); err != nil { // checks RECORD
			t.Fatal(err)
		}
		program := "curd"
		if strings.HasPrefix(f.Name(), "curdling_server-") {
			program = "curd-server"
		} else if s := string(w.RawMetadata); !strings.Contains(s, "\nRequires-Dist: curdling-server==1.2.3.dev4+g1234567; extra == 'server'\n") {
			t.Errorf("%s: the extra is missing in\n%s", f.Name(), s[:1500])
		}
		if strings.Contains(f.Name(), "-win_") {
			program += ".exe"
		}
		i, err := os.Stat(filepath.Join(dir, w.DataDir, "scripts", program))
		if err != nil || i.Mode()&0o111 == 0 {
			t.Errorf("%s: %s: %v, %v", f.Name(), program, i, err)
		}
	}
}

func TestSameBytesTwice(t *testing.T) {
	r := testRelease(t)
	made := func() map[string]string {
		contents := map[string]string{}
		for _, step := range []func(context.Context) error{r.wheels, r.billOfMaterials, r.checksums} {
			if err := step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		files, err := os.ReadDir(r.out)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(filepath.Join(r.out, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			contents[f.Name()] = string(b)
		}
		return contents
	}
	first := made()
	r.out = t.TempDir()
	second := made()
	for name, content := range first {
		if second[name] != content {
			t.Errorf("%s differs", name)
		}
	}
	if n := strings.Count(first["SHA256SUMS"], "\n"); n != len(first)-1 {
		t.Errorf("SHA256SUMS has %d lines for %d files", n, len(first)-1)
	}
	var bill struct {
		Components   []struct{ Name, Version, Purl string }
		Dependencies []struct {
			Ref       string
			DependsOn []string
		}
	}
	if err := json.Unmarshal([]byte(first["curdling-1.2.3.dev4+g1234567.cdx.json"]), &bill); err != nil {
		t.Fatal(err)
	}
	if len(bill.Components) != 4 || bill.Components[2].Purl != "pkg:golang/example.org/a@v1.0.0" {
		t.Errorf("components: %v", bill.Components)
	}
	for _, d := range bill.Dependencies {
		if d.Ref == "curd-server" && !slices.Equal(d.DependsOn, []string{"pkg:golang/stdlib@1.26.0"}) {
			t.Errorf("curd-server depends on %v", d.DependsOn)
		}
	}
}

func TestTarred(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	archive, err := tarred(at, []member{{"a/x", 0o755, []byte("run")}, {"a/y", 0o644, []byte("read")}})
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	tr := tar.NewReader(z)
	for _, want := range []struct {
		name, content string
		mode          int64
	}{{"a/x", "run", 0o755}, {"a/y", "read", 0o644}} {
		h, err := tr.Next()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(tr)
		if err != nil || string(content) != want.content || h.Name != want.name || h.Mode != want.mode || !h.ModTime.Equal(at) || h.Uid != 0 {
			t.Errorf("%+v, %q, %v; want %+v", h, content, err, want)
		}
	}
	if _, err := tr.Next(); err != io.EOF {
		t.Errorf("after the last: %v", err)
	}
}
