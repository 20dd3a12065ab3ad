// Package storetest is the contract of store.Store as a test. A store's own test
// calls [Run] with a function that makes an empty store.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/store"
)

// Run holds the stores that open makes against the contract. Each is empty and
// used by one test; what it needs cleaned up open leaves to t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	tests := []struct {
		name string
		run  func(*testing.T, store.Store)
	}{
		{"RoundTrip", testRoundTrip},
		{"Missing", testMissing},
		{"BadKeys", testBadKeys},
		{"Exists", testExists},
		{"CreateRace", testCreateRace},
		{"WrongSize", testWrongSize},
		{"ReaderFails", testReaderFails},
		{"Cancelled", testCancelled},
		{"InvisibleUntilWhole", testInvisibleUntilWhole},
		{"List", testList},
		{"ListStops", testListStops},
		{"Remove", testRemove},
		{"RemoveWhileOpen", testRemoveWhileOpen},
		{"Seek", testSeek},
		{"Spool", testSpool},
		{"SpoolRace", testSpoolRace},
		{"Swap", testSwap},
		{"Stat", testStat},
		{"Folders", testFolders},
		{"Versions", testVersions},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open(t))
		})
	}
}

func create(t *testing.T, s store.Store, key, content string) {
	t.Helper()
	if err := s.Create(t.Context(), key, strings.NewReader(content), int64(len(content))); err != nil {
		t.Fatalf("Create(%q): %v", key, err)
	}
}

func read(t *testing.T, s store.Store, key string) string {
	t.Helper()
	r, info, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatalf("Open(%q): %v", key, err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("reading %q: %v", key, err)
	}
	if info.Key != key || info.Size != int64(len(b)) {
		t.Errorf("Open(%q) says key %q, size %d; %d bytes were read", key, info.Key, info.Size, len(b))
	}
	return string(b)
}

func list(t *testing.T, s store.Store, prefix string) []string {
	t.Helper()
	keys := []string{}
	for info, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("List(%q): %v", prefix, err)
		}
		keys = append(keys, info.Key)
	}
	slices.Sort(keys)
	return keys
}

// wantNothing checks that a failed Create left nothing and does not stand in the way.
func wantNothing(t *testing.T, s store.Store, key string) {
	t.Helper()
	if _, _, err := s.Open(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open(%q) after a failed Create: %v, want fs.ErrNotExist", key, err)
	}
	if keys := list(t, s, ""); len(keys) != 0 {
		t.Errorf("a failed Create left %q", keys)
	}
	create(t, s, key, "second try")
	if got := read(t, s, key); got != "second try" {
		t.Errorf("after a second try: %q", got)
	}
}

func testRoundTrip(t *testing.T, s store.Store) {
	big := make([]byte, 3<<20)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range big {
		big[i] = byte(rnd.Uint32())
	}
	files := map[string]string{
		"empty":                      "",
		"flask-3.0-py3-none-any.whl": "wheel",
		"torch-2.0+cu118-cp311-cp311-linux_x86_64.whl": "plus",
		"1!2 with spaces, ünicode & 100%.zip":          "odd",
		"deep/er/and/deeper":                           "nested",
		"deep/er/sibling":                              "nested too",
		"big":                                          string(big),
	}
	before := time.Now().Add(-time.Minute)
	for key, content := range files {
		create(t, s, key, content)
	}
	for key, content := range files {
		if got := read(t, s, key); got != content {
			t.Errorf("%q: %d bytes came back for %d", key, len(got), len(content))
		}
	}
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		r, opened, err := s.Open(t.Context(), info.Key)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		if diff := cmp.Diff(opened, info); diff != "" {
			t.Errorf("Open and List disagree (-Open +List):\n%s", diff)
		}
		if info.ModTime.Before(before) || info.ModTime.After(time.Now().Add(time.Minute)) {
			t.Errorf("%q was changed at %v, it is now %v", info.Key, info.ModTime, time.Now())
		}
	}
}

