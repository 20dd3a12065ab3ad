package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/dist"
	"curdling/internal/record"
	"curdling/internal/record/recordtest"
	"curdling/internal/store"
	"curdling/internal/store/storetest"
	"curdling/internal/wheel/wheeltest"
)

// remote is a store.Noter in memory that counts what it is asked for, and answers as told.
type remote struct {
	mu    sync.Mutex
	held  map[string]remoteFile
	asked map[string]int // by what was asked: "list", "note", "open", "groups", "create"
	// before is called without mu; its error is the answer.
	before func(ctx context.Context, what, key string) error
}

type remoteFile struct {
	content []byte
	note    []byte
	modTime time.Time
}

func newRemote() *remote {
	return &remote{held: make(map[string]remoteFile), asked: make(map[string]int)}
}

func (s *remote) ask(ctx context.Context, what, key string) error {
	s.mu.Lock()
	s.asked[what]++
	before := s.before
	s.mu.Unlock()
	if before == nil {
		return ctx.Err()
	}
	return before(ctx, what, key)
}

// meanwhile sets what is called before each answer.
func (s *remote) meanwhile(before func(ctx context.Context, what, key string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = before
}

// requests tells how often what was asked for since the last time, and in all.
func (s *remote) requests() (asked map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked, s.asked = s.asked, make(map[string]int)
	return asked
}

func (s *remote) put(key string, content, note []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[key] = remoteFile{content, note, time.Now().UTC().Truncate(time.Second)}
}

func (s *remote) Open(ctx context.Context, key string) (io.ReadSeekCloser, store.Info, error) {
	if err := s.ask(ctx, "open", key); err != nil {
		return nil, store.Info{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.held[key]
	if !ok {
		return nil, store.Info{}, fs.ErrNotExist
	}
	return struct {
		io.ReadSeeker
		io.Closer
	}{bytes.NewReader(f.content), io.NopCloser(nil)}, f.info(key), nil
}

func (f remoteFile) info(key string) store.Info {
	return store.Info{Key: key, Size: int64(len(f.content)), ModTime: f.modTime}
}

func (s *remote) Create(ctx context.Context, key string, r io.Reader, size int64) error {
	return s.CreateNoted(ctx, key, "", nil, r, size)
}

func (s *remote) CreateNoted(ctx context.Context, key, _ string, note []byte, r io.Reader, size int64) error {
	content, err := io.ReadAll(r)
	if err != nil || int64(len(content)) != size {
		return fmt.Errorf("%d bytes: %w", len(content), errors.Join(err, io.ErrUnexpectedEOF))
	}
	if err := s.ask(ctx, "create", key); err != nil {
		return err
	}
	s.mu.Lock()
	_, taken := s.held[key]
	s.mu.Unlock()
	if taken {
		return fs.ErrExist
	}
	s.put(key, content, note)
	return nil
}

func (s *remote) Remove(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.held[key]; !ok {
		return fs.ErrNotExist
	}
	delete(s.held, key)
	return nil
}

func (s *remote) Note(ctx context.Context, key string) ([]byte, store.Info, error) {
	if err := s.ask(ctx, "note", key); err != nil {
		return nil, store.Info{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.held[key]
	if !ok {
		return nil, store.Info{}, fs.ErrNotExist
	}
	return f.note, f.info(key), nil
}

func (s *remote) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return s.list(ctx, "list", prefix, func(key string) bool { return strings.HasPrefix(key, prefix) })
}

func (s *remote) ListGroup(ctx context.Context, group string) iter.Seq2[store.Info, error] {
	return s.list(ctx, "list", group, func(key string) bool {
		name, ok := projectOf(key)
		return ok && string(name) == group || strings.HasPrefix(strings.ToLower(key), group+"-")
	})
}

// list shows what was there when it was asked.
func (s *remote) list(ctx context.Context, what, key string, in func(string) bool) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		s.mu.Lock()
		var infos []store.Info
		for _, key := range slices.Sorted(maps.Keys(s.held)) {
			if in(key) {
				infos = append(infos, s.held[key].info(key))
			}
		}
		s.mu.Unlock()
		if err := s.ask(ctx, what, key); err != nil {
			yield(store.Info{}, err)
			return
		}
		for _, info := range infos {
			if !yield(info, nil) {
				return
			}
		}
	}
}

func (s *remote) Groups(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := s.ask(ctx, "groups", ""); err != nil {
			yield("", err)
			return
		}
		s.mu.Lock()
		groups := make(map[string]bool)
		for key := range s.held {
			if name, ok := projectOf(key); ok {
				groups[string(name)] = true
			}
		}
		s.mu.Unlock()
		for _, name := range slices.Sorted(maps.Keys(groups)) {
			if !yield(name, nil) {
				return
			}
		}
	}
}

// openFar opens a catalog of what is far away, and shares what is derived in derived, which may be nil.
func openFar(t *testing.T, s store.Store, derived store.Store) (*Catalog, *logged) {
	t.Helper()
	log := new(logged)
	c, err := Open(t.Context(), Config{
		Store: s, Derived: derived, Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelInfo})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, log
}

func mustUpload(t *testing.T, c *Catalog, name string, content []byte) {
	t.Helper()
	if created, err := upload(t, c, name, content); !created || err != nil {
		t.Fatalf("%s: %v, %v", name, created, err)
	}
}

func fresh(t *testing.T, c *Catalog, name dist.Name) *Project {
	t.Helper()
	if err := c.Fresh(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return c.Project(name)
}

func wantRequests(t *testing.T, s *remote, want map[string]int) {
	t.Helper()
	if diff := cmp.Diff(want, s.requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// TestFarCosts: a project that is new costs a listing and a note for each file, one that is known a listing each second at the most, and
// what did not change stays the same; how much the store holds besides is all one.
func TestFarCosts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newRemote()
		writer, _ := openFar(t, s, nil)
		for _, v := range []string{"1.0", "2.0", "3.0"} {
			name, content := flask(v)
			mustUpload(t, writer, name, content)
		}
		for i := range 200 {
			w := wheeltest.Wheel{Name: fmt.Sprintf("other%d", i), Version: "1"}
			s.put(w.Filename(), wheeltest.Build(w), nil)
		}
		s.requests()
		c, log := openFar(t, s, nil)
		wantRequests(t, s, map[string]int{})
		p := fresh(t, c, "flask")
		if p == nil || len(p.Files) != 3 {
			t.Fatalf("%v", p)
		}
		wantRequests(t, s, map[string]int{"list": 1, "note": 3})
		for range 10 {
			time.Sleep(99 * time.Millisecond)
			if fresh(t, c, "flask") != p {
				t.Error("it is another project, and nothing changed")
			}
		}
		wantRequests(t, s, map[string]int{})
		for range 10 {
			time.Sleep(1001 * time.Millisecond)
			if fresh(t, c, "flask") != p {
				t.Error("it is another project, and nothing changed")
			}
		}
		wantRequests(t, s, map[string]int{"list": 10})

		// What is not there, and what cannot be.
		for range 3 {
			if fresh(t, c, "nothing") != nil || fresh(t, c, "Flask") != nil || fresh(t, c, "../x") != nil {
				t.Error("there is something")
			}
		}
		wantRequests(t, s, map[string]int{"list": 1})

		// A file by its name, and what lies beside it.
		name, _ := flask("3.0")
		time.Sleep(2 * time.Second)
		for _, key := range []string{name, name + ProvenanceSuffix, "no file", name + ".exe"} {
			if err := c.FreshFile(t.Context(), key); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		wantRequests(t, s, map[string]int{"list": 1})
		if text := log.String(); text != "" {
			t.Errorf("log:\n%s", text)
		}
	})
}

// TestFarSeesOthers: what another server uploads or removes shows after a second, as does what lies beside; what this one uploads at once.
func TestFarSeesOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newRemote()
		a, _ := openFar(t, s, nil)
		b, _ := openFar(t, s, nil)
		one, content := flask("1.0")
		if fresh(t, a, "flask") != nil || fresh(t, b, "flask") != nil {
			t.Fatal("there is something")
		}
		mustUpload(t, a, one, content)
		if fresh(t, a, "flask") == nil || a.File(one) == nil {
			t.Error("it does not show where it came")
		}
		if fresh(t, b, "flask") != nil {
			t.Error("within a second of the last look the store was asked")
		}
		s.requests()
		for range 3 { // of a file another server may have told a moment ago
			if err := b.FreshFile(t.Context(), one); err != nil || b.File(one) == nil {
				t.Errorf("its name is known elsewhere: %v", err)
			}
		}
		wantRequests(t, s, map[string]int{"list": 1, "note": 1})
		time.Sleep(1001 * time.Millisecond)
		if x, y := a.File(one), b.File(one); factsOf(x) != factsOf(y) || x.From != y.From || x.UploadTime != y.UploadTime {
			t.Errorf("%+v and %+v", x, y)
		}

		// Beside it.
		s.put(one+YankedSuffix, []byte("too old"), nil)
		s.put("flask.status", []byte("deprecated: use quart"), nil)
		time.Sleep(1001 * time.Millisecond)
		p := fresh(t, b, "flask")
		if f := b.File(one); !f.Yanked || f.YankedReason != "too old" || p.Status != Deprecated || p.StatusReason != "use quart" {
			t.Errorf("%+v, %s", f, p.Status)
		}
		// Of the same second, as long: this shows when the second is over.
		s.put(one+YankedSuffix, []byte("too odd"), nil)
		time.Sleep(3 * time.Second)
		if fresh(t, b, "flask"); b.File(one).YankedReason != "too odd" {
			t.Errorf("reason %q", b.File(one).YankedReason)
		}
		p = fresh(t, b, "flask")
		s.requests()
		for range 5 {
			time.Sleep(2 * time.Second)
			if fresh(t, b, "flask") != p {
				t.Error("nothing changed, and it is another project")
			}
		}
		if got := s.requests(); got["list"] != 5 || got["open"] > 1 {
			t.Errorf("requests %v", got)
		}

		for _, key := range []string{one + YankedSuffix, "flask.status", one} {
			if err := s.Remove(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			time.Sleep(1001 * time.Millisecond)
			p = fresh(t, b, "flask")
			switch f := b.File(one); key {
			case one:
				if p != nil || f != nil {
					t.Errorf("%+v is still there", f)
				}
			case "flask.status":
				if p.Status != "" {
					t.Error("the status stayed")
				}
			default:
				if f.Yanked {
					t.Error("it is still yanked")
				}
			}
		}
	})
}

