package catalog

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"curdling/internal/store"
)

// Over a bucket each server writes what was used of the files that may be evicted to a file of its own, uses/SERVER.json, and whoever evicts
// adds them all up. Of a server that was silent for a month they are forgotten.

const (
	usesPrefix     = "uses/"
	usesFormat     = 1
	mostUses       = 20_000 // files whose uses one server tells, those that were used last
	mostUsers      = 200    // servers that are heard, those that wrote last
	mostUsed       = 1 << 20
	usesRemembered = 30 * 24 * time.Hour
)

// use is how often a file was used, and when last.
type use struct {
	Count int64 `json:"count"`
	Last  int64 `json:"last"` // Unix seconds
}

// farUses are what this server notes.
type farUses struct {
	mu      sync.Mutex
	noted   map[string]use
	changed bool
}

// usesFile is what a server tells.
type usesFile struct {
	Format int            `json:"format"`
	Uses   map[string]use `json:"uses"`
}

func (u *farUses) note(filename string, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.noted == nil {
		u.noted = make(map[string]use)
	}
	u.noted[filename], u.changed = use{u.noted[filename].Count + 1, now.Unix()}, true
	if len(u.noted) >= 2*mostUses {
		u.trim()
	}
}

// trim forgets what was used long ago. The caller holds mu.
func (u *farUses) trim() {
	names := slices.SortedFunc(maps.Keys(u.noted), func(a, b string) int { return cmp.Compare(u.noted[b].Last, u.noted[a].Last) })
	for _, name := range names[min(len(names), mostUses):] {
		delete(u.noted, name)
	}
}

// keepUses writes what was used, where anything was since the last time.
func (r *far) keepUses(ctx context.Context) {
	u := &r.uses
	u.mu.Lock()
	changed := u.changed
	u.changed = false
	if len(u.noted) > mostUses {
		u.trim()
	}
	text, err := json.Marshal(usesFile{usesFormat, u.noted})
	u.mu.Unlock()
	if !changed || r.server == "" {
		return
	}
	if err == nil {
		err = store.Document{Store: r.shared, Key: usesPrefix + r.server + ".json"}.Change(ctx, func([]byte) ([]byte, error) { return text, nil })
	}
	if err != nil {
		u.mu.Lock()
		u.changed = true
		u.mu.Unlock()
		r.c.log.Debug("uses cannot be kept", "err", err)
	}
}

// loadUses adds up what all servers tell.
func (r *far) loadUses(ctx context.Context) (map[string]use, error) {
	var files []store.Info
	for info, err := range r.shared.List(ctx, usesPrefix) {
		if err != nil {
			return nil, err
		}
		files = append(files, info)
	}
	slices.SortFunc(files, func(a, b store.Info) int { return b.ModTime.Compare(a.ModTime) })
	sum := make(map[string]use)
	var failed error
	for _, info := range files[:min(len(files), mostUsers)] {
		told, err := r.readUses(ctx, info.Key)
		failed = errors.Join(failed, err)
		for name, x := range told {
			was, known := sum[name]
			if x.Count > 0 && (known || len(sum) < mostUsed) {
				sum[name] = use{was.Count + x.Count, max(was.Last, x.Last)}
			}
		}
	}
	return sum, failed
}

func (r *far) readUses(ctx context.Context, key string) (map[string]use, error) {
	text, _, err := r.shared.Get(ctx, key, "")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var x usesFile
	if err := json.Unmarshal(text, &x); err != nil || x.Format != usesFormat {
		return nil, fmt.Errorf("%s: no uses that this program knows", key)
	}
	return x.Uses, nil
}

// forgetUses removes what servers told that were silent for long.
func (r *far) forgetUses(ctx context.Context, now time.Time) {
	for info, err := range r.shared.List(ctx, usesPrefix) {
		if err == nil && strings.HasSuffix(info.Key, ".json") && now.Sub(info.ModTime) > usesRemembered {
			err = r.shared.Remove(ctx, info.Key)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.c.log.Debug("old uses cannot be removed", "err", err)
			return
		}
	}
}
