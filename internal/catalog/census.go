package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"curdling/internal/store"
	"curdling/internal/store/bucket"
)

// Nobody can count what lies in a bucket whenever somebody asks. So one server walks it now and then, slowly, and writes what it counted to
// census.json, which all read. On its way it removes what nobody needs, and where too much is held it evicts, see shrink.go.

const (
	censusKey    = "census.json"
	censusFormat = 1
	censusEvery  = time.Minute    // it is read, and whose turn it is to count
	walkRate     = 5000           // keys a second that are listed, of which a page has 1000
	walkRest     = 4              // after a walk, times as long as it took
	rubbishAge   = 24 * time.Hour // longer than any upload is under way
	skewed       = time.Hour      // how far clocks may be apart
	longestRetry = 5 * time.Minute
)

// census is what was counted last.
type census struct {
	Format       int       `json:"format"`
	Time         time.Time `json:"time"`    // when the counting began, by the store's clock
	Seconds      float64   `json:"seconds"` // that it took
	Server       string    `json:"server,omitempty"`
	Projects     int       `json:"projects"`
	Files        int       `json:"files"`
	Bytes        int64     `json:"bytes"`
	TarballBytes int64     `json:"tarball_bytes"`
	// Permanent is how many of Bytes could not go when that was last looked at, which is where too much is held; nil: it never was.
	Permanent *int64 `json:"permanent_bytes,omitempty"`
	// Rubbish is what the walk removed, of what a crash left.
	Rubbish int `json:"rubbish,omitempty"`
}

// held is how many bytes are.
func (x *census) held() int64 { return x.Bytes + x.TarballBytes }

func (x *census) add(p *bucket.Project) {
	if len(p.Files) > 0 {
		x.Projects++
	}
	x.Files += len(p.Files)
	for _, f := range p.Files {
		x.Bytes += f.Size
	}
	for _, t := range p.Tarballs {
		x.TarballBytes += t.Size
	}
}

func (x *census) plus(y census) {
	x.Projects, x.Files = x.Projects+y.Projects, x.Files+y.Files
	x.Bytes, x.TarballBytes = x.Bytes+y.Bytes, x.TarballBytes+y.TarballBytes
	x.Rubbish += y.Rubbish
}

// parseCensus reads a census, which a newer program may have written.
func parseCensus(text []byte) (*census, error) {
	var x census
	if err := json.Unmarshal(text, &x); err != nil {
		return nil, fmt.Errorf("%s: %w", censusKey, err)
	}
	if x.Format != censusFormat || x.Time.IsZero() || x.Projects < 0 || x.Files < 0 || x.Bytes < 0 || x.TarballBytes < 0 ||
		!(x.Seconds >= 0 && x.Seconds < 1e8) || x.Permanent != nil && *x.Permanent < 0 {
		return nil, fmt.Errorf("%s: no census that this program knows", censusKey)
	}
	return &x, nil
}

// counted is what a server knows of the census.
type counted struct {
	last    atomic.Pointer[census] // nil: none is known
	version string                 // of it; for who reads it
	since   atomic.Int64           // bytes that came through this server since then and never go
}

// know takes a census.
func (k *counted) know(x *census) {
	if last := k.last.Load(); last == nil || !last.Time.Equal(x.Time) {
		k.since.Store(0)
	}
	k.last.Store(x)
}

// readCensus brings what is known of it up to date.
func (r *far) readCensus(ctx context.Context) error {
	text, version, err := r.shared.Get(ctx, censusKey, r.counted.version)
	if errors.Is(err, fs.ErrNotExist) || err == nil && text == nil {
		return nil
	}
	if err != nil {
		return err
	}
	x, err := parseCensus(text)
	if err != nil {
		return err
	}
	r.counted.version = version
	r.counted.know(x)
	return nil
}

// followCensus reads the census each minute, and keeps uses, until ctx is done.
func (r *far) followCensus(ctx context.Context) {
	ticker := time.NewTicker(censusEvery)
	defer ticker.Stop()
	for n := 1; ; n++ {
		if err := r.readCensus(ctx); err != nil && ctx.Err() == nil {
			r.c.log.Debug("what was counted is not known", "err", err)
		}
		if n%int(saveUses/censusEvery) == 0 {
			r.keepUses(ctx)
		}
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), longestWait)
			defer cancel()
			r.keepUses(ctx)
			return
		case <-ticker.C:
		}
	}
}

