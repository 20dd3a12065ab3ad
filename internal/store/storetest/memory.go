package storetest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"curdling/internal/store"
)

// Memory is an object store in memory that behaves as one of S3 does: whole objects, puts that are decided by a
// condition, listings that come page by page while others write. Make one with [NewMemory]; [Memory.Link] gives
// further ways to the same objects, on which requests fail.
type Memory struct {
	*objects
	faults Faults

	mu    sync.Mutex
	asked map[string]uint64 // how often for the same
}

// objects is what all links of a Memory share.
type objects struct {
	mu   sync.Mutex
	held map[string]object
	page int
	tick time.Duration

	requests Requests
}

type object struct {
	content  []byte
	modified time.Time
}

// Requests counts what was asked of a store, as S3 counts it: Remove and Delete are a Head and a Delete, Swap a Get and a Put,
// a listing as many as it has pages.
type Requests struct {
	Get, Head, Put, Delete, List int
}

// Faults say what befalls requests on a link, by a seed; each share is one of all requests, between 0 and 1.
type Faults struct {
	Seed  uint64
	Delay time.Duration // a request is up to so long under way, and its answer again; zero is no time
	Fail  float64       // do not arrive
	Lose  float64       // are done, and the answer is lost
	Late  float64       // Creates, Swaps, Puts and Deletes are given up, and done up to 100 Delays later; others fail
	Twice float64       // Creates, Swaps, Puts and Deletes come twice, and the answer is the second one's
}

// ErrFault is wrapped by the error of a request that failed as told.
var ErrFault = errors.New("the store does not answer")

var (
	_ store.Store     = (*Memory)(nil)
	_ store.Swapper   = (*Memory)(nil)
	_ store.Stater    = (*Memory)(nil)
	_ store.Folders   = (*Memory)(nil)
	_ store.Versioned = (*Memory)(nil)
)

// NewMemory makes an empty store whose listings have up to page keys on a page, zero is 1000, and whose times are
// cut to multiples of tick, zero is none.
func NewMemory(page int, tick time.Duration) *Memory {
	if page == 0 {
		page = 1000
	}
	return &Memory{objects: &objects{held: make(map[string]object), page: page, tick: tick}}
}

// Link gives another way to the same objects.
func (m *Memory) Link(f Faults) *Memory {
	return &Memory{objects: m.objects, faults: f, asked: make(map[string]uint64)}
}

// Requests tells what was asked so far, on all links.
func (o *objects) Requests() Requests {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.requests
}

// Keys gives all keys that are held, sorted, without a request.
func (o *objects) Keys() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Sorted(maps.Keys(o.held))
}

// Open gives a reader that goes on whatever becomes of the file.
func (m *Memory) Open(ctx context.Context, key string) (r io.ReadSeekCloser, info store.Info, err error) {
	err = m.ask(ctx, "open", key, func(o *objects) error {
		o.requests.Get++
		held, ok := o.held[key]
		if !ok {
			return fs.ErrNotExist
		}
		r, info = reader{bytes.NewReader(held.content)}, held.info(key)
		return nil
	})
	if err != nil {
		return nil, store.Info{}, err
	}
	return r, info, nil
}

// Stat is Open without the bytes.
func (m *Memory) Stat(ctx context.Context, key string) (info store.Info, err error) {
	err = m.ask(ctx, "stat", key, func(o *objects) error {
		o.requests.Head++
		held, ok := o.held[key]
		if !ok {
			return fs.ErrNotExist
		}
		info = held.info(key)
		return nil
	})
	return info, err
}

// Create reads everything, and then keeps it in one step.
func (m *Memory) Create(ctx context.Context, key string, r io.Reader, size int64) error {
	if err := store.CheckKey(key); err != nil {
		return err
	}
	content, err := io.ReadAll(io.LimitReader(r, size+1))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", key, err)
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", key, ctx.Err())
	case int64(len(content)) != size:
		return fmt.Errorf("%s: %d bytes came, %d were announced: %w", key, len(content), size, io.ErrUnexpectedEOF)
	}
	return m.ask(ctx, "create", key, func(o *objects) error {
		o.requests.Put++
		if _, ok := o.held[key]; ok {
			return fs.ErrExist
		}
		o.put(key, content)
		return nil
	})
}

// Swap changes an object if it is still the one that was seen to be old.
func (m *Memory) Swap(ctx context.Context, key string, old, content []byte) error {
	content = bytes.Clone(content)
	return m.ask(ctx, "swap", key, func(o *objects) error {
		o.requests.Get++
		if held, ok := o.held[key]; !ok || !bytes.Equal(held.content, old) {
			return store.ErrChanged
		}
		o.requests.Put++
		o.put(key, content)
		return nil
	})
}

// Get gives an object whole. Its version is a hash of its content, as an ETag is.
func (m *Memory) Get(ctx context.Context, key, known string) (content []byte, version string, err error) {
	err = m.ask(ctx, "get", key, func(o *objects) error {
		o.requests.Get++
		held, ok := o.held[key]
		if !ok {
			return fs.ErrNotExist
		}
		if version = held.version(); version != known {
			content = bytes.Clone(held.content)
		}
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	return content, version, nil
}

// Put changes an object that has that version still.
func (m *Memory) Put(ctx context.Context, key, version string, content []byte) (newVersion string, err error) {
	is := object{content: bytes.Clone(content)}
	err = m.ask(ctx, "swap", key, func(o *objects) error {
		o.requests.Put++
		if held, ok := o.held[key]; ok != (version != "") || ok && held.version() != version {
			return store.ErrChanged
		}
		o.put(key, is.content)
		return nil
	})
	if err != nil {
		return "", err
	}
	return is.version(), nil
}

// Delete removes an object that has that version still, in one step.
func (m *Memory) Delete(ctx context.Context, key, version string) error {
	return m.ask(ctx, "swap", key, func(o *objects) error {
		o.requests.Head++
		if held, ok := o.held[key]; !ok || held.version() != version {
			return store.ErrChanged
		}
		o.requests.Delete++
		delete(o.held, key)
		return nil
	})
}

// Remove removes an object.
func (m *Memory) Remove(ctx context.Context, key string) error {
	return m.ask(ctx, "remove", key, func(o *objects) error {
		o.requests.Head++
		if _, ok := o.held[key]; !ok {
			return fs.ErrNotExist
		}
		o.requests.Delete++
		delete(o.held, key)
		return nil
	})
}

// List gives what was held when each page was asked for, in the order of keys.
func (m *Memory) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		for page, err := range m.pages(ctx, prefix, func(key string) string { return key }) {
			if err != nil {
				yield(store.Info{}, err)
				return
			}
			for _, info := range page {
				if !yield(info, nil) {
					return
				}
			}
		}
	}
}

