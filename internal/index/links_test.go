package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/dist"
	"curdling/internal/tag"
	"curdling/internal/version"
)

const linksPage = `<!doctype html><title>wheels</title><a href="../">up</a><a href="mailto:x@h.test">write</a>
	<a href="Foo_Bar-1.0-py3-none-any.whl#sha256=` + sumA + `" data-requires-python="&gt;=3.8" data-yanked="bad" data-core-metadata="sha256=` + sumB + `">
	<a href="foo-bar-1.0-2.tar.gz"><a href="https://o.test/foo-2.0.zip?x=1#egg=foo&amp;sha256=` + sumB + `"><a href="foobar-1.0.tar.gz">
	<a href="ftp://h.test/foo-9.0.zip"><a href="file:///srv/foo-9.1.zip"><a href="foo-1.0.exe"><a href="foo-1.0.win32.msi">`

// told shows a project's files in a line each.
func told(l *Links, name dist.Name) []string {
	var lines []string
	for _, f := range l.Of(name) {
		lines = append(lines, fmt.Sprint(f.Kind, " ", f.Name, " ", f.Version, " ", f.URL))
	}
	return lines
}

func TestLinksOfAPage(t *testing.T) {
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user+password != "usecret" || r.URL.RawQuery != "v=1" {
			t.Errorf("%s: credentials %q", r.URL, user)
		}
		w.Header().Set("Content-Type", "text/html")
		send(w, linksPage)
	})
	l, err := testClient(t, Options{}).Links(t.Context(), withUser(base, "u", "secret")+"/whl/torch.html?v=1#top")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[dist.Name][]string{
		"foo-bar":     {"wheel foo-bar 1.0 " + base + "/whl/Foo_Bar-1.0-py3-none-any.whl", "sdist foo-bar 1.0.post2 " + base + "/whl/foo-bar-1.0-2.tar.gz"},
		"foo-bar-1-0": {"sdist foo-bar-1-0 2 " + base + "/whl/foo-bar-1.0-2.tar.gz"},
		"foo":         {"sdist foo 2.0 https://o.test/foo-2.0.zip?x=1"},
		"foobar":      {"sdist foobar 1.0 " + base + "/whl/foobar-1.0.tar.gz"},
		"bar":         nil,
		"fo":          nil,
	} {
		if diff := cmp.Diff(want, told(l, name)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
	want := dist.File{
		Name: "foo-bar", Version: version.MustParse("1.0"), Kind: dist.Wheel, Filename: "Foo_Bar-1.0-py3-none-any.whl",
		Tags: []tag.Tag{{Python: "py3", ABI: "none", Platform: "any"}}, URL: base + "/whl/Foo_Bar-1.0-py3-none-any.whl", SHA256: sumA,
		RequiresPython: specifiers(t, ">=3.8"), Yanked: true, YankedReason: "bad", HasMetadata: true, MetadataSHA256: sumB,
	}
	if diff := cmp.Diff(want, l.Of("foo-bar")[0], sameFiles); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if f := l.Of("foo")[0]; f.SHA256 != sumB {
		t.Errorf("sha256 %s", f.SHA256)
	}
}

func TestLinksToAFile(t *testing.T) {
	l, err := testClient(t, Options{}).Links(t.Context(), "https://u:secret@h.test/a%20b/x-1.0%2Bcpu-py3-none-any.whl#sha256="+sumA)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"wheel x 1.0+cpu https://h.test/a%20b/x-1.0%2Bcpu-py3-none-any.whl"}, told(l, "x")); diff != "" || l.Of("x")[0].SHA256 != sumA {
		t.Error(diff, l.Of("x"))
	}
}

func TestLinksAreCachedAndRevalidated(t *testing.T) {
	requests := 0
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		w.Header().Set("Content-Type", TypeJSON)
		w.Header().Set("Cache-Control", "max-age=60")
		send(w, jsonPage)
	})
	cache := &memory{}
	for _, o := range []Options{{}, {}, {Offline: true}} {
		o.Cache = cache
		l, err := testClient(t, o).Links(t.Context(), base+"/links")
		if err != nil || len(l.Of("x")) != 1 || requests != 1 {
			t.Errorf("%v after %d requests", err, requests)
		}
	}
}

