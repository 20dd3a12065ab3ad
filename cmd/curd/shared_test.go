package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"curdling/internal/wheel/wheeltest"
)

// slowProject puts the source distribution slow 1.0 into dir. Each build of it writes a line to the file
// begun, with the process that has it built, and goes on when the file leave is there.
func slowProject(t *testing.T, dir, begun, leave string) {
	t.Helper()
	slow := wheeltest.Wheel{Name: "slow", Version: "1.0"}
	sdist, err := packSdist(map[string]string{
		"slow-1.0/PKG-INFO":       "Metadata-Version: 2.1\nName: slow\nVersion: 1.0\n",
		"slow-1.0/pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
		"slow-1.0/backend.py": fmt.Sprintf(`
import base64, os, time
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    os.mkdir(os.path.join(folder, "slow-1.0.dist-info"))
    with open(os.path.join(folder, "slow-1.0.dist-info", "METADATA"), "w") as f:
        f.write("Metadata-Version: 2.1\nName: slow\nVersion: 1.0\n")
    with open(%[1]q + ".metadata", "a") as f:
        f.write("begun\n")
    return "slow-1.0.dist-info"
def build_wheel(folder, config_settings=None, metadata_directory=None):
    with open(%[1]q, "a") as f:
        f.write(f"{os.getppid()}\n")
    print("compiling", flush=True)
    while not os.path.exists(%[2]q):
        time.sleep(0.05)
    with open(os.path.join(folder, %[3]q), "wb") as f:
        f.write(base64.b64decode(%[4]q))
    return %[3]q
`, begun, leave, slow.Filename(), base64.StdEncoding.EncodeToString(wheeltest.Build(slow))),
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "slow-1.0.tar.gz")
	if err := os.WriteFile(path, sdist, 0o644); err != nil {
		t.Fatal(err)
	}
}

func lines(path string) int {
	text, _ := os.ReadFile(path) // missing, it has none
	return strings.Count(string(text), "\n")
}

// until waits for something that will come.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for start := time.Now(); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > 2*time.Minute {
			t.Fatalf("%s did not come", what)
		}
	}
}

// machine is one that installs slow, with a cache of its own.
type machine struct {
	out  strings.Builder
	done chan error
	kill func()
	pid  int
}

func (m *machine) start(t *testing.T, args ...string) {
	t.Helper()
	cmd := curdCommand(t.TempDir(), append([]string{"install", "--python", virtualenv(t), "slow"}, args...)...)
	cmd.Stdout, cmd.Stderr = &m.out, &m.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.pid, m.kill = cmd.Process.Pid, func() { _ = cmd.Process.Kill() }
	m.done = make(chan error, 1)
	go func() { m.done <- cmd.Wait() }()
	t.Cleanup(m.kill)
}

// fleetSize is how many machines need the same at once.
const fleetSize = 16

// TestFleetOfOneBuild: of many machines at once one builds, and the others wait for it; where the builder dies with kill -9
// at half, one other builds in its place. A build takes a second, with CURDLING_STRESS a minute.
func TestFleetOfOneBuild(t *testing.T) {
	t.Parallel()
	length, ttl := time.Second, 10*time.Second // no builder that lives is silent for so long
	if rounds(t, 0) > 0 {
		length, ttl = time.Minute, 0 // as it is in use
	}
	for _, test := range []struct {
		what      string
		kill      bool
		builds    int
		succeeded int
	}{{"all is well", false, 1, fleetSize}, {"the builder is killed", true, 2, fleetSize - 1}} {
		t.Run(test.what, func(t *testing.T) {
			t.Parallel()
			index, cache, begun, leave := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "begun"), filepath.Join(t.TempDir(), "leave")
			slowProject(t, index, begun, leave)
			url, cacheURL := startServer(t, index), startServerTTL(t, cache, ttl)
			start := time.Now()
			machines := make([]machine, fleetSize)
			for i := range machines {
				machines[i].start(t, "-i", url+"/simple", "-c", cacheURL, "-u")
			}
			until(t, "a build", func() bool { return lines(begun) > 0 })
			killed := -1
			if test.kill {
				time.Sleep(length / 2)
				builder := firstLine(t, begun)
				for i := range machines {
					if machines[i].pid == builder {
						killed = i
					}
				}
				if killed < 0 {
					t.Fatalf("no machine has the process %d, which builds", builder)
				}
				machines[killed].kill()
				<-machines[killed].done
				until(t, "a build in the place of the dead one's", func() bool { return lines(begun) > 1 })
			}
			time.Sleep(length)
			if err := os.WriteFile(leave, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			succeeded := 0
			for i := range machines {
				if i == killed {
					continue
				}
				if err := <-machines[i].done; err != nil {
					t.Errorf("%v\n%s", err, &machines[i].out)
					continue
				}
				succeeded++
			}
			builds, metadata := lines(begun), lines(begun+".metadata")
			t.Logf("%s: %d machines, a build of %v: %d builds, metadata prepared %d times, %d succeeded, %.1f s",
				test.what, fleetSize, length, builds, metadata, succeeded, time.Since(start).Seconds())
			if builds != test.builds || metadata != 1 || succeeded != test.succeeded {
				t.Errorf("want %d builds, metadata once and %d that succeed", test.builds, test.succeeded)
			}
		})
	}
}

