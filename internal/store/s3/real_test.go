package s3

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"curdling/internal/store"
	"curdling/internal/store/s3/s3test"
	"curdling/internal/store/storetest"
)

// TestRealServers holds the store against programs that others run for a living: make test-s3 names them.
func TestRealServers(t *testing.T) {
	s3test.Real(t, func(t *testing.T, endpoint string) {
		storetest.Run(t, func(t *testing.T) store.Store {
			return open(t, "s3://curdling/"+filepath.Base(t.TempDir())+"/"+filepath.Base(t.Name()), endpoint)
		})
	})
}

// TestRealPresign: others have a file, or a part of it, by its URL alone, and for as long as it says.
func TestRealPresign(t *testing.T) {
	s3test.Real(t, func(t *testing.T, endpoint string) {
		s := open(t, "s3://curdling/a prefix", endpoint)
		create(t, s, "wheels/x/a+b-1.0+local-py3-none-any.whl", "0123456789")
		for ttl, want := range map[time.Duration]int{time.Minute: http.StatusPartialContent, time.Second: http.StatusForbidden} {
			u, err := s.Presign(t.Context(), "wheels/x/a+b-1.0+local-py3-none-any.whl", ttl)
			if err != nil {
				t.Fatal(err)
			}
			if want == http.StatusForbidden {
				time.Sleep(3 * ttl)
			}
			status, body := getRange(t, u, "bytes=2-4")
			if status != want || want == http.StatusPartialContent && body != "234" {
				t.Errorf("%v: %d %q", ttl, status, body)
			}
			changed := strings.Replace(u, "a%2Bb", "a%2Bc", 1)
			if status, body := getRange(t, changed, "bytes=2-4"); status != http.StatusForbidden {
				t.Errorf("another name: %d %q", status, body)
			}
		}
	})
}

func getRange(t *testing.T, u, part string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Range", part)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
