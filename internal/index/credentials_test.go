package index

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/dist"
)

func TestRedirects(t *testing.T) {
	secure := httptest.NewTLSServer(nil)
	t.Cleanup(secure.Close)
	other := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); ok {
			t.Error("credentials went to another host")
		}
		sendPage(w, r)
	})
	secure.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other+r.URL.Path, http.StatusFound)
	})
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "u" || password != "secret" {
			t.Errorf("%s: credentials %q, %q", r.URL, user, password)
		}
		switch r.URL.Path {
		case "/x/":
			http.Redirect(w, r, withUser(other, "evil", "evil")+"/y/", http.StatusFound)
		case "/here/":
			http.Redirect(w, r, "/there/", http.StatusPermanentRedirect)
		case "/there/":
			sendPage(w, r)
		default:
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}
	})
	c := testClient(t, Options{Retries: -1})
	for name, want := range map[dist.Name]string{"x": "", "here": "", "loop": "more than 10 redirects"} {
		_, err := c.Project(t.Context(), withUser(base, "u", "secret"), name)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	c.http.Transport = secure.Client().Transport
	_, err := c.Project(t.Context(), withUser(secure.URL, "u", "secret"), "x")
	if err == nil || !strings.Contains(err.Error(), "redirect from https to http://") || strings.Contains(err.Error(), "secret") {
		t.Errorf("https to http: %v", err)
	}
	if passing(err) {
		t.Error("would be tried again")
	}
	secure.Client().CloseIdleConnections()
}

func TestCredentials(t *testing.T) {
	var got string
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, ok := r.BasicAuth()
		got = fmt.Sprint(user, ":", password, " ", ok)
		sendPage(w, r)
	})
	tests := []struct {
		options Options
		bases   []string // the last is asked
		want    string
	}{
		{Options{}, []string{base}, ": false"},
		{Options{}, []string{withUser(base, "ü@", "p:/ä%")}, "ü@:p:/ä% true"},
		{Options{}, []string{strings.Replace(base, "//", "//token@", 1)}, "token: true"},
		{Options{}, []string{withUser(base, "a", "1"), withUser(base, "b", "2")}, "b:2 true"},
		{Options{}, []string{withUser(base+"/one", "a", "1"), withUser(base+"/two", "b", "2"), base + "/one/sub"}, "a:1 true"},
		{Options{}, []string{withUser(base+"/one", "a", "1"), withUser(base+"/two", "b", "2"), base + "/two"}, "b:2 true"},
		{Options{Credentials: Netrc{{host: "127.0.0.1", user: "n", password: "3"}}.Lookup}, []string{base}, "n:3 true"},
		{Options{Credentials: Netrc{{user: "n", password: "3"}}.Lookup}, []string{withUser(base, "a", "1")}, "a:1 true"},
		{Options{Credentials: Netrc{{host: "h.test", user: "n"}}.Lookup}, []string{base}, ": false"},
		{Options{Credentials: Netrc{{user: "n", password: "3"}}.Lookup}, []string{withUser(base, "n", "")}, "n: true"},
		{Options{Credentials: Netrc{{user: "n", password: "3"}}.Lookup}, []string{strings.Replace(base, "//", "//n@", 1)}, "n:3 true"},
		{Options{Credentials: Netrc{{user: "n", password: "3"}}.Lookup}, []string{strings.Replace(base, "//", "//token@", 1)}, "token: true"},
	}
	for _, tt := range tests {
		c := testClient(t, tt.options)
		for _, b := range tt.bases {
			if _, err := c.Project(t.Context(), b, "x"); err != nil {
				t.Fatal(err)
			}
		}
		if got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.bases, got, tt.want)
		}
	}
}