// TestFarUploads: of several servers one keeps a name, the others say what it holds.
func TestFarUploads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, derived := newRemote(), newRemote()
		a, _ := openFar(t, s, derived)
		b, _ := openFar(t, s, derived)
		name, content := flask("1.0")
		_, other := makeWheel(wheeltest.Wheel{Name: "Flask", Version: "1.0", Summary: "Another", RequiresPython: ">=3.8"})
		fresh(t, b, "flask")
		mustUpload(t, a, name, content)
		// b knows nothing of it yet, and is told by the store.
		if created, err := upload(t, b, name, content); created || err != nil {
			t.Errorf("the same again: %v, %v", created, err)
		}
		if b.File(name) == nil {
			t.Error("what was held already does not show")
		}
		var conflict *ConflictError
		if _, err := upload(t, b, name, other); !errors.As(err, &conflict) || conflict.Held != sum(content) {
			t.Errorf("other bytes: %v", err)
		}
		if r, f, err := b.Open(t.Context(), name); err != nil || f.SHA256 != sum(content) {
			t.Errorf("open: %+v, %v", f, err)
		} else {
			r.Close()
		}

		// METADATA is shared, and made where it is not.
		derived.requests()
		text, f, err := b.Metadata(t.Context(), name)
		if err != nil || sum(text) != f.MetadataSHA256 {
			t.Errorf("metadata: %q, %v", text, err)
		}
		wantRequests(t, derived, map[string]int{"open": 1})
		if err := derived.Remove(t.Context(), metadataKey(f.SHA256)); err != nil {
			t.Fatal(err)
		}
		if text, _, err = b.Metadata(t.Context(), name); err != nil || sum(text) != f.MetadataSHA256 {
			t.Errorf("metadata made again: %q, %v", text, err)
		}
		if _, _, err := derived.Open(t.Context(), metadataKey(f.SHA256)); err != nil {
			t.Errorf("it was not shared again: %v", err)
		}

		// That something is held nobody is told by what was known of it once.
		time.Sleep(2 * time.Second)
		s.meanwhile(func(context.Context, string, string) error { return errors.New("connection refused") })
		var away *store.UnavailableError
		for what, content := range map[string][]byte{"the same": content, "other bytes": other} {
			if _, err := upload(t, b, name, content); !errors.As(err, &away) {
				t.Errorf("%s while the store is away: %v", what, err)
			}
		}
		s.meanwhile(nil)
		time.Sleep(10 * time.Second)
		fresh(t, b, "flask")
		if err := s.Remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		mustUpload(t, b, name, content)

		// An ambiguous name is refused.
		sdist := makeSdist(t, "foo-bar-1.0-2", "Metadata-Version: 2.1\nName: foo-bar\nVersion: 1.0.post2\n")
		var invalid *InvalidError
		if _, err := upload(t, a, "foo-bar-1.0-2.tar.gz", sdist); !errors.As(err, &invalid) || !strings.Contains(err.Error(), "foo_bar-1.0.post2.tar.gz") {
			t.Errorf("an ambiguous name: %v", err)
		}
	})
}

