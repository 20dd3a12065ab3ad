package disk

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/fsnotify/fsnotify"

	"curdling/internal/store"
)

// poll is how often the folder's own time of change is looked at.
const poll = time.Second / 2

// Watch tells of changes of the files directly in the folder: at once where the
// system notifies, else (or where a network file system's changes come from
// another machine) by the folder's time of change, twice a second. In the second
// way a file whose content is changed in place goes unnoticed.
func (s *Store) Watch(ctx context.Context, changed func(key string)) error {
	events, failures := make(chan fsnotify.Event), make(chan error)
	if w, err := s.notify(); err == nil {
		defer w.Close()
		events, failures = w.Events, w.Errors
	}
	tick := time.NewTicker(poll)
	defer tick.Stop()
	var lastEvent time.Time
	seen, again := s.modTime(), 0
	changed("")
	for {
		select {
		case <-ctx.Done():
			return nil
		case event := <-events:
			lastEvent = time.Now()
			if key := filepath.Base(event.Name); store.CheckKey(key) == nil {
				changed(key)
			}
		case err := <-failures:
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				changed("")
			}
		case now := <-tick.C:
			if t := s.modTime(); !t.Equal(seen) && now.Sub(lastEvent) > 4*poll {
				// Twice: times are coarse, and a change can hide behind the one before it.
				seen, again = t, 2
			} else {
				seen = t
			}
			if again > 0 {
				again--
				changed("")
			}
		}
	}
}

// notify asks the system to tell of changes. On systems where that would hold
// every file of the folder open it is not done.
func (s *Store) notify() (*fsnotify.Watcher, error) {
	if runtime.GOOS != "linux" && runtime.GOOS != "windows" {
		return nil, errors.ErrUnsupported
	}
	w, err := fsnotify.NewBufferedWatcher(1024)
	if err != nil {
		return nil, err
	}
	if err := w.Add(s.root); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

func (s *Store) modTime() time.Time {
	fi, err := os.Stat(s.root)
	if err != nil {
		return time.Time{}
	}
	return fi.ModTime()
}
