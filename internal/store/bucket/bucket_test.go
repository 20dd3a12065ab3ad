package bucket

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"curdling/internal/store"
	"curdling/internal/store/filecache"
	"curdling/internal/store/s3"
	"curdling/internal/store/s3/s3test"
	"curdling/internal/store/storetest"
)

func TestMain(m *testing.M) {
	s3test.SetCredentials()
	goleak.VerifyTestMain(m)
}

// TestStore: files of any bytes pass the suite, under names that a distribution file may have.
func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		return named{New(storetest.NewMemory(3, 0), Options{Temp: t.TempDir()})}
	})
}

func TestCached(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store {
		cache := filecache.New(filecache.Options{Dir: t.TempDir(), MaxBytes: 1 << 20})
		t.Cleanup(cache.Close)
		return named{New(storetest.NewMemory(3, 0), Options{Cache: cache, Temp: t.TempDir()})}
	})
}

// named is a store of the suite's keys over one of distribution files: k<hex of the key>-1.tar.gz. What is swapped in
// the suite is a sidecar.
type named struct{ *Store }

func (n named) key(key string) string {
	switch {
	case store.CheckKey(key) != nil:
		return key
	case key == "sig":
		return "k-1.tar.gz.build.sig"
	}
	return "k" + hex.EncodeToString([]byte(key)) + "-1.tar.gz"
}

func (n named) info(info store.Info) store.Info {
	text, ok := strings.CutSuffix(info.Key, "-1.tar.gz")
	if key, err := hex.DecodeString(text[min(1, len(text)):]); ok && err == nil {
		info.Key = string(key)
	} else {
		info.Key = "sig"
	}
	return info
}

func (n named) Open(ctx context.Context, key string) (io.ReadSeekCloser, store.Info, error) {
	r, info, err := n.Store.Open(ctx, n.key(key))
	return r, n.info(info), err
}

func (n named) Stat(ctx context.Context, key string) (store.Info, error) {
	info, err := n.Store.Stat(ctx, n.key(key))
	return n.info(info), err
}

func (n named) Create(ctx context.Context, key string, r io.Reader, size int64) error {
	return n.Store.Create(ctx, n.key(key), r, size)
}

func (n named) Remove(ctx context.Context, key string) error {
	return n.Store.Remove(ctx, n.key(key))
}

func (n named) Swap(ctx context.Context, key string, old, content []byte) error {
	return n.Store.Swap(ctx, n.key(key), old, content)
}

func (n named) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	under := "k" + hex.EncodeToString([]byte(prefix))
	if prefix == "" || store.CheckKey(strings.TrimSuffix(prefix, "/")) != nil {
		under = prefix
	}
	return func(yield func(store.Info, error) bool) {
		for info, err := range n.Store.List(ctx, under) {
			if !yield(n.info(info), err) {
				return
			}
		}
	}
}

const (
	flask   = "flask-3.1.2-py3-none-any.whl"
	flaskSd = "Flask-3.1.2.tar.gz"
)

// keep has a store keep a file, with a note.
func keep(t *testing.T, s *Store, key, content string) {
	t.Helper()
	if err := s.CreateNoted(t.Context(), key, sum(content), []byte("of "+content), strings.NewReader(content), int64(len(content))); err != nil {
		t.Fatal(err)
	}
}

// put puts an object into the raw store.
func put(t *testing.T, m *storetest.Memory, key, content string) {
	t.Helper()
	if err := m.Create(t.Context(), key, strings.NewReader(content), int64(len(content))); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, raw Raw) *Store {
	t.Helper()
	return New(raw, Options{Temp: t.TempDir()})
}