// TestFarTarballs: who took a wheel makes its tarball, which all servers have then; one that was not made is made when somebody asks for the
// wheel. The tarball of other bytes under the same name is nobody's.
func TestFarTarballs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newRemote()
		tarballing := func() *Catalog {
			c, err := Open(t.Context(), Config{Store: s, State: t.TempDir(), Tarballs: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			run(t, c)
			return c
		}
		a, b := tarballing(), tarballing()
		name, content := flask("1.0")
		mustUpload(t, a, name, content)
		built, wheel, text := recordtest.Build(t, "flask", "3.11.1", "one", nil)
		if err := send(t, a, built, wheel, text); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second) // it rests meanwhile
		p := fresh(t, a, "flask")
		for _, c := range []*Catalog{a, b} {
			fresh(t, c, "flask")
			r, f, err := c.Tarball(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			r.Close()
			if err != nil || f.Tarball != (dist.Tarball{SHA256: sum(got), Size: int64(len(got))}) {
				t.Errorf("%d bytes, %v; told were %v", len(got), err, f.Tarball)
			}
			if _, _, err := c.Tarball(t.Context(), built); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the tarball of a build: %v", err)
			}
		}
		time.Sleep(2 * time.Second)
		if fresh(t, a, "flask") != p {
			t.Error("nothing changed, and it is another project")
		}

		// Another name of theirs, with other bytes.
		key := tarballKey(b.File(name), b.File(name).Tarball)
		if err := s.Remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		_, other := makeWheel(wheeltest.Wheel{Name: "Flask", Version: "1.0", Summary: "Another"})
		writer, _ := openFar(t, s, nil)
		mustUpload(t, writer, name, other)
		time.Sleep(2 * time.Second)
		fresh(t, b, "flask")
		if f := b.File(name); f.SHA256 != sum(other) || f.Tarball.SHA256 != "" {
			t.Errorf("%+v", f)
		}
		// Whoever took it did not make one.
		time.Sleep(2 * demandAge)
		if err := b.FreshFile(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		r, _, err := b.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		time.Sleep(5 * time.Second)
		fresh(t, a, "flask")
		if f := a.File(name); f.Tarball.SHA256 == "" || tarballKey(f, f.Tarball) == key {
			t.Errorf("%+v", f)
		}

		// It goes.
		f := a.File(name)
		if err := s.Remove(t.Context(), tarballKey(f, f.Tarball)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := a.Tarball(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a tarball that went: %v", err)
		}
		time.Sleep(2 * time.Second)
		if fresh(t, a, "flask"); a.File(name).Tarball.SHA256 != "" {
			t.Error("it is still there")
		}
	})
}

