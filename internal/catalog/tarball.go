package catalog

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"curdling/internal/dist"
	"curdling/internal/store"
	"curdling/internal/wheel"
)

// Beside each wheel its tarball is kept, in the state, as tarballs/XX/SHA256-SHA256: the first hash is the wheel's and
// the second one its own, so that a listing tells all. Run makes them, one at a time. None is made of a build,
// which is used by the hash in its record, and so as a wheel.
//
// Of what is far away they are kept there, beside the wheel. Who took the wheel makes its tarball, and the state has it
// for that time alone.

// restEvery is how long the maker of tarballs works before it rests for as long: it takes half a processor at most. (A
// thread of low priority would have the whole program wait for it whenever memory is collected.)
const restEvery = 5 * time.Millisecond

// tarballs is what is known of those that are kept. What comes after wake is guarded by Catalog.mu.
type tarballs struct {
	dir string // "": none are made
	// shared is that they lie in a store far away.
	shared bool
	wake   chan struct{} // something is wanted, or there is more room

	known  map[string]dist.Tarball // by the wheel's sha256
	bytes  int64                   // of those whose wheel is held
	wanted []string                // wheels without one, by name; the last comes first
	failed map[string]bool         // wheels that can have none, by sha256
	stale  []string                // paths of those that are to go
}

func newTarballs() tarballs {
	return tarballs{wake: make(chan struct{}, 1), known: map[string]dist.Tarball{}, failed: map[string]bool{}}
}

// farTarballs are those of what is far away.
func farTarballs(config Config) tarballs {
	t := newTarballs()
	if t.shared = true; config.Tarballs && config.State != "" {
		t.dir = filepath.Join(config.State, "tarballs")
	}
	return t
}

// openTarballs lists what is kept. Where none are to be made, what is there goes.
func openTarballs(config Config) (t tarballs, err error) {
	t = newTarballs()
	if config.State == "" {
		return t, nil
	}
	dir := filepath.Join(config.State, "tarballs")
	if !config.Tarballs {
		if config.Guest {
			return t, nil
		}
		return t, os.RemoveAll(dir)
	}
	t.dir = dir
	folders, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	for _, folder := range folders {
		entries, _ := os.ReadDir(filepath.Join(dir, folder.Name())) // what cannot be read is not there
		for _, e := range entries {
			info, err := e.Info()
			of, own, ok := strings.Cut(e.Name(), "-")
			switch {
			case err != nil: // it goes just now
			case ok && store.IsSHA256(of) && store.IsSHA256(own) && info.Size() > 0:
				t.known[of] = dist.Tarball{SHA256: own, Size: info.Size()}
			case !config.Guest && time.Since(info.ModTime()) > time.Hour: // a crash left it
				_ = os.Remove(filepath.Join(dir, folder.Name(), e.Name()))
			}
		}
	}
	return t, err
}

func (t *tarballs) path(of string, own dist.Tarball) string {
	return filepath.Join(t.dir, of[:2], of+"-"+own.SHA256)
}

// hasTarball tells whether a file is one of which a tarball is kept.
func (f *File) hasTarball() bool { return f.Kind == dist.Wheel && f.Build == nil }

// tarball gives what is kept of a wheel, zero where nothing is. The caller holds mu.
func (c *Catalog) tarball(f *File) dist.Tarball {
	if !f.hasTarball() {
		return dist.Tarball{}
	}
	return c.tarballs.known[f.SHA256]
}

// lacks tells whether a tarball of a file is still to be made. The caller holds mu.
func (t *tarballs) lacks(f *File) bool {
	return f.hasTarball() && f.Tarball.SHA256 == "" && !t.failed[f.SHA256]
}

// want has the tarball of a wheel made that has none; of what is far away the one does who took the wheel. The caller holds mu.
func (c *Catalog) want(f *File) {
	if c.far == nil {
		c.tarballs.want(f)
	}
}

func (t *tarballs) want(f *File) {
	if t.dir == "" || !t.lacks(f) {
		return
	}
	t.wanted = append(t.wanted, f.Filename)
	t.stir()
}

const (
	mostDemanded = 1000        // wheels that wait for their tarball because somebody asked for them
	demandAge    = time.Minute // until then who took the wheel may be at it
)

// demand has the tarball made of a wheel far away that somebody asks for, and that should have one by now.
func (c *Catalog) demand(f *File) {
	c.mu.RLock()
	t := &c.tarballs
	wanted := t.dir != "" && t.lacks(f) && len(t.wanted) < mostDemanded && time.Since(f.ModTime) > demandAge && !slices.Contains(t.wanted, f.Filename)
	c.mu.RUnlock()
	if wanted {
		c.mu.Lock()
		t.want(f)
		c.mu.Unlock()
	}
}