func TestLinksOfThisMachine(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b#é%")
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	wheel := write("x-1.0-py3-none-any.whl", "12345")
	page := write("x.html", `<a href="x-1.0-py3-none-any.whl#sha256=`+sumA+`">a</a><a href="https://h.test/x-2.0.zip">b</a><a href="//h.test/x-3.0.zip">c</a>`)
	write("x-1.1.tar.gz", "1")
	write("y-1.0.zip", "1")
	write("sub/x-9.0.zip", "1")
	write("x-9.1.zip/file", "1")
	if err := errors.Join(os.Symlink(wheel, filepath.Join(dir, "x-1.2-py3-none-any.whl")), os.Symlink("nowhere", filepath.Join(dir, "x-9.2.zip"))); err != nil {
		t.Fatal(err)
	}
	at := urlOfPath(dir).String()
	if !strings.HasSuffix(at, "/a%20b%23%C3%A9%25") {
		t.Fatal(at)
	}
	folder := []string{"wheel x 1.0 " + at + "/x-1.0-py3-none-any.whl", "sdist x 1.1 " + at + "/x-1.1.tar.gz", "wheel x 1.2 " + at + "/x-1.2-py3-none-any.whl"}
	t.Chdir(filepath.Dir(dir))
	tests := []struct {
		where string
		want  []string
	}{
		{dir, folder},
		{dir + "/", folder},
		{filepath.Base(dir), folder},
		{at, folder},
		{"FILE:" + strings.TrimPrefix(at, "file:"), folder},
		{strings.Replace(at, "file://", "file://localhost", 1) + "/", folder},
		{wheel, folder[:1]},
		{at + "/x-1.0-py3-none-any.whl", folder[:1]},
		{page, []string{folder[0], "sdist x 2.0 https://h.test/x-2.0.zip"}},
		{at + "/x.html", []string{folder[0], "sdist x 2.0 https://h.test/x-2.0.zip"}},
	}
	c := testClient(t, Options{Offline: true}) // what is here is not asked for elsewhere
	for _, tt := range tests {
		l, err := c.Links(t.Context(), tt.where)
		if err != nil {
			t.Errorf("%s: %v", tt.where, err)
			continue
		}
		if diff := cmp.Diff(tt.want, told(l, "x")); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tt.where, diff)
		}
	}
	l, err := c.Links(t.Context(), dir)
	if f := l.Of("x")[0]; err != nil || f.Size != 5 || f.SHA256 != "" || !f.UploadTime.IsZero() {
		t.Errorf("%+v, %v", f, err)
	}
	if l, err = c.Links(t.Context(), page); err != nil || l.Of("x")[0].SHA256 != sumA {
		t.Errorf("%v, %v", l, err)
	}
}

func TestLinksRefused(t *testing.T) {
	dir := t.TempDir()
	notes, big := filepath.Join(dir, "notes.txt"), filepath.Join(dir, "big.html")
	f, err := os.Create(big)
	if err := errors.Join(err, f.Truncate(MaxPage+1), f.Close(), os.WriteFile(notes, []byte("x"), 0o644)); err != nil {
		t.Fatal(err)
	}
	many := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		send(w, strings.Repeat("<a href=x-1.zip>", MaxFiles+1))
	})
	for where, want := range map[string]string{
		filepath.Join(dir, "none"):         "no such file",
		filepath.Join(dir, "x-1.zip"):      "no such file",
		notes:                              "neither a folder",
		big:                                "more than 67108864 bytes",
		"":                                 "write a path", // the current folder would be a surprise
		"ftp://u:hunter2@h.test/":          "find-links \"ftp://h.test/\": write a path, or a URL",
		"https://u:hunter2@":               "is not a URL",
		"file://u:hunter2@h.test/x":        "must be of the form file:///path",
		"file:///nowhere/" + "x%ZZ":        "must be of the form file:///path",
		many + "/?hunter2":                 "find-links: GET " + many + "/: more than 100000 files",
		"http://u:hunter2@127.0.0.1:1/x/y": "find-links: GET \"http://127.0.0.1:1/x/y\"",
	} {
		_, err := testClient(t, Options{Retries: -1}).Links(t.Context(), where)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "find-links") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: error %v, want %q", where, err, want)
		}
	}
}