// TestFarRace: a listing that began before an upload of this server does not undo it.
func TestFarRace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newRemote()
		c, _ := openFar(t, s, nil)
		one, content := flask("1.0")
		mustUpload(t, c, one, content)
		time.Sleep(2 * time.Second)
		fresh(t, c, "flask")
		s.meanwhile(func(ctx context.Context, what, _ string) error {
			switch what {
			case "create": // it is under way
				time.Sleep(2 * time.Second)
			case "list": // the answer is
				time.Sleep(3 * time.Second)
			}
			return ctx.Err()
		})
		two, content := flask("2.0")
		done := make(chan error)
		go func() {
			_, err := upload(t, c, two, content)
			done <- err
		}()
		time.Sleep(1500 * time.Millisecond)
		go func() { done <- c.Fresh(t.Context(), "flask") }()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		time.Sleep(5 * time.Second)
		if c.File(one) == nil || c.File(two) == nil {
			t.Errorf("held: %v", names(c.Project("flask").Files))
		}
		s.meanwhile(nil)
		if err := s.Remove(t.Context(), two); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1001 * time.Millisecond)
		if fresh(t, c, "flask"); c.File(two) != nil {
			t.Error("what others removed stayed")
		}
	})
}

// TestFarBuilds: a record is decided on with its wheel, whoever sent another one meanwhile, and builds are found by servers that did not see
// them come.
func TestFarBuilds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, derived := newRemote(), newRemote()
		a, _ := openFar(t, s, derived)
		b, _ := openFar(t, s, derived)
		key := record.Key(record.Decides{From: recordtest.Source})
		if err := b.FreshBuilds(t.Context(), recordtest.Source, key); err != nil || b.Builds(recordtest.Source, key) != nil {
			t.Errorf("builds of nothing: %v", err)
		}
		name, wheel, text := recordtest.Build(t, "foo", "3.11.1", "one", nil)
		_, otherWheel, otherText := recordtest.Build(t, "foo", "3.11.1", "two", nil)
		fresh(t, b, "foo")
		if err := send(t, a, name, wheel, text); err != nil {
			t.Fatal(err)
		}
		var conflict *ConflictError
		for range 2 {
			if err := send(t, b, name, otherWheel, otherText); !errors.As(err, &conflict) {
				t.Errorf("another build of the same: %v", err)
			}
		}
		if n := len(evidenceOf(derived)); n != 2 {
			t.Errorf("evidence: %v", evidenceOf(derived))
		}
		for what, c := range map[string]*Catalog{"where it came": a, "where another came": b} {
			if err := c.FreshBuilds(t.Context(), recordtest.Source, key); err != nil {
				t.Fatal(err)
			}
			if found := c.Builds(recordtest.Source, key); len(found) != 1 || found[0].Build.SHA256 != sum(wheel) {
				t.Errorf("%s: builds %v", what, names(found))
			}
			if got, err := c.Sidecar(t.Context(), name+RecordSuffix); err != nil || !bytes.Equal(got, text) {
				t.Errorf("%s: the record: %q, %v", what, got, err)
			}
			if _, err := c.Sidecar(t.Context(), name+SignatureSuffix); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: a signature: %v", what, err)
			}
		}
		p := fresh(t, b, "foo")
		time.Sleep(5 * time.Second)
		if fresh(t, b, "foo") != p {
			t.Error("nothing changed, and it is another project")
		}

		// With the wheel goes the record.
		if err := s.Remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1001 * time.Millisecond)
		if err := b.FreshBuilds(t.Context(), recordtest.Source, key); err != nil || b.Builds(recordtest.Source, key) != nil {
			t.Errorf("builds of what was removed: %v, %v", names(b.Builds(recordtest.Source, key)), err)
		}
		if len(b.sidecars) != 0 {
			t.Errorf("left: %v", b.sidecars)
		}
		// A record that comes later lies beside the wheel.
		if created, err := upload(t, a, name, wheel); !created || err != nil {
			t.Fatalf("%v, %v", created, err)
		}
		if err := send(t, a, name, wheel, text); err != nil || a.File(name).Build == nil {
			t.Errorf("a record that came later: %v", err)
		}
		time.Sleep(1001 * time.Millisecond)
		if fresh(t, b, "foo"); b.File(name).Build == nil {
			t.Error("a record that came later does not show")
		}
	})
}