func TestKeys(t *testing.T) {
	t.Parallel()
	const hash = "00000000000000000000000000000000000000000000000000000000000000ff"
	for _, test := range []struct {
		key, object string // "": a bad key
		file        bool
		sha256      string
	}{
		{flask, "wheels/flask/" + flask, true, ""},
		{flaskSd, "wheels/flask/" + flaskSd, true, ""},
		{"Ruamel.YAML__clib-1.tar.gz", "wheels/ruamel-yaml-clib/Ruamel.YAML__clib-1.tar.gz", true, ""},
		{"foo-bar-1.0-2.tar.gz", "wheels/foo-bar-1-0/foo-bar-1.0-2.tar.gz", true, ""}, // as nobody expects anything
		{"x-1!2+local.zip", "wheels/x/x-1!2+local.zip", true, ""},
		{flask + ".yanked", "wheels/flask/" + flask + ".yanked", false, ""},
		{flask + ".build.json", "wheels/flask/" + flask + ".build.json", false, ""},
		{flask + ".of.a.later", "wheels/flask/" + flask + ".of.a.later", false, ""},
		{flask + ".of.a.much.later", "", false, ""},
		{flaskSd + ".provenance", "wheels/flask/" + flaskSd + ".provenance", false, ""},
		{flask + "." + hash + ".tar.zst", "wheels/flask/" + flask + "." + hash + ".tar.zst", false, hash},
		{flask + ".00ff.tar.zst", "wheels/flask/" + flask + ".00ff.tar.zst", false, ""},
		{"flask.status", "wheels/flask/flask.status", false, ""},
		{"Flask.status", "", false, ""},
		{"flask", "", false, ""},
		{"readme.txt", "", false, ""},
		{"wheels/flask/" + flask, "", false, ""},
		{"x/" + flask, "", false, ""},
		{"../" + flask, "", false, ""},
		{"", "", false, ""},
	} {
		p, err := placeOf(test.key)
		if test.object == "" {
			if !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("%q: %+v, %v, want fs.ErrInvalid", test.key, p, err)
			}
			continue
		}
		if err != nil || p.object() != test.object || p.file != test.file || p.sha256 != test.sha256 {
			t.Errorf("%q: %+v, %v, want %+v", test.key, p, err, test)
		}
	}
}

