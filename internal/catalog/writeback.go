package catalog

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"curdling/internal/dist"
	"curdling/internal/store"
)

// WriteBack copies to a bucket, the second level of a folder, what the folder holds and it does not, project by project: all
// at the start, and then what comes, at once. What fails is tried again for as long as it takes. Where other bytes lie under a name in the bucket
// they stay, and the log is told. Make it with [NewWriteBack]; it is safe for concurrent use.
//
// Its [WriteBack.View] has both: what the bucket holds counts, and where it holds nothing the folder's. Bytes that both hold are read from the folder. While
// the bucket does not answer what the folder holds is served, and what comes is taken.
type WriteBack struct {
	folder, bucket *Catalog
	log            *slog.Logger

	mu     sync.Mutex
	queue  []dist.Name
	queued map[dist.Name]bool
	busy   map[dist.Name]bool
	tries  map[dist.Name]int
	silent int           // how often the bucket did not answer, one time after the other
	until  time.Time     // nothing is begun before
	warned time.Time     // when the log was last told
	wake   chan struct{} // somebody is queued
	went   chan struct{} // is closed when a project was copied, or not
	left   map[dist.Name]map[string]string
	stats  WriteBackStats
}

// WriteBackStats tell how far it is.
type WriteBackStats struct {
	Waiting int   // projects of which something may have to be copied
	Left    int   // files, and what lies beside them, that cannot be copied: other bytes are there, mostly
	Files   int   // that were copied since the start
	Bytes   int64 // of these
}

const (
	longestRestWritten = 30 * time.Second // from a failure to the next try
	firstRestWritten   = 200 * time.Millisecond
	warnEvery          = time.Minute
)

// NewWriteBack notes what a folder holds, and what comes to it. Nothing is copied before Run.
func NewWriteBack(folder, bucket *Catalog, log *slog.Logger) *WriteBack {
	w := &WriteBack{
		folder: folder, bucket: bucket, log: log, queued: make(map[dist.Name]bool), busy: make(map[dist.Name]bool), tries: make(map[dist.Name]int),
		left: make(map[dist.Name]map[string]string), wake: make(chan struct{}, 1), went: make(chan struct{}),
	}
	folder.mu.Lock()
	folder.changed = w.enqueue
	folder.mu.Unlock()
	all := &copying{from: folder}
	names, err := all.names(context.Background())
	if err != nil {
		log.Error("what a folder holds cannot be listed", "err", err) // of a folder there is no such error
	}
	for _, name := range names {
		w.enqueue(name)
	}
	return w
}

// View is what both levels hold together.
func (w *WriteBack) View() *View {
	v := NewView(w.bucket).Lay(w.folder)
	v.back = w
	return v
}

// await waits, for a while, until what came of a project is in the bucket.
func (w *WriteBack) await(ctx context.Context, name dist.Name) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		w.mu.Lock()
		under := w.queued[name] || w.busy[name]
		went := w.went
		w.mu.Unlock()
		if !under {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-went:
		}
	}
}

// Stats tells how far it is.
func (w *WriteBack) Stats() WriteBackStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	stats := w.stats
	stats.Waiting = len(w.queued) + len(w.busy)
	for name := range w.tries {
		if !w.queued[name] && !w.busy[name] {
			stats.Waiting++
		}
	}
	for _, left := range w.left {
		stats.Left += len(left)
	}
	return stats
}

// enqueue has a project copied.
func (w *WriteBack) enqueue(name dist.Name) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.queued[name] {
		w.queued[name] = true
		w.queue = append(w.queue, name)
	}
	w.stir()
}

// stir has Run look at the queue.
func (w *WriteBack) stir() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Run copies until ctx is done.
func (w *WriteBack) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, projectsAtOnce)
	for {
		name, rest := w.next()
		if name == "" {
			timer := time.NewTimer(rest)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-w.wake:
			case <-timer.C:
			}
			timer.Stop()
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		running.Go(func() {
			w.done(ctx, name, w.project(ctx, name))
			<-slots
		})
	}
}

// next gives a project that is to be copied; "" is none within a time.
func (w *WriteBack) next() (dist.Name, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if rest := time.Until(w.until); rest > 0 {
		return "", rest
	}
	for range w.queue {
		name := w.queue[0]
		w.queue = w.queue[1:]
		if w.busy[name] { // its turn comes again
			w.queue = append(w.queue, name)
			continue
		}
		delete(w.queued, name)
		w.busy[name] = true
		return name, 0
	}
	return "", longestRestWritten
}

// project copies what the bucket lacks of a project.
func (w *WriteBack) project(ctx context.Context, name dist.Name) error {
	left := make(map[string]string)
	x := &copying{from: w.folder, to: w.bucket, tries: 1, CopyOptions: CopyOptions{Left: func(key string, why error) { left[key] = why.Error() }}}
	var failed error
	err := x.project(ctx, name, func(p piece) error {
		err := x.piece(ctx, p)
		if errors.As(err, new(*store.UnavailableError)) {
			return err
		}
		failed = errors.Join(failed, err)
		return ctx.Err()
	})
	if there := w.bucket.Project(name); there != nil {
		w.folder.keptAbove(name, there.Files)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stats.Files += x.copied.Files
	w.stats.Bytes += x.copied.Bytes
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	for key, why := range left {
		if w.left[name][key] != why {
			w.log.Warn("what lies in the folder is not copied to the bucket, and what is there counts", "key", key, "err", why)
		}
	}
	if w.left[name] = left; len(left) == 0 {
		delete(w.left, name)
	}
	return nil
}

// done notes how it went. After a failure the project's turn comes again.
func (w *WriteBack) done(ctx context.Context, name dist.Name, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.busy, name)
	close(w.went)
	w.went = make(chan struct{})
	if err == nil {
		w.silent = 0
		delete(w.tries, name)
		if w.queued[name] {
			w.stir()
		}
		return
	}
	if ctx.Err() != nil {
		return
	}
	w.tries[name]++
	rest := min(firstRestWritten<<min(w.tries[name], 10), longestRestWritten)
	if time.Since(w.warned) > warnEvery {
		w.warned = time.Now()
		w.log.Warn("the bucket does not take what comes; it stays in the folder, and is copied as soon as it does", "project", name, "err", err)
	}
	var away *store.UnavailableError
	if errors.As(err, &away) { // it is nothing with this project
		w.silent++
		rest = min(firstRestWritten<<min(w.silent, 10), longestRestWritten)
		w.until = time.Now().Add(max(rest, min(away.RetryAfter, longestRestWritten)))
	}
	time.AfterFunc(rest, func() { w.enqueue(name) })
}