func evidenceOf(s *remote) (keys []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.held {
		if strings.HasPrefix(key, "evidence/") {
			keys = append(keys, key)
		}
	}
	return keys
}

// TestFarNotes: what a note lacks is read from the file, what an older or newer server wrote will do, and what cannot be used is told once.
func TestFarNotes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newRemote()
		c, log := openFar(t, s, nil)
		name, content := flask("1.0")
		f, _, err := check(bytes.NewReader(content), int64(len(content)), name)
		if err != nil {
			t.Fatal(err)
		}
		good := fmt.Sprintf(`{"schema":9,"file":%q,"size":%d,"sha256":%q,"metadata_sha256":%q,"new":{"x":[1]},"project":"flask","requires_python":">=3.8","summary":"A framework","upload_time":1000000000000000000}`,
			name, len(content), sum(content), f.MetadataSHA256)
		for what, note := range map[string]string{
			"none": "", "garbage": "\x00\xff", "nothing": "{}", "no hash": strings.Replace(good, `"sha256":"`, `"sha256":"x`, 1),
			"another size": strings.Replace(good, `"size":`, `"size":1`, 1), "another's": strings.Replace(good, "1.0", "2.0", 1), "newer": good,
			"no metadata": strings.Replace(good, `"metadata_sha256":"`, `"metadata_sha256":"x`, 1),
		} {
			s.put(name, content, []byte(note))
			time.Sleep(1001 * time.Millisecond)
			p := fresh(t, c, "flask")
			if p == nil || p.Files[0].SHA256 != sum(content) || p.Files[0].MetadataSHA256 != f.MetadataSHA256 || p.Files[0].Summary != "A framework" {
				t.Errorf("%s: %+v", what, p)
			}
			if asked := s.requests(); (asked["open"] == 0) != (what == "newer") {
				t.Errorf("%s: requests %v", what, asked)
			}
		}
		s.put("flask-2.0-py3-none-any.whl", []byte("no wheel"), nil)
		s.put("flask-x.txt", []byte("what?"), nil)
		s.put("flask-babel-1.0.tar.gz", []byte("of another project"), nil)
		s.put("flask.status", []byte("what?"), nil)
		s.put("flask-3.0-py3-none-any.whl", content, []byte(`{"file":"flask-3.0-py3-none-any.whl","size":`+fmt.Sprint(len(content))+`,"sha256":"`+sum(content)+`","metadata_sha256":"`+f.MetadataSHA256+`","record":"{}"}`))
		for range 5 {
			time.Sleep(1001 * time.Millisecond)
			if p := fresh(t, c, "flask"); len(p.Files) != 1 {
				t.Errorf("held: %v", names(p.Files))
			}
		}
		if asked := s.requests(); asked["list"] != 5 || asked["note"] != 2 || asked["open"] != 2 {
			t.Errorf("requests %v", asked)
		}
		if n := strings.Count(log.String(), "ignored"); n != 5 {
			t.Errorf("%d ignored:\n%s", n, log)
		}
	})
}