// firstLine is the number in a file's first line.
func firstLine(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	n, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestBuilderKilled: who waits for a machine that dies builds itself, once; and so does who will not wait.
func TestBuilderKilled(t *testing.T) {
	t.Parallel()
	index, cache, begun, leave := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "begun"), filepath.Join(t.TempDir(), "leave")
	slowProject(t, index, begun, leave)
	url, cacheURL := startServer(t, index), startServerTTL(t, cache, 3*time.Second)
	var first, impatient machine
	first.start(t, "-i", url+"/simple", "-c", cacheURL, "-u")
	until(t, "the first build", func() bool { return lines(begun) == 1 })
	impatient.start(t, "-i", url+"/simple", "-c", cacheURL, "-u", "--build-wait", "0")
	until(t, "the build of who does not wait", func() bool { return lines(begun) == 2 })
	impatient.kill()
	<-impatient.done
	others := make([]machine, 3)
	for i := range others {
		others[i].start(t, "-i", url+"/simple", "-c", cacheURL, "-u")
	}
	first.kill()
	<-first.done
	until(t, "a build in the place of the dead one's", func() bool { return lines(begun) == 3 })
	if err := os.WriteFile(leave, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range others {
		if err := <-others[i].done; err != nil {
			t.Errorf("%v\n%s", err, &others[i].out)
		}
	}
	if n := lines(begun); n != 3 {
		t.Errorf("%d builds", n)
	}
}

// TestBuildFails: what failed on one machine a moment ago is not tried on the next, unless that wants it.
func TestBuildFails(t *testing.T) {
	t.Parallel()
	index, cache, begun := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "begun")
	sdist, err := packSdist(map[string]string{
		"slow-1.0/PKG-INFO":       "Metadata-Version: 2.2\nName: slow\nVersion: 1.0\n",
		"slow-1.0/pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
		"slow-1.0/backend.py":     fmt.Sprintf("def build_wheel(*args):\n    open(%q, 'a').write('begun\\n')\n    raise SystemExit('no luck today')\n", begun),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(index, "slow-1.0.tar.gz"), sdist, 0o644); err != nil {
		t.Fatal(err)
	}
	url, cacheURL := startServer(t, index), startServer(t, cache)
	for i, test := range []struct {
		args   []string
		builds int
		says   string
	}{
		{nil, 1, "no luck today"},
		{nil, 1, "built it"},
		{nil, 1, "no luck today"},
		{[]string{"--build-wait", "0"}, 2, "no luck today"},
	} {
		var m machine
		m.start(t, append([]string{"-i", url + "/simple", "-c", cacheURL, "-u"}, test.args...)...)
		if err := <-m.done; err == nil || !strings.Contains(m.out.String(), test.says) || lines(begun) != test.builds {
			t.Errorf("%d: %v, %d builds\n%s", i, err, lines(begun), &m.out)
		}
	}
}
