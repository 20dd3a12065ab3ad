package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"curdling/internal/curds"
	"curdling/internal/dist"
	"curdling/internal/oidc/oidctest"
	"curdling/internal/store/s3/s3test"
	"curdling/internal/wheel/wheeltest"
)

// asServer has the test program be the server.
const asServer = "TEST_AS_CURD_SERVER"

func TestMain(m *testing.M) {
	run := func() { os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr)) }
	if os.Getenv(asServer) != "" {
		run()
	}
	testscript.Main(m, map[string]func(){"curd-server": run})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Values[running] = new(*process)
			env.Values[issuing] = new(*oidctest.Issuer)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server": scriptServer,
			"keep":   scriptKeep,
			"hangup": scriptHangUp,
			"pem":    scriptPEM,
			"stop":   scriptStop,
			"wheel":  scriptWheel,
			"http":   scriptHTTP,
			"until":  scriptUntil,
			"rot":    scriptRot,
			"cached": scriptCached,
			"bucket": scriptBucket,

			"issuer":  scriptIssuer,
			"idtoken": scriptIDToken,
		},
	})
}

// process is a server that runs.
type process struct {
	cmd    *exec.Cmd
	url    string // http://127.0.0.1:PORT
	line   string // what it said
	stderr *bytes.Buffer
}

// startServer runs the server and waits for its line.
func startServer(dir string, env []string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(os.Args[0], args...), stderr: new(bytes.Buffer)}
	p.cmd.Dir, p.cmd.Stderr = dir, p.stderr
	p.cmd.Env = append(slices.Clip(env), asServer+"=1")
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.line, err = bufio.NewReader(stdout).ReadString('\n')
	_, rest, ok := strings.Cut(p.line, " on http")
	if err != nil || !ok {
		return nil, fmt.Errorf("the server said %q and %s: %w", p.line, p.stderr, errors.Join(err, p.kill()))
	}
	address, _, _ := strings.Cut(rest, ",")
	p.url = "http" + address
	return p, nil
}

// stop has the server finish.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.cmd.Wait()
}

// kill leaves it no time to finish anything.
func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); !errors.As(err, &exit) {
		return err
	}
	return nil
}

// bucket: starts an object store in memory, which has any bucket, and sets what finds it.
func scriptBucket(ts *testscript.TestScript, neg bool, args []string) {
	store := httptest.NewServer(s3test.NewHandler())
	ts.Defer(store.Close)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_S3": store.URL, "AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret-of-tests", "AWS_REGION": "us-east-1",
	} {
		ts.Setenv(name, value)
	}
}

// server ARGS...: starts a server on a free port of loopback; sets $URL.
func scriptServer(ts *testscript.TestScript, neg bool, args []string) {
	p, err := startServer(ts.MkAbs("."), append(awsOf(ts), "HOME="+ts.Getenv("HOME")), append([]string{"-H", "127.0.0.1", "-p", "0"}, args...)...)
	ts.Check(err)
	ts.Setenv("URL", p.url)
	*ts.Value(running).(**process) = p
	ts.Defer(func() { _ = p.kill() })
	fmt.Fprint(ts.Stdout(), p.line)
}

// awsOf is what a script says of its object store.
func awsOf(ts *testscript.TestScript) (env []string) {
	for _, name := range []string{"AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"} {
		if value := ts.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// running is where a script keeps its server; it has one at a time.
const running = "server"

// stop: SIGTERM; the server must exit with 0. Its log is the standard error.
func scriptStop(ts *testscript.TestScript, neg bool, args []string) {
	p := *ts.Value(running).(**process)
	err := p.stop()
	fmt.Fprint(ts.Stderr(), p.stderr)
	ts.Check(err)
}

// wheel NAME VERSION DIR [SUMMARY]: makes a wheel in DIR.
func scriptWheel(ts *testscript.TestScript, neg bool, args []string) {
	w := wheeltest.Wheel{Name: args[0], Version: args[1]}
	if len(args) > 3 {
		w.Summary = args[3]
	}
	ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(args[2]), w.Filename()), wheeltest.Build(w), 0o666))
}