// TestFarFlights: however many wait for a project it is listed once, and each of them may go away alone.
func TestFarFlights(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newRemote()
		c, _ := openFar(t, s, nil)
		name, content := flask("1.0")
		mustUpload(t, c, name, content)
		c, _ = openFar(t, s, nil)
		s.requests()
		s.meanwhile(func(ctx context.Context, what, _ string) error {
			time.Sleep(time.Second)
			return ctx.Err()
		})
		gone, leave := context.WithCancelCause(t.Context())
		errGone := errors.New("gone")
		var waiting sync.WaitGroup
		for i := range 100 {
			ctx := t.Context()
			if i%2 == 0 {
				ctx = gone
			}
			waiting.Go(func() {
				err := c.Fresh(ctx, "flask")
				if i%2 == 0 && !errors.Is(err, errGone) || i%2 == 1 && (err != nil || c.File(name) == nil) {
					t.Errorf("waiter %d: %v", i, err)
				}
			})
		}
		synctest.Wait()
		leave(errGone)
		waiting.Wait()
		wantRequests(t, s, map[string]int{"list": 1, "note": 1})
	})
}

// TestFarAway: while the store does not answer what is known is served, and it is asked again after 1 s, 2 s, 4 s, 8 s, 10 s and so on.
func TestFarAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newRemote()
		c, log := openFar(t, s, nil)
		name, content := flask("1.0")
		mustUpload(t, c, name, content)
		p := fresh(t, c, "flask")
		if err := c.FreshNames(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		s.requests()
		s.meanwhile(func(context.Context, string, string) error { return errors.New("connection refused") })
		begun := time.Now()
		for time.Since(begun) < 36*time.Second {
			if fresh(t, c, "flask") != p {
				t.Fatal("what is known is not served")
			}
			var away *store.UnavailableError
			if err := c.Fresh(t.Context(), "quart"); !errors.As(err, &away) || away.RetryAfter <= 0 || away.RetryAfter > 10*time.Second {
				t.Fatalf("what is not known: %v", err)
			}
			if _, err := upload(t, c, "quart-1.0-py3-none-any.whl", content); !errors.As(err, &away) {
				t.Fatalf("an upload: %v", err)
			}
			if err := c.FreshNames(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if asked := s.requests(); asked["list"] != 2*7 || asked["groups"] != 7 {
			t.Errorf("requests %v", asked)
		}
		if n := strings.Count(log.String(), "WARN"); n == 0 || n > 10 {
			t.Errorf("log:\n%s", log)
		}
		s.meanwhile(nil)
		time.Sleep(10 * time.Second)
		two, content := flask("2.0")
		mustUpload(t, c, two, content)
		if p := fresh(t, c, "flask"); len(p.Files) != 2 {
			t.Errorf("held: %v", names(p.Files))
		}
	})
}