func testMissing(t *testing.T, s store.Store) {
	create(t, s, "dir/file", "x")
	for _, key := range []string{"no", "dir", "dir/no", "dir/file/no"} {
		if _, _, err := s.Open(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%q): %v, want fs.ErrNotExist", key, err)
		}
		if err := s.Remove(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Remove(%q): %v, want fs.ErrNotExist", key, err)
		}
	}
	if keys := list(t, s, "no/such"); len(keys) != 0 {
		t.Errorf("List of nothing: %q", keys)
	}
	if got := read(t, s, "dir/file"); got != "x" {
		t.Errorf("dir/file is %q", got)
	}
}

func testBadKeys(t *testing.T, s store.Store) {
	for _, key := range []string{"", "/", "/abs", "a/", "a//b", "..", "../up", "a/../../up", ".hidden", ".curdling/tmp/x", `a\b`, "a\x00b", "a\nb", "\xff", "C:x", strings.Repeat("x", 300)} {
		if err := s.Create(t.Context(), key, strings.NewReader("x"), 1); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Create(%q): %v, want fs.ErrInvalid", key, err)
		}
		if _, _, err := s.Open(t.Context(), key); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Open(%q): %v, want fs.ErrInvalid", key, err)
		}
		if err := s.Remove(t.Context(), key); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Remove(%q): %v, want fs.ErrInvalid", key, err)
		}
	}
	for _, err := range s.List(t.Context(), "../") {
		if !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("List of ../: %v, want fs.ErrInvalid", err)
		}
	}
	if keys := list(t, s, ""); len(keys) != 0 {
		t.Errorf("bad keys left %q", keys)
	}
}

func testExists(t *testing.T, s store.Store) {
	create(t, s, "a", "first")
	for _, content := range []string{"first", "other"} {
		err := s.Create(t.Context(), "a", strings.NewReader(content), int64(len(content)))
		if !errors.Is(err, fs.ErrExist) {
			t.Errorf("Create again: %v, want fs.ErrExist", err)
		}
	}
	if got := read(t, s, "a"); got != "first" {
		t.Errorf("content is now %q", got)
	}
}

func testCreateRace(t *testing.T, s store.Store) {
	race(t, s, func(_ int, content string) error {
		return s.Create(t.Context(), "raced", strings.NewReader(content), int64(len(content)))
	})
}

func testSpoolRace(t *testing.T, s store.Store) {
	spooler, ok := s.(store.Spooler)
	if !ok {
		t.Skip("lends no temporary files")
	}
	race(t, s, func(_ int, content string) error { return createSpooled(t, s, spooler, "raced", content) })
}

// race has twenty writers of one key; one must win, and its content must be there.
func race(t *testing.T, s store.Store, write func(i int, content string) error) {
	var (
		wg   sync.WaitGroup
		errs [20]error
	)
	content := func(i int) string { return strings.Repeat(fmt.Sprint(i), 100_000) }
	for i := range errs {
		wg.Go(func() { errs[i] = write(i, content(i)) })
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Fatalf("writers %d and %d both succeeded", winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, fs.ErrExist):
			t.Errorf("writer %d: %v, want fs.ErrExist", i, err)
		}
	}
	if winner < 0 {
		t.Fatal("no writer succeeded")
	}
	if read(t, s, "raced") != content(winner) {
		t.Error("the winner's content is not what is there")
	}
	if diff := cmp.Diff([]string{"raced"}, list(t, s, "")); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func testWrongSize(t *testing.T, s store.Store) {
	for _, size := range []int64{0, 2, 4, 1 << 40} {
		if err := s.Create(t.Context(), "a", strings.NewReader("abc"), size); err == nil {
			t.Fatalf("Create of 3 bytes announced as %d succeeded", size)
		}
	}
	wantNothing(t, s, "a")
}