// TestRequests bounds what operations cost, and that this does not grow with what else is held.
func TestRequests(t *testing.T) {
	t.Parallel()
	m := storetest.NewMemory(1000, time.Second)
	one, other, third := open(t, m), open(t, m), open(t, m)
	for i := range 200 {
		keep(t, one, fmt.Sprintf("project%d-1.tar.gz", i), "x")
	}
	const own = "00000000000000000000000000000000000000000000000000000000000000ff"
	tarball := flask + "." + own + ".tar.zst"
	put(t, m, "wheels/flask/"+tarball, "a tarball")
	put(t, m, "wheels/flask/flask.status", "archived")
	type requests = storetest.Requests
	for _, test := range []struct {
		name string
		do   func(context.Context) error
		want requests
	}{
		{"create", func(ctx context.Context) error { return createNoted(ctx, one, flask, "wheel") }, requests{Put: 2}},
		{"tell what was created", func(ctx context.Context) error { _, err := one.Stat(ctx, flask); return err }, requests{Get: 1}},
		{"open what was created", func(ctx context.Context) error { _, err := show(ctx, one, flask); return err }, requests{Get: 1}},
		{"create another", func(ctx context.Context) error { return createNoted(ctx, one, flaskSd, "sdist") }, requests{Put: 2}},
		{"create what is there", func(ctx context.Context) error {
			if err := createNoted(ctx, one, flask, "other"); !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%v, want fs.ErrExist", err)
			}
			return nil
		}, requests{Put: 2, Get: 1, Head: 1, Delete: 1}},
		{"page that nobody saw here", func(ctx context.Context) error { _, err := listGroup(ctx, other, flask); return err }, requests{List: 1, Get: 2}},
		{"note", func(ctx context.Context) error { _, _, err := other.Note(ctx, flask); return err }, requests{}},
		{"hash", func(context.Context) error {
			if got := other.SHA256(flask); got != sum("wheel") {
				return errors.New("sha256 " + got)
			}
			return nil
		}, requests{}},
		{"page", func(ctx context.Context) error { _, err := listGroup(ctx, other, flask); return err }, requests{List: 1}},
		{"open", func(ctx context.Context) error { _, err := show(ctx, other, flask); return err }, requests{Get: 1}},
		{"open a sidecar", func(ctx context.Context) error { _, err := show(ctx, other, "flask.status"); return err }, requests{Get: 1}},
		{"place", func(ctx context.Context) error { _, _, err := other.Place(ctx, tarball); return err }, requests{}},
		{"open what nobody saw here", func(ctx context.Context) error { _, err := show(ctx, third, flask); return err }, requests{Get: 2}},
		{"note of what nobody saw here", func(ctx context.Context) error { _, _, err := third.Note(ctx, flaskSd); return err }, requests{Get: 1, Head: 1}},
		{"swap", func(ctx context.Context) error {
			return one.Swap(ctx, "flask.status", []byte("archived"), []byte("active"))
		}, requests{Get: 1, Put: 1}},
		{"remove", func(ctx context.Context) error { return one.Remove(ctx, flask) }, requests{Get: 1, Head: 2, Delete: 2}},
		{"names", func(ctx context.Context) error {
			n := 0
			for _, err := range other.Groups(ctx) {
				if err != nil {
					return err
				}
				n++
			}
			if n != 201 {
				return fmt.Errorf("%d names", n)
			}
			return nil
		}, requests{List: 1}},
	} {
		before := m.Requests()
		if err := test.do(t.Context()); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		after := m.Requests()
		got := requests{
			Get: after.Get - before.Get, Head: after.Head - before.Head, Put: after.Put - before.Put,
			Delete: after.Delete - before.Delete, List: after.List - before.List,
		}
		if got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

// TestBroken: a claim without its bytes, or that is none, holds a name and no file.
func TestBroken(t *testing.T) {
	t.Parallel()
	const dir = "wheels/flask/"
	object := dir + sum("wheel") + "/PUT/" + flask
	text := string(claim{SHA256: sum("wheel"), Put: "PUT", Size: 5}.render())
	for _, test := range []struct {
		name string
		raw  map[string]string
	}{
		{"no bytes", map[string]string{dir + flask: text}},
		{"other bytes", map[string]string{dir + flask: text, dir + sum("other") + "/PUT/" + flask: "other"}},
		{"fewer bytes", map[string]string{dir + flask: text, object: "whe"}},
		{"more bytes", map[string]string{dir + flask: text, object: "wheels"}},
		{"empty", map[string]string{dir + flask: "", object: "wheel"}},
		{"torn", map[string]string{dir + flask: text[:40], object: "wheel"}},
		{"no format", map[string]string{dir + flask: strings.Replace(text, "1", "0", 1), object: "wheel"}},
		{"a way out", map[string]string{dir + flask: strings.Replace(text, "PUT", "../../x", 1), object: "wheel"}},
		{"too long", map[string]string{dir + flask: text + strings.Repeat("x", maxClaim), object: "wheel"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := storetest.NewMemory(0, 0)
			for key, content := range test.raw {
				put(t, m, key, content)
			}
			s := open(t, m)
			for range 2 { // also when it is known
				if _, err := show(t.Context(), s, flask); err == nil {
					t.Error("it can be opened")
				}
				if listed, err := listGroup(t.Context(), s, flask); err != nil || len(listed) != 0 {
					t.Errorf("listed is %v, %v", listed, err)
				}
				if _, err := s.Stat(t.Context(), flask); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("Stat: %v, want fs.ErrNotExist", err)
				}
				if _, _, err := s.Note(t.Context(), flask); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("Note: %v, want fs.ErrNotExist", err)
				}
				if err := createNoted(t.Context(), s, flask, "wheel"); !errors.Is(err, fs.ErrExist) {
					t.Errorf("Create: %v, want fs.ErrExist", err)
				}
			}
			swept, err := sweep(t.Context(), s, -time.Hour)
			if err != nil || len(test.raw) == 1 && !slices.Equal(swept.Broken, []string{flask}) {
				t.Errorf("swept: %+v, %v", swept, err)
			}
			if err := s.Remove(t.Context(), flask); err != nil {
				t.Fatal(err)
			}
			keep(t, s, flask, "wheel")
			if content, err := show(t.Context(), open(t, m), flask); content != "wheel" || err != nil {
				t.Errorf("in the end: %q, %v", content, err)
			}
		})
	}
}

