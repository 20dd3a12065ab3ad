package index

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"curdling/internal/dist"
	"curdling/internal/tag"
	"curdling/internal/version"
)

const (
	sumA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	sumB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// sameFiles compares versions and specifiers by what they print.
var sameFiles = cmp.Options{
	cmp.Transformer("version", func(v version.Version) string { return v.String() }),
	cmp.Transformer("specifiers", func(s version.Specifiers) string { return s.String() }),
	cmpopts.EquateEmpty(),
}

func mustURL(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func specifiers(t testing.TB, s string) version.Specifiers {
	t.Helper()
	set, err := version.ParseSpecifiers(s)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// example is a page with every fact that we know of.
func example(t testing.TB) *Project {
	return &Project{
		Name:         "holy-grail",
		Status:       "archived",
		StatusReason: `not yet "haunted" <b>`,
		Tracks:       []string{"https://a.test/simple/holy-grail/"},
		Alternates:   []string{"https://b.test/simple/holy-grail/", "https://c.test/?a=1&b=2"},
		Files: []dist.File{{
			Name: "holy-grail", Version: version.MustParse("1.0"), Kind: dist.Sdist, Filename: "holy_grail-1.0.tar.gz",
			URL: "https://files.test/holy_grail-1.0.tar.gz", Size: 945, SHA256: sumA,
			RequiresPython: specifiers(t, ">=3.7,<4"),
			Yanked:         true, YankedReason: `</a><script>alert("x")</script> & é`,
			UploadTime: time.Date(2024, 2, 3, 4, 5, 6, 789000, time.UTC),
		}, {
			Name: "holy-grail", Version: version.MustParse("1.0"), Kind: dist.Wheel, Filename: "holy_grail-1.0-1b-py2.py3-none-any.whl",
			Build: dist.BuildTag{Number: 1, Suffix: "b", Set: true},
			Tags:  []tag.Tag{{Python: "py2", ABI: "none", Platform: "any"}, {Python: "py3", ABI: "none", Platform: "any"}},
			URL:   "https://index.test/p/holy_grail-1.0-1b-py2.py3-none-any.whl", Size: 1337, SHA256: sumB,
			HasMetadata: true, MetadataSHA256: sumA, Provenance: "https://index.test/x.provenance",
			Tarball: dist.Tarball{SHA256: sumB, Size: 1200},
		}, {
			Name: "holy-grail", Version: version.MustParse("2.0+cpu.1"), Kind: dist.Wheel, Filename: "holy_grail-2.0+cpu.1-py3-none-any.whl",
			Tags: []tag.Tag{{Python: "py3", ABI: "none", Platform: "any"}},
			URL:  "https://index.test/p/holy_grail-2.0%2Bcpu.1-py3-none-any.whl", HasMetadata: true, Yanked: true,
		}},
	}
}

func TestRenderedPageIsReadBack(t *testing.T) {
	base := mustURL(t, "https://index.test/simple/holy-grail/")
	for _, contentType := range []string{TypeJSON, TypeHTML, "text/html"} {
		want := example(t)
		text, err := RenderProject(want, contentType)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseProject(text, contentType+"; charset=utf-8", base, want.Name)
		if err != nil {
			t.Fatal(err)
		}
		if contentType != TypeJSON { // PEP 700 has no size in HTML
			for i := range want.Files {
				want.Files[i].Size = 0
				want.Files[i].Tarball = dist.Tarball{} // nor has it room for ours
			}
			if strings.Contains(string(text), "<script>") || strings.Contains(string(text), "<b>") {
				t.Errorf("%s: not escaped:\n%s", contentType, text)
			}
		}
		if diff := cmp.Diff(want, got, sameFiles); diff != "" {
			t.Errorf("%s: -rendered +parsed:\n%s", contentType, diff)
		}
	}
	if _, err := RenderProject(example(t), "application/json"); err == nil {
		t.Error("a page of another content type was rendered")
	}
}

func TestRenderProjectJSON(t *testing.T) {
	p := &Project{Name: "x", Files: []dist.File{
		{Filename: "x-2.zip", Version: version.MustParse("2"), URL: "../../p/x-2.zip"},
		{Filename: "x-1.zip", Version: version.MustParse("1.0rc1"), URL: "../../p/x-1.zip", HasMetadata: true},
		{Filename: "x-2.tar.gz", Version: version.MustParse("2"), URL: "../../p/x-2.tar.gz", RequiresPython: specifiers(t, "<4")},
	}}
	text, err := RenderProject(p, TypeJSON)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"meta":{"api-version":"1.4"},"name":"x","versions":["1.0rc1","2"],"files":[` +
		`{"filename":"x-2.zip","url":"../../p/x-2.zip","hashes":{}},` +
		`{"filename":"x-1.zip","url":"../../p/x-1.zip","hashes":{},"core-metadata":true,"data-dist-info-metadata":true},` +
		`{"filename":"x-2.tar.gz","url":"../../p/x-2.tar.gz","hashes":{},"requires-python":"<4"}]}` + "\n"
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
	if text, _ := RenderProject(&Project{Name: "x"}, TypeJSON); !strings.Contains(string(text), `"versions":[],"files":[]`) {
		t.Errorf("an empty page: %s", text)
	}
}

func TestRenderProjects(t *testing.T) {
	names := []dist.Name{"a", "b-c"}
	text, err := RenderProjects(names, TypeJSON)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"meta":{"api-version":"1.4"},"projects":[{"name":"a"},{"name":"b-c"}]}`+"\n", string(text)); diff != "" {
		t.Error(diff)
	}
	if text, err = RenderProjects(names, "text/html"); err != nil || !strings.Contains(string(text), `<a href="b-c/">b-c</a>`) {
		t.Errorf("%v\n%s", err, text)
	}
	if text, _ = RenderProjects(nil, TypeJSON); !strings.Contains(string(text), `"projects":[]`) {
		t.Errorf("an empty list: %s", text)
	}
}

// oneFile makes a JSON page of one file with further members.
func oneFile(members string) string {
	return `{"meta": {"api-version": "1.0"}, "name": "x", "files": [{"filename": "x-1.0.tar.gz", "url": "x-1.0.tar.gz"` + members + `}]}`
}

func TestParseJSONMembers(t *testing.T) {
	tests := []struct {
		members string
		want    dist.File
	}{
		{``, dist.File{}},
		{`, "unknown": {"a": [1, -2.5e+3, null, true, {"b": "]}"}]}, "size": 5`, dist.File{Size: 5}},
		{`, "size": "5"`, dist.File{}},
		{`, "size": -5`, dist.File{}},
		{`, "size": 99999999999999999999`, dist.File{}},
		{`, "yanked": false`, dist.File{}},
		{`, "yanked": null`, dist.File{}},
		{`, "yanked": ""`, dist.File{}},
		{`, "yanked": true`, dist.File{Yanked: true}},
		{`, "yanked": "b\u00e4d \"\\\n\u001b[31m"`, dist.File{Yanked: true, YankedReason: `bäd "\  [31m`}},
		{`, "hashes": {"md5": "00", "sha256": "` + strings.ToUpper(sumA) + `"}`, dist.File{SHA256: sumA}},
		{`, "hashes": {"sha256": "zz"}`, dist.File{}},
		{`, "hashes": []`, dist.File{}},
		{`, "requires-python": ">=3.8"`, dist.File{RequiresPython: specifiers(t, ">=3.8")}},
		{`, "requires-python": ">=3.x, fish"`, dist.File{}},
		{`, "requires-python": null`, dist.File{}},
		{`, "core-metadata": true`, dist.File{HasMetadata: true}},
		{`, "core-metadata": {}`, dist.File{HasMetadata: true}},
		{`, "core-metadata": {"sha256": "` + sumB + `"}`, dist.File{HasMetadata: true, MetadataSHA256: sumB}},
		{`, "dist-info-metadata": {"sha256": "` + sumB + `"}`, dist.File{HasMetadata: true, MetadataSHA256: sumB}},
		{`, "core-metadata": false, "dist-info-metadata": true`, dist.File{}},
		{`, "dist-info-metadata": false, "core-metadata": true`, dist.File{HasMetadata: true}},
		{`, "upload-time": "2024-02-03T04:05:06Z"`, dist.File{UploadTime: time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)}},
		{`, "upload-time": "yesterday"`, dist.File{}},
		{`, "provenance": "https://h.test/p"`, dist.File{Provenance: "https://h.test/p"}},
		{`, "gpg-sig": true, "_tar": {}`, dist.File{}},
		{`, "_tar-zst": {"sha256": "` + sumA + `", "size": 5}`, dist.File{}}, // it is no wheel
	}
	for _, tt := range tests {
		p, err := ParseProject([]byte(oneFile(tt.members)), TypeJSON, mustURL(t, "https://h.test/simple/x/"), "x")
		if err != nil {
			t.Errorf("%s: %v", tt.members, err)
			continue
		}
		tt.want.Name, tt.want.Version, tt.want.Kind = "x", version.MustParse("1.0"), dist.Sdist
		tt.want.Filename, tt.want.URL = "x-1.0.tar.gz", "https://h.test/simple/x/x-1.0.tar.gz"
		if diff := cmp.Diff([]dist.File{tt.want}, p.Files, sameFiles); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tt.members, diff)
		}
	}
}