// takeTurns counts, sweeps and evicts while it is this server's turn, until ctx is done.
func (r *far) takeTurns(ctx context.Context) {
	ticker := time.NewTicker(censusEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if !r.turn() || !r.due(time.Now()) {
			continue
		}
		switch err := r.takeCensus(ctx); {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errNotOurs):
		case err != nil:
			r.c.log.Warn("what is held cannot be counted", "err", err)
		}
	}
}

// errNotOurs says that it is another server's turn by now.
var errNotOurs = errors.New("it is another server's turn")

// due tells whether the last census is old enough.
func (r *far) due(now time.Time) bool {
	last := r.counted.last.Load()
	if last == nil {
		return true
	}
	age := now.Sub(last.Time)
	return age < -skewed || age >= max(r.c.sweep, walkRest*time.Duration(last.Seconds*float64(time.Second)))
}

// takeCensus counts what is held, removes what nobody needs, evicts where too much is held, and tells all servers.
func (r *far) takeCensus(ctx context.Context) error {
	begun := time.Now()
	now, err := r.walked.Clock(ctx)
	if err != nil {
		return err
	}
	var swept bucket.Swept
	x, err := r.count(ctx, func(p *bucket.Project) error { return r.walked.SweepProject(ctx, p, now.Add(-rubbishAge), &swept) })
	if err != nil {
		return err
	}
	if swept.Removed > 0 {
		r.c.log.Info("what nobody needs was removed", "objects", swept.Removed, "bytes", swept.Bytes)
	}
	if len(swept.Broken) > 0 {
		r.c.log.Warn("files are claimed whose bytes are lost; remove their claims to have the names free", "files", len(swept.Broken),
			"some", swept.Broken[:min(len(swept.Broken), 10)])
	}
	if last := r.counted.last.Load(); last != nil {
		x.Permanent = last.Permanent
	}
	if r.c.maxSize > 0 && x.held() > r.c.maxSize && begun.After(r.hopeless) {
		shrunk, err := r.c.Shrink(ctx, ShrinkOptions{MaxSize: r.c.maxSize - r.c.maxSize/slack, Mine: r.turn})
		if err != nil {
			return err
		}
		x.Projects, x.Files, x.Bytes, x.TarballBytes = shrunk.Left.Projects, shrunk.Left.Files, shrunk.Left.Bytes, shrunk.Left.TarballBytes
		x.Permanent = &shrunk.Permanent
		if x.held() > r.c.maxSize {
			r.hopeless = time.Now().Add(hopelessRest)
			r.c.log.Error("the bound on what is held cannot be kept: what is left cannot be had again", "bytes", x.held(), "bound", r.c.maxSize)
		}
	}
	x.Format, x.Time, x.Seconds, x.Server, x.Rubbish = censusFormat, now.UTC(), time.Since(begun).Seconds(), r.server, swept.Removed
	r.forgetUses(ctx, now)
	text, err := json.Marshal(x)
	if err != nil {
		return err
	}
	err = store.Document{Store: r.shared, Key: censusKey}.Change(ctx, func([]byte) ([]byte, error) { return append(text, '\n'), nil })
	if err != nil {
		return err
	}
	r.counted.know(&x)
	r.c.log.Debug("counted", "projects", x.Projects, "files", x.Files, "bytes", x.Bytes, "took", time.Since(begun))
	return nil
}

// count walks over all that is held and counts it; also looks at each project, perhaps twice.
func (r *far) count(ctx context.Context, also func(*bucket.Project) error) (census, error) {
	var sum census
	err := r.walk(ctx, r.turn, func(projects projects) error {
		var part census
		for p, err := range projects {
			if err != nil {
				return err
			}
			part.add(p)
			if err := also(p); err != nil {
				return err
			}
		}
		sum.plus(part)
		return nil
	})
	return sum, err
}

// projects are those of a part of a walk.
type projects func(yield func(*bucket.Project, error) bool)

// walk walks over all that is held, slowly, and part by part, so that where the store does not answer only one has to be done again.
func (r *far) walk(ctx context.Context, mine func() bool, do func(projects) error) error {
	pace := &pacer{rate: walkRate}
	for _, initial := range bucket.Initials {
		part := func(yield func(*bucket.Project, error) bool) {
			for p, err := range r.walked.Walk(ctx, string(initial)) {
				if err == nil && !mine() {
					err = errNotOurs
				}
				if err == nil {
					pace.wait(ctx, p.Keys)
					err = ctx.Err()
				}
				if !yield(p, err) || err != nil {
					return
				}
			}
		}
		for pause := time.Second; ; pause *= 2 {
			err := do(part)
			if err == nil {
				break
			}
			if ctx.Err() != nil || errors.Is(err, errNotOurs) || pause > longestRetry {
				return err
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(pause):
			}
		}
	}
	return nil
}