// TestFarSlow: for what is known nobody waits longer than two seconds, nor does anybody else while one look takes that long.
func TestFarSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newRemote()
		c, _ := openFar(t, s, nil)
		name, content := flask("1.0")
		mustUpload(t, c, name, content)
		p := fresh(t, c, "flask")
		time.Sleep(2 * time.Second)
		s.meanwhile(func(ctx context.Context, _, _ string) error {
			<-ctx.Done() // which is the end of the look, after a minute
			return ctx.Err()
		})
		took := func(name dist.Name) (time.Duration, error) {
			begun := time.Now()
			err := c.Fresh(t.Context(), name)
			return time.Since(begun), err
		}
		for i, want := range []time.Duration{patience, 0, 0} {
			if waited, err := took("flask"); err != nil || waited != want || c.Project("flask") != p {
				t.Errorf("%d: waited %v, %v", i, waited, err)
			}
		}
		var away *store.UnavailableError
		if waited, err := took("quart"); !errors.As(err, &away) || waited != longestWait {
			t.Errorf("what is not known: waited %v, %v", waited, err)
		}
		time.Sleep(2 * time.Minute)
		// A file that is held is not even waited for once.
		s.meanwhile(nil)
		time.Sleep(11 * time.Second)
		fresh(t, c, "flask")
		time.Sleep(30 * time.Second)
		s.meanwhile(func(ctx context.Context, _, _ string) error {
			<-ctx.Done()
			return ctx.Err()
		})
		begun := time.Now()
		for range 3 {
			if err := c.FreshFile(t.Context(), name); err != nil {
				t.Error(err)
			}
		}
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("waited %v for a file that is held", waited)
		}
	})
}

// TestFarPieces: what was read of a project before the store failed is not read again.
func TestFarPieces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newRemote()
		c, _ := openFar(t, s, nil)
		const most = 100
		for i := range most {
			name, content := flask(fmt.Sprintf("1.%d", i))
			mustUpload(t, c, name, content)
		}
		c, _ = openFar(t, s, nil)
		s.requests()
		n := 0
		s.meanwhile(func(_ context.Context, what, _ string) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if n++; what == "note" && n%10 == 0 {
				return errors.New("slow down")
			}
			return nil
		})
		tries := 0
		for ; c.Fresh(t.Context(), "flask") != nil && tries < 50; tries++ {
			if c.Project("flask") != nil {
				t.Fatal("a part is shown")
			}
			time.Sleep(10 * time.Second)
		}
		asked := s.requests()
		if p := c.Project("flask"); p == nil || len(p.Files) != most || asked["note"] > most*6/5 {
			t.Errorf("after %d tries and %v: %+v", tries, asked, p)
		}
	})
}

// TestFarForgets: what nobody asked for lately is forgotten where too much is remembered, and is as it was when somebody asks again.
func TestFarForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newRemote()
		c, _ := openFar(t, s, nil)
		const most = 50
		for i := range most {
			w := wheeltest.Wheel{Name: fmt.Sprintf("p%d", i), Version: "1"}
			mustUpload(t, c, w.Filename(), wheeltest.Build(w))
			s.put(w.Filename()+YankedSuffix, nil, nil)
			s.put(w.Name+".status", []byte("archived"), nil)
		}
		time.Sleep(2 * time.Second)
		build, wheel, text := recordtest.Build(t, "p0", "3.11.1", "one", nil)
		if err := send(t, c, build, wheel, text); err == nil {
			t.Error("an archived project took a file") // p0.status came meanwhile
		}
		small, err := Open(t.Context(), Config{Store: s, most: 40})
		if err != nil {
			t.Fatal(err)
		}
		defer small.Close()
		if err := small.FreshNames(t.Context()); err != nil {
			t.Fatal(err)
		}
		listed, generation := small.Names()
		for range 2 {
			for i := range most {
				name := dist.Name(fmt.Sprintf("p%d", i))
				p := fresh(t, small, name)
				if p == nil || p.Status != Archived || !p.Files[0].Yanked {
					t.Fatalf("%s: %+v", name, p)
				}
				if err := small.Fresh(t.Context(), "none"+name); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Second)
			}
		}
		if n := len(small.files) + len(small.sidecars); n > 40 || small.far.held > 40 || len(small.projects) > 20 || len(small.newest) > 20 || n < 15 {
			t.Errorf("%d are remembered, %d, %d projects", n, small.far.held, len(small.projects))
		}
		for _, p := range small.Newest(100) {
			if p == nil {
				t.Error("a project that is forgotten is new")
			}
		}
		if after, now := small.Names(); now != generation || cmp.Diff(listed, after) != "" || len(after) != most {
			t.Errorf("generation %d became %d, names %v", generation, now, after)
		}

		// All at once: what is in use stays.
		for i := range most {
			fresh(t, small, dist.Name(fmt.Sprintf("p%d", i)))
		}
		for i := range most {
			if small.Project(dist.Name(fmt.Sprintf("p%d", i))) == nil {
				t.Errorf("p%d was forgotten while it was in use", i)
			}
		}
	})
}

