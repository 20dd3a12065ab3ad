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
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"curdling/internal/dist"
	"curdling/internal/store"
)

// VerifyOptions say how to verify.
type VerifyOptions struct {
	Rate     int64                       // bytes a second that are read at most; 0 is no bound
	Parallel int                         // files at once; 0 is one for each processor
	Damaged  func(key string, err error) // is told of each damaged file, from one goroutine at a time; may be nil
	Progress func(Verified)              // is told after each file, from one goroutine at a time; may be nil
}

// Verified counts what was verified.
type Verified struct {
	Files, Damaged int
	Bytes          int64 // of these
	TotalFiles     int   // to be verified
	TotalBytes     int64
}

// Verify reads all distribution files of the store anew. One is damaged where it
// cannot be read, or its hash is not the one that was known of it; one of which
// nothing is known, or that was changed since, where it is not what its name says.
func (c *Catalog) Verify(ctx context.Context, o VerifyOptions) (Verified, error) {
	if c.far != nil && c.far.walked != nil {
		return c.far.verifyAll(ctx, o)
	}
	infos, err := c.verifiable(ctx)
	if err != nil {
		return Verified{}, err
	}
	t := &tally{options: o, v: Verified{TotalFiles: len(infos)}}
	for _, info := range infos {
		t.v.TotalBytes += info.Size
	}
	var (
		work    = make(chan store.Info)
		pace    = &pacer{rate: o.Rate}
		workers sync.WaitGroup
	)
	for range cmp.Or(o.Parallel, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for info := range work {
				err := c.verify(ctx, info, pace)
				if ctx.Err() != nil {
					continue
				}
				t.add(info.Key, info.Size, err)
			}
		})
	}
	for _, info := range infos {
		if ctx.Err() != nil {
			break
		}
		work <- info
	}
	close(work)
	workers.Wait()
	return t.v, ctx.Err()
}

// tally counts what is verified, and tells of it.
type tally struct {
	options VerifyOptions
	mu      sync.Mutex
	v       Verified
}

// add counts a file, and what is wrong with it.
func (t *tally) add(key string, size int64, damage error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.v.Files, t.v.Bytes = t.v.Files+1, t.v.Bytes+size
	if damage != nil {
		t.v.Damaged++
		if t.options.Damaged != nil {
			t.options.Damaged(key, damage)
		}
	}
	if t.options.Progress != nil {
		t.options.Progress(t.v)
	}
}

// verifiable lists the distribution files of the store, in the order of their
// names from a random one on: so that a server that is started anew often comes to all.
func (c *Catalog) verifiable(ctx context.Context) (infos []store.Info, err error) {
	for info, err := range c.store.List(ctx, "") {
		if err != nil {
			return nil, err
		}
		if _, err := dist.ParseFilename(info.Key, ""); err == nil && !strings.Contains(info.Key, "/") {
			infos = append(infos, info)
		}
	}
	slices.SortFunc(infos, func(a, b store.Info) int { return strings.Compare(a.Key, b.Key) })
	if len(infos) > 0 {
		at := rand.IntN(len(infos))
		infos = slices.Concat(infos[at:], infos[:at])
	}
	return infos, nil
}

// verify gives what is wrong with a file, nil too where it is gone.
func (c *Catalog) verify(ctx context.Context, info store.Info, pace *pacer) error {
	r, now, err := c.store.Open(ctx, info.Key)
	if errors.Is(err, fs.ErrNotExist) || ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	n, err := io.Copy(h, paced{ctx, pace, io.LimitReader(r, now.Size+1)})
	hash := hex.EncodeToString(h.Sum(nil))
	f := c.File(info.Key)
	switch {
	case ctx.Err() != nil || !c.unchanged(ctx, now):
		return nil // what it is now is judged when it has come to rest
	case err != nil:
		return fmt.Errorf("cannot be read: %w", err)
	case n != now.Size:
		return fmt.Errorf("%d bytes can be read of %d", n, now.Size)
	case f != nil && f.stamp() == stampOf(now):
		if f.SHA256 != hash {
			return fmt.Errorf("its sha256 was %s and is %s", f.SHA256, hash)
		}
		return nil
	}
	if _, _, err := check(readerAt(r), now.Size, info.Key); err != nil {
		return fmt.Errorf("cannot be opened: %w", err)
	}
	return nil
}

// Quarantine puts a damaged file aside; where the store cannot, it is not served any more.
func (c *Catalog) Quarantine(ctx context.Context, key string, reason error) error {
	f := c.File(key)
	q, ok := c.store.(store.Quarantiner)
	if ok {
		if err := q.Quarantine(ctx, key, reason.Error()); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is damaged (%w) and cannot be put aside: %w", key, reason, err)
		}
	}
	c.drop(key)
	if !ok && f != nil {
		c.ignore(f.info(), reason)
	}
	c.log.Error("a damaged file is not served any more", "file", key, "err", reason)
	r := Removal{Action: "quarantine", Filename: key, Why: reason.Error()}
	if f != nil {
		r.SHA256, r.Size = f.SHA256, f.Size
	}
	c.told(r)
	return nil
}

// Doubt has a file read anew that broke off while it was served. It is put aside if it is damaged, and judged
// like any that was changed by hand if it was changed.
func (c *Catalog) Doubt(filename string) {
	if c.far != nil { // it is the network's fault, or this machine's: a store far away looks after its own disks
		if s, ok := c.store.(store.Doubter); ok {
			s.Doubt(filename)
		}
		return
	}
	select {
	case c.doubts <- filename:
	default: // so many are doubted that this one waits for its next reader
	}
}

// judge reads a file that may be damaged, twice if it seems to be, and puts it aside then.
func (c *Catalog) judge(ctx context.Context, key string) {
	f := c.File(key)
	if f == nil || !c.unchanged(ctx, f.info()) {
		c.again(key)
		return
	}
	var err error
	for range 2 {
		if err = c.verify(ctx, f.info(), new(pacer)); err == nil || ctx.Err() != nil {
			return
		}
	}
	if err := c.Quarantine(ctx, key, err); err != nil {
		c.log.Error("a damaged file is still in its place", "err", err)
	}
}

// verifyAlways verifies everything again and again, each time spread over most of the period.
func (c *Catalog) verifyAlways(ctx context.Context) {
	const least = 1 << 20 // bytes a second
	for ctx.Err() == nil {
		next := time.After(c.verifyEvery)
		v, err := c.Verify(ctx, VerifyOptions{
			Rate:     max(least, int64(float64(c.Stats().Bytes)/c.verifyEvery.Seconds()*1.2)),
			Parallel: 1,
			Damaged:  func(key string, _ error) { c.judge(ctx, key) },
		})
		if ctx.Err() != nil {
			return
		}
		c.log.Info("verified", "files", v.Files, "damaged", v.Damaged, "bytes", v.Bytes, "err", err)
		select {
		case <-next:
		case <-ctx.Done():
		}
	}
}

// pacer spreads reading over time.
type pacer struct {
	rate int64 // bytes a second; 0 is no bound
	mu   sync.Mutex
	next time.Time
}

// wait returns when n bytes more may be read.
func (p *pacer) wait(ctx context.Context, n int) {
	if p.rate == 0 {
		return
	}
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	delay := p.next.Sub(now)
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	p.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
	}
}

// paced reads at a pacer's rate.
type paced struct {
	ctx  context.Context
	pace *pacer
	r    io.Reader
}

func (p paced) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.pace.wait(p.ctx, n)
	return n, cmp.Or(err, p.ctx.Err())
}
