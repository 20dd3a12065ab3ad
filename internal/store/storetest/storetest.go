// Package storetest is the contract of store.Store as a test. A store's own test
// calls [Run] with a function that makes an empty store.
package storetest

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
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
