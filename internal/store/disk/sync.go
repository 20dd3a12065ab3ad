package disk

import "sync"

// syncer makes changes of folders outlive a crash. Those who come while it is at
// work share the next turn, so that many files that come at once cost few syncs.
type syncer struct {
	running sync.Mutex // one turn at a time

	mu      sync.Mutex
	waiting map[string]*turn // by folder: turns that have not begun
}

// turn is one sync of a folder, for all who wait for it.
type turn struct {
	once sync.Once
	err  error
}

// sync returns when what was done to the folder before the call is on the disk.
func (s *syncer) sync(dir string) error {
	s.mu.Lock()
	t := s.waiting[dir]
	if t == nil {
		t = new(turn)
		s.waiting[dir] = t
	}
	s.mu.Unlock()
	t.once.Do(func() {
		s.running.Lock()
		defer s.running.Unlock()
		s.mu.Lock()
		delete(s.waiting, dir) // whoever comes from now on may be too late for this turn
		s.mu.Unlock()
		t.err = syncDir(dir)
	})
	return t.err
}
