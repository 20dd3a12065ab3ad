package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/store/disk"
	"curdling/internal/wheel/wheeltest"
)

func upload(t *testing.T, c *Catalog, name string, content []byte) (bool, error) {
	t.Helper()
	u, err := c.Receive(name, bytes.NewReader(content))
	if err != nil {
		return false, err
	}
	defer u.Discard()
	return u.Keep(t.Context(), From{})
}

func TestUpload(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, _ := open(t, dir)
	name, content := flask("3.0")
	_, other := makeWheel(wheeltest.Wheel{Name: "Flask", Version: "3.0", Summary: "Other"})
	drop(t, dir, "taken-1.0-py3-none-any.whl", []byte("rubbish"))
	sdist := makeSdist(t, "foo-1.0", "Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n")
	var invalid *InvalidError
	var conflict *ConflictError
	for _, test := range []struct {
		what, name string
		content    []byte
		created    bool
		err        any
	}{
		{"new", name, content, true, nil},
		{"the same again", name, content, false, nil},
		{"other bytes", name, other, false, &conflict},
		{"an sdist", "foo-1.0.tar.gz", sdist, true, nil},
		{"wrong name", "flask-4.0-py3-none-any.whl", content, false, &invalid},
		{"no wheel", "bar-1.0-py3-none-any.whl", []byte("rubbish"), false, &invalid},
		{"no distribution", "bar.txt", []byte("rubbish"), false, &invalid},
		{"path", "../bar-1.0-py3-none-any.whl", content, false, &invalid},
		{"empty", "", content, false, &invalid},
		{"taken by what cannot be used", "taken-1.0-py3-none-any.whl", wheeltest.Build(wheeltest.Wheel{Name: "taken", Version: "1.0"}), false, &conflict},
	} {
		created, err := upload(t, c, test.name, test.content)
		if created != test.created || (err != nil) != (test.err != nil) || err != nil && !errors.As(err, test.err) {
			t.Errorf("%s: %v, %v; want %v, %T", test.what, created, err, test.created, test.err)
		}
	}
	if diff := cmp.Diff([]string{name, "foo-1.0.tar.gz"}, heldFiles(c)); diff != "" {
		t.Errorf("held (-want +got):\n%s", diff)
	}
	r, f, err := c.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, content) || f.SHA256 != sum(content) {
		t.Errorf("%d bytes, %v, sha256 %s", len(b), err, f.SHA256)
	}
	left, err := os.ReadDir(filepath.Join(dir, disk.StateDir, "tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files left: %v, %v", left, err)
	}
}

func TestUploadRace(t *testing.T) {
	t.Parallel()
	c, _ := open(t, t.TempDir())
	var contents [4][]byte
	name := ""
	for i := range contents {
		name, contents[i] = makeWheel(wheeltest.Wheel{Name: "flask", Version: "3.0", Summary: fmt.Sprint(i)})
	}
	var (
		wg               sync.WaitGroup
		mu               sync.Mutex
		created, same    int
		winner, conflict = "", map[string]bool{}
	)
	for i := range 40 {
		wg.Go(func() {
			content := contents[i%len(contents)]
			ok, err := upload(t, c, name, content)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				if !errors.As(err, new(*ConflictError)) {
					t.Error(err)
				}
				conflict[sum(content)] = true
			case ok:
				created++
				winner = sum(content)
			default:
				same++
			}
		})
	}
	wg.Wait()
	if created != 1 || same != 9 || len(conflict) != 3 || conflict[winner] || c.File(name).SHA256 != winner {
		t.Errorf("created %d, the same %d, conflicts of %d contents, the winner's among them: %v", created, same, len(conflict), conflict[winner])
	}
}

func TestUploadBreaks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, _ := open(t, dir)
	name, content := flask("3.0")
	broken := errors.New("broken")
	if _, err := c.Receive(name, io.MultiReader(bytes.NewReader(content[:100]), readerFunc(func([]byte) (int, error) { return 0, broken }))); !errors.Is(err, broken) {
		t.Errorf("Receive: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	u, err := c.Receive(name, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := u.Keep(ctx, From{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Keep: %v", err)
	}
	u.Discard()
	left, err := os.ReadDir(filepath.Join(dir, disk.StateDir, "tmp"))
	if err != nil || len(left) > 0 || len(heldFiles(c)) > 0 {
		t.Errorf("left: %v, %v, %q", left, err, heldFiles(c))
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
