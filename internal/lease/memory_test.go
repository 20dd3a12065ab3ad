package lease

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"curdling/internal/store/s3/s3test"
	"curdling/internal/store/storetest"
)

func TestMain(m *testing.M) {
	s3test.SetCredentials()
	goleak.VerifyTestMain(m)
}

// memory keeps documents in an object store in memory, and sees each change.
type memory struct {
	*Stored
	raw *storetest.Memory

	mu      sync.Mutex
	changed func(name string, old, is document) // nil: nobody wants to know; a deleted document is the zero one
}

func newMemory() *memory {
	raw := storetest.NewMemory(0, 0)
	return &memory{Stored: NewStored(raw, "leases/"), raw: raw}
}

func (m *memory) Swap(ctx context.Context, name, version string, value []byte) (newVersion string, err error) {
	err = m.change(name, func() error {
		newVersion, err = m.Stored.Swap(ctx, name, version, value)
		return err
	})
	return newVersion, err
}

func (m *memory) Delete(ctx context.Context, name, version string) error {
	return m.change(name, func() error { return m.Stored.Delete(ctx, name, version) })
}

func (m *memory) change(name string, do func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.document(name)
	if err := do(); err != nil {
		return err
	}
	if m.changed != nil {
		m.changed(name, old, m.document(name))
	}
	return nil
}

// document is what is kept of a name.
func (m *memory) document(name string) document {
	value, _, _ := m.Get(context.Background(), name, "")
	d, _ := parse(value)
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
