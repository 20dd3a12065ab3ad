package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
)

// countersEvery is how often counters are written, where anything was counted.
const countersEvery = time.Minute

// Counts are sums of what a server did, over all its runs, and of all servers that count together: those on its folder, or over its bucket.
type Counts struct {
	Hits    int64 `json:"hits"`    // files served that were held
	Misses  int64 `json:"misses"`  // files asked for that were not held
	Bytes   int64 `json:"bytes"`   // of files, sent
	Uploads int64 `json:"uploads"` // files that were kept
}

func (c Counts) plus(d Counts) Counts {
	return Counts{c.Hits + d.Hits, c.Misses + d.Misses, c.Bytes + d.Bytes, c.Uploads + d.Uploads}
}

func (c Counts) minus(d Counts) Counts {
	return Counts{c.Hits - d.Hits, c.Misses - d.Misses, c.Bytes - d.Bytes, c.Uploads - d.Uploads}
}

// HitRate is the part of the files asked for that were held, from 0 to 1; 0 where none was asked for.
func (c Counts) HitRate() float64 {
	if c.Hits+c.Misses == 0 {
		return 0
	}
	return float64(c.Hits) / float64(c.Hits+c.Misses)
}

// Counters count what a server does, and remember it in a file that may be
// deleted at any time, or where several servers add up what they count. The zero value counts this run and remembers nothing.
// A crash loses what the last minute counted.
type Counters struct {
	path string
	log  *slog.Logger

	hits, misses, bytes, uploads atomic.Int64 // of this run

	savings savings
	shared  *shared // nil: this server counts for itself

	mu      sync.Mutex
	base    Counts // what all runs counted, without what this one did not write yet
	written Counts // of this run, and in base
	broken  bool   // the log was told
}

// OpenCounters takes up the counting from the file at path, which need not be there.
func OpenCounters(path string, log *slog.Logger) *Counters {
	c := &Counters{path: path, log: log}
	var err error
	if c.base, err = readCounts(path); err != nil {
		log.Warn("what was counted before is lost", "err", err)
	}
	c.savings.open(filepath.Join(filepath.Dir(path), "savings.json"), log)
	return c
}

// Run gives what was counted since the start.
func (c *Counters) Run() Counts {
	return Counts{c.hits.Load(), c.misses.Load(), c.bytes.Load(), c.uploads.Load()}
}

// Snapshot gives what was ever counted.
func (c *Counters) Snapshot() Counts {
	if c.shared != nil {
		return c.shared.all().Served
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base.plus(c.Run().minus(c.written))
}

// Keep saves now and then, until ctx is done.
func (c *Counters) Keep(ctx context.Context) {
	if c.shared != nil {
		c.shared.Run(ctx, c.shared.fold)
		return
	}
	ticker := time.NewTicker(countersEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			c.Save()
		case <-ctx.Done():
			return
		}
	}
}

// Save adds what was counted since the last time to what the file has, which
// another server on the same folder may have changed.
func (c *Counters) Save() {
	if c.shared != nil {
		c.shared.save(c.log)
		return
	}
	c.savings.save()
	c.mu.Lock()
	defer c.mu.Unlock()
	run := c.Run()
	if c.path == "" || run == c.written {
		return
	}
	err := c.add(run)
	if err != nil && !c.broken {
		c.log.Warn("what is counted cannot be kept", "err", err)
	}
	c.broken = err != nil
}

func (c *Counters) add(run Counts) (err error) {
	if err := os.MkdirAll(filepath.Dir(c.path), 0o777); err != nil {
		return err
	}
	lock := flock.New(c.path + ".lock")
	defer func() { err = errors.Join(err, lock.Close()) }()
	if ok, err := lock.TryLock(); !ok || err != nil {
		return err // another server writes: the next time will do
	}
	there, err := readCounts(c.path)
	if err != nil {
		there = c.base // it was broken by hand
	}
	sum := there.plus(run.minus(c.written))
	b, err := json.Marshal(sum)
	if err != nil {
		return err
	}
	temp := c.path + ".new"
	if err := os.WriteFile(temp, append(b, '\n'), 0o666); err != nil {
		return err
	}
	if err := os.Rename(temp, c.path); err != nil {
		return err
	}
	c.base, c.written = sum, run
	return nil
}

// readCounts reads the file; none there is nothing counted.
func readCounts(path string) (counts Counts, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return counts, nil
	}
	if err != nil {
		return counts, err
	}
	defer f.Close()
	if err := json.NewDecoder(io.LimitReader(f, 1<<12)).Decode(&counts); err != nil {
		return Counts{}, fmt.Errorf("%s: %w", path, err)
	}
	if err := counts.check(); err != nil {
		return Counts{}, fmt.Errorf("%s: %w", path, err)
	}
	return counts, nil
}

func (c Counts) check() error {
	all := []int64{c.Hits, c.Misses, c.Bytes, c.Uploads}
	if slices.Min(all) < 0 || slices.Max(all) > 1<<60 {
		return errors.New("no server ever counted that")
	}
	return nil
}
