package catalog

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"curdling/internal/dist"
	"curdling/internal/record/recordtest"
	"curdling/internal/store/disk"
	"curdling/internal/wheel/wheeltest"
)

// variantOf makes a wheel with a file name of its own content.
func variantOf(name, version, summary string) (string, []byte) {
	return makeWheel(wheeltest.Wheel{Name: name, Version: version, Summary: summary})
}

func openScopes(t testing.TB, config ScopesConfig) (*Scopes, *Catalog, *disk.Store) {
	t.Helper()
	folder, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	main, err := Open(t.Context(), Config{Store: folder, State: filepath.Join(folder.Dir(), disk.StateDir)})
	if err != nil {
		t.Fatal(err)
	}
	config.Main, config.Folder = NewView(main), folder
	s := NewScopes(config)
	t.Cleanup(func() { s.Close(); main.Close(); folder.Close() })
	return s, main, folder
}

// uploadInto uploads into a scope, "" is main.
func uploadInto(ctx context.Context, s *Scopes, scope, filename string, content []byte) (created bool, err error) {
	view, release := s.Main, func() {}
	if scope != "" {
		if view, release, err = s.View(scope, true); err != nil {
			return false, err
		}
	}
	defer release()
	u, err := view.Receive(filename, bytes.NewReader(content))
	if err != nil {
		return false, err
	}
	defer u.Discard()
	return u.Keep(ctx, From{})
}

// read gives what those of a scope get under a name; nil is nothing.
func read(t testing.TB, s *Scopes, scope, filename string) []byte {
	t.Helper()
	view, release, err := s.View(scope, false)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	r, f, err := view.Open(t.Context(), filename)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if sum(content) != f.SHA256 || view.File(filename).SHA256 != f.SHA256 {
		t.Errorf("%s: the hash is another's", filename)
	}
	return content
}

func TestView(t *testing.T) {
	t.Parallel()
	s, main, folder := openScopes(t, ScopesConfig{})
	name, mains := variantOf("acme", "1.0", "main's")
	_, theirs := variantOf("acme", "1.0", "theirs")
	second, only := variantOf("acme", "2.0", "of the request alone")
	ctx := t.Context()
	check := func(what string, created bool, err error, wantCreated bool, conflict bool) {
		t.Helper()
		var c *ConflictError
		if created != wantCreated || errors.As(err, &c) != conflict || err != nil && !conflict {
			t.Errorf("%s: created %v, %v", what, created, err)
		}
	}
	created, err := uploadInto(ctx, s, "", name, mains)
	check("main", created, err, true, false)
	created, err = uploadInto(ctx, s, "pr-1", name, theirs)
	check("other bytes than main's", created, err, false, true)
	created, err = uploadInto(ctx, s, "pr-1", name, mains)
	check("main's bytes", created, err, false, false)
	created, err = uploadInto(ctx, s, "pr-1", second, only)
	check("a new version", created, err, true, false)
	created, err = uploadInto(ctx, s, "pr-1", second, mains)
	check("what is no such file", created, err, false, true)

	for scope, want := range map[string][2][]byte{"pr-1": {mains, only}, "pr-2": {mains, nil}, "main": {mains, nil}} {
		for i, file := range []string{name, second} {
			if got := read(t, s, scope, file); !bytes.Equal(got, want[i]) {
				t.Errorf("%s gets %d bytes of %s", scope, len(got), file)
			}
		}
	}
	if main.File(second) != nil || main.Stats().Files != 1 {
		t.Error("main holds what is a request's")
	}

	// The name came first in the scope; then main has its own.
	third, first := variantOf("acme", "3.0", "first")
	_, later := variantOf("acme", "3.0", "later, and main's")
	created, err = uploadInto(ctx, s, "pr-1", third, first)
	check("first", created, err, true, false)
	view, release, err := s.View("pr-1", false)
	if err != nil {
		t.Fatal(err)
	}
	before := view.Project("acme")
	if again := view.Project("acme"); again != before {
		t.Error("a project that did not change is another")
	}
	created, err = uploadInto(ctx, s, "", third, later)
	check("main, later", created, err, true, false)
	if got := read(t, s, "pr-1", third); !bytes.Equal(got, later) {
		t.Error("a request hides main's file from its own")
	}
	created, err = uploadInto(ctx, s, "pr-1", third, first)
	check("the hidden one again", created, err, false, true)
	p := view.Project("acme")
	if p == before || len(p.Files) != 3 || p.Files[2].SHA256 != sum(later) {
		t.Errorf("the page: %+v", p)
	}
	for _, f := range p.Files {
		if f.SHA256 == sum(first) {
			t.Error("what is hidden is on the page")
		}
	}

	// What main says of a project counts below.
	drop(t, folder.Dir(), "acme.status", []byte("quarantined: malware"))
	main.examine(ctx, "acme.status", 0)
	var status *StatusError
	if _, _, err := view.Open(ctx, second); !errors.As(err, &status) {
		t.Errorf("a file of a quarantined project: %v", err)
	}
	if _, _, err := view.Metadata(ctx, second); !errors.As(err, &status) {
		t.Errorf("its metadata: %v", err)
	}
	if got := view.Project("acme").Offered(); got != nil {
		t.Errorf("its page: %v", got)
	}
	fourth, content := variantOf("acme", "4.0", "")
	if _, err := uploadInto(ctx, s, "pr-1", fourth, content); !errors.As(err, &status) {
		t.Errorf("an upload: %v", err)
	}
	release()
}

