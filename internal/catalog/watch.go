package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"curdling/internal/store"
)

const (
	// settle is how long a file must have been left alone before it is read: it may
	// be a copy under way.
	settle = 300 * time.Millisecond
	// doubt is how long a file that cannot be used may still become whole.
	doubt = 2 * time.Second
)

// Run follows what others do in the store, and looks after what is held, until ctx
// is done. Of a store that tells nothing of changes only sweeps see what others do.
func (c *Catalog) Run(ctx context.Context) error {
	if c.far != nil {
		return c.runFar(ctx)
	}
	c.pruneMetadata(ctx)
	c.enforce(ctx)
	changed := make(chan string)
	g, ctx := errgroup.WithContext(ctx)
	if watcher, ok := c.store.(store.Watcher); ok {
		g.Go(func() error {
			return watcher.Watch(ctx, func(key string) {
				select {
				case changed <- key:
				case <-ctx.Done():
				}
			})
		})
	}
	g.Go(func() error {
		c.follow(ctx, changed)
		return nil
	})
	g.Go(func() error {
		c.maintain(ctx)
		return nil
	})
	g.Go(func() error {
		c.makeTarballs(ctx)
		return nil
	})
	if c.verifyEvery > 0 {
		g.Go(func() error {
			c.verifyAlways(ctx)
			return nil
		})
	}
	return g.Wait()
}

// maintain prepares the first search, saves uses, and reads what is doubted.
func (c *Catalog) maintain(ctx context.Context) {
	names, _ := c.Names()
	for _, name := range names {
		if p := c.Project(name); p != nil && ctx.Err() == nil {
			p.searchable()
		}
	}
	save := time.NewTicker(saveUses)
	defer save.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-save.C:
			c.keepUses()
		case key := <-c.doubts:
			c.judge(ctx, key)
		}
	}
}

// follow reads what changed, each key when it has been left alone for a while.
func (c *Catalog) follow(ctx context.Context, changed <-chan string) {
	type outcome struct {
		key   string
		again bool
	}
	type turn struct {
		key  string
		when time.Time
	}
	var (
		queue    []turn
		queued   = make(map[string]bool)
		busy     = make(map[string]bool)
		outcomes = make(chan outcome)
	)
	enqueue := func(key string) {
		if !queued[key] {
			queued[key] = true
			queue = append(queue, turn{key, time.Now().Add(settle)})
		}
	}
	relist := func() {
		infos, err := c.reconcile(ctx)
		if err != nil && ctx.Err() == nil {
			c.log.Error("the store cannot be listed", "err", err)
		}
		for _, info := range infos {
			enqueue(info.Key)
		}
	}
	var sweep <-chan time.Time
	if c.sweep > 0 {
		ticker := time.NewTicker(c.sweep)
		defer ticker.Stop()
		sweep = ticker.C
	}
	for {
		var next <-chan time.Time
		if len(queue) > 0 && len(busy) < runtime.GOMAXPROCS(0) {
			next = time.After(time.Until(queue[0].when))
		}
		select {
		case <-ctx.Done():
			for range busy {
				<-outcomes
			}
			return
		case key := <-c.recheck:
			enqueue(key)
		case key := <-changed:
			if key != "" {
				enqueue(key)
			} else {
				relist()
			}
		case <-sweep:
			relist()
		case o := <-outcomes:
			delete(busy, o.key)
			if o.again {
				enqueue(o.key)
			}
		case <-next:
			key := queue[0].key
			queue = queue[1:]
			delete(queued, key)
			if busy[key] {
				enqueue(key)
				break
			}
			busy[key] = true
			go func() { outcomes <- outcome{key, c.examine(ctx, key, settle)} }()
		}
	}
}