// stir has the maker look what there is to do.
func (t *tarballs) stir() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// forget has the tarball of a wheel go, which need not be held. The caller holds mu, and calls sweepTarballs without it.
func (t *tarballs) forget(of string) {
	if own, ok := t.known[of]; ok {
		delete(t.known, of)
		if !t.shared {
			t.stale = append(t.stale, t.path(of, own))
		}
	}
}

// knowTarball notes the tarball that is kept of a wheel, or that none is: the zero value. The caller holds mu.
func (c *Catalog) knowTarball(f *File, own dist.Tarball) {
	if own.SHA256 == "" {
		delete(c.tarballs.known, f.SHA256)
	} else {
		c.tarballs.known[f.SHA256] = own
	}
}

// sweepTarballs removes what is to go.
func (c *Catalog) sweepTarballs() {
	c.mu.Lock()
	stale := c.tarballs.stale
	c.tarballs.stale = nil
	c.mu.Unlock()
	for _, path := range stale {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.log.Warn("a tarball is left that nobody needs", "err", err)
		}
	}
}

// pruneTarballs removes those of wheels that are not held any more.
func (c *Catalog) pruneTarballs() {
	c.mu.Lock()
	held := make(map[string]bool, len(c.tarballs.known))
	for _, f := range c.files {
		held[f.SHA256] = held[f.SHA256] || f.Tarball.SHA256 != ""
	}
	for of := range c.tarballs.known {
		if !held[of] {
			c.tarballs.forget(of)
		}
	}
	c.mu.Unlock()
	c.sweepTarballs()
}

// Tarball opens the tarball of a wheel that is held and may be had; File.Tarball is its hash and size. Where there is
// none the error wraps fs.ErrNotExist.
func (c *Catalog) Tarball(ctx context.Context, filename string) (io.ReadSeekCloser, *File, error) {
	f, err := c.Offered(filename)
	if err != nil {
		return nil, nil, err
	}
	if f.Tarball.SHA256 == "" {
		return nil, nil, fmt.Errorf("%s has no tarball: %w", filename, fs.ErrNotExist)
	}
	r, err := c.openTarball(ctx, f)
	if err == nil {
		if f.expendable() != "" {
			c.used(filename)
		}
		return r, f, nil
	}
	if c.far != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	c.log.Info("a tarball is gone, and made again", "file", filename, "err", err)
	c.mu.Lock()
	c.tarballs.forget(f.SHA256)
	if held := c.files[filename]; held != nil {
		c.renew(held)
	}
	c.mu.Unlock()
	c.sweepTarballs()
	return nil, nil, fmt.Errorf("%s: its tarball is gone: %w", filename, fs.ErrNotExist)
}

