package s3

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"curdling/internal/store"
	"curdling/internal/store/storetest"
)

// TestRealServers holds the store against programs that others run for a living: make test-s3 names them.
func TestRealServers(t *testing.T) {
	for _, server := range []struct {
		name, variable string
		command        func(program, address, folder string) *exec.Cmd
	}{
		{"versitygw", "CURDLING_VERSITYGW", func(program, address, folder string) *exec.Cmd {
			c := exec.Command(program, "--port", address, "posix", folder)
			c.Env = append(os.Environ(), "ROOT_ACCESS_KEY=tester", "ROOT_SECRET_KEY=secret-of-tests")
			return c
		}},
		{"minio", "CURDLING_MINIO", func(program, address, folder string) *exec.Cmd {
			c := exec.Command(program, "server", "--quiet", "--address", address, folder)
			c.Env = append(os.Environ(), "MINIO_ROOT_USER=tester", "MINIO_ROOT_PASSWORD=secret-of-tests")
			return c
		}},
	} {
		t.Run(server.name, func(t *testing.T) {
			program := os.Getenv(server.variable)
			if program == "" {
				t.Skip(server.variable + " names no program: make test-s3 does")
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			address := l.Addr().String()
			l.Close()
			folder := t.TempDir()
			c := server.command(program, address, filepath.Join(folder, "data"))
			c.Dir, c.Stdout, c.Stderr = folder, t.Output(), t.Output()
			if err := os.Mkdir(filepath.Join(folder, "data"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = c.Process.Kill()
				_ = c.Wait()
			})
			answers(t, address)
			endpoint := "http://" + address
			makeBucket(t, endpoint)
			storetest.Run(t, func(t *testing.T) store.Store {
				return open(t, "s3://curdling/"+filepath.Base(t.TempDir())+"/"+filepath.Base(t.Name()), endpoint)
			})
		})
	}
}

// answers waits until something listens there and answers.
func answers(t *testing.T, address string) {
	t.Helper()
	for range 600 {
		r, err := http.Get("http://" + address + "/")
		if err == nil {
			r.Body.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("nothing answers")
}

func makeBucket(t *testing.T, endpoint string) {
	t.Helper()
	s, err := connect("s3://curdling", Options{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 100 {
		if err = s.client.MakeBucket(t.Context(), "curdling", minio.MakeBucketOptions{}); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal(err)
}
