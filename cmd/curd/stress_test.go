package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"net/http/httptest"

	"curdling/internal/wheel"
	"curdling/internal/wheel/wheeltest"
)

// rounds gives how often a stress test tries: few in `make test`, as many as
// CURDLING_STRESS says in `make stress`.
func rounds(t *testing.T, few int) int {
	if s := os.Getenv("CURDLING_STRESS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return few
}

// curdCommand gives a real process of curd with a home of its own.
func curdCommand(home string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "TEST_RUN_CURD=1", "CURD_CACHE="+home, "CURD_CACHES=", "CURD_INDEX_URL=", "VIRTUAL_ENV=")
	return cmd
}

// universe fills dir with two versions of ten packages that need one another, some of many files.
func universe(t *testing.T, dir string) {
	t.Helper()
	for i := range 10 {
		for _, v := range []string{"1.0", "2.0"} {
			w := wheeltest.Wheel{Name: fmt.Sprintf("p%d", i), Version: v, Files: map[string]string{}}
			for j := range 10 + 40*(i%3) {
				w.Files[fmt.Sprintf("p%d/m%d.py", i, j)] = fmt.Sprintf("v = %q # %s\n", v, strings.Repeat("x", 100*j))
			}
			w.ConsoleScripts = map[string]string{fmt.Sprintf("p%d", i): fmt.Sprintf("p%d:main", i)}
			if i < 9 {
				w.Requires = []string{fmt.Sprintf("p%d==%s", i+1, v)}
			}
			if err := os.WriteFile(filepath.Join(dir, w.Filename()), wheeltest.Build(w), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func startServer(t *testing.T, dir string) string {
	t.Helper()
	return startServerTTL(t, dir, 0)
}

// startServerTTL is startServer for leases of builds that last so long without a heartbeat.
func startServerTTL(t *testing.T, dir string, ttl time.Duration) string {
	t.Helper()
	handler, stop := newServer(t, dir, nil, ttl)
	srv := httptest.NewServer(handler)
	t.Cleanup(func() { srv.Close(); stop() })
	return srv.URL
}

func virtualenv(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "venv")
	if err := copyVenv(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// snapshot lists an environment's files with their hashes, bytecode and our own lock aside. Of files that
// name the environment (scripts, and RECORD for their hashes) it tells that they are there.
func snapshot(t *testing.T, venv string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(venv, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".pyc") || strings.Contains(filepath.Base(path), ".curdling") || d.Type() == fs.ModeSymlink {
			return err
		}
		content, err := os.ReadFile(path)
		rel, _ := filepath.Rel(venv, path)
		if d.Name() == "RECORD" || !strings.HasPrefix(rel, "lib") {
			content = nil
		}
		fmt.Fprintf(&b, "%s %x\n", rel, sha256.Sum256(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestManyProcesses: any number of processes share one cold cache of the machine.
func TestManyProcesses(t *testing.T) {
	t.Parallel()
	index := t.TempDir()
	universe(t, index)
	url := startServer(t, index)
	var want string
	for range rounds(t, 1) {
		home := t.TempDir()
		var wg sync.WaitGroup
		venvs := make([]string, 20)
		for i := range venvs {
			venvs[i] = virtualenv(t)
			wg.Go(func() {
				if out, err := curdCommand(home, "install", "--python", venvs[i], "-i", url+"/simple", "p0").CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			})
		}
		wg.Wait()
		for _, v := range venvs {
			got := snapshot(t, v)
			if want == "" {
				want = got
			}
			if got != want {
				t.Fatalf("%s differs from the first:\n%s", v, got)
			}
		}
	}
}

// TestInterrupted: Ctrl-C at any instant ends with 130 and leaves the environment old or new, at once.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	index := t.TempDir()
	universe(t, index)
	url := startServer(t, index)
	venv, home := virtualenv(t), t.TempDir()
	install := func(version string) *exec.Cmd {
		return curdCommand(home, "install", "--python", venv, "-i", url+"/simple", "p0=="+version)
	}
	states := map[string]string{}
	var took time.Duration
	for _, v := range []string{"1.0", "2.0"} {
		start := time.Now()
		if out, err := install(v).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		took = time.Since(start)
		states[snapshot(t, venv)] = v
	}
	interrupted := 0
	for i, want := 0, rounds(t, 4); interrupted < want && i < 10*want; i++ {
		cmd := install(fmt.Sprintf("%d.0", 1+i%2))
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.Int64N(int64(took))))
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		switch code := cmd.ProcessState.ExitCode(); code {
		case 130:
			interrupted++
		case 0, -1: // done, or hit before the program listened to signals
		default:
			t.Errorf("exit code %d\n%s", code, stderr.String())
		}
		if now := snapshot(t, venv); states[now] == "" {
			t.Fatalf("round %d: the environment is neither old nor new:\n%s", i, now)
		}
	}
	t.Logf("interrupted %d times", interrupted)
}

// TestKilled: kill -9 at any instant leaves the environment old or new after the next run, the own cache
// usable, and no part of a file on the cache server.
func TestKilled(t *testing.T) {
	t.Parallel()
	index, cache := t.TempDir(), t.TempDir()
	universe(t, index)
	url, cacheURL := startServer(t, index), startServer(t, cache)
	venv, home := virtualenv(t), t.TempDir()
	install := func(args ...string) *exec.Cmd {
		return curdCommand(home, append([]string{"install", "--python", venv, "-i", url + "/simple"}, args...)...)
	}
	must := func(cmd *exec.Cmd) {
		t.Helper()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
		}
	}
	must(install("p0==1.0"))
	old := snapshot(t, venv)
	start := time.Now()
	must(install("p0==2.0"))
	took := time.Since(start)
	states := map[string]int{old: 0, snapshot(t, venv): 0}
	if len(states) != 2 {
		t.Fatal("old and new are the same")
	}
	kills := 0
	for i, want := 0, rounds(t, 4); kills < want && i < 10*want; i++ {
		if i%5 == 0 { // cold, so that fetching and unpacking are hit as well
			if err := os.RemoveAll(home); err != nil {
				t.Fatal(err)
			}
		}
		cmd := install("-c", cacheURL, "-u", fmt.Sprintf("p0==%d.0", 1+i%2))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.Int64N(int64(took))))
		_ = cmd.Process.Kill()
		if err := cmd.Wait(); err != nil {
			kills++
		}
		must(install("p9"))
		now := snapshot(t, venv)
		if _, ok := states[now]; !ok {
			t.Fatalf("round %d: the environment is neither the old nor the new:\n%s", i, now)
		}
		states[now]++
		checkWheels(t, cache)
	}
	var counts []int
	for _, n := range states {
		counts = append(counts, n)
	}
	t.Logf("killed %d times, states after the next run: %v", kills, counts)
}

// checkWheels opens every wheel that a server's folder shows.
func checkWheels(t *testing.T, dir string) {
	t.Helper()
	wheels, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range wheels {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := wheel.Open(bytes.NewReader(b), int64(len(b)), filepath.Base(path)); err != nil {
			t.Errorf("a partial upload is visible: %v", err)
		}
	}
}
