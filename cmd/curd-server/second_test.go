package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"curdling/internal/store/s3/s3test"
	"curdling/internal/wheel/wheeltest"
)

// TestBucketBehindFolders: two servers, each with a folder of its own, have a bucket in common. What comes to one is seen at the other, and the bucket may
// be away in between.
func TestBucketBehindFolders(t *testing.T) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		var away atomic.Bool
		store := s3test.NewHandler()
		store.Before = func(w http.ResponseWriter, _ *http.Request) bool {
			if away.Load() {
				panic(http.ErrAbortHandler)
			}
			return false
		}
		store.Start(t)
		testBehind(t, store.URL, away.Store)
	})
	s3test.Real(t, func(t *testing.T, endpoint string) { testBehind(t, endpoint, nil) })
}

// behind is a server whose folder has a second level.
type behind struct {
	*process
	t   *testing.T
	dir string
}

func (b behind) get(path string) (int, string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.url+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	status, body, err := do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	return status, body
}

// soon waits until a path is answered so.
func (b behind) soon(path string, want int, has string) {
	b.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		status, body := b.get(path)
		if status == want && strings.Contains(body, has) {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("%s: %d %q, not %d with %q", path, status, body, want, has)
		}
	}
}

// testBehind has away say whether the bucket is; nil: it always answers.
func testBehind(t *testing.T, endpoint string, away func(bool)) {
	home := t.TempDir()
	start := func(dir string) behind {
		t.Helper()
		p, err := startServer(home, append(os.Environ(), "HOME="+home, "AWS_ACCESS_KEY_ID=tester", "AWS_SECRET_ACCESS_KEY=secret-of-tests",
			"CURD_SERVER_S3_ENDPOINT="+endpoint), "-H", "127.0.0.1", "-p", "0", "--metrics-open", "--bucket", "s3://curdling/team", dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.kill() })
		return behind{p, t, filepath.Join(home, dir)}
	}
	a, b := start("a"), start("b")
	upload := func(to behind, version string) (name string, content string) {
		t.Helper()
		w := wheeltest.Wheel{Name: "flask", Version: version}
		bytes := wheeltest.Build(w)
		if status, body := put(t, to.process, w, bytes); status != http.StatusCreated {
			t.Fatalf("%s: %d %s", version, status, body)
		}
		return w.Filename(), string(bytes)
	}
	one, content := upload(a, "1.0")
	b.soon("/p/"+one, http.StatusOK, content)
	b.soon("/simple/flask/", http.StatusOK, one)
	if _, err := os.Stat(filepath.Join(b.dir, one)); err == nil {
		t.Error("the other server copied it into its folder")
	}
	other := wheeltest.Wheel{Name: "flask", Version: "1.0", Summary: "another"}
	if status, body := put(t, b.process, other, wheeltest.Build(other)); status != http.StatusConflict {
		t.Errorf("other bytes: %d %s", status, body)
	}
	a.soon("/readyz", http.StatusOK, `"bucket":"answers"`)
	a.soon("/metrics", http.StatusOK, "curd_server_write_back_files_total 1")
	if away == nil {
		return
	}

	away(true)
	two, content2 := upload(a, "2.0")
	a.soon("/p/"+one, http.StatusOK, content)
	a.soon("/p/"+two, http.StatusOK, content2)
	a.soon("/simple/flask/", http.StatusOK, two)
	a.soon("/readyz", http.StatusOK, `"bucket":"does not answer; 1 projects wait to be copied to it"`)
	if status, _ := b.get("/p/" + two); status == http.StatusOK {
		t.Error("the other server has it already")
	}
	// A server is killed and starts while the bucket is away.
	if err := a.kill(); err != nil {
		t.Fatal(err)
	}
	a = start("a")
	a.soon("/p/"+two, http.StatusOK, content2)
	a.soon("/simple/flask/", http.StatusOK, two)
	three, content3 := upload(a, "3.0")
	away(false)
	b.soon("/p/"+two, http.StatusOK, content2)
	b.soon("/p/"+three, http.StatusOK, content3)
	b.soon("/simple/flask/", http.StatusOK, three)
	a.soon("/readyz", http.StatusOK, `"bucket":"answers"`)
	for _, p := range []behind{a, b} {
		if err := p.stop(); err != nil {
			t.Errorf("%v\n%s", err, p.stderr)
		}
	}
}
