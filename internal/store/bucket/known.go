package bucket

import (
	"sync"
	"time"

	"curdling/internal/store"
)

// file is what is known of a distribution file by its claim, or of a tarball.
type file struct {
	object    string // the bytes' key in the raw store
	sha256    string // a part of it
	size      int64
	modTime   time.Time // of the claim; zero: we made it just now, and did not look yet
	claimSize int64
	missing   bool   // the bytes were not there
	noted     bool   // note was read, and not asked for yet
	note      []byte // of a file that is noted
	at        uint64 // when it was noticed, by the count of changes
}

func (f file) info(key string) store.Info {
	return store.Info{Key: key, Size: f.size, ModTime: f.modTime}
}

// of tells whether a file has the claim that a listing shows.
func (f file) of(claim store.Info) bool {
	return f.claimSize == claim.Size && f.modTime.Equal(claim.ModTime)
}

// memory is what is known of files, by group. Of two halves the old one goes when the young one is full; a group that is
// asked for goes over into the young one.
type memory struct {
	limit int // files

	mu         sync.Mutex
	changes    uint64
	young, old map[string]*group
	files      int // in young
}

type group struct {
	files  map[string]file // by flat key; the zero one was removed
	listed uint64          // when the listing began that was last taken over
}

// group gives what is known of a group. The caller holds mu.
func (m *memory) group(name string) *group {
	if g := m.young[name]; g != nil {
		return g
	}
	if m.files > m.limit/2 || m.young == nil {
		m.young, m.old, m.files = make(map[string]*group), m.young, 0
	}
	g := m.old[name]
	if g == nil {
		g = &group{files: make(map[string]file)}
	}
	delete(m.old, name)
	m.young[name] = g
	m.files += len(g.files) + 1
	return g
}

// get gives a file that is known to be held.
func (m *memory) get(p place) (file, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.group(p.group).files[p.key]
	return f, !f.modTime.IsZero() && !f.missing
}

// takeNote gives a note that a listing brought along, once.
func (m *memory) takeNote(p place) (file, []byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.group(p.group)
	f := g.files[p.key]
	if !f.noted || f.missing {
		return file{}, nil, false
	}
	note := f.note
	f.noted, f.note = false, nil
	g.files[p.key] = f
	return f, note, true
}

// seen tells whether the bytes of a file are known to be there.
func (m *memory) seen(p place, f file) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.group(p.group).files[p.key]
	return known.object == f.object && !known.missing
}

func (m *memory) put(p place, f file) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changes++
	f.at = m.changes
	g := m.group(p.group)
	if _, ok := g.files[p.key]; !ok {
		m.files++
	}
	g.files[p.key] = f
}

// forget notes that a file was removed, or is not what it was.
func (m *memory) forget(p place) { m.put(p, file{}) }

// now is when a listing begins.
func (m *memory) now() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changes++
	return m.changes
}

// snapshot gives what is known of a group.
func (m *memory) snapshot(name string) map[string]file {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.group(name).files
	files := make(map[string]file, len(known))
	for key, f := range known {
		files[key] = f
	}
	return files
}

// list takes over what a listing of a group found that began at a time. What was noticed since counts more.
func (m *memory) list(name string, began uint64, files map[string]file) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.group(name)
	if began < g.listed {
		return
	}
	for key, f := range g.files {
		if f.at > began {
			files[key] = f
		}
	}
	m.files += len(files) - len(g.files)
	g.files, g.listed = files, began
}
