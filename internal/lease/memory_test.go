package lease

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory keeps documents, and sees each change.
type memory struct {
	mu      sync.Mutex
	docs    map[string]versioned
	n       int
	changed func(name string, old, is document) // nil: nobody wants to know; a deleted document is the zero one
}

type versioned struct {
	value   []byte
	version string
}

func newMemory() *memory { return &memory{docs: make(map[string]versioned)} }

func (m *memory) Get(_ context.Context, name, known string) ([]byte, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.docs[name]
	if !ok {
		return nil, "", fs.ErrNotExist
	}
	if d.version == known {
		return nil, known, nil
	}
	return bytes.Clone(d.value), d.version, nil
}

func (m *memory) Swap(_ context.Context, name, version string, value []byte) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.docs[name].version != version {
		return "", ErrConflict
	}
	m.n++
	m.tell(name, value)
	m.docs[name] = versioned{bytes.Clone(value), strconv.Itoa(m.n)}
	return strconv.Itoa(m.n), nil
}

func (m *memory) Delete(_ context.Context, name, version string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.docs[name].version != version {
		return ErrConflict
	}
	m.tell(name, nil)
	delete(m.docs, name)
	return nil
}

func (m *memory) tell(name string, value []byte) {
	if m.changed == nil {
		return
	}
	old, _ := parse(m.docs[name].value)
	is, _ := parse(value)
	m.changed(name, old, is)
}

func (m *memory) List(context.Context) iter.Seq2[string, error] {
	m.mu.Lock()
	names := slices.Collect(maps.Keys(m.docs))
	m.mu.Unlock()
	return func(yield func(string, error) bool) {
		for _, name := range names {
			if !yield(name, nil) {
				return
			}
		}
	}
}

// document is what is kept of a name.
func (m *memory) document(name string) document {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, _ := parse(m.docs[name].value)
	return d
}

// fault is what the way to the documents does to a call.
type fault int

const (
	fine     fault = iota
	cut            // nothing arrives
	mute           // it is done, and the answer lost
	late           // the answer is lost, and it is done some other time, if at all
	faultsOf       // how many there are
)

var errCut = errors.New("the way is cut")

// link is one server's way to the documents.
type link struct {
	*memory
	delay func() time.Duration // of each call; nil: none

	mu      sync.Mutex
	fault   fault
	pending []func() // what is late
}

func (l *link) set(f fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = f
}

// pass does what the fault makes of a change.
func (l *link) pass(do func() (string, error)) (string, error) {
	if l.delay != nil {
		time.Sleep(l.delay())
	}
	l.mu.Lock()
	f := l.fault
	if f == late {
		l.pending = append(l.pending, func() { _, _ = do() })
	}
	l.mu.Unlock()
	switch f {
	case fine:
		return do()
	case mute:
		_, _ = do()
	}
	return "", errCut
}

// deliver does one of what is late, or drops it.
func (l *link) deliver(i int, drop bool) {
	l.mu.Lock()
	if len(l.pending) == 0 {
		l.mu.Unlock()
		return
	}
	i %= len(l.pending)
	do := l.pending[i]
	l.pending = slices.Delete(l.pending, i, i+1)
	l.mu.Unlock()
	if !drop {
		do()
	}
}

func (l *link) Get(ctx context.Context, name, known string) ([]byte, string, error) {
	if l.delay != nil {
		time.Sleep(l.delay())
	}
	l.mu.Lock()
	f := l.fault
	l.mu.Unlock()
	if f == cut {
		return nil, "", errCut
	}
	return l.memory.Get(ctx, name, known)
}

func (l *link) Swap(ctx context.Context, name, version string, value []byte) (string, error) {
	return l.pass(func() (string, error) { return l.memory.Swap(context.WithoutCancel(ctx), name, version, value) })
}

func (l *link) Delete(ctx context.Context, name, version string) error {
	_, err := l.pass(func() (string, error) { return "", l.memory.Delete(context.WithoutCancel(ctx), name, version) })
	return err
}
