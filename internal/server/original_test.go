package server

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/wheel/wheeltest"
)

func TestOriginal(t *testing.T) {
	t.Parallel()
	other := wheeltest.Wheel{Name: "Flask", Version: "3.0", Tag: "cp311-cp311-win_amd64"}
	s := newSite(t, options{}, flask, other, oldFlask, zope)
	if got := text(t, s.get("/api/")); got != `["flask","zope-interface"]`+"\n" {
		t.Errorf("/api/: %s", got)
	}
	if got := text(t, newSite(t, options{}).get("/api/")); got != "[]\n" {
		t.Errorf("/api/ of nothing: %s", got)
	}
	url := func(w wheeltest.Wheel) map[string]any {
		return map[string]any{"url": "http://cache:8000/p/" + w.Filename(), "sha256": sum(wheeltest.Build(w))}
	}
	for path, want := range map[string][]any{
		"/api/flask": {
			map[string]any{"name": "flask", "version": "3.0", "urls": []any{url(flask), url(other)}},
			map[string]any{"name": "flask", "version": "2.0", "urls": []any{url(oldFlask)}},
		},
		// The original kept dots in names, and its client compares.
		"/api/zope.interface": {map[string]any{"name": "zope.interface", "version": "6.0+local.1", "urls": []any{url(zope)}}},
	} {
		var got []any
		if err := json.NewDecoder(s.get("http://cache:8000" + path).Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
	r := s.get("/api/none")
	if got := text(t, r); r.StatusCode != http.StatusNotFound || got != `{"status":"error"}`+"\n" {
		t.Errorf("/api/none: %d %s", r.StatusCode, got)
	}
	r = s.get("/s/flask%3E=2")
	if got := r.Header.Get("Content-Disposition"); text(t, r) != string(flaskBytes) || got != "attachment; filename="+flaskFile || r.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("/s/flask>=2: %d, %q", r.StatusCode, got)
	}
	if r := s.get("/s/flask%3C3"); text(t, r) != string(wheeltest.Build(oldFlask)) {
		t.Errorf("/s/flask<3 is not flask 2.0")
	}
}

// TestOriginalPut sends what the original client sends, byte for byte.
func TestOriginalPut(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{users: true})
	address := s.start(t)
	const boundary = "98387ae7c43e6fdf803c906ba68ed3e1"
	body := "--" + boundary + "\r\n" +
		"Content-Disposition: form-data; name=\"" + flaskFile + "\"; filename=\"" + flaskFile + "\"\r\n" +
		"Content-Type: application/octet-stream\r\n\r\n" +
		string(flaskBytes) + "\r\n" +
		"--" + boundary + "--\r\n"
	request := "PUT /p/" + flaskFile + " HTTP/1.1\r\n" +
		"Host: " + address + "\r\n" +
		"Accept-Encoding: identity\r\n" +
		"Content-Length: " + fmt.Sprint(len(body)) + "\r\n" +
		"Content-Type: multipart/form-data; boundary=" + boundary + "\r\n" +
		"authorization: Basic YWxpY2U6c2VjcmV0\r\n" +
		"User-Agent: python-urllib3/1.26.20\r\n\r\n" + body
	for _, want := range []int{201, 200} {
		r := raw(t, address, request)
		if r.StatusCode != want {
			t.Errorf("%d %s, want %d", r.StatusCode, text(t, r), want)
		}
	}
	r := raw(t, address, "GET /p/"+flaskFile+" HTTP/1.1\r\nHost: "+address+"\r\nAccept-Encoding: identity\r\nauthorization: Basic YWxpY2U6c2VjcmV0\r\n\r\n")
	if text(t, r) != string(flaskBytes) {
		t.Error("other bytes came back")
	}
}

// raw sends bytes and reads a response.
func raw(t *testing.T, address, request string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