// ListFolders gives the folders below prefix.
func (m *Memory) ListFolders(ctx context.Context, prefix string) iter.Seq2[string, error] {
	upToSlash := func(key string) string {
		folder, _, _ := strings.Cut(key[len(prefix):], "/")
		return key[:min(len(key), len(prefix)+len(folder)+1)]
	}
	return func(yield func(string, error) bool) {
		for page, err := range m.pages(ctx, prefix, upToSlash) {
			if err != nil {
				yield("", err)
				return
			}
			for _, info := range page {
				folder, ok := strings.CutSuffix(info.Key[len(prefix):], "/")
				if ok && !yield(folder, nil) {
					return
				}
			}
		}
	}
}

// pages asks for one page after the other of what as makes of the keys that start with prefix.
func (m *Memory) pages(ctx context.Context, prefix string, as func(key string) string) iter.Seq2[[]store.Info, error] {
	return func(yield func([]store.Info, error) bool) {
		after := ""
		for more := true; more; {
			var page []store.Info
			err := m.ask(ctx, "list", strings.TrimSuffix(prefix, "/"), func(o *objects) error {
				o.requests.List++
				page, more = o.list(prefix, after, as)
				return nil
			})
			if !yield(page, err) || err != nil {
				return
			}
			if more {
				after = page[len(page)-1].Key
			}
		}
	}
}

// list gives a page of what comes after a key. The caller holds mu.
func (o *objects) list(prefix, after string, as func(key string) string) (page []store.Info, more bool) {
	found := make(map[string]store.Info)
	for key, held := range o.held {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		if name := as(key); name > after {
			found[name] = held.info(name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if len(page) == o.page {
			return page, true
		}
		page = append(page, found[name])
	}
	return page, false
}

// put keeps an object. The caller holds mu.
func (o *objects) put(key string, content []byte) {
	o.held[key] = object{content, time.Now().UTC().Truncate(max(o.tick, 1))}
}

func (h object) info(key string) store.Info {
	return store.Info{Key: key, Size: int64(len(h.content)), ModTime: h.modified}
}

func (h object) version() string {
	sum := md5.Sum(h.content)
	return hex.EncodeToString(sum[:])
}

// ask makes a request: what it does is done in one step. What was given up or lost leaves open whether it was done.
func (m *Memory) ask(ctx context.Context, op, key string, do func(*objects) error) error {
	if key != "" || op != "list" {
		if err := store.CheckKey(key); err != nil {
			return err
		}
	}
	step := func() error {
		m.objects.mu.Lock()
		defer m.objects.mu.Unlock()
		return do(m.objects)
	}
	f := m.fate(op, key)
	err := wait(ctx, f.there)
	switch {
	case f.late > 0: // whether somebody waits or not
		time.AfterFunc(f.late, func() { _ = step() })
		err = cmp.Or(err, ErrFault)
	case err != nil:
	case f.fails:
		err = ErrFault
	default:
		if err = step(); f.twice {
			err = step()
		}
		if back := wait(ctx, f.back); back != nil {
			err = back
		} else if f.lost {
			err = ErrFault
		}
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: key, Err: err}
	}
	return nil
}

// fate is what befalls one request.
type fate struct {
	there, back, late  time.Duration
	fails, lost, twice bool
}

// fate depends on what is asked and how often that was, and not on what else is asked at the same time.
func (m *Memory) fate(op, key string) (f fate) {
	if m.faults == (Faults{}) {
		return fate{}
	}
	h := fnv.New64a()
	m.mu.Lock()
	m.asked[op+key]++
	fmt.Fprint(h, op, key, m.asked[op+key])
	m.mu.Unlock()
	rnd := rand.New(rand.NewPCG(m.faults.Seed, h.Sum64()))
	within := func(d time.Duration) time.Duration { return time.Duration(rnd.Int64N(int64(d) + 1)) }
	f.there, f.back = within(m.faults.Delay), within(m.faults.Delay)
	changes := op == "create" || op == "swap"
	share := rnd.Float64()
	befalls := func(part float64) bool {
		share -= part
		return share < 0
	}
	switch {
	case befalls(m.faults.Fail):
		f.fails = true
	case befalls(m.faults.Lose):
		f.lost = true
	case befalls(m.faults.Late):
		if f.fails = !changes; changes {
			f.late = 1 + within(100*m.faults.Delay)
		}
	case befalls(m.faults.Twice):
		f.twice = changes
	}
	return f
}

// wait is under way for that long, or until ctx is done.
func wait(ctx context.Context, d time.Duration) error {
	if d > 0 {
		select {
		case <-ctx.Done():
		case <-time.After(d):
		}
	}
	return ctx.Err()
}

// reader is of an object, which nothing changes.
type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }
