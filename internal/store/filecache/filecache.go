// Package filecache keeps the files of a store that is far away on this machine's disk, those that are
// asked for most, in a bounded number of bytes.
//
// A file is known by its sha256, and lies in the cache's folder as XX/SHA256, whole, or not at all: it is
// fetched once, however many ask for it, into tmp/, hashed on the way, and renamed. So any number of
// processes may use one folder, and it may be deleted at any time. Each process keeps to its bound for what it
// knows of, which is what lay there when it began and what it brought itself. What an earlier process left is
// hashed before it is first used. The file that nobody asked for longest goes first; who has it open reads on.
//
// The disk is never the reason why a file cannot be had: while it is full or broken, or does not give back what
// was written, files are read from the store as if there were no cache.
package filecache

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"curdling/internal/store"
)

// Options say what a cache may use.
type Options struct {
	Dir      string       // the cache's own; made where it is missing
	MaxBytes int64        // of all files together; a file of more than a quarter of it is not kept. 0 keeps none
	Log      *slog.Logger // nil is silent
}

const (
	quarter = 4 // a file may take so much of the cache at the most
	// filling is how many files are fetched at once. Others wait for fillWait, and are refused then.
	filling  = 64
	fillWait = 10 * time.Second
	// pause is how long nothing is written after the disk failed.
	pause = 10 * time.Second
	// touchEvery is how exactly a later process knows when a file was last asked for.
	touchEvery = time.Hour
)

// Fetch opens a whole file in the store. Its context ends when nobody waits for the file any more.
type Fetch func(context.Context) (io.ReadSeekCloser, error)

// Cache is safe for concurrent use. Make one with [New].
type Cache struct {
	dir   string
	max   int64
	large int64 // a file of so many bytes is read as it comes
	log   *slog.Logger
	slots chan struct{} // one for each file that is being fetched

	ctx  context.Context
	stop context.CancelFunc
	work sync.WaitGroup

	mu       sync.Mutex
	entries  map[string]*list.Element // by sha256
	order    list.List                // of *entry, the one asked for last in front
	fills    map[string]*fill         // by sha256
	reserved int64                    // bytes that fills may write
	fault    error                    // of the disk; nil: it works
	resume   time.Time                // nothing is written before
	stats    Stats
}

// entry is a file that is there, if nobody else removed it.
type entry struct {
	sum     string
	size    int64
	touched time.Time // its time in the folder
	checked bool      // by this process
}

// Stats are what a cache holds, and what it did.
type Stats struct {
	Files, Bytes int64 // that are there
	Hits         int64 // opened as they lay there
	Fetched      int64 // fetched from the store, and kept
	Shared       int64 // asked for while they were being fetched
	Bypassed     int64 // read from the store without being kept
	Evicted      int64 // removed for others
	Damaged      int64 // thrown away, as they were not what they had to be
}

// New gives a cache. What is wrong with its folder is told to the log, and by [Cache.State].
func New(o Options) *Cache {
	c := &Cache{
		dir: o.Dir, max: o.MaxBytes, large: large, log: cmp.Or(o.Log, slog.New(slog.DiscardHandler)), slots: make(chan struct{}, filling),
		entries: make(map[string]*list.Element), fills: make(map[string]*fill),
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	if c.max <= 0 {
		return c
	}
	if temp, err := c.temp(); err != nil {
		c.broke(err, 0)
	} else {
		discard(temp)
	}
	c.work.Go(c.list)
	return c
}

// Close ends what is being fetched. Files that are open can be read on.
func (c *Cache) Close() {
	c.stop()
	c.work.Wait()
}

// Stats gives the sums until now.
func (c *Cache) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// State tells in a few words how the cache does, and whether it is of use.
func (c *Cache) State() (state string, works bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.max <= 0:
		return "off", true
	case c.fault == nil:
		return "works", true
	case store.IsFull(c.fault):
		return "full disk, files come from the store", false
	}
	return "cannot be written, files come from the store", false
}

// Open gives the file of so many bytes with that sha256, in lower-case hex: an *os.File where it is whole on this
// machine; one that is large and on its way is read as it comes, but for the last bytes, which wait for the
// hash. The reader may need ctx as long as it is read. An error is that of fetch, or says that what the store
// gave is not that file, or is a [store.UnavailableError] where too many files are being fetched.
func (c *Cache) Open(ctx context.Context, sha256 string, size int64, fetch Fetch) (io.ReadSeekCloser, error) {
	if !store.IsSHA256(sha256) || size < 0 {
		return nil, fmt.Errorf("%d bytes of sha256 %.80q: %w", size, sha256, fs.ErrInvalid)
	}
	if f := c.hit(sha256); f != nil {
		return f, nil
	}
	if f := c.join(sha256, size, fetch); f != nil {
		r, err := f.open(ctx)
		if !errors.Is(err, errBypass) {
			return r, err
		}
	}
	c.mu.Lock()
	c.stats.Bypassed++
	c.mu.Unlock()
	return bypass(ctx, sha256, size, fetch)
}