func testReaderFails(t *testing.T, s store.Store) {
	broken := errors.New("broken reader")
	r := io.MultiReader(strings.NewReader(strings.Repeat("x", 100_000)), iotest.ErrReader(broken))
	if err := s.Create(t.Context(), "dir/a", r, 200_000); !errors.Is(err, broken) {
		t.Errorf("Create from a broken reader: %v, want its error", err)
	}
	wantNothing(t, s, "dir/a")
}

func testCancelled(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	r := io.MultiReader(strings.NewReader("abc"), readerFunc(func(p []byte) (int, error) {
		cancel()
		return copy(p, "def"), io.EOF
	}))
	if err := s.Create(ctx, "a", r, 6); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled Create: %v, want context.Canceled", err)
	}
	wantNothing(t, s, "a")
}

// testInvisibleUntilWhole looks while a file is on its way. A store may have who looks wait for the file.
func testInvisibleUntilWhole(t *testing.T, s store.Store) {
	const size = 70_000
	looked := make(chan struct{})
	look := sync.OnceFunc(func() {
		go func() {
			defer close(looked)
			r, _, err := s.Open(t.Context(), "a")
			if err == nil {
				defer r.Close()
				if n, err := io.Copy(io.Discard, r); n != size {
					t.Errorf("Open in the middle of Create gives %d bytes, %v", n, err)
				}
			} else if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Open in the middle of Create: %v, want fs.ErrNotExist", err)
			}
			for info, err := range s.List(t.Context(), "") {
				if err != nil || info.Size != size {
					t.Errorf("List in the middle of Create: %+v, %v", info, err)
				}
			}
		}()
	})
	r := io.MultiReader(strings.NewReader(strings.Repeat("x", size)), readerFunc(func([]byte) (int, error) {
		look()
		select {
		case <-looked:
		case <-time.After(time.Second):
		}
		return 0, io.EOF
	}))
	err := s.Create(t.Context(), "a", r, size)
	look()
	<-looked
	if err != nil {
		t.Fatal(err)
	}
	if n := len(read(t, s, "a")); n != size {
		t.Errorf("%d bytes, want %d", n, size)
	}
}

func testList(t *testing.T, s store.Store) {
	all := []string{"a", "ab", "b/c", "b/c.d", "b/cd/e", "bc"}
	for _, key := range all {
		create(t, s, key, key)
	}
	tests := []struct {
		prefix string
		want   []string
	}{
		{"", all},
		{"a", []string{"a", "ab"}},
		{"b", []string{"b/c", "b/c.d", "b/cd/e", "bc"}},
		{"b/", []string{"b/c", "b/c.d", "b/cd/e"}},
		{"b/c", []string{"b/c", "b/c.d", "b/cd/e"}},
		{"b/cd/", []string{"b/cd/e"}},
		{"b/cd/e", []string{"b/cd/e"}},
		{"c", []string{}},
		{"b/x/", []string{}},
		{"a/", []string{}},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, list(t, s, test.prefix)); diff != "" {
			t.Errorf("List(%q) (-want +got):\n%s", test.prefix, diff)
		}
	}
}

func testListStops(t *testing.T, s store.Store) {
	for i := range 10 {
		create(t, s, fmt.Sprint("k", i), "x")
	}
	n := 0
	for range s.List(t.Context(), "") {
		if n++; n == 3 {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var last error
	for _, err := range s.List(ctx, "") {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("List with a cancelled context ends with %v, want context.Canceled", last)
	}
}

func testRemove(t *testing.T, s store.Store) {
	create(t, s, "dir/a", "1")
	create(t, s, "dir/b", "2")
	if err := s.Remove(t.Context(), "dir/a"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), "dir/a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Remove again: %v, want fs.ErrNotExist", err)
	}
	if diff := cmp.Diff([]string{"dir/b"}, list(t, s, "")); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	create(t, s, "dir/a", "new")
	if got := read(t, s, "dir/a"); got != "new" {
		t.Errorf("created anew: %q", got)
	}
}