// TestNoSecretIsTold makes every kind of error and looks at all that is left behind.
func TestNoSecretIsTold(t *testing.T) {
	var log bytes.Buffer
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok/":
			sendPage(w, r)
		case "/cut/":
			w.Header().Set("Content-Length", "99999")
			sendPage(w, r)
		case "/loop/":
			http.Redirect(w, r, withUser("http://"+r.Host, "u", "hunter2")+"/loop/?token=hunter2", http.StatusFound)
		case "/scheme/":
			http.Redirect(w, r, "ftp://u:hunter2@h.test/", http.StatusFound)
		case "/abort/":
			panic(http.ErrAbortHandler)
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	})
	cache := &memory{}
	c := testClient(t, Options{Cache: cache, Retries: 1, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	secret := withUser(base, "u", "hunter2")
	for _, name := range []dist.Name{"ok", "cut", "loop", "scheme", "abort", "forbidden"} {
		if _, err := c.Project(t.Context(), secret+"?token=hunter2", name); err != nil {
			fmt.Fprintln(&log, err)
		} else if name != "ok" {
			t.Errorf("%s: no error", name)
		}
	}
	f := dist.File{Filename: "x-1.0-py3-none-any.whl", Kind: dist.Wheel, URL: base + "/x-1.0-py3-none-any.whl?token=hunter2", HasMetadata: true}
	_, err := c.Metadata(t.Context(), f)
	fmt.Fprintln(&log, err)
	_, err = c.Download(t.Context(), f, tempFile(t), nil)
	fmt.Fprintln(&log, err)
	_, err = c.Upload(t.Context(), secret, tempFile(t).Name())
	fmt.Fprintln(&log, err)
	fmt.Fprintln(&log, cache.m)
	for key, value := range cache.m {
		fmt.Fprintf(&log, "%s %s\n", key, value)
	}
	if strings.Contains(log.String(), "hunter2") || !strings.Contains(log.String(), "forbidden") {
		t.Error(log.String())
	}
}

func TestParseNetrc(t *testing.T) {
	tests := []struct {
		text string
		want Netrc
	}{
		{"", nil},
		{"machine h.test login u password p", Netrc{{"h.test", "u", "p"}}},
		{"machine h.test\n\tlogin u\n\tpassword p#1\n# machine x\nmachine o.test login v\ndefault login d password e", Netrc{{"h.test", "u", "p#1"}, {"o.test", "v", ""}, {"", "d", "e"}}},
		{"machine\nh.test\naccount a login\nu", Netrc{{"h.test", "u", ""}}},
		{`machine h.test login "a b" password "q\"\\x"`, Netrc{{"h.test", "a b", `q"\x`}}},
		{"macdef init\ncd /x\nmachine no login no\n\nmachine h.test login u", Netrc{{"h.test", "u", ""}}},
		{"login u password p", nil},
		{"machine", nil},
		{`machine "" login u`, nil},
		{`machine h.test password "open`, Netrc{{"h.test", "", "open"}}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, parseNetrc(tt.text), cmp.AllowUnexported(machine{})); diff != "" {
			t.Errorf("%q: %s", tt.text, diff)
		}
	}
}

func TestNetrcFile(t *testing.T) {
	home := t.TempDir()
	getenv := func(variables map[string]string) func(string) string {
		return func(key string) string { return variables[key] }
	}
	write := func(name, text string) string {
		path := filepath.Join(home, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if path := FindNetrc(getenv(map[string]string{"HOME": home})); path != "" {
		t.Errorf("found %s", path)
	}
	low := write("_netrc", "default login u password p")
	if path := FindNetrc(getenv(map[string]string{"USERPROFILE": home})); path != low {
		t.Errorf("found %s", path)
	}
	dot := write(".netrc", "machine H.test login u password p")
	if path := FindNetrc(getenv(map[string]string{"HOME": home})); path != dot {
		t.Errorf("found %s", path)
	}
	if path := FindNetrc(getenv(map[string]string{"HOME": home, "NETRC": "x"})); path != "x" {
		t.Errorf("found %s", path)
	}
	n, err := ReadNetrc(dot)
	if user, password, ok := n.Lookup(mustURL(t, "https://h.TEST:8080/x")); err != nil || user+password != "up" || !ok {
		t.Errorf("%v, %v", n, err)
	}
	if _, _, ok := n.Lookup(mustURL(t, "https://o.test/")); ok {
		t.Error("an entry for another host")
	}
	for _, path := range []string{"", filepath.Join(home, "none")} {
		if n, err := ReadNetrc(path); n != nil || err != nil {
			t.Errorf("%q: %v, %v", path, n, err)
		}
	}
	big := write("big", strings.Repeat(" ", maxNetrc+1))
	for _, path := range []string{big, home} {
		if _, err := ReadNetrc(path); err == nil {
			t.Errorf("%s was read", path)
		}
	}
}

func FuzzNetrc(f *testing.F) {
	f.Add("machine h.test login u password \"p\\\" q\"\nmacdef x\n\ndefault", "h.test")
	f.Fuzz(func(t *testing.T, text, host string) {
		n := parseNetrc(text)
		if len(n) > len(text) {
			t.Fatalf("%d entries of %d bytes", len(n), len(text))
		}
		n.Lookup(&url.URL{Host: host})
	})
}