// TestFileURLs: what a folder or a page of this machine lists is had as from a server.
func TestFileURLs(t *testing.T) {
	root := t.TempDir()
	wheel := makeZip(t, zipMember{"x/big.so", 1 << 20}, zipMember{"x-1.0.dist-info/METADATA", 0})
	path := filepath.Join(root, "x", "x-1.0-py3-none-any.whl")
	sum := sum256(string(wheel))
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, wheel, 0o644),
		os.WriteFile(filepath.Join(root, "x", "index.html"), []byte(`<a href="x-1.0-py3-none-any.whl#sha256=`+sum+`">x</a>`), 0o644)); err != nil {
		t.Fatal(err)
	}
	index := urlOfPath(root).String()
	c := testClient(t, Options{Offline: true, Cache: &memory{}})
	p, err := c.Project(t.Context(), index, "x")
	if err != nil || len(p.Files) != 1 {
		t.Fatal(p, err)
	}
	good := p.Files[0]
	if text, err := c.Metadata(t.Context(), good); err != nil || string(text) != metadataText {
		t.Errorf("%q, %v", text, err)
	}
	w := tempFile(t)
	var last int64
	got, err := c.Download(t.Context(), good, w, func(n int64) { last = n })
	if held, _ := os.ReadFile(w.Name()); err != nil || got != sum || string(held) != string(wheel) || last != int64(len(wheel)) {
		t.Errorf("%s, %v, %d bytes told", got, err, last)
	}
	if _, err := c.Project(t.Context(), index, "y"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a project that is not there: %v", err)
	}
	if _, err := c.Project(t.Context(), index+"/none", "x"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an index that is not there: %v", err)
	}

	change := func(do func(*dist.File)) dist.File { f := good; do(&f); return f }
	for want, f := range map[string]dist.File{
		"sha256 of " + good.URL + " is " + sum: change(func(f *dist.File) { f.SHA256 = sumA }),
		"5 were expected":                      change(func(f *dist.File) { f.Size = 5 }),
		"no such file":                         change(func(f *dist.File) { f.URL += "x" }),
		"not a regular file":                   change(func(f *dist.File) { f.URL = index }),
		"must be of the form file:///path":     change(func(f *dist.File) { f.URL = "file://h.test/x" }),
	} {
		if _, err := c.Download(t.Context(), f, tempFile(t), nil); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), good.Filename) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Download(ctx, good, tempFile(t), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := os.WriteFile(path, []byte("no zip"), 0o644); err != nil {
		t.Fatal(err)
	}
	if text, err := c.Metadata(t.Context(), good); !errors.Is(err, ErrNoRanges) {
		t.Errorf("%q of what is no wheel: %v", text, err)
	}
}

// TestUploadTime: JSON tells it (PEP 700), HTML by the standard does not.
func TestUploadTime(t *testing.T) {
	at := time.Date(2024, 2, 3, 4, 5, 6, 789000000, time.UTC)
	for text, want := range map[string]time.Time{
		"2024-02-03T04:05:06.789Z":      at,
		"2024-02-03T04:05:06.789000Z":   at,
		"2024-02-03T06:05:06.789+02:00": at,
		"2024-02-03":                    {},
		"1706933106":                    {},
	} {
		p, err := ParseProject([]byte(oneFile(`, "upload-time": "`+text+`"`)), TypeJSON, mustURL(t, "https://h.test/"), "x")
		if err != nil || !p.Files[0].UploadTime.Equal(want) {
			t.Errorf("%s: %v, %v", text, p.Files[0].UploadTime, err)
		}
	}
	p, err := ParseProject([]byte(`<a href="x-1.0.zip" title="2024-02-03T04:05:06Z" upload-time="2024-02-03T04:05:06Z">x</a> 03-Feb-2024 04:05`), TypeHTML, mustURL(t, "https://h.test/"), "x")
	if err != nil || !p.Files[0].UploadTime.IsZero() {
		t.Errorf("HTML: %v, %v", p.Files[0].UploadTime, err)
	}
}