func testRemoveWhileOpen(t *testing.T, s store.Store) {
	content := strings.Repeat("0123456789", 100_000)
	create(t, s, "a", content)
	r, _, err := s.Open(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := s.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || string(got) != content {
		t.Errorf("an open reader of a removed file gave %d bytes and %v", len(got), err)
	}
}

func testSeek(t *testing.T, s store.Store) {
	create(t, s, "a", "0123456789")
	r, _, err := s.Open(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := iotest.TestReader(r, []byte("0123456789")); err != nil {
		t.Error(err)
	}
}

// createSpooled writes a temporary file of the store and hands it over.
func createSpooled(t *testing.T, s store.Store, spooler store.Spooler, key, content string) error {
	f, err := spooler.Spool()
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		removeSpooled(t, f.Name())
	}()
	if _, err := io.Copy(f, bytes.NewReader([]byte(content))); err != nil {
		return err
	}
	return s.Create(t.Context(), key, f, int64(len(content)))
}

// testSwap has many add to one file: none gets lost, and who looks sees it whole.
func testSwap(t *testing.T, s store.Store) {
	swapper, ok := s.(store.Swapper)
	if !ok {
		t.Skip("not a Swapper")
	}
	if err := swapper.Swap(t.Context(), "sig", nil, []byte("x")); !errors.Is(err, store.ErrChanged) {
		t.Errorf("of nothing: %v", err)
	}
	create(t, s, "sig", "0")
	if err := swapper.Swap(t.Context(), "sig", []byte("1"), []byte("2")); !errors.Is(err, store.ErrChanged) {
		t.Errorf("of something else: %v", err)
	}
	if err := swapper.Swap(t.Context(), "../sig", []byte("0"), []byte("1")); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a bad key: %v", err)
	}
	const writers, each = 4, 5
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := 0; n < each; {
				held := read(t, s, "sig")
				err := swapper.Swap(t.Context(), "sig", []byte(held), fmt.Append([]byte(held), i))
				switch {
				case err == nil:
					n++
				case !errors.Is(err, store.ErrChanged):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	got := read(t, s, "sig")
	for i := range writers {
		if n := strings.Count(got[1:], fmt.Sprint(i)); n != each {
			t.Errorf("of %d there are %d in %s", i, n, got)
		}
	}
	if names := list(t, s, ""); len(names) != 1 {
		t.Errorf("left is %v", names)
	}
}

func testStat(t *testing.T, s store.Store) {
	stater, ok := s.(store.Stater)
	if !ok {
		t.Skip("not a Stater")
	}
	create(t, s, "dir/a", "abc")
	for key, want := range map[string]error{"dir/a": nil, "dir": fs.ErrNotExist, "dir/b": fs.ErrNotExist, "../a": fs.ErrInvalid} {
		info, err := stater.Stat(t.Context(), key)
		if !errors.Is(err, want) {
			t.Errorf("Stat(%q): %v, want %v", key, err, want)
		}
		if want != nil {
			continue
		}
		r, opened, err := s.Open(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		if diff := cmp.Diff(opened, info); diff != "" {
			t.Errorf("Open and Stat disagree (-Open +Stat):\n%s", diff)
		}
	}
}

func testFolders(t *testing.T, s store.Store) {
	folders, ok := s.(store.Folders)
	if !ok {
		t.Skip("not Folders")
	}
	for _, key := range []string{"a", "b/c", "b/d", "b/e/f", "b-c/d", "b/g/h/i", "b/g/j"} {
		create(t, s, key, "x")
	}
	for prefix, want := range map[string][]string{"": {"b", "b-c"}, "b/": {"e", "g"}, "b/g/": {"h"}, "x/": nil} {
		var got []string
		for folder, err := range folders.ListFolders(t.Context(), prefix) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, folder)
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("ListFolders(%q) (-want +got):\n%s", prefix, diff)
		}
	}
	for _, err := range folders.ListFolders(t.Context(), "../") {
		if !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("ListFolders of ../: %v, want fs.ErrInvalid", err)
		}
	}
}

