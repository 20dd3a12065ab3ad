package server

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"curdling/internal/readme"
	"curdling/internal/wheel/wheeltest"
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
		if got := r.Header.Get("Content-Type"); r.StatusCode != http.StatusNotFound || got != want || !strings.Contains(body, "o such file is held here") {
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
		"/": {"<dd>2</dd>", "<dd>3</dd>", `href="./project/flask"`, "A &lt;b&gt;framework&lt;/b&gt;", "curd install -c http://example.com -u flask",
			"--trusted-host example.com --index-url http://example.com/simple/", "twine upload --repository-url http://example.com/legacy/"},
		"/?q=framework":              {`href="./project/flask"`, `value="framework"`, "1 project for"},
		"/?q=<script>":               {"0 projects for", "Nothing here matches", "&lt;script&gt;"},
		"/project/flask":             {"3.0", "2.0", "../p/" + flaskFile, sum(flaskBytes), "&gt;=3.8", "Python 3, any system"},
		"/project/flask/2.0":         {"flask==2.0", `The newest version here is <a href="../../project/flask">3.0</a>`},
		"/project/zope-interface":    {"CPython 3.11, Linux x86-64, glibc 2.17 or newer"},
		"http://localhost:8000/":     {"pip install --index-url http://localhost:8000/simple/"},
		"http://[::1]:8000/":         {"pip install --index-url http://[::1]:8000/simple/"},
		"http://[2001:db8::1]:8000/": {"pip install --trusted-host 2001:db8::1 --index-url http://[2001:db8::1]:8000/simple/"},
		"/style.css":                 {"light-dark"},
	} {
		body := text(t, s.get(target))
		for _, part := range want {
			if !strings.Contains(body, part) {
				t.Errorf("%s lacks %q:\n%s", target, part, body)
			}
		}
		if strings.Contains(body, "<script>") || strings.Contains(body, "<b>framework") {
			t.Errorf("%s: foreign text is not escaped:\n%s", target, body)
		}
	}
	if body := text(t, s.get("/?q=zope")); strings.Contains(body, "project/flask") {
		t.Errorf("the search found flask:\n%s", body)
	}
	if body := text(t, newSite(t, options{}).get("/")); !strings.Contains(body, "Nothing is held yet") {
		t.Errorf("empty:\n%s", body)
	}
}

// described is a wheel with everything that a page shows.
var described = wheeltest.Wheel{Name: "described", Version: "1.0", Metadata: `Metadata-Version: 2.4
Name: described
Version: 1.0
Summary: <script>alert("summary")</script>
License: <img src=x onerror=alert(1)>
 more of it
Author-email: A <a@example.com>
Home-page: javascript:alert(1)
Project-URL: <b>Source</b>, https://example.com/?a=1&b=2
Project-URL: Secret, https://user:hunter2@example.com/
Project-URL: Data, data:text/html,x
Requires-Dist: Flask[async]>=2
Requires-Dist: missing ; extra == "x"
Provides-Extra: x
Description-Content-Type: text/markdown

# Title

<script>alert("description")</script>
[bad](javascript:alert(1)) [good](https://example.com/good) ![pixel](https://example.com/pixel.png)
`}

func TestDescription(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{}, flask, described)
	for range 2 { // the second is remembered
		body := text(t, s.get("/project/described"))
		for _, part := range []string{
			"<h3>Title</h3>", `<a href="https://example.com/good" rel="nofollow noopener">good</a>`, "&lt;img src=x onerror=alert(1)&gt;",
			`<a href="https://example.com/?a=1&amp;b=2" rel="nofollow noopener">&lt;b&gt;Source&lt;/b&gt;</a>`,
			`<a href="../project/flask">flask</a> <span class="quiet">[async]&gt;=2</span>`, `<li>missing <span class="when">if extra == &#34;x&#34;</span></li>`,
			"A &lt;a@example.com&gt;",
		} {
			if !strings.Contains(body, part) {
				t.Errorf("lacks %q:\n%s", part, body)
			}
		}
		for _, part := range []string{"javascript:", "hunter2", "data:", "<script>", `src="https:`, "more of it"} {
			if strings.Contains(body, part) {
				t.Errorf("has %q:\n%s", part, body)
			}
		}
	}
}

