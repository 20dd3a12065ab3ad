package s3test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

const user, password = "tester", "secret-of-tests"

// SetCredentials has this process use the credentials that the servers of [Real] know. A package's TestMain calls it.
func SetCredentials() {
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": user, "AWS_SECRET_ACCESS_KEY": password, "AWS_REGION": "us-east-1"} {
		os.Setenv(name, value)
	}
}

// Real runs a test against programs that others run for a living: make test-s3 names them. Each is empty but for the bucket "curdling".
func Real(t *testing.T, run func(t *testing.T, endpoint string)) {
	RealProcess(t, func(t *testing.T, endpoint string, _ *os.Process) { run(t, endpoint) })
}

// RealProcess is Real for a run that does something to the server's process.
func RealProcess(t *testing.T, run func(t *testing.T, endpoint string, server *os.Process)) {
	for _, server := range []struct {
		name, variable string
		command        func(program, address, folder string) *exec.Cmd
	}{
		{"versitygw", "CURDLING_VERSITYGW", func(program, address, folder string) *exec.Cmd {
			c := exec.Command(program, "--port", address, "posix", folder)
			c.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+user, "ROOT_SECRET_KEY="+password)
			return c
		}},
		{"minio", "CURDLING_MINIO", func(program, address, folder string) *exec.Cmd {
			c := exec.Command(program, "server", "--quiet", "--address", address, folder)
			c.Env = append(os.Environ(), "MINIO_ROOT_USER="+user, "MINIO_ROOT_PASSWORD="+password)
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
			makeBucket(t, address)
			run(t, "http://"+address, c.Process)
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

func makeBucket(t *testing.T, address string) {
	t.Helper()
	client, err := minio.New(address, &minio.Options{Creds: credentials.NewStaticV4(user, password, ""), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err = client.MakeBucket(t.Context(), "curdling", minio.MakeBucketOptions{}); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal(err)
}