// TestFarNames: names are listed once for many, as long as they are good for; what is uploaded here shows at once, and the generation changes
// with the names alone.
func TestFarNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newRemote()
		a, _ := openFar(t, s, nil)
		b, _ := openFar(t, s, nil)
		keep := func(c *Catalog, project string) {
			t.Helper()
			w := wheeltest.Wheel{Name: project, Version: "1"}
			mustUpload(t, c, w.Filename(), wheeltest.Build(w))
		}
		want := func(c *Catalog, want ...dist.Name) (generation uint64) {
			t.Helper()
			if err := c.FreshNames(t.Context()); err != nil {
				t.Fatal(err)
			}
			names, generation := c.Names()
			if diff := cmp.Diff(want, slices.Clone(names)); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
			if stats := c.Stats(); stats.Projects != len(want) {
				t.Errorf("stats: %+v", stats)
			}
			return generation
		}
		keep(a, "one")
		keep(b, "two")
		first := want(a, "one", "two")
		keep(a, "three")
		second := want(a, "one", "three", "two")
		keep(b, "zope")
		third := want(a, "one", "three", "two")
		if first == second || second != third {
			t.Errorf("generations %d, %d, %d", first, second, third)
		}
		if fresh(t, a, "zope") == nil { // seen before it is listed
			t.Error("zope does not show")
		}
		fourth := want(a, "one", "three", "two", "zope")
		s.requests()
		for range 10 {
			time.Sleep(1001 * time.Millisecond)
			if want(a, "one", "three", "two", "zope") != fourth {
				t.Error("the generation changed, and no name")
			}
		}
		wantRequests(t, s, map[string]int{"groups": 10})

		// It takes long: they are used for longer.
		s.meanwhile(func(context.Context, string, string) error {
			time.Sleep(time.Second)
			return nil
		})
		time.Sleep(1001 * time.Millisecond)
		for range 40 {
			want(a, "one", "three", "two", "zope")
			time.Sleep(time.Second)
		}
		if asked := s.requests(); asked["groups"] < 2 || asked["groups"] > 3 {
			t.Errorf("requests %v", asked)
		}
		s.meanwhile(nil)
		if err := s.Remove(t.Context(), "zope-1-py3-none-any.whl"); err != nil {
			t.Fatal(err)
		}
		if fresh(t, a, "zope") != nil {
			t.Error("zope is still there")
		}
		want(a, "one", "three", "two")
	})
}

// TestFarManyFiles: the first look at a project of thousands of files is one request for each, 32 of them at once, and the next one a listing.
func TestFarManyFiles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const files, latency = 5000, 20 * time.Millisecond // of a request there and back, on average
		s := newStock(t, storetest.NewMemory(0, time.Second))
		for i := range files {
			if err := s.put(t.Context(), fmt.Sprintf("many-1.%d-py3-none-any.whl", i), 100, ""); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Second)
		c := s.catalog(s.raw.Link(storetest.Faults{Seed: 1, Delay: latency}), Config{})
		t.Cleanup(func() { c.Close() })
		for _, look := range []string{"first", "second"} {
			before, began := s.raw.Requests(), time.Now()
			if p := fresh(t, c, "many"); p == nil || len(p.Files) != files {
				t.Fatalf("%v", p)
			}
			took, after := time.Since(began), s.raw.Requests()
			t.Logf("%d files, the %s look: %d listings, %d reads, %v of a store that takes %v", files, look, after.List-before.List, after.Get-before.Get, took, latency)
			reads := files
			if look == "second" {
				reads = 0
			}
			// A page of the listing has 1000 keys, and each file two: its claim and its bytes.
			if lists := after.List - before.List; lists != 2*files/1000 || after.Get-before.Get != reads || after.Head != before.Head || took > longestWait {
				t.Errorf("the %s look took %v and %d listings: %+v became %+v", look, took, lists, before, after)
			}
			time.Sleep(2 * time.Second)
		}
	})
}