func TestLongDescription(t *testing.T) {
	t.Parallel()
	long := described
	long.Metadata = "Metadata-Version: 2.4\nName: described\nVersion: 1.0\n\n" + strings.Repeat("first\n", 5000) + strings.Repeat("second\n", 50_000)
	s := newSite(t, options{}, long)
	for target, want := range map[string][2]string{
		"/project/described":                     {"description=all", "second"},
		"/project/described/1.0?description=all": {"second", "description=all"},
	} {
		body := text(t, s.get(target))
		if !strings.Contains(body, want[0]) || strings.Contains(body, want[1]) || len(body) > 150_000 {
			t.Errorf("%s has %d bytes: %q %v, %q %v", target, len(body), want[0], strings.Contains(body, want[0]), want[1], strings.Contains(body, want[1]))
		}
	}
	if body := text(t, s.get("/project/described?description=all")); !strings.Contains(body, "../p/"+described.Filename()+".metadata") {
		t.Error("what is longer still is not linked to")
	}
}

func TestYankedAndStatus(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"zope.interface-6.0.tar.gz": string(makeSdist(t, "zope.interface", "6.0")),
		"zope-interface.status":     "deprecated: <use> another",
		flaskFile + ".yanked":       "<broken>",
	}
	s := newSite(t, options{sidecars: files}, oldFlask, flask)
	for target, want := range map[string][]string{
		"/project/flask":          {`flask <span class="version">2.0</span>`, `3.0</a> <span class="mark bad">yanked</span>`},
		"/project/flask/3.0":      {"This version was yanked: &lt;broken&gt;"},
		"/project/zope-interface": {"This project is deprecated here: &lt;use&gt; another", "zope.interface-6.0.tar.gz", "Source"},
	} {
		body := text(t, s.get(target))
		for _, part := range want {
			if !strings.Contains(body, part) {
				t.Errorf("%s lacks %q:\n%s", target, part, body)
			}
		}
	}
	files["zope-interface.status"] = "quarantined"
	body := text(t, newSite(t, options{sidecars: files}).get("/project/zope-interface"))
	if strings.Contains(body, "zope.interface-6.0.tar.gz") || !strings.Contains(body, "Nothing of it can be installed") {
		t.Errorf("quarantined:\n%s", body)
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{}, flask)
	if body := text(t, s.get("/")); strings.Contains(body, "Found here") {
		t.Errorf("a rate of nothing:\n%s", body)
	}
	for range 2 {
		s.get("/p/" + flaskFile)
	}
	s.get("/p/none-1.0-py3-none-any.whl")
	body := text(t, s.get("/"))
	for _, part := range []string{"<dt>Found here</dt><dd>66%</dd>", "<dt>Served</dt><dd>" + Size(2*int64(len(flaskBytes))) + "</dd>"} {
		if !strings.Contains(body, part) {
			t.Errorf("lacks %q:\n%s", part, body)
		}
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	wheels := []wheeltest.Wheel{flask}
	for i := range mostFound + 5 {
		wheels = append(wheels, wheeltest.Wheel{Name: fmt.Sprintf("a-flask-%d", i), Version: "1"})
	}
	s := newSite(t, options{}, wheels...)
	for query, want := range map[string]string{
		"Flask":                   `{"total":16,"projects":[{"name":"flask","version":"3.0","summary":"A \u003cb\u003eframework\u003c/b\u003e"},{"name":"a-flask-0"`,
		"framework":               `{"total":1,"projects":[{"name":"flask",`,
		"none":                    `{"total":0,"projects":[]}`,
		strings.Repeat("x", 9000): `{"total":0,"projects":[]}`,
		"":                        `{"total":16,`,
	} {
		r := s.get("/search?q=" + query)
		body := text(t, r)
		if r.Header.Get("Content-Type") != "application/json" || !strings.HasPrefix(body, want) || strings.Count(body, `"name"`) > mostFound {
			t.Errorf("%.20s: %s", query, body)
		}
	}
}