// TestComeBack: a file whose bytes are put back where its claim says is held again.
func TestComeBack(t *testing.T) {
	t.Parallel()
	m := storetest.NewMemory(0, 0)
	s := open(t, m)
	keep(t, s, flask, "wheel")
	object, _, err := s.Place(t.Context(), flask)
	if err != nil {
		t.Fatal(err)
	}
	for _, held := range []bool{true, false, true} {
		if !held {
			err = m.Remove(t.Context(), object)
		} else if !slices.Contains(m.Keys(), object) {
			put(t, m, object, "wheel")
		}
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if listed, err := listGroup(t.Context(), s, flask); err != nil || (len(listed) == 1) != held {
				t.Errorf("listed is %v, %v, held %v", listed, err, held)
			}
		}
		if content, err := show(t.Context(), s, flask); held != (err == nil && content == "wheel") {
			t.Errorf("opened: %q, %v, held %v", content, err, held)
		}
	}
}

// TestWrongBytes: bytes with another hash are neither kept nor given.
func TestWrongBytes(t *testing.T) {
	t.Parallel()
	m := storetest.NewMemory(0, 0)
	s := open(t, m)
	if err := s.CreateNoted(t.Context(), flask, sum("other"), nil, strings.NewReader("wheel"), 5); err == nil || errors.Is(err, fs.ErrExist) {
		t.Errorf("kept with another hash: %v", err)
	}
	if keys := m.Keys(); len(keys) != 0 {
		t.Errorf("left are %q", keys)
	}
	put(t, m, "wheels/flask/"+sum("wheel")+"/PUT/"+flask, "weehl")
	put(t, m, "wheels/flask/"+flask, string(claim{SHA256: sum("wheel"), Put: "PUT", Size: 5}.render()))
	if content, err := show(t.Context(), s, flask); err == nil || content == "weehl" {
		t.Errorf("opened: %q, %v", content, err)
	}
}

// TestNewer: what a newer program claims is read as far as it is known.
func TestNewer(t *testing.T) {
	t.Parallel()
	m := storetest.NewMemory(0, 0)
	put(t, m, "wheels/flask/"+sum("wheel")+"/PUT/"+flask, "wheel")
	put(t, m, "wheels/flask/"+flask, `{"format":2,"owner":{"name":"x"},"put":"PUT","sha256":"`+sum("wheel")+`","size":5}`+"\nits\nnote")
	s := open(t, m)
	if content, err := show(t.Context(), s, flask); content != "wheel" || err != nil {
		t.Errorf("opened: %q, %v", content, err)
	}
	if note, _, err := s.Note(t.Context(), flask); string(note) != "its\nnote" || err != nil {
		t.Errorf("noted: %q, %v", note, err)
	}
}

// TestForeign: what others put into the bucket is not shown, and not touched.
func TestForeign(t *testing.T) {
	t.Parallel()
	m := storetest.NewMemory(0, 0)
	s := open(t, m)
	keep(t, s, flask, "wheel")
	foreign := []string{
		"wheels/x", "wheels/Flask/" + flask, "wheels/flask/django-1.tar.gz", "wheels/flask/readme", "wheels/flask/" + sum("x") + "/" + flask,
		"wheels/flask/" + sum("x") + "/P-T/" + flask, "wheels/flask/" + sum("x") + "/PUT/django-1.tar.gz", "wheels/flask/" + sum("x") + "/PUT/x/" + flask,
		"wheels/flask/dist/" + flask, "other/" + flask,
	}
	for _, key := range foreign {
		put(t, m, key, "x")
	}
	var got []string
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, info.Key)
	}
	if diff := cmp.Diff([]string{flask}, got); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	if swept, err := sweep(t.Context(), s, -time.Hour); err != nil || swept.Removed != 0 || len(swept.Broken) != 0 {
		t.Errorf("swept: %+v, %v", swept, err)
	}
	for _, key := range foreign {
		if !slices.Contains(m.Keys(), key) {
			t.Errorf("%s is gone", key)
		}
	}
}

// dying is a raw store that is cut off at a request that changes something, before it or after it.
type dying struct {
	Raw
	left int
	done bool // the last request is carried out
}

var errDead = errors.New("killed")

func (d *dying) step(do func() error) error {
	d.left--
	switch {
	case d.left > 0:
		return do()
	case d.left == 0 && d.done:
		_ = do()
	}
	return errDead
}

func (d *dying) Create(ctx context.Context, key string, r io.Reader, size int64) error {
	return d.step(func() error { return d.Raw.Create(ctx, key, r, size) })
}

func (d *dying) Remove(ctx context.Context, key string) error {
	return d.step(func() error { return d.Raw.Remove(ctx, key) })
}

