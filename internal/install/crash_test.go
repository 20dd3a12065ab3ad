package install

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/wheel"
	"curdling/internal/wheel/wheeltest"
)

// crashDir names, for a process that TestKill starts, the folder in which it works.
const crashDir = "CURDLING_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := crashLoop(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// crashLoop installs two sets of wheels in turn until it is killed.
func crashLoop(dir string) error {
	env, err := makeEnv(filepath.Join(dir, "venv"))
	if err != nil {
		return err
	}
	unlock, err := Lock(context.Background(), env)
	if err != nil {
		return err
	}
	defer unlock()
	fmt.Println("ready")
	for n := rand.IntN(2); ; n++ {
		p := Plan{}
		for _, name := range []string{"a", "b", "c"} {
			item := Item{Tree: wheel.Tree{Dir: filepath.Join(dir, fmt.Sprint(name, 1+n%2))}}
			b, err := os.ReadFile(item.Tree.Dir + ".manifest")
			if err != nil {
				return err
			}
			if err := item.Tree.Manifest.UnmarshalBinary(b); err != nil {
				return err
			}
			p.Install = append(p.Install, item)
		}
		if err := Apply(context.Background(), env, p, Options{}); err != nil {
			return err
		}
	}
}

// crashWheels gives two versions of each wheel.
func crashWheels(v int) []wheeltest.Wheel {
	a, b, c := rich(fmt.Sprint(v)), small("b", fmt.Sprint(v)), small("c", "1") // c is installed again, the same
	a.Name = "a"
	a.Files = map[string]string{fmt.Sprintf("only%d/in.py", v): ""}
	for i := range 200 {
		a.Files[fmt.Sprintf("a/sub%d/file%d.py", i%7, i)] = fmt.Sprint(v)
	}
	a.Data = map[string]string{"scripts/a-run": "#!python\n" + fmt.Sprint(v), "data/share/a/x": fmt.Sprint(v)}
	if v == 1 {
		b.Files["turns"] = "file"
	} else {
		b.Files["turns/into/folder"] = ""
	}
	return []wheeltest.Wheel{a, b, c}
}

// TestKill kills processes that install, at random moments. After Recover the
// environment is exactly what it was before or what it should become.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := fakeEnv(t, filepath.Join(dir, "venv"))
	var states [2]map[string]string
	var once time.Duration // that an Apply takes
	for v := range states {
		var p Plan
		for _, w := range crashWheels(v + 1) {
			item := Item{Tree: tree(t, w)}
			b, err := item.Tree.Manifest.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			at := filepath.Join(dir, fmt.Sprint(w.Name, v+1))
			if err := os.Rename(item.Tree.Dir, at); err != nil {
				t.Fatal(err)
			}
			write(t, at+".manifest", string(b))
			item.Tree.Dir = at
			p.Install = append(p.Install, item)
		}
		start := time.Now()
		apply(t, env, p)
		once = time.Since(start)
		states[v] = snapshot(t, env.Python.Prefix)
	}
	seen := map[string]int{}
	for range 15 {
		kill(t, dir, 3*once)
		kill(t, dir, 3*once) // this one begins with a Recover of its own
		if exists(filepath.Join(env.Python.Purelib, journalDir, "journal")) {
			seen["undone"]++
		}
		if exists(filepath.Join(env.Python.Purelib, doneDir)) {
			seen["finished"]++
		}
		if err := Recover(env); err != nil {
			t.Fatal(err)
		}
		got := snapshot(t, env.Python.Prefix)
		switch {
		case cmp.Equal(got, states[0]):
			seen["first"]++
		case cmp.Equal(got, states[1]):
			seen["second"]++
		default:
			t.Fatal(cmp.Diff(states[0], got))
		}
	}
	t.Log(seen)
	if seen["undone"] == 0 {
		t.Error("no process was killed in the middle")
	}
}

// kill lets a process install for a while, at most as long as said.
func kill(t *testing.T, dir string, most time.Duration) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), crashDir+"="+dir)
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatal(line, err, stderr.String())
	}
	time.Sleep(rand.N(min(most, 150*time.Millisecond)))
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // says that it was killed
	if stderr.Len() > 0 {
		t.Fatal(stderr.String())
	}
}