// reconcile lists the store, drops what is gone, and gives what is new or changed.
func (c *Catalog) reconcile(ctx context.Context) (fresh []store.Info, err error) {
	c.mu.RLock()
	known := len(c.files) + len(c.sidecars) + len(c.ignored)
	c.mu.RUnlock()
	there := make(map[string]bool, known) // of use where anything can be gone
	for info, err := range c.store.List(ctx, "") {
		if err != nil {
			return nil, err
		}
		folder, _, nested := strings.Cut(info.Key, "/")
		if nested {
			info = store.Info{Key: folder + "/"}
			c.ignore(info, errors.New("a folder; only files directly in the store are served"))
		}
		if known > 0 {
			there[info.Key] = true
		}
		if !nested && !c.seen(info) {
			fresh = append(fresh, info)
		}
	}
	if known == 0 {
		return fresh, nil
	}
	c.mu.Lock()
	var gone []string
	for key := range c.files {
		if !there[key] {
			gone = append(gone, key)
		}
	}
	for key := range c.sidecars {
		if !there[key] {
			gone = append(gone, key)
		}
	}
	maps.DeleteFunc(c.ignored, func(key string, _ stamp) bool { return !there[key] })
	c.mu.Unlock()
	for _, key := range gone {
		c.examine(ctx, key, settle) // it may have come since
	}
	return fresh, nil
}

// seen tells whether this content was judged already.
func (c *Catalog) seen(info store.Info) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.knows(info)
}

// knows is seen for who holds mu.
func (c *Catalog) knows(info store.Info) bool {
	if f := c.files[info.Key]; f != nil {
		return f.stamp() == stampOf(info)
	}
	if s := c.sidecars[info.Key]; s != nil {
		return s.stamp == stampOf(info) || s.within && s.build != nil
	}
	s, ok := c.ignored[info.Key]
	return ok && s == stampOf(info)
}

// ignore tells the log, once, why a file is not held.
func (c *Catalog) ignore(info store.Info, err error) {
	if c.seen(info) {
		return
	}
	c.drop(info.Key)
	c.mu.Lock()
	c.ignored[info.Key] = stampOf(info)
	c.mu.Unlock()
	c.log.Warn("ignored", "file", info.Key, "err", err)
}

// examine brings what is known of a key up to date. A file that was changed less
// than quiet ago is left alone. again tells that it is worth to come back.
func (c *Catalog) examine(ctx context.Context, key string, quiet time.Duration) (again bool) {
	if c.far != nil {
		c.far.wrote(ctx, key)
		return false
	}
	r, info, err := c.store.Open(ctx, key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.drop(key)
		return false
	case errors.Is(err, fs.ErrPermission):
		c.ignore(store.Info{Key: key}, err)
		return false
	case err != nil: // it will pass, or stays as it is
		c.log.Warn("a file cannot be opened", "file", key, "err", err)
		return ctx.Err() == nil
	}
	defer r.Close()
	if c.seen(info) {
		return false
	}
	age := time.Since(info.ModTime)
	if age >= 0 && age < quiet {
		return true
	}
	var (
		f    *File
		note *sidecar
		told bool // by another process
	)
	_, _, beside := splitSidecar(key)
	if beside {
		note, err = readSidecar(r, info)
	} else if f, told, err = c.learn(r, info); err == nil {
		if d, ok := c.store.(store.Digester); ok {
			if want := d.SHA256(key); want != "" && want != f.SHA256 {
				err = fmt.Errorf("its sha256 is %s, and must be %s", f.SHA256, want)
			}
		}
	}
	if !c.unchanged(ctx, info) {
		return true
	}
	if err != nil {
		if age >= 0 && age < doubt && quiet > 0 {
			return true
		}
		c.ignore(info, err)
		return false
	}
	c.log.Debug("a file came", "file", key, "bytes", info.Size)
	if beside {
		c.mu.Lock()
		c.note(key, note)
		c.mu.Unlock()
		return false
	}
	c.put(f)
	if !told {
		c.journal.append(f)
	}
	c.enforce(ctx)
	return false
}

// learn reads a file, unless another process did so and noted what it is.
func (c *Catalog) learn(r io.ReadSeeker, info store.Info) (f *File, told bool, err error) {
	if f := c.journal.told(info, func(key string) bool { return c.File(key) != nil }); f != nil {
		return f, true, nil
	}
	if f, _, err = check(readerAt(r), info.Size, info.Key); err != nil {
		return nil, false, err
	}
	f.came(info, From{})
	f.SHA256, err = hashOf(readerAt(r), info.Size)
	return f, false, err
}

// unchanged tells whether the file is still the one that info is of.
func (c *Catalog) unchanged(ctx context.Context, info store.Info) bool {
	r, now, err := c.store.Open(ctx, info.Key)
	if err != nil {
		return false
	}
	r.Close()
	return stampOf(now) == stampOf(info)
}