func (d *dying) Open(ctx context.Context, key string) (r io.ReadSeekCloser, info store.Info, err error) {
	if d.left <= 0 {
		return nil, store.Info{}, errDead
	}
	return d.Raw.Open(ctx, key)
}

// TestDies: a server that is killed at any request leaves the file whole or not at all, and whoever does it again gets it done.
func TestDies(t *testing.T) {
	t.Parallel()
	for at := range 4 {
		for _, done := range []bool{false, true} {
			name := fmt.Sprintf("at %d, done %v", at, done)
			t.Run("create "+name, func(t *testing.T) {
				t.Parallel()
				m := storetest.NewMemory(0, 0)
				err := createNoted(t.Context(), open(t, &dying{m, at, done}), flask, "first")
				content, openErr := show(t.Context(), open(t, m), flask)
				if err == nil && content != "first" || content != "" && content != "first" || content == "" && !errors.Is(openErr, fs.ErrNotExist) {
					t.Errorf("after %v: %q, %v", err, content, openErr)
				}
				again := createNoted(t.Context(), open(t, m), flask, "second")
				if (content == "") != (again == nil) || again != nil && !errors.Is(again, fs.ErrExist) {
					t.Errorf("again, after %q: %v", content, again)
				}
				swept(t, m, 2)
			})
			t.Run("remove "+name, func(t *testing.T) {
				t.Parallel()
				m := storetest.NewMemory(0, 0)
				keep(t, open(t, m), flask, "first")
				s := open(t, &dying{m, at, done})
				_, _ = listGroup(t.Context(), s, flask)
				err := s.Remove(t.Context(), flask)
				if known := s.SHA256(flask); err == nil && known != "" {
					t.Error("it is known still")
				}
				content, openErr := show(t.Context(), open(t, m), flask)
				if err == nil && content != "" || content != "" && content != "first" || content == "" && !errors.Is(openErr, fs.ErrNotExist) {
					t.Errorf("after %v: %q, %v", err, content, openErr)
				}
				if content == "" {
					swept(t, m, 0)
					return
				}
				if err := open(t, m).Remove(t.Context(), flask); err != nil {
					t.Errorf("again: %v", err)
				}
				swept(t, m, 0)
			})
		}
	}
}

// TestManyServers: of many who keep different files under one name at once one does, and nothing else is left.
func TestManyServers(t *testing.T) {
	t.Parallel()
	m := storetest.NewMemory(0, 0)
	manyServers(t, func(int) Raw { return m })
	if keys := m.Keys(); len(keys) != 2 {
		t.Errorf("left are %q", keys)
	}
}

func manyServers(t *testing.T, raw func(int) Raw) {
	t.Helper()
	var (
		wg   sync.WaitGroup
		errs [8]error
		seen [8]string
	)
	for i := range errs {
		wg.Go(func() {
			s, content := open(t, raw(i)), fmt.Sprint("server ", i)
			if i%2 == 1 {
				content = "of them all"
			}
			errs[i] = createNoted(t.Context(), s, flask, content)
			seen[i], _ = show(t.Context(), s, flask)
		})
	}
	wg.Wait()
	winners := 0
	for i, err := range errs {
		if err == nil {
			winners++
		} else if !errors.Is(err, fs.ErrExist) {
			t.Errorf("server %d: %v", i, err)
		}
		if seen[i] != seen[0] || seen[i] == "" {
			t.Errorf("server %d sees %q, another one %q", i, seen[i], seen[0])
		}
	}
	if winners != 1 {
		t.Errorf("%d were told that they won", winners)
	}
}

func FuzzClaim(f *testing.F) {
	f.Add(string(claim{SHA256: sum("x"), Put: "PUT", Size: 1, note: []byte("note")}.render()))
	f.Add(`{"format":2,"new":[1],"put":"p","sha256":"` + sum("") + `","size":0}`)
	f.Add(`{"format":1,"put":"../p","sha256":"` + sum("") + `","size":0}`)
	f.Add("{}\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseClaim([]byte(text))
		if err != nil {
			return
		}
		p, err := placeOf(flask)
		if err != nil {
			t.Fatal(err)
		}
		got := p.claimed(c)
		if err := store.CheckKey(got.object); err != nil {
			t.Errorf("%q leads to %v", text, err)
		}
		file, ok := splitBytes(strings.TrimPrefix(got.object, "wheels/flask/"))
		if !ok || file != flask || !strings.HasPrefix(got.object, "wheels/flask/"+got.sha256+"/") || got.sha256 != c.SHA256 {
			t.Errorf("%q leads to %q of sha256 %q", text, got.object, got.sha256)
		}
		again, err := parseClaim(c.render())
		if err != nil || again.SHA256 != c.SHA256 || again.Put != c.Put || again.Size != c.Size || !bytes.Equal(again.note, c.note) {
			t.Errorf("%+v is rendered as %+v, %v", c, again, err)
		}
	})
}