// TestLinks follows every link of our own from every page, at the root and below
// a prefix that a proxy takes away.
func TestLinks(t *testing.T) {
	t.Parallel()
	var wheels []wheeltest.Wheel
	for i := range mostListed + 5 {
		wheels = append(wheels, wheeltest.Wheel{Name: fmt.Sprintf("pkg-%d", i), Version: "1", Summary: strings.Repeat("word ", 20)})
	}
	for i := range mostVersions + 5 {
		wheels = append(wheels, wheeltest.Wheel{Name: "flask", Version: fmt.Sprintf("1.%d", i)})
	}
	s := newSite(t, options{}, append(wheels, described, zope)...)
	links := regexp.MustCompile(`(?:href|src|action)="([^"]*)"`)
	for _, prefix := range []string{"", "/team/python"} {
		h := http.StripPrefix(prefix, s)
		get := func(target string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(http.MethodGet, target, nil)
			r.Header.Set("Accept", "text/html")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w
		}
		for _, page := range []string{"/", "/?q=pkg", "/?q=pkg&page=2", "/project/flask", "/project/flask?versions=all", "/project/flask/1.3", "/project/zope-interface/6.0+local.1", "/project/none", "/none/none/none"} {
			here, err := url.Parse("http://example.com" + prefix + page)
			if err != nil {
				t.Fatal(err)
			}
			answer := get(here.String())
			body := answer.Body.String()
			if len(body) > 30_000 {
				t.Errorf("%s has %d bytes", page, len(body))
			}
			if csp := answer.Header().Get("Content-Security-Policy"); csp != contentPolicy || strings.Contains(body, "<style") || strings.Contains(body, "style=") || regexp.MustCompile(`<script[^>]*>[^<]|\son[a-z]+=`).MatchString(body) {
				t.Errorf("%s: policy %q, or something inline:\n%s", page, csp, body)
			}
			found := links.FindAllStringSubmatch(body, -1)
			if len(found) < 5 {
				t.Errorf("%s: %d links", page, len(found))
			}
			for _, link := range found {
				if strings.HasPrefix(link[1], "#") {
					continue
				}
				to, err := here.Parse(html.UnescapeString(link[1]))
				if err != nil || to.Host != here.Host || !strings.HasPrefix(to.Path, prefix+"/") {
					t.Errorf("%s links to %s: %v", page, link[1], err)
					continue
				}
				to.Fragment = ""
				if status := get(to.String()).Code; status != http.StatusOK {
					t.Errorf("%s links to %s: %d", page, link[1], status)
				}
			}
		}
	}
}

func TestPageCaching(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{}, flask)
	for _, target := range []string{"/", "/project/flask", "/project/flask/3.0", "/search?q=flask", "/style.css", "/page.js", "/icon.svg"} {
		r := s.get(target)
		etag := r.Header.Get("Etag")
		if etag == "" || r.Header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s: %v", target, r.Header)
		}
		if again := s.get(target, "If-None-Match", etag); again.StatusCode != http.StatusNotModified || text(t, again) != "" {
			t.Errorf("%s: %d", target, again.StatusCode)
		}
	}
	style := regexp.MustCompile(`style\.css\?[0-9a-f]+`).FindString(text(t, s.get("/")))
	r := s.get("/"+style, "Accept-Encoding", "gzip")
	if r.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || r.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("%s: %v", style, r.Header)
	}
	if r := s.get("/project/flask", "Accept-Encoding", "zstd"); r.Header.Get("Content-Encoding") != "zstd" || r.Header.Get("Referrer-Policy") != "same-origin" {
		t.Errorf("project: %v", r.Header)
	}
}

func TestPasswordPage(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{users: true}, flask)
	r := s.get("/project/flask", "Accept", "text/html")
	body := text(t, r)
	if r.StatusCode != http.StatusUnauthorized || !strings.Contains(body, "http://USER:PASSWORD@example.com/simple/") || strings.Contains(body, "<form") || strings.Contains(body, "flask") {
		t.Errorf("%d:\n%s", r.StatusCode, body)
	}
	if r := s.get("/style.css"); r.StatusCode != http.StatusOK {
		t.Errorf("its style: %d", r.StatusCode)
	}
}

func TestAbouts(t *testing.T) {
	t.Parallel()
	a := newAbouts()
	large := &about{Readme: readme.Readme{Text: strings.Repeat("x", mostAbout/3)}}
	for i := range 10 {
		a.put(fmt.Sprint(i), large)
		a.put(fmt.Sprint(i), large)
		if a.get(fmt.Sprint(i)) != large || a.bytes > mostAbout || a.bytes != len(a.known)*large.size() {
			t.Errorf("%d: %d bytes in %d", i, a.bytes, len(a.known))
		}
	}
}