func TestParseTarball(t *testing.T) {
	for _, tt := range []struct {
		json string
		want dist.Tarball
	}{
		{`{"size": 5, "x": [], "sha256": "` + strings.ToUpper(sumA) + `"}`, dist.Tarball{SHA256: sumA, Size: 5}},
		{`{"sha256": "` + sumA + `"}`, dist.Tarball{}},
		{`{"sha256": "` + sumA + `", "size": -1}`, dist.Tarball{}},
		{`{"sha256": "` + sumA + `", "size": 17179869185}`, dist.Tarball{}},
		{`{"sha256": "zz", "size": 5}`, dist.Tarball{}},
		{`{"sha256": {}, "size": "5"}`, dist.Tarball{}},
		{`true`, dist.Tarball{}},
		{`null`, dist.Tarball{}},
	} {
		text := `{"meta": {"api-version": "1.0"}, "name": "x", "files": [{"filename": "x-1.0-py3-none-any.whl", "url": "x", "_tar-zst": ` + tt.json + `}]}`
		p, err := ParseProject([]byte(text), TypeJSON, mustURL(t, "https://h.test/simple/x/"), "x")
		if err != nil || p.Files[0].Tarball != tt.want {
			t.Errorf("%s: %+v, %v", tt.json, p, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	json := func(s string) [2]string { return [2]string{TypeJSON, s} }
	html := func(s string) [2]string { return [2]string{TypeHTML, s} }
	tests := []struct {
		page [2]string
		want string
	}{
		{json(``), "no value"},
		{json(`[]`), "no list of files"},
		{json(`{"error": "log in"}`), "no list of files"},
		{json(`{"files": {}}`), "no list of files"},
		{json(`{"files": []} x`), "no end"},
		{json("{\"files\": []}\x00"), "no end"},
		{json(`{"files": [}`), "no value"},
		{json(`{"files": [{"filename": "x`), "end of a string"},
		{json(`{"files": [{"filename": "\x"}]}`), "no string"},
		{json(`{"files": [{"filename"}]}`), "no colon"},
		{json(`{"files": [{1: 2}]}`), "no key"},
		{json(`{"files": [] "meta": {}}`), "comma"},
		{json(`{"files": ` + strings.Repeat("[", 100)), "too deep"},
		{json(`{"x": ` + strings.Repeat(`{"x":`, 100)), "too deep"},
		{json(`{"meta": {"api-version": "2.0"}, "files": []}`), "API version"},
		{json(`{"meta": {"api-version": "x"}, "files": []}`), "API version"},
		{html(`<meta name="pypi:repository-version" content="2.0">`), "API version"},
		{html(`<a href="` + strings.Repeat("x", 2<<20) + `">`), "HTML"},
		{[2]string{"application/json", `{}`}, "content type"},
		{[2]string{"application/vnd.pypi.simple.v2+json", `{}`}, "content type"},
		{[2]string{"", ``}, "content type"},
	}
	for _, tt := range tests {
		_, err := ParseProject([]byte(tt.page[1]), tt.page[0], mustURL(t, "https://h.test/simple/x/"), "x")
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "page of x") {
			t.Errorf("%.60s: error %v, want one with %q", tt.page[1], err, tt.want)
		}
	}
}

func TestParseAcceptsNewerMinorVersion(t *testing.T) {
	for contentType, text := range map[string]string{
		TypeJSON: `{"files": [], "meta": {"api-version": "1.99"}}`,
		TypeHTML: `<meta name="pypi:repository-version" content="1.99">`,
	} {
		if _, err := ParseProject([]byte(text), contentType, mustURL(t, "https://h.test/"), "x"); err != nil {
			t.Error(err)
		}
	}
}

func TestParseBounds(t *testing.T) {
	base := mustURL(t, "https://h.test/")
	if _, err := ParseProject(make([]byte, MaxPage+1), TypeHTML, base, "x"); err == nil {
		t.Error("an endless page was read")
	}
	many := []byte(strings.Repeat("<a href=z>", MaxFiles+2))
	if _, err := ParseProject(many, TypeHTML, base, "x"); err == nil || !strings.Contains(err.Error(), "files") {
		t.Errorf("error %v for too many files", err)
	}
}

func TestParseHTML(t *testing.T) {
	page := `<!doctype html><html><head><base href="/mirror/"><base href="/no/"><title><a href="x-9.zip"></title>
		<!-- <a href="x-8.zip"> --><meta name=pypi:project-status content=archived>
		<meta name="pypi:project-status-reason" content="done &amp; over">
		</head><body><a>none</a><a href="../">up</a><a href="#top">top</a>
		<A HREF=" files/x-1.0.tar.gz#sha256=` + sumA + `&amp;egg=x " data-requires-python="&gt;=3.8" data-yanked>x</A>
		<a href="https://user:secret@h.test/x-2%2E0-py3-none-any.whl?a=b/c#md5=00" data-core-metadata=true
			data-dist-info-metadata="sha256=` + sumB + `">x</a>
		<a href="x-3.0.zip" data-dist-info-metadata="sha256=` + sumB + `" data-yanked="why">x</a>
		<a href="x-3.0.exe">x</a><a href="y-3.0.zip">y</a>`
	p, err := ParseProject([]byte(page), "text/html; charset=UTF-8", mustURL(t, "https://h.test/simple/x/"), "x")
	if err != nil {
		t.Fatal(err)
	}
	v := version.MustParse
	want := &Project{
		Name: "x", Status: "archived", StatusReason: "done & over", Skipped: []string{"x-3.0.exe", "y-3.0.zip"},
		Files: []dist.File{{
			Name: "x", Version: v("1.0"), Kind: dist.Sdist, Filename: "x-1.0.tar.gz", URL: "https://h.test/mirror/files/x-1.0.tar.gz",
			SHA256: sumA, RequiresPython: specifiers(t, ">=3.8"), Yanked: true,
		}, {
			Name: "x", Version: v("2.0"), Kind: dist.Wheel, Filename: "x-2.0-py3-none-any.whl", URL: "https://h.test/x-2%2E0-py3-none-any.whl?a=b/c",
			Tags: []tag.Tag{{Python: "py3", ABI: "none", Platform: "any"}}, HasMetadata: true,
		}, {
			Name: "x", Version: v("3.0"), Kind: dist.Sdist, Filename: "x-3.0.zip", URL: "https://h.test/mirror/x-3.0.zip",
			HasMetadata: true, MetadataSHA256: sumB, Yanked: true, YankedReason: "why",
		}},
	}
	if diff := cmp.Diff(want, p, sameFiles); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestResolve(t *testing.T) {
	tests := []struct{ base, ref, want string }{
		{"https://h.test/simple/x/", "x-1.zip", "https://h.test/simple/x/x-1.zip"},
		{"https://h.test/simple/x/", "../../p/x-1.zip#sha256=0", "https://h.test/p/x-1.zip"},
		{"https://h.test/simple/x/", "/p/x-1.zip", "https://h.test/p/x-1.zip"},
		{"https://h.test/simple/x/", "//o.test/p/x-1.zip", "https://o.test/p/x-1.zip"},
		{"https://h.test/simple/x/", "https://o.test/a/b/x-1.zip", "https://o.test/a/b/x-1.zip"},
		{"https://h.test/simple/x/", "HTTP://o.test:80/x-1.zip", "http://o.test:80/x-1.zip"},
		{"https://h.test/simple/x/", "https://u:p@o.test/x-1.zip", "https://o.test/x-1.zip"},
		{"https://u:p@h.test/simple/x/", "x-1.zip", "https://h.test/simple/x/x-1.zip"},
		{"https://h.test/simple/x/", "https://o.test/a/../x-1.zip", "https://o.test/x-1.zip"},
		{"https://h.test/simple/x/", "https://o.test/a b/x-1.zip?s=1", "https://o.test/a%20b/x-1.zip?s=1"},
		{"https://h.test/simple/x/", "", "https://h.test/simple/x/"},
		{"https://h.test/simple/x/", "file:///etc/passwd", ""},
		{"https://h.test/simple/x/", "ftp://o.test/x-1.zip", ""},
		{"https://h.test/simple/x/", "javascript:alert(1)", ""},
		{"https://h.test/simple/x/", "https://", ""},
		{"https://h.test/simple/x/", "https:///x-1.zip", ""},
		{"https://h.test/simple/x/", "https:x-1.zip", ""},
		{"https://h.test/simple/x/", "https://[::1/x-1.zip", ""},
		{"https://h.test/simple/x/", "\x00/x-1.zip", ""},
		{"file:///srv/simple/x/", "x-1.zip", "file:///srv/simple/x/x-1.zip"},
		{"file:///srv/simple/x/", "https://o.test/x-1.zip", "https://o.test/x-1.zip"},
	}
	for _, tt := range tests {
		r := newReader(mustURL(t, tt.base))
		for range 2 { // the second time from memory
			if got, ok := r.resolve(tt.ref); got != tt.want || ok != (tt.want != "") {
				t.Errorf("%s at %s: got %q, %v; want %q", tt.ref, tt.base, got, ok, tt.want)
			}
		}
	}
}

func TestNegotiate(t *testing.T) {
	const pip = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"
	tests := []struct{ accept, want string }{
		{"", "text/html"},
		{" ", "text/html"},
		{"*/*", "text/html"},
		{pip, TypeJSON},
		{acceptPage, TypeJSON},
		{TypeBuilds + ", " + acceptPage, TypeBuilds},
		{acceptPage + ", " + TypeBuilds + ";q=0.9", TypeJSON},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"},
		{"TEXT/HTML", "text/html"},
		{"text/*", "text/html"},
		{"application/*", TypeJSON},
		{"application/vnd.pypi.simple.latest+json", TypeJSON},
		{"application/vnd.pypi.simple.latest+html", TypeHTML},
		{"application/vnd.pypi.simple.v1+json;q=0.2, text/html;q=0.5", "text/html"},
		{"text/html, application/vnd.pypi.simple.v1+json", TypeJSON},
		{"*/*, application/vnd.pypi.simple.v1+html", TypeHTML},
		{"*/*;q=0.1, application/vnd.pypi.simple.v1+json;q=0", "text/html"},
		{"application/*;q=0.5, application/vnd.pypi.simple.v1+json;q=0", TypeHTML},
		{"text/html;level=1;Q=0.3, */*;q=0.1", "text/html"},
		{"application/vnd.pypi.simple.v2+json", ""},
		{"application/json", ""},
		{"image/png", ""},
		{"text/html;q=0", ""},
		{"text/html;q=nan", ""},
		{"text/html;q=2", ""},
		{";;,,=", ""},
	}
	for _, tt := range tests {
		if got := Negotiate(tt.accept); got != tt.want {
			t.Errorf("Negotiate(%q) = %q, want %q", tt.accept, got, tt.want)
		}
	}
}

// bigPage is a page as the largest projects have it.
func bigPage(tb testing.TB, files int) *Project {
	p := &Project{Name: "big-project"}
	pythons := []version.Specifiers{specifiers(tb, ""), specifiers(tb, ">=3.6"), specifiers(tb, ">=3.8,!=3.9.0")}
	for i := range files {
		name := fmt.Sprintf("big_project-1.%d.%d-cp3%d-cp3%d-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", i/40, i%4, i%8, i%8)
		if i%5 == 0 {
			name = fmt.Sprintf("big_project-1.%d.%d.tar.gz", i/40, i%4)
		}
		f, err := dist.ParseFilename(name, p.Name)
		if err != nil {
			tb.Fatal(err)
		}
		f.SHA256 = fmt.Sprintf("%064x", i)
		f.URL = fmt.Sprintf("https://files.test/packages/%02x/%02x/%060x/%s", i%256, i/256%256, i, name)
		f.Size, f.RequiresPython = int64(1000+i), pythons[i%3]
		f.UploadTime = time.Date(2020, 1, 1, 0, 0, i, 1000*i%1e9, time.UTC)
		f.HasMetadata, f.MetadataSHA256 = f.Kind == dist.Wheel, f.SHA256
		p.Files = append(p.Files, f)
	}
	return p
}

func BenchmarkParse(b *testing.B) {
	p := bigPage(b, 4000)
	base := mustURL(b, "https://index.test/simple/big-project/")
	for name, contentType := range map[string]string{"json": TypeJSON, "html": TypeHTML} {
		text, err := RenderProject(p, contentType)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if q, err := ParseProject(text, contentType, base, p.Name); err != nil || len(q.Files) != len(p.Files) {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNegotiate(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() { // what pip accepts
		if got := Negotiate("application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"); got != TypeJSON {
			b.Fatal(got)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	p := bigPage(b, 4000)
	for name, contentType := range map[string]string{"json": TypeJSON, "html": TypeHTML} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := RenderProject(p, contentType); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(oneFile(`, "yanked": "x", "core-metadata": {"sha256": "` + sumA + `"}`)))
	f.Add([]byte(`{"files": [{}], "meta": {"tracks": ["a"]}, "project-status": {"status": "x"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParseProject(text, TypeJSON, mustURL(t, "https://h.test/simple/x/"), "x")
		if err == nil {
			checkReadable(t, p)
		}
		var value struct {
			Files []json.RawMessage
			Meta  any
		}
		if json.Unmarshal(text, &value) != nil || value.Meta != nil || strings.Count(strings.ToLower(string(text)), "files") != 1 || !strings.Contains(string(text), "files") {
			return
		}
		if bytesDepth(text) < maxDepth && value.Files != nil && err != nil {
			t.Fatalf("valid JSON refused: %v", err)
		}
		if err == nil && len(p.Files)+len(p.Skipped) != len(value.Files) {
			t.Fatalf("%d files and %d skipped of %d", len(p.Files), len(p.Skipped), len(value.Files))
		}
	})
}

// bytesDepth bounds how deep a JSON text nests.
func bytesDepth(text []byte) int {
	return strings.Count(string(text), "[") + strings.Count(string(text), "{")
}

func FuzzHTML(f *testing.F) {
	text, err := RenderProject(example(f), TypeHTML)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`<base href="//x/"><a href=" ../x-1.0.zip#sha256=0" data-yanked data-core-metadata=false>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if p, err := ParseProject(text, TypeHTML, mustURL(t, "https://h.test/simple/x/"), "x"); err == nil {
			checkReadable(t, p)
		}
	})
}

// checkReadable demands that a page from anywhere is rendered and read back as it is.
func checkReadable(t *testing.T, p *Project) {
	base := mustURL(t, "https://h.test/simple/x/")
	for _, file := range p.Files {
		u, err := url.Parse(file.URL)
		if err != nil || u.User != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || file.Name != p.Name {
			t.Fatalf("%s of %s at %q: %v", file.Filename, file.Name, file.URL, err)
		}
	}
	text, err := RenderProject(p, TypeJSON)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseProject(text, TypeJSON, base, p.Name)
	if err != nil {
		t.Fatalf("%v of\n%s", err, text)
	}
	var urls, urlsAgain []string
	for i := range p.Files {
		urls = append(urls, p.Files[i].Filename+" "+p.Files[i].URL+" "+p.Files[i].YankedReason)
	}
	for i := range again.Files {
		urlsAgain = append(urlsAgain, again.Files[i].Filename+" "+again.Files[i].URL+" "+again.Files[i].YankedReason)
	}
	if diff := cmp.Diff(urls, urlsAgain, cmpopts.EquateEmpty()); diff != "" {
		t.Fatal(diff)
	}
}

func FuzzNegotiate(f *testing.F) {
	f.Add("text/html;q=0.5, */*;q=0.1, application/vnd.pypi.simple.latest+json")
	f.Fuzz(func(t *testing.T, accept string) {
		switch got := Negotiate(accept); got {
		case TypeJSON, TypeHTML, "text/html", "":
		default:
			t.Fatalf("%q", got)
		}
	})
}