func createNoted(ctx context.Context, s *Store, key, content string) error {
	return s.CreateNoted(ctx, key, sum(content), []byte("of "+content), strings.NewReader(content), int64(len(content)))
}

// TestTold: a listing, a note and an open file agree on every server, and another content of the same second and size tells itself
// from the one before.
func TestTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // in which no time passes
		m := storetest.NewMemory(2, time.Second)
		one, other := open(t, m), open(t, m)
		told := func(s *Store) (info store.Info) {
			t.Helper()
			for info, err := range s.ListGroup(t.Context(), "flask") {
				_, noted, noteErr := s.Note(t.Context(), flask)
				r, opened, openErr := s.Open(t.Context(), flask)
				if err := errors.Join(err, noteErr, openErr); err != nil {
					t.Fatal(err)
				}
				r.Close()
				if noted != info || opened != info {
					t.Errorf("listed is %+v, noted %+v, opened %+v", info, noted, opened)
				}
				return info
			}
			t.Fatal("not listed")
			return info
		}
		keep(t, one, flask, "wheel")
		first := told(one)
		if info := told(other); info != first {
			t.Errorf("another server tells %+v, this one %+v", info, first)
		}
		before := "wheel"
		for i, content := range []string{"later", "last."} {
			left, _, err := one.Place(t.Context(), flask)
			if err != nil {
				t.Fatal(err)
			}
			if err := one.Remove(t.Context(), flask); err != nil {
				t.Fatal(err)
			}
			keep(t, one, flask, content)
			if i == 1 { // Remove did not get to the bytes
				put(t, m, left, before)
			}
			before = content
			again := told(one)
			if again == first {
				t.Errorf("%q is told as %+v, too", content, again)
			}
			if info := told(other); info != again {
				t.Errorf("another server tells %+v of %q, this one %+v", info, content, again)
			}
			if got, err := show(t.Context(), other, flask); got != content || err != nil {
				t.Errorf("opened: %q, %v, want %q", got, err, content)
			}
		}
	})
}

// TestRealServers holds the store against programs that others run for a living: make test-s3 names them.
func TestRealServers(t *testing.T) {
	s3test.Real(t, func(t *testing.T, endpoint string) {
		connect := func(t *testing.T) *s3.Store {
			t.Helper()
			raw, err := s3.Open(t.Context(), "s3://curdling/"+filepath.Base(t.TempDir())+"/"+filepath.Base(t.Name()), s3.Options{Endpoint: endpoint})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(raw.Close)
			return raw
		}
		t.Run("Suite", func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) store.Store { return named{open(t, connect(t))} })
		})
		t.Run("ManyServers", func(t *testing.T) {
			raw := connect(t)
			manyServers(t, func(int) Raw { return raw })
			n := 0
			for _, err := range raw.List(t.Context(), "") {
				if n++; err != nil {
					t.Fatal(err)
				}
			}
			if n != 2 {
				t.Errorf("left are %d objects", n)
			}
		})
		t.Run("Sweep", func(t *testing.T) {
			raw := connect(t)
			keep(t, open(t, raw), flask, "wheel")
			if err := createNoted(t.Context(), open(t, &dying{raw, 2, false}), flaskSd, "sdist"); !errors.Is(err, errDead) {
				t.Fatal(err)
			}
			got, err := sweep(t.Context(), open(t, raw), -time.Minute)
			if err != nil || got.Removed != 1 || len(got.Broken) != 0 {
				t.Errorf("%+v, %v", got, err)
			}
			if content, err := show(t.Context(), open(t, raw), flask); content != "wheel" || err != nil {
				t.Errorf("%q, %v", content, err)
			}
		})
	})
}
