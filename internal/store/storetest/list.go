package storetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/store"
)

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