// TestViewLists: names, searches and sums are of both.
func TestViewLists(t *testing.T) {
	t.Parallel()
	s, _, _ := openScopes(t, ScopesConfig{})
	ctx := t.Context()
	for _, file := range []struct{ scope, name, version, summary string }{
		{"", "acme", "1.0", "an anvil"}, {"", "zope", "1.0", ""}, {"pr-1", "acme", "2.0", "a rocket"}, {"pr-1", "middle", "1.0", "a rocket, too"}, {"pr-2", "other", "1.0", "a rocket"},
	} {
		name, content := variantOf(file.name, file.version, file.summary)
		if _, err := uploadInto(ctx, s, file.scope, name, content); err != nil {
			t.Fatal(err)
		}
	}
	view, release, err := s.View("pr-1", false)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	names, generation := view.Names()
	if want := []dist.Name{"acme", "middle", "zope"}; !cmp.Equal(names, want) {
		t.Errorf("%v", names)
	}
	if _, again := view.Names(); again != generation {
		t.Error("names that did not change are others")
	}
	if found, _ := view.Search("rocket", 10); !cmp.Equal(found, []dist.Name{"acme", "middle"}) {
		t.Errorf("%v", found)
	}
	if stats := view.Stats(); stats.Projects != 3 || stats.Files != 4 {
		t.Errorf("%+v", stats)
	}
	newest := view.Newest(10)
	if len(newest) != 3 || newest[2].Name == "middle" {
		t.Errorf("%v", newest)
	}
	if !view.Below("middle") || view.Below("acme") || view.Below("zope") || view.Below("other") {
		t.Error("what is held below alone is wrong")
	}
	name, content := variantOf("newer", "1.0", "")
	if _, err := uploadInto(ctx, s, "", name, content); err != nil {
		t.Fatal(err)
	}
	if names, again := view.Names(); again == generation || len(names) != 4 {
		t.Errorf("%v", names)
	}
}

// TestViewModel holds views against the rule in a few lines: what main holds counts, then what one's own scope does.
func TestViewModel(t *testing.T) {
	t.Parallel()
	type file struct {
		name    string
		content []byte
	}
	var files []file
	for _, name := range []string{"acme", "zope"} {
		for _, version := range []string{"1.0", "2.0"} {
			for _, summary := range []string{"a", "b"} {
				f := file{}
				f.name, f.content = variantOf(name, version, summary)
				files = append(files, f)
			}
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		s, _, folder := openScopes(t, ScopesConfig{most: 2})
		held := map[string]map[string][]byte{"": {}, "pr-1": {}, "pr-2": {}, "pr-3": {}}
		scopes := slices.Sorted(maps.Keys(held))
		actions := map[string]func(){
			"upload": func() {
				scope, f := rapid.SampledFrom(scopes).Draw(r, "scope"), rapid.SampledFrom(files).Draw(r, "file")
				want := "created"
				for _, holder := range []string{"", scope} {
					if there := held[holder][f.name]; there != nil && want == "created" {
						if want = "held"; !bytes.Equal(there, f.content) {
							want = "conflict"
						}
					}
				}
				created, err := uploadInto(t.Context(), s, scope, f.name, f.content)
				var conflict *ConflictError
				got := map[bool]string{true: "created", false: "held"}[created]
				if errors.As(err, &conflict) {
					got = "conflict"
				} else if err != nil {
					r.Fatal(err)
				}
				if got != want {
					r.Fatalf("%s into %q: %s, want %s", f.name, scope, got, want)
				}
				if want == "created" {
					held[scope][f.name] = f.content
				}
			},
			"remove": func() {
				scope := rapid.SampledFrom(scopes[1:]).Draw(r, "scope")
				if _, err := folder.RemoveScope(scope, time.Time{}); err != nil && !errors.Is(err, fs.ErrNotExist) {
					r.Fatal(err)
				}
				held[scope] = map[string][]byte{}
			},
			"read": func() {
				scope := rapid.SampledFrom(scopes[1:]).Draw(r, "reader")
				for i := 0; i < len(files); i += 2 { // of two there is one name
					name := files[i].name
					want := held[""][name]
					if want == nil {
						want = held[scope][name]
					}
					if got := read(t, s, scope, name); !bytes.Equal(got, want) {
						r.Fatalf("%s gets %d bytes of %s, want %d", scope, len(got), name, len(want))
					}
				}
			},
		}
		for _, step := range rapid.SliceOfN(rapid.SampledFrom([]string{"upload", "upload", "upload", "read", "read", "remove"}), 1, 15).Draw(r, "steps") {
			actions[step]()
		}
		s.Close()
	})
}

