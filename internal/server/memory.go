package server

import (
	"sync"
	"sync/atomic"
)

// memoryLimit is how many bytes of prepared answers are kept: pages with their compressed forms, METADATA and small files.
const memoryLimit = 32 << 20

// memory keeps answers that were prepared, by path. What was not asked for
// lately goes first when there are too many.
type memory struct {
	limit int64 // bytes

	mu   sync.RWMutex
	kept map[string]*prepared
	size int64 // bytes of all that is kept
}

func newMemory(limit int64) *memory {
	return &memory{limit: limit, kept: make(map[string]*prepared)}
}

// prepared is an answer in its forms and encodings, as far as somebody asked for them.
type prepared struct {
	of       any         // the *catalog.Project or *catalog.File that it is right for
	bytes    int64       // what it counts for; guarded by memory.mu
	used     atomic.Bool // again, since room was last made
	variants [forms][encodings]atomic.Pointer[variant]
	checked  atomic.Int64 // Unix nanoseconds when a file was last seen to lie in the store
}

// get gives what is prepared under a path, made anew where it was for something else.
func (m *memory) get(path string, of any) *prepared {
	m.mu.RLock()
	p := m.kept[path]
	m.mu.RUnlock()
	if p == nil || p.of != of {
		p = &prepared{of: of}
		m.mu.Lock()
		m.forget(path)
		m.kept[path] = p
		m.mu.Unlock()
		m.grow(path, p, int64(len(path))+overhead)
	} else if !p.used.Load() {
		p.used.Store(true)
	}
	return p
}

// overhead is about what a prepared answer takes without any variant, in bytes.
const overhead = 300

// grow counts what was added to p, and makes room.
func (m *memory) grow(path string, p *prepared, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kept[path] != p {
		return // it went meanwhile
	}
	p.bytes += bytes
	m.size += bytes
	if m.size <= m.limit {
		return
	}
	for range 2 { // in the first round what was used since the last one stays
		for path, other := range m.kept {
			if m.size <= m.limit-m.limit/8 {
				return
			}
			if !other.used.Swap(false) {
				m.forget(path)
			}
		}
	}
}

// drop forgets what is prepared under a path.
func (m *memory) drop(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget(path)
}

// forget is drop for who holds mu.
func (m *memory) forget(path string) {
	if p := m.kept[path]; p != nil {
		m.size -= p.bytes
		delete(m.kept, path)
	}
}
