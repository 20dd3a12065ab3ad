package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"curdling/internal/dist"
	"curdling/internal/record/recordtest"
	"curdling/internal/store"
	"curdling/internal/store/bucket"
	"curdling/internal/store/storetest"
	"curdling/internal/wheel/wheeltest"
)

// fleet are some servers over one bucket, to which the ways are bad at times.
type fleet struct {
	t       *testing.T
	objects *storetest.Memory
	servers []*member
	held    map[string]string          // acknowledged and not removed: file, sha256
	sent    map[string]map[string]bool // what may be held of a file: sha256
	yanked  map[string]bool
}

// member is one of them.
type member struct {
	*Catalog
	way *way
}

// way leads to the bucket.
type way struct {
	good, bad *storetest.Memory
	isBad     atomic.Bool
}

func (w *way) now() *storetest.Memory {
	if w.isBad.Load() {
		return w.bad
	}
	return w.good
}

func (w *way) Open(ctx context.Context, key string) (io.ReadSeekCloser, store.Info, error) {
	return w.now().Open(ctx, key)
}
func (w *way) Create(ctx context.Context, key string, r io.Reader, size int64) error {
	return w.now().Create(ctx, key, r, size)
}
func (w *way) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return w.now().List(ctx, prefix)
}
func (w *way) ListFolders(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return w.now().ListFolders(ctx, prefix)
}
func (w *way) Remove(ctx context.Context, key string) error { return w.now().Remove(ctx, key) }
func (w *way) Stat(ctx context.Context, key string) (store.Info, error) {
	return w.now().Stat(ctx, key)
}
func (w *way) Swap(ctx context.Context, key string, old, content []byte) error {
	return w.now().Swap(ctx, key, old, content)
}
func (w *way) Get(ctx context.Context, key, known string) ([]byte, string, error) {
	return w.now().Get(ctx, key, known)
}
func (w *way) Put(ctx context.Context, key, version string, content []byte) (string, error) {
	return w.now().Put(ctx, key, version, content)
}
func (w *way) Delete(ctx context.Context, key, version string) error {
	return w.now().Delete(ctx, key, version)
}

func (f *fleet) start(w *way) *member {
	c, err := Open(f.t.Context(), Config{Store: bucket.New(w, bucket.Options{}), Derived: w, most: 6})
	if err != nil {
		f.t.Fatal(err)
	}
	return &member{c, w}
}

// file makes one of a few files.
func (f *fleet) file(t *rapid.T) (name string, content, record []byte) {
	project, version := rapid.SampledFrom([]string{"foo", "bar"}).Draw(t, "project"), rapid.SampledFrom([]string{"1.0", "2.0"}).Draw(t, "version")
	text := rapid.SampledFrom([]string{"one", "two"}).Draw(t, "content")
	made := machineFile{name: project, version: version, text: text}
	if made.built = rapid.Bool().Draw(t, "built"); made.built {
		made.version = ""
	}
	if known, ok := machineFiles.Load(made); ok {
		x := known.(sentFile)
		return x.name, x.content, x.record
	}
	if made.built {
		name, content, record = recordtest.Build(f.t, project, "3.11.1", text, nil)
	} else {
		w := wheeltest.Wheel{Name: project, Version: version, Summary: text}
		name, content = w.Filename(), wheeltest.Build(w)
	}
	machineFiles.Store(made, sentFile{name, content, record})
	return name, content, record
}

type machineFile struct {
	name, version, text string
	built               bool
}

type sentFile struct {
	name            string
	content, record []byte
}

// machineFiles are those that were made: it takes most of the time.
var machineFiles sync.Map

// send has a server keep a file, and notes what is known then.
func (f *fleet) send(t *rapid.T, s *member, name string, content, record []byte) error {
	u, err := s.Receive(name, strings.NewReader(string(content)))
	if err != nil {
		return err
	}
	defer u.Discard()
	u.Record = record
	_, err = u.Keep(f.t.Context(), From{User: "ci"})
	return err
}

// note notes how an upload went.
func (f *fleet) note(t *rapid.T, name string, content []byte, err error) {
	var conflict *ConflictError
	hash := sum(content)
	switch {
	case err == nil && f.held[name] != "" && f.held[name] != hash:
		t.Fatalf("%s: %s was taken, and %s was acknowledged before", name, hash, f.held[name])
	case err == nil:
		f.held[name] = hash
		f.maybe(name, hash)
	case errors.As(err, &conflict):
		if f.held[name] == hash {
			t.Fatalf("%s: %v, and just these bytes were acknowledged", name, err)
		}
	default:
		f.maybe(name, hash)
	}
}

func (f *fleet) maybe(name, hash string) {
	if f.sent[name] == nil {
		f.sent[name] = make(map[string]bool)
	}
	f.sent[name][hash] = true
}

