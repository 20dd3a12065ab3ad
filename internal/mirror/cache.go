package mirror

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// forgotten is the age at which what nobody fetched again is removed.
const forgotten = 90 * 24 * time.Hour

// cache is an index.Cache in a folder. What is torn or changed there is found out
// by who reads it.
type cache string

// Get reads what Put wrote.
func (c cache) Get(key string) ([]byte, bool) {
	b, err := os.ReadFile(c.path(key))
	return b, err == nil
}

// Put writes a value, whole or not at all; what cannot be written is forgotten.
func (c cache) Put(key string, value []byte) {
	name := c.path(key)
	if os.MkdirAll(filepath.Dir(name), 0o777) != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".new-")
	if err != nil {
		return
	}
	defer os.Remove(f.Name()) // nothing there after success
	_, err = f.Write(value)
	if closeErr := f.Close(); err == nil && closeErr == nil {
		_ = os.Rename(f.Name(), name)
	}
}

// path spreads keys, which end in a hash, over folders.
func (c cache) path(key string) string {
	kind, hash := filepath.Split(filepath.FromSlash(key))
	return filepath.Join(string(c), kind, hash[:min(2, len(hash))], hash)
}

// prune removes what is forgotten.
func (c cache) prune(ctx context.Context, now time.Time) {
	_ = filepath.WalkDir(string(c), func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return ctx.Err()
		}
		if fi, err := entry.Info(); err == nil && now.Sub(fi.ModTime()) > forgotten {
			_ = os.Remove(name) // next time, then
		}
		return ctx.Err()
	})
}

// memory is an index.Cache for who has no folder. It keeps the last megabytes.
type memory struct {
	mu     sync.Mutex
	values map[string][]byte
	size   int
}

const maxMemory = 32 << 20

// Get gives what was put.
func (m *memory) Get(key string) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[key]
	return v, ok
}

// Put keeps a value, and forgets all others where there is no room.
func (m *memory) Put(key string, value []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.size += len(value) - len(m.values[key])
	if m.values == nil || m.size > maxMemory {
		m.values, m.size = make(map[string][]byte), len(value)
	}
	m.values[key] = bytes.Clone(value)
}