// TestProjectStatus holds both forms of PEP 792 against its text.
func TestProjectStatus(t *testing.T) {
	tests := []struct {
		status, reason string
		json, html     string // of the standard
	}{
		{"", "", "", ""},
		{"active", "", `"project-status":{"status":"active"}`, `<meta name="pypi:project-status" content="active">`},
		{"archived", "", `"project-status":{"status":"archived"}`, `<meta name="pypi:project-status" content="archived">`},
		{"deprecated", "use y", `"project-status":{"status":"deprecated","reason":"use y"}`,
			`<meta name="pypi:project-status" content="deprecated"><meta name="pypi:project-status-reason" content="use y">`},
		{"quarantined", "the project is haunted", `"project-status":{"status":"quarantined","reason":"the project is haunted"}`,
			`<meta name="pypi:project-status" content="quarantined"><meta name="pypi:project-status-reason" content="the project is haunted">`},
	}
	base := mustURL(t, "https://h.test/simple/x/")
	for _, tt := range tests {
		rendered := map[string]string{}
		for _, contentType := range []string{TypeJSON, TypeHTML} {
			text, err := RenderProject(&Project{Name: "x", Status: tt.status, StatusReason: tt.reason}, contentType)
			if err != nil {
				t.Fatal(err)
			}
			rendered[contentType] = strings.ReplaceAll(string(text), "\n", "")
		}
		if !strings.Contains(rendered[TypeJSON], tt.json) || !strings.Contains(rendered[TypeHTML], tt.html) ||
			tt.status == "" && strings.Contains(rendered[TypeJSON]+rendered[TypeHTML], "status") {
			t.Errorf("%q rendered:\n%s\n%s", tt.status, rendered[TypeJSON], rendered[TypeHTML])
		}
		json := `{"meta": {}, "files": []}`
		if tt.json != "" {
			json = `{"meta": {}, ` + tt.json + `, "files": []}`
		}
		for contentType, text := range map[string]string{TypeJSON: json, TypeHTML: "<html><head>" + tt.html + "</head></html>"} {
			p, err := ParseProject([]byte(text), contentType, base, "x")
			if err != nil || p.Status != tt.status || p.StatusReason != tt.reason {
				t.Errorf("%s of %q: %q, %q, %v", contentType, tt.status, p.Status, p.StatusReason, err)
			}
		}
	}
	for _, text := range []string{`null`, `"archived"`, `{}`, `{"status": 5}`, `[]`} {
		p, err := ParseProject([]byte(`{"project-status": `+text+`, "files": []}`), TypeJSON, base, "x")
		if err != nil || p.Status != "" {
			t.Errorf("%s: %q, %v", text, p.Status, err)
		}
	}
}

// FuzzLinks: a page of links offers of a project what the project's page of the same text does.
func FuzzLinks(f *testing.F) {
	f.Add([]byte(linksPage), "foo-bar", true)
	f.Add([]byte(jsonPage), "x", false)
	f.Fuzz(func(t *testing.T, text []byte, name string, html bool) {
		project, err := dist.ParseName(name)
		if err != nil {
			return
		}
		contentType := TypeJSON
		if html {
			contentType = TypeHTML
		}
		base := mustURL(t, "https://h.test/simple/x/")
		l, err := parseLinks(text, contentType, base)
		p, projectErr := ParseProject(text, contentType, base, project)
		if (err == nil) != (projectErr == nil) {
			t.Fatalf("of links %v, of a project %v", err, projectErr)
		}
		if err != nil {
			return
		}
		if diff := cmp.Diff(p.Files, l.Of(project), sameFiles); diff != "" {
			t.Fatalf("-project +links:\n%s", diff)
		}
	})
}