// check holds what a server shows against what is known. whole is that nothing may be lacking.
func (f *fleet) check(t *rapid.T, s *member, whole bool) (shown string) {
	for _, project := range []dist.Name{"foo", "bar"} {
		err := s.Fresh(f.t.Context(), project)
		if p := s.far.project(project); whole { // however long it takes
			err = p.anew(f.t.Context(), p.look)
		}
		if err != nil && whole {
			t.Fatalf("%s: %v", project, err)
		}
		p := s.Project(project)
		var files []*File
		if p != nil {
			files = p.Files
		}
		for _, file := range files {
			// What was removed may be shown while the store does not say so.
			if !f.sent[file.Filename][file.SHA256] || whole && f.held[file.Filename] != "" && f.held[file.Filename] != file.SHA256 {
				t.Fatalf("%s is shown with %s, of %v, %q is acknowledged", file.Filename, file.SHA256, f.sent[file.Filename], f.held[file.Filename])
			}
			if built := strings.Contains(file.Filename, "-0b"); built != (file.Build != nil) || built && file.Build.SHA256 != file.SHA256 {
				t.Fatalf("%s: its build is %+v", file.Filename, file.Build)
			}
			if whole && file.Yanked != f.yanked[file.Filename] {
				t.Fatalf("%s: yanked is %v", file.Filename, file.Yanked)
			}
			shown += fmt.Sprintf("%+v %v\n", factsOf(file), file.Yanked)
		}
		for name := range f.held {
			if whole && strings.HasPrefix(name, string(project)) && !slices.ContainsFunc(files, func(file *File) bool { return file.Filename == name }) {
				t.Fatalf("%s was acknowledged, and does not show", name)
			}
		}
	}
	return shown
}

// TestFarMachine: whatever befalls requests, what was acknowledged is there as it was sent, whatever server is asked, and all show the same once
// all is well.
func TestFarMachine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var failed any // which rapid wants to have where it called
		synctest.Test(t, func(t *testing.T) {
			defer func() { failed = recover() }()
			machine(t, rt)
		})
		if failed != nil {
			panic(failed)
		}
	})
}

func machine(t *testing.T, rt *rapid.T) {
	f := &fleet{t: t, objects: storetest.NewMemory(3, time.Second), held: make(map[string]string), sent: make(map[string]map[string]bool), yanked: make(map[string]bool)}
	for i := range rapid.IntRange(1, 3).Draw(rt, "servers") {
		bad := storetest.Faults{Seed: uint64(i) + rapid.Uint64().Draw(rt, "seed"), Delay: 300 * time.Millisecond, Fail: 0.1, Lose: 0.1, Late: 0.05, Twice: 0.05}
		good := storetest.Faults{Seed: bad.Seed, Delay: 500 * time.Millisecond}
		f.servers = append(f.servers, f.start(&way{good: f.objects.Link(good), bad: f.objects.Link(bad)}))
	}
	defer func() {
		for _, s := range f.servers {
			s.Close()
		}
	}()
	others := bucket.New(f.objects, bucket.Options{})
	server := func(rt *rapid.T) *member { return rapid.SampledFrom(f.servers).Draw(rt, "server") }
	well := func() {
		for _, s := range f.servers {
			s.way.isBad.Store(false)
		}
		time.Sleep(time.Minute) // what is late has come, and who failed may ask again
		synctest.Wait()
	}
	settle := func(rt *rapid.T) {
		well()
		for range 2 {
			first := f.check(rt, f.servers[0], true)
			for _, s := range f.servers[1:] {
				if shown := f.check(rt, s, true); shown != first {
					rt.Fatalf("one shows\n%s, another one\n%s", first, shown)
				}
			}
			time.Sleep(2 * time.Second)
		}
	}
	rt.Repeat(map[string]func(*rapid.T){
		"time passes": func(rt *rapid.T) {
			time.Sleep(time.Duration(rapid.IntRange(1, 15_000).Draw(rt, "ms")) * time.Millisecond)
		},
		"a way is bad": func(rt *rapid.T) { server(rt).way.isBad.Store(true) },
		"all is well":  settle,
		"a server starts again": func(rt *rapid.T) {
			s := server(rt)
			s.Close()
			*s = *f.start(s.way)
		},
		"an upload": func(rt *rapid.T) {
			s := server(rt)
			name, content, record := f.file(rt)
			if rapid.Bool().Draw(rt, "somebody asks meanwhile") {
				after := time.Duration(rapid.IntRange(0, 4000).Draw(rt, "ms")) * time.Millisecond
				asked := s.Catalog // the server may have started again by then
				go func() {
					time.Sleep(after)
					_ = asked.Fresh(t.Context(), "foo")
					_ = asked.Fresh(t.Context(), "bar")
				}()
			}
			err := f.send(rt, s, name, content, record)
			time.Sleep(5 * time.Second)
			if held := s.File(name); err == nil && !s.way.isBad.Load() && (held == nil || held.SHA256 != sum(content)) {
				rt.Fatalf("%s was taken, and the server says it is %+v", name, held)
			}
			f.note(rt, name, content, err)
		},
		"two at once": func(rt *rapid.T) {
			var uploads sync.WaitGroup
			type sent struct {
				name    string
				content []byte
				err     error
			}
			both := make([]sent, 2)
			for i := range both {
				s := server(rt)
				name, content, record := f.file(rt)
				both[i] = sent{name: name, content: content}
				uploads.Go(func() { both[i].err = f.send(rt, s, name, content, record) })
			}
			uploads.Wait()
			for _, x := range both {
				f.maybe(x.name, sum(x.content)) // one may be told of the other
			}
			for _, x := range both {
				f.note(rt, x.name, x.content, x.err)
			}
		},
		"somebody asks": func(rt *rapid.T) { f.check(rt, server(rt), false) },
		"somebody yanks": func(rt *rapid.T) {
			well()
			name, _, _ := f.file(rt)
			key := name + YankedSuffix
			var err error
			if f.yanked[name] = !f.yanked[name]; f.yanked[name] {
				err = others.Create(t.Context(), key, strings.NewReader(""), 0)
			} else {
				err = others.Remove(t.Context(), key)
			}
			if err != nil {
				rt.Fatal(err)
			}
		},
		"somebody removes": func(rt *rapid.T) {
			well()
			name, _, _ := f.file(rt)
			if err := others.Remove(t.Context(), name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				rt.Fatal(err)
			}
			delete(f.held, name)
		},
	})
	settle(rt)
}