// openTarball opens what is kept of a wheel.
func (c *Catalog) openTarball(ctx context.Context, f *File) (io.ReadSeekCloser, error) {
	if c.far != nil {
		r, _, err := c.store.Open(ctx, tarballKey(f, f.Tarball))
		return r, err
	}
	r, err := os.Open(c.tarballs.path(f.SHA256, f.Tarball))
	if err != nil {
		return nil, err
	}
	info, err := r.Stat()
	if err == nil && info.Size() != f.Tarball.Size {
		err = fmt.Errorf("it has %d bytes, and had %d", info.Size(), f.Tarball.Size)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// makeTarballs makes what is wanted until ctx is done.
func (c *Catalog) makeTarballs(ctx context.Context) {
	if c.tarballs.dir == "" {
		return
	}
	if c.far == nil {
		c.pruneTarballs()
	}
	for {
		f := c.nextWanted()
		if f == nil {
			select {
			case <-ctx.Done():
				return
			case <-c.tarballs.wake:
			}
			continue
		}
		begun := time.Now()
		own, err := c.makeTarball(ctx, f)
		if ctx.Err() != nil {
			return
		}
		var away *store.UnavailableError
		if errors.As(err, &away) {
			c.log.Debug("a tarball is made later", "file", f.Filename, "err", err)
			rest := time.NewTimer(longestRest)
			select {
			case <-ctx.Done():
			case <-rest.C:
			}
			rest.Stop()
			c.mu.Lock()
			c.tarballs.want(f)
			c.mu.Unlock()
			continue
		}
		if err != nil {
			c.log.Info("a wheel has no tarball", "file", f.Filename, "err", err)
			c.mu.Lock()
			c.tarballs.failed[f.SHA256] = true
			c.mu.Unlock()
			continue
		}
		c.log.Debug("a tarball was made", "file", f.Filename, "bytes", own.Size, "of", f.Size, "took", time.Since(begun))
		c.mu.Lock()
		c.tarballs.known[f.SHA256] = own
		if held := c.files[f.Filename]; held != nil && held.SHA256 == f.SHA256 {
			c.renew(held)
		} else {
			c.tarballs.forget(f.SHA256)
		}
		c.mu.Unlock()
		c.sweepTarballs()
		c.enforce(ctx)
	}
}

// nextWanted gives the wheel whose tarball is to be made next, nil where there is none or no room for it.
func (c *Catalog) nextWanted() *File {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &c.tarballs
	for len(t.wanted) > 0 {
		last := len(t.wanted) - 1
		f := c.files[t.wanted[last]]
		wanted := f != nil && t.lacks(f)
		if wanted && !c.roomForTarball(f) {
			return nil
		}
		t.wanted = t.wanted[:last]
		if wanted {
			return f
		}
	}
	return nil
}

// roomForTarball tells whether nothing must go for a tarball. The caller holds mu.
func (c *Catalog) roomForTarball(f *File) bool {
	if c.far != nil {
		last := c.far.counted.last.Load()
		return c.maxSize == 0 || last == nil || last.held()+f.Size <= c.maxSize-c.maxSize/slack
	}
	return c.maxSize == 0 || c.bytes+c.tarballs.bytes+c.reserved.Load()+f.Size <= c.maxSize-c.maxSize/slack
}

// makeTarball makes one, or finds the one that another server of the same state has made.
func (c *Catalog) makeTarball(ctx context.Context, f *File) (own dist.Tarball, err error) {
	dir := filepath.Join(c.tarballs.dir, f.SHA256[:2])
	if found, _ := filepath.Glob(filepath.Join(dir, f.SHA256+"-*")); len(found) > 0 {
		info, err := os.Stat(found[0])
		if own.SHA256 = strings.TrimPrefix(filepath.Base(found[0]), f.SHA256+"-"); err == nil && store.IsSHA256(own.SHA256) {
			own.Size = info.Size()
			return own, nil
		}
	}
	r, info, err := c.store.Open(ctx, f.Filename)
	if err != nil {
		return own, err
	}
	defer r.Close()
	if stampOf(info) != f.stamp() {
		return own, errors.New("it changes")
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return own, err
	}
	content, local := r.(io.ReaderAt)
	if !local { // each file of the wheel would be asked for
		copied, err := os.CreateTemp(dir, ".new-")
		if err != nil {
			return own, err
		}
		defer os.Remove(copied.Name())
		defer copied.Close()
		if _, err := io.Copy(copied, io.LimitReader(r, f.Size)); err != nil {
			return own, err
		}
		content = copied
	}
	w, err := wheel.Open(content, f.Size, f.Filename)
	if err != nil {
		return own, err
	}
	tmp, err := os.CreateTemp(dir, ".new-")
	if err != nil {
		return own, err
	}
	defer os.Remove(tmp.Name()) // nothing there after success
	defer tmp.Close()
	sum := sha256.New()
	if err := w.WriteTarball(ctx, &resting{w: io.MultiWriter(tmp, sum), since: time.Now()}); err != nil {
		return own, err
	}
	written, err := tmp.Stat()
	if err != nil {
		return own, err
	}
	own = dist.Tarball{SHA256: hex.EncodeToString(sum.Sum(nil)), Size: written.Size()}
	if c.far != nil {
		return own, c.far.shareTarball(ctx, f, own, io.NewSectionReader(tmp, 0, own.Size))
	}
	// Synced, so that a crash leaves none that is not what its name says.
	if err := errors.Join(tmp.Sync(), tmp.Close()); err != nil {
		return own, err
	}
	return own, os.Rename(tmp.Name(), c.tarballs.path(f.SHA256, own))
}

// resting rests after work for as long as it took.
type resting struct {
	w     io.Writer
	since time.Time
}

func (r *resting) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	if worked := time.Since(r.since); worked > restEvery {
		time.Sleep(min(worked, time.Second))
		r.since = time.Now()
	}
	return n, err
}

// ShedTarballs removes tarballs until size bytes are held at most, those of the wheels that came first, and tells how
// many bytes went. They are made again when there is room.
func (c *Catalog) ShedTarballs(size int64) (freed int64) {
	c.mu.Lock()
	excess := c.bytes + c.tarballs.bytes - size
	var all []*File
	if excess > 0 && c.tarballs.bytes > 0 {
		for _, f := range c.files {
			if f.Tarball.SHA256 != "" {
				all = append(all, f)
			}
		}
	}
	slices.SortFunc(all, func(a, b *File) int {
		return cmp.Or(a.ModTime.Compare(b.ModTime), strings.Compare(a.Filename, b.Filename))
	})
	for _, f := range all {
		if freed >= excess {
			break
		}
		freed += f.Tarball.Size
		c.tarballs.forget(f.SHA256)
		c.renew(f)
	}
	c.mu.Unlock()
	c.sweepTarballs()
	return freed
}
