package index

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case user != "me" || password != "secret":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/long":
			_, _ = io.WriteString(w, strings.Repeat("x", 2000))
		default:
			_, _ = io.WriteString(w, "flask\n")
		}
	}))
	defer srv.Close()
	c := NewClient(Options{Retries: -1})
	defer c.Close()
	with := strings.Replace(srv.URL, "://", "://me:secret@", 1)
	if text, err := c.Text(t.Context(), with+"/requirements.txt", 1000); err != nil || string(text) != "flask\n" {
		t.Errorf("%q, %v", text, err)
	}
	for _, at := range []string{with + "/long", strings.Replace(with, "secret", "wrong", 1) + "/r.txt", "ftp://me:secret@x/y", "/etc/passwd"} {
		if _, err := c.Text(t.Context(), at, 1000); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", at, err)
		}
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	c := NewClient(Options{})
	defer c.Close()
	c.Login("https://files.example.org/a.whl")
	c.Login("https://me:secret@files.example.org/b.whl#sha256=0")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://files.example.org/b.whl", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.authorize(r)
	if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
		t.Errorf("we are %s:%s", user, password)
	}
}