// bypass reads a file from the store.
func bypass(ctx context.Context, sum string, size int64, fetch Fetch) (io.ReadSeekCloser, error) {
	r, err := fetch(ctx)
	if err != nil {
		return nil, err
	}
	has, err := r.Seek(0, io.SeekEnd)
	if err == nil && has != size {
		err = fmt.Errorf("%s: the store has %d bytes, and not its %d", sum, has, size)
	}
	if err == nil {
		_, err = r.Seek(0, io.SeekStart)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return struct {
		io.ReadSeeker
		io.Closer
	}{store.Verify(sum, r, size, sum), r}, nil
}

// Doubt has a file hashed before it is used again.
func (c *Cache) Doubt(sha256 string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if element := c.entries[sha256]; element != nil {
		element.Value.(*entry).checked = false
	}
}

// Yield removes a tenth of what is there, and one file at least, as somebody else needs room on the disk.
func (c *Cache) Yield() {
	c.mu.Lock()
	gone := c.evict(max(c.stats.Bytes-max(c.stats.Bytes/10, 1), 0))
	c.mu.Unlock()
	c.remove(gone...)
}

// forget throws a file away that is damaged.
func (c *Cache) forget(sum string) {
	c.mu.Lock()
	c.drop(sum)
	c.stats.Damaged++
	c.mu.Unlock()
	c.remove(sum)
}

// hit opens a file that is known to be there.
func (c *Cache) hit(sum string) *os.File {
	c.mu.Lock()
	element := c.entries[sum]
	if element == nil || !element.Value.(*entry).checked {
		c.mu.Unlock()
		return nil
	}
	e := element.Value.(*entry)
	c.order.MoveToFront(element)
	c.stats.Hits++
	now := time.Now()
	touch := now.Sub(e.touched) > touchEvery
	if touch {
		e.touched = now
	}
	c.mu.Unlock()
	f, err := os.OpenFile(c.path(sum), os.O_RDONLY|syscall.O_NONBLOCK, 0) // which spares four calls that would try to poll it
	if err != nil {                                                       // another process evicted it, mostly
		c.mu.Lock()
		c.drop(sum)
		c.stats.Hits--
		c.mu.Unlock()
		return nil
	}
	if touch {
		_ = os.Chtimes(c.path(sum), now, now)
	}
	return f
}

// join gives the fill of a file; nil is none, as it cannot be kept.
func (c *Cache) join(sum string, size int64, fetch Fetch) *fill {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.fills[sum]; f != nil {
		f.refs++
		c.stats.Shared++
		return f
	}
	if size > c.max/quarter || c.max <= 0 || c.ctx.Err() != nil {
		return nil
	}
	f := &fill{c: c, sum: sum, size: size, fetch: fetch, refs: 2, changed: make(chan struct{})} // of the caller, and of run
	f.ctx, f.cancel = context.WithCancel(c.ctx)
	c.fills[sum] = f
	c.work.Go(f.run)
	return f
}

// reserve makes room for a file. After a failure of the disk there is none for a while.
func (c *Cache) reserve(size int64) bool {
	c.mu.Lock()
	if time.Now().Before(c.resume) || c.reserved+size > c.max {
		c.mu.Unlock()
		return false
	}
	c.reserved += size
	gone := c.evict(c.max - c.reserved)
	c.mu.Unlock()
	c.remove(gone...)
	return true
}

// add takes a file as one that is there, and was asked for just now; fetched tells that it came just now, too.
func (c *Cache) add(sum string, size int64, fetched bool) {
	c.mu.Lock()
	c.drop(sum)
	if fetched {
		c.stats.Fetched++
	}
	c.put(&entry{sum: sum, size: size, touched: time.Now(), checked: true}, c.order.PushFront)
	gone := c.evict(c.max)
	c.mu.Unlock()
	c.remove(gone...)
}

// put takes an entry. c.mu is held.
func (c *Cache) put(e *entry, where func(any) *list.Element) {
	c.entries[e.sum] = where(e)
	c.stats.Files++
	c.stats.Bytes += e.size
}

// drop forgets an entry. c.mu is held.
func (c *Cache) drop(sum string) {
	if element := c.entries[sum]; element != nil {
		delete(c.entries, sum)
		c.stats.Files--
		c.stats.Bytes -= c.order.Remove(element).(*entry).size
	}
}

// evict forgets the files that were not asked for longest, until no more bytes are left, and gives their hashes. c.mu is held.
func (c *Cache) evict(most int64) (gone []string) {
	for c.stats.Bytes > most {
		sum := c.order.Back().Value.(*entry).sum
		c.drop(sum)
		c.stats.Evicted++
		gone = append(gone, sum)
	}
	return gone
}

// remove removes files. Where one of them came back meanwhile it is fetched once more.
func (c *Cache) remove(sums ...string) {
	for _, sum := range sums {
		if err := os.Remove(c.path(sum)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.log.Warn("a file of the cache is left", "err", err)
		}
	}
}

// broke notes that so many bytes could not be written. A full disk gets as many back.
func (c *Cache) broke(err error, size int64) {
	c.mu.Lock()
	if c.fault == nil {
		c.log.Warn("the cache's disk fails; files come from the store until it works", "err", err)
	}
	c.fault, c.resume = err, time.Now().Add(pause)
	var gone []string
	if store.IsFull(err) {
		gone = c.evict(max(c.stats.Bytes-size, 0))
	}
	c.mu.Unlock()
	c.remove(gone...)
}

// mended notes that a file could be written.
func (c *Cache) mended() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault != nil {
		c.log.Info("the cache's disk works again")
	}
	c.fault = nil
}

func (c *Cache) path(sum string) string {
	return c.dir + string(filepath.Separator) + sum[:2] + string(filepath.Separator) + sum
}

func (c *Cache) temps() string { return filepath.Join(c.dir, "tmp") }

// temp makes a temporary file.
func (c *Cache) temp() (*os.File, error) {
	f, err := os.CreateTemp(c.temps(), "")
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(c.temps(), 0o700); err == nil {
			f, err = os.CreateTemp(c.temps(), "")
		}
	}
	return f, err
}

// place renames a temporary file to where the file with that hash lies.
func (c *Cache) place(temp, sum string) error {
	err := os.Rename(temp, c.path(sum))
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(c.path(sum)), 0o700); err == nil {
			err = os.Rename(temp, c.path(sum))
		}
	}
	return err
}

func discard(temp *os.File) {
	temp.Close()
	_ = os.Remove(temp.Name())
}