func TestScopesAreBounded(t *testing.T) {
	t.Parallel()
	s, _, folder := openScopes(t, ScopesConfig{most: 2})
	_, one, err := s.View("one", true)
	if err != nil {
		t.Fatal(err)
	}
	_, two, err := s.View("two", true)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.View("three", true); !errors.Is(err, ErrBusy) {
		t.Errorf("a third one: %v", err)
	}
	if _, again, err := s.View("one", true); err != nil {
		t.Errorf("one that is open: %v", err)
	} else {
		again()
	}
	one()
	one() // twice is once
	_, three, err := s.View("three", true)
	if err != nil {
		t.Errorf("in the place of one that nobody uses: %v", err)
	}
	three()
	two()
	// Who only reads makes nothing.
	if _, release, err := s.View("four", false); err != nil {
		t.Error(err)
	} else {
		release()
	}
	all, err := folder.Scopes()
	if len(all) != 3 || err != nil {
		t.Errorf("%v %v", all, err)
	}
	for _, name := range []string{"..", "a/b", "PR-1", "%2e%2e", ""} {
		if _, _, err := s.View(name, true); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
	// Many at once, of one that is not open, and of more than may be.
	var many sync.WaitGroup
	for i := range 40 {
		many.Go(func() {
			_, release, err := s.View([]string{"one", "five", "six"}[i%3], true)
			if err == nil {
				release()
			} else if !errors.Is(err, ErrBusy) {
				t.Error(err)
			}
		})
	}
	many.Wait()
}

func TestOldScopes(t *testing.T) {
	t.Parallel()
	var told []Removal
	s, _, folder := openScopes(t, ScopesConfig{Keep: time.Hour, Sweep: time.Hour, Removed: func(r Removal) { told = append(told, r) }})
	name, content := variantOf("acme", "1.0", "")
	for _, scope := range []string{"old", "used", "young"} {
		if _, err := uploadInto(t.Context(), s, scope, name, content); err != nil {
			t.Fatal(err)
		}
		if scope == "young" {
			continue
		}
		dir, _ := folder.ScopeDir(scope)
		ago(t, 2*time.Hour, filepath.Join(dir, name), dir)
	}
	_, release, err := s.View("used", false)
	if err != nil {
		t.Fatal(err)
	}
	s.RemoveOld(t.Context())
	names := func() string {
		all, err := folder.Scopes()
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, x := range all {
			names = append(names, x.Name)
		}
		return strings.Join(names, " ")
	}
	if got := names(); got != "used young" {
		t.Errorf("left: %s", got)
	}
	release()
	s.RemoveOld(t.Context())
	if got := names(); got != "young" || len(told) != 2 || told[0].Scope != "old" || told[0].Action != "scope-remove" || told[0].Size != int64(len(content)) {
		t.Errorf("left: %s; told %+v", got, told)
	}
	if got := read(t, s, "old", name); got != nil {
		t.Error("what was removed is served")
	}
	if _, err := uploadInto(t.Context(), s, "old", name, content); err != nil {
		t.Errorf("a scope is made anew: %v", err)
	}
	if got := read(t, s, "old", name); !bytes.Equal(got, content) {
		t.Error("what came anew is not served")
	}
}

// ago has files look as if they were left alone since.
func ago(t *testing.T, since time.Duration, paths ...string) {
	t.Helper()
	then := time.Now().Add(-since)
	for _, path := range paths {
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
}

// TestViewRecords: a scope adds nothing to a build that main holds, and of another one of the same it has the evidence itself.
func TestViewRecords(t *testing.T) {
	t.Parallel()
	s, main, _ := openScopes(t, ScopesConfig{})
	name, wheel, text := recordtest.Build(t, "acme", "3.11.1", "main's", nil)
	if created, err := uploadInto(t.Context(), s, "", name, wheel); !created || err != nil {
		t.Fatal(err)
	}
	view, release, err := s.View("pr-1", true)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	send := func(content, record []byte) error {
		u, err := view.Receive(name, bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		defer u.Discard()
		u.Record = record
		created, err := u.Keep(t.Context(), From{})
		if created {
			t.Error("it was kept")
		}
		return err
	}
	if err := send(wheel, text); err != nil {
		t.Error(err)
	}
	for _, key := range []string{name + RecordSuffix, name + SignatureSuffix} {
		if _, err := view.Sidecar(t.Context(), key); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is served: %v", key, err)
		}
	}
	_, other, record := recordtest.Build(t, "acme", "3.11.1", "another's", nil)
	var conflict *ConflictError
	if err := send(other, record); !errors.As(err, &conflict) {
		t.Error(err)
	}
	if _, all := main.Evidence(name); all != 0 {
		t.Errorf("main counts %d that came from below", all)
	}
}
