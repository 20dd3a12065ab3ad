package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"curdling/internal/index"
	"curdling/internal/wheel/wheeltest"
)

func TestSimple(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{}, flask, oldFlask, zope)
	for _, test := range []struct{ accept, format, want string }{
		{"", "", "text/html; charset=utf-8"},
		{"*/*", "", "text/html; charset=utf-8"},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "", "text/html; charset=utf-8"},
		{"application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01", "", index.TypeJSON},
		{"application/vnd.pypi.simple.v1+html", "", index.TypeHTML},
		{"text/html", index.TypeJSON, index.TypeJSON},
		{index.TypeJSON, index.TypeHTML, index.TypeHTML},
		{"image/png", "", ""},
		{"", "image/png", ""},
	} {
		for _, path := range []string{"/simple/", "/simple/flask/"} {
			target := path
			if test.format != "" {
				target += "?format=" + strings.ReplaceAll(test.format, "+", "%2B")
			}
			r := s.get(target, "Accept", test.accept)
			if test.want == "" {
				if r.StatusCode != http.StatusNotAcceptable {
					t.Errorf("%s for %q: %d, want 406", target, test.accept, r.StatusCode)
				}
				continue
			}
			if got := r.Header.Get("Content-Type"); got != test.want || r.Header.Get("Vary") != "Accept, Accept-Encoding" {
				t.Errorf("%s for %q: %q, Vary %q; want %q", target, test.accept, got, r.Header.Get("Vary"), test.want)
			}
			etag := r.Header.Get("Etag")
			for _, match := range []string{etag, "W/" + etag, `"x", ` + etag, "*"} {
				again := s.get(target, "Accept", test.accept, "If-None-Match", match)
				if again.StatusCode != http.StatusNotModified || text(t, again) != "" || again.Header.Get("Etag") != etag {
					t.Errorf("%s with If-None-Match %s: %d", target, match, again.StatusCode)
				}
			}
			if other := s.get(target, "Accept", test.accept, "If-None-Match", `"x"`); other.StatusCode != http.StatusOK {
				t.Errorf("%s with another tag: %d", target, other.StatusCode)
			}
			head := s.do(http.MethodHead, target, nil, "Accept", test.accept)
			if length := strconv.Itoa(len(text(t, r))); head.Header.Get("Content-Length") != length || text(t, head) != "" {
				t.Errorf("HEAD %s: length %q, want %s", target, head.Header.Get("Content-Length"), length)
			}
		}
	}

	var page struct {
		Name  string
		Files []struct {
			Filename, URL string
			Hashes        map[string]string
			Size          int64
			RequiresPy    string            `json:"requires-python"`
			CoreMetadata  map[string]string `json:"core-metadata"`
		}
	}
	r := s.get("/simple/flask/", "Accept", index.TypeJSON)
	if err := json.NewDecoder(r.Body).Decode(&page); err != nil {
		t.Fatal(err)
	}
	if len(page.Files) != 2 || page.Name != "flask" {
		t.Fatalf("page %+v", page)
	}
	f := page.Files[1]
	if f.Filename != flaskFile || f.URL != "../../p/"+flaskFile || f.Hashes["sha256"] != sum(flaskBytes) || f.Size != int64(len(flaskBytes)) || f.RequiresPy != ">=3.8" {
		t.Errorf("file %+v", f)
	}
	metadata := text(t, s.get("/p/"+flaskFile+".metadata"))
	if f.CoreMetadata["sha256"] != sum([]byte(metadata)) || !strings.Contains(metadata, "Name: Flask") {
		t.Errorf("core-metadata %v of %q", f.CoreMetadata, metadata)
	}
	if html := text(t, s.get("/simple/flask/")); !strings.Contains(html, `href="../../p/`+flaskFile+`#sha256=`+sum(flaskBytes)+`"`) {
		t.Errorf("page %s", html)
	}
}

// TestPagesFollow: a page that was rendered is made anew when what is held changes, and only then.
func TestPagesFollow(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{}, flask)
	before := s.get("/simple/flask/").Header.Get("Etag")
	list := s.get("/simple/").Header.Get("Etag")
	put := func(w wheeltest.Wheel) {
		if r := s.do(http.MethodPut, "/p/"+w.Filename(), bytes.NewReader(wheeltest.Build(w))); r.StatusCode != http.StatusCreated {
			t.Fatalf("PUT: %d %s", r.StatusCode, text(t, r))
		}
	}
	put(zope)
	if s.get("/simple/flask/").Header.Get("Etag") != before {
		t.Error("flask's page changed with zope's")
	}
	if s.get("/simple/").Header.Get("Etag") == list {
		t.Error("the list did not change with a new project")
	}
	list = s.get("/simple/").Header.Get("Etag")
	put(oldFlask)
	if s.get("/simple/flask/").Header.Get("Etag") == before {
		t.Error("flask's page did not change with a new file")
	}
	if s.get("/simple/").Header.Get("Etag") != list {
		t.Error("the list changed without a new project")
	}
}