func testVersions(t *testing.T, s store.Store) {
	v, ok := s.(store.Versioned)
	if !ok {
		t.Skip("not a Versioned")
	}
	ctx := t.Context()
	if _, _, err := v.Get(ctx, "a/doc.json", ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get of nothing: %v, want fs.ErrNotExist", err)
	}
	if _, err := v.Put(ctx, "a/doc.json", "other", []byte("x")); !errors.Is(err, store.ErrChanged) {
		t.Errorf("Put over nothing: %v, want ErrChanged", err)
	}
	if err := v.Delete(ctx, "a/doc.json", "other"); !errors.Is(err, store.ErrChanged) {
		t.Errorf("Delete of nothing: %v, want ErrChanged", err)
	}
	if _, err := v.Put(ctx, "../doc", "", nil); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a bad key: %v", err)
	}
	first, err := v.Put(ctx, "a/doc.json", "", []byte("0"))
	if err != nil || first == "" {
		t.Fatalf("Put: %q, %v", first, err)
	}
	if _, err := v.Put(ctx, "a/doc.json", "", []byte("x")); !errors.Is(err, store.ErrChanged) {
		t.Errorf("made again: %v, want ErrChanged", err)
	}
	if content, version, err := v.Get(ctx, "a/doc.json", ""); string(content) != "0" || version != first || err != nil {
		t.Errorf("Get: %q, %q, %v; Put said %q", content, version, err, first)
	}
	if content, version, err := v.Get(ctx, "a/doc.json", first); content != nil || version != first || err != nil {
		t.Errorf("Get of what is known: %q, %q, %v", content, version, err)
	}
	const writers, each = 4, 5
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := 0; n < each; {
				content, version, err := v.Get(ctx, "a/doc.json", "")
				if err == nil {
					_, err = v.Put(ctx, "a/doc.json", version, fmt.Append(content, i))
				}
				switch {
				case err == nil:
					n++
				case !errors.Is(err, store.ErrChanged):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	content, last, err := v.Get(ctx, "a/doc.json", first)
	if err != nil {
		t.Fatal(err)
	}
	for i := range writers {
		if n := strings.Count(string(content[1:]), fmt.Sprint(i)); n != each {
			t.Errorf("of %d there are %d in %s", i, n, content)
		}
	}
	if _, err := v.Put(ctx, "a/doc.json", first, []byte("x")); !errors.Is(err, store.ErrChanged) {
		t.Errorf("Put over what was before: %v, want ErrChanged", err)
	}
	if err := v.Delete(ctx, "a/doc.json", first); !errors.Is(err, store.ErrChanged) {
		t.Errorf("Delete of what was before: %v, want ErrChanged", err)
	}
	if err := v.Delete(ctx, "a/doc.json", last); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if names := list(t, s, ""); len(names) != 0 {
		t.Errorf("left is %v", names)
	}
	var made atomic.Int64
	for range writers {
		wg.Go(func() {
			if _, err := v.Put(ctx, "new", "", []byte("x")); err == nil {
				made.Add(1)
			} else if !errors.Is(err, store.ErrChanged) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 {
		t.Errorf("made %d times", made.Load())
	}
}

func testSpool(t *testing.T, s store.Store) {
	spooler, ok := s.(store.Spooler)
	if !ok {
		t.Skip("lends no temporary files")
	}
	f, err := spooler.Spool()
	if err != nil {
		t.Fatal(err)
	}
	if keys := list(t, s, ""); len(keys) != 0 {
		t.Errorf("a temporary file is held as %q", keys)
	}
	f.Close()
	removeSpooled(t, f.Name())
	if err := createSpooled(t, s, spooler, "dir/a", "abc"); err != nil {
		t.Fatal(err)
	}
	if got := read(t, s, "dir/a"); got != "abc" {
		t.Errorf("content %q", got)
	}
	if err := createSpooled(t, s, spooler, "dir/a", "abc"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("again: %v, want fs.ErrExist", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// removeSpooled removes a temporary file as its borrower must; it may be gone.
func removeSpooled(t *testing.T, name string) {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removing a temporary file: %v", err)
	}
}
