package filecache

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// asChild has the test's program be one of many processes on a folder.
const asChild = "FILECACHE_TEST_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asChild); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// many are files, of which a cache of mostMany bytes holds some.
func many() (objects []*object) {
	for i := range 40 {
		objects = append(objects, newObject(i*1999+1))
	}
	return objects
}

const mostMany = 500_000

// child asks for files at random, and damages or removes what lies there.
func child(dir string) error {
	c := New(Options{Dir: dir, MaxBytes: mostMany})
	defer c.Close()
	objects := many()
	errs := make(chan error, 4)
	for range cap(errs) {
		go func() {
			for i := range 150 {
				o := objects[rand.IntN(len(objects))]
				r, err := c.Open(context.Background(), o.sum, int64(len(o.content)), o.fetch)
				if err != nil {
					errs <- err
					return
				}
				got, err := io.ReadAll(r)
				r.Close()
				if err != nil || !bytes.Equal(got, o.content) {
					errs <- fmt.Errorf("file of %d bytes: %d, %w", len(o.content), len(got), err)
					return
				}
				switch rand.IntN(100) {
				case 0:
					c.forget(o.sum)
				case 1:
					_ = os.Remove(c.path(o.sum))
				}
				if i%20 == 0 {
					fmt.Println(i)
				}
			}
			errs <- nil
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

// TestProcesses: several processes on one folder, some of which are killed, never give each other wrong bytes.
func TestProcesses(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "cache")
	var running sync.WaitGroup
	for i := range 8 {
		killed := i%2 == 1
		running.Go(func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), asChild+"="+dir)
			var said bytes.Buffer
			cmd.Stderr = &said
			stdout, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Error(err)
				return
			}
			lines := bufio.NewReader(stdout)
			for n := 0; ; n++ {
				if _, err := lines.ReadString('\n'); err != nil {
					break
				}
				if killed && n == i {
					_ = cmd.Process.Kill()
				}
			}
			if err := cmd.Wait(); err != nil && !killed {
				t.Errorf("%v: %s", err, &said)
			}
		})
	}
	running.Wait()
	byName := map[string]*object{}
	for _, o := range many() {
		byName[o.sum] = o
	}
	held := 0
	for _, name := range files(t, dir) {
		if filepath.Base(filepath.Dir(name)) == "tmp" {
			continue // of those that were killed
		}
		held++
		if b, err := os.ReadFile(name); err != nil || !bytes.Equal(b, byName[filepath.Base(name)].content) {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
	if held == 0 {
		t.Error("nothing is left")
	}
}