// cached NAME VERSION DIR: has a machine's own cache hold a wheel that others may have.
func scriptCached(ts *testscript.TestScript, neg bool, args []string) {
	own, err := curds.Open(ts.MkAbs(args[2]))
	ts.Check(err)
	w := wheeltest.Wheel{Name: args[0], Version: args[1]}
	name := filepath.Join(ts.MkAbs("."), w.Filename())
	ts.Check(os.WriteFile(name, wheeltest.Build(w), 0o666))
	_, sha256, err := own.Import(name, dist.File{Filename: w.Filename()})
	ts.Check(err)
	own.Share(sha256, nil, nil)
}

// rot FILE: changes a byte, and neither size nor time.
func scriptRot(ts *testscript.TestScript, neg bool, args []string) {
	name := ts.MkAbs(args[0])
	info, err := os.Stat(name)
	ts.Check(err)
	content, err := os.ReadFile(name)
	ts.Check(err)
	content[len(content)/2] ^= 1
	ts.Check(os.WriteFile(name, content, 0o666))
	ts.Check(os.Chtimes(name, time.Time{}, info.ModTime()))
}

// http METHOD PATH [USER:PASSWORD@] [FILE]: prints status and body; FILE is the body that is sent.
func scriptHTTP(ts *testscript.TestScript, neg bool, args []string) {
	status, body, err := request(ts, args)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%d %s", status, body)
}

// until STATUS METHOD PATH ...: repeats until the status comes.
func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	deadline := time.Now().Add(time.Minute) // the machine may be busy
	for {
		status, body, err := request(ts, args[1:])
		ts.Check(err)
		if fmt.Sprint(status) == args[0] {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%d %s, want %s", status, body, args[0])
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func request(ts *testscript.TestScript, args []string) (int, string, error) {
	method, path, args := args[0], args[1], args[2:]
	var user, password string
	if len(args) > 0 && strings.HasSuffix(args[0], "@") {
		user, password, _ = strings.Cut(strings.TrimSuffix(args[0], "@"), ":")
		args = args[1:]
	}
	var body io.Reader
	if len(args) > 0 {
		body = strings.NewReader(ts.ReadFile(args[0]))
	}
	r, err := http.NewRequestWithContext(context.Background(), method, ts.Getenv("URL")+path, body)
	if err != nil {
		return 0, "", err
	}
	if user != "" {
		r.SetBasicAuth(user, password)
	}
	return do(r)
}

// do sends a request over a connection of its own.
func do(r *http.Request) (int, string, error) {
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
	resp, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func TestByteSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]byteSize{
		"1": 1, "500MB": 500e6, "500m": 500e6, "2GiB": 2 << 30, "2gib": 2 << 30, "1.5 KiB": 1536, " 3kb ": 3000, "1T": 1e12,
		"": 0, "x": 0, "-1": 0, "0": 0, "1XB": 0, "GiB": 0, "1e30": 0, "9999999T": 0, "NaN": 0, "inf": 0,
	} {
		var b byteSize
		if err := b.Set(text); (err == nil) != (want != 0) || b != want {
			t.Errorf("Set(%q) = %d, %v; want %d", text, b, err, want)
		}
	}
	for size, want := range map[byteSize]string{2 << 30: "2GiB", 1536: "1536", 10 << 10: "10KiB", 500e6: "500000000"} {
		if got := size.String(); got != want {
			t.Errorf("%d is %q, want %q", int64(size), got, want)
		}
		again := byteSize(0)
		if err := again.Set(size.String()); err != nil || again != size {
			t.Errorf("%s is read as %d, %v", size.String(), int64(again), err)
		}
	}
}

// checkSwept looks for what a crash left after the next start.
func checkSwept(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(dir, ".curdling", "tmp"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) || len(left) > 0 {
		t.Errorf("left in .curdling/tmp: %v, %v", left, err)
	}
}
