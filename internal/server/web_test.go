package server

import (
	"net/http"
	"strings"
	"testing"
)

func TestProblems(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	for accept, want := range map[string]string{
		"":                 "text/plain; charset=utf-8",
		"*/*":              "text/plain; charset=utf-8",
		"application/json": "application/problem+json",
		"text/html;q=0.1, application/problem+json": "application/problem+json",
		"application/json;q=0, text/plain":          "text/plain; charset=utf-8",
		"text/html,application/xhtml+xml,*/*;q=0.8": "text/html; charset=utf-8",
		"application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01": "text/plain; charset=utf-8",
	} {
		r := s.get("/p/none-1.0-py3-none-any.whl", "Accept", accept)
		body := text(t, r)
		if got := r.Header.Get("Content-Type"); r.StatusCode != http.StatusNotFound || got != want || !strings.Contains(body, "no such file is held here") {
			t.Errorf("for %q: %d %q, want %q: %s", accept, r.StatusCode, got, want, body)
		}
		if want == "application/problem+json" && body != `{"title":"Not Found","status":404,"detail":"no such file is held here"}`+"\n" {
			t.Errorf("problem: %s", body)
		}
	}
}

func TestWeb(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{}, flask, oldFlask, zope)
	for target, want := range map[string][]string{
		"/":                       {"<b>2</b> projects", "<b>3</b> files", `href="/project/flask"`, "A &lt;b&gt;framework&lt;/b&gt;", "curd install -c http://example.com -u flask", "--trusted-host example.com --index-url http://example.com/simple/"},
		"/?q=framework":           {`href="/project/flask"`, `value="framework"`},
		"/?q=<script>":            {"Nothing here matches", "&lt;script&gt;"},
		"/project/flask":          {"3.0", "2.0", "/p/" + flaskFile, sum(flaskBytes), "&gt;=3.8", "py3-none-any"},
		"/project/zope-interface": {"cp311-cp311-manylinux_2_17_x86_64"},
		"http://localhost:8000/":  {"pip install --index-url http://localhost:8000/simple/"},
		"/style.css":              {"light-dark"},
	} {
		body := text(t, s.get(target))
		for _, part := range want {
			if !strings.Contains(body, part) {
				t.Errorf("%s lacks %q:\n%s", target, part, body)
			}
		}
		if strings.Contains(body, "<script") || strings.Contains(body, "<b>framework") {
			t.Errorf("%s: foreign text is not escaped:\n%s", target, body)
		}
	}
	if body := text(t, s.get("/?q=zope")); strings.Contains(body, "/project/flask") {
		t.Errorf("the search found flask:\n%s", body)
	}
	if body := text(t, newSite(t, options{}).get("/")); !strings.Contains(body, "Nothing is held yet") {
		t.Errorf("empty:\n%s", body)
	}
}
