package bucket

import (
	"hash/fnv"
	"io"
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

func (f file) withoutNote() file {
	f.noted, f.note = false, nil
	return f
}

// info tells of a file. The time of a claim is told in seconds; what is below is made of the attempt's name, so that
// another file of the same second and size has another time on all servers.
func (f file) info(key string) store.Info {
	info := store.Info{Key: key, Size: f.size, ModTime: f.modTime}
	if f.claimSize > 0 {
		h := fnv.New32a()
		_, _ = io.WriteString(h, f.object)
		info.ModTime = info.ModTime.Truncate(time.Second).Add(time.Duration(h.Sum32() % 1e9))
	}
	return info
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
	notes      int // bytes of notes that are kept in young; in old there are none
}

// maxNotes is how many bytes of notes are kept until somebody asks for them. Those beyond are read again then.
const maxNotes = 64 << 20

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
		m.young, m.old, m.files, m.notes = make(map[string]*group), m.young, 0, 0
	}
	g := m.old[name]
	if g == nil {
		g = &group{files: make(map[string]file)}
	}
	delete(m.old, name)
	for key, f := range g.files {
		g.files[key] = f.withoutNote()
	}
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
	if !f.noted {
		return file{}, nil, false
	}
	m.notes -= len(f.note)
	g.files[p.key] = f.withoutNote()
	return f, f.note, true
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
	old, ok := g.files[p.key]
	if !ok {
		m.files++
	}
	m.notes -= len(old.note)
	g.files[p.key] = f.withoutNote()
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

// list takes over what a listing of a group found that began at a time, or a part of it. What was noticed since counts more.
func (m *memory) list(name string, began uint64, files map[string]file, whole bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.group(name)
	if began < g.listed {
		return
	}
	for key, f := range g.files {
		m.notes -= len(f.note)
		if _, ok := files[key]; f.at > began || !whole && !ok {
			files[key] = f
		}
	}
	for key, f := range files {
		if m.notes += len(f.note); m.notes > maxNotes {
			m.notes -= len(f.note)
			files[key] = f.withoutNote()
		}
	}
	m.files += len(files) - len(g.files)
	if g.files = files; whole {
		g.listed = began
	}
}
