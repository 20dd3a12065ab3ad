package catalog

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"math"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"curdling/internal/dist"
	"curdling/internal/store"
	"curdling/internal/store/bucket"
)

// Which files of a bucket go cannot be sorted out in memory. So they are walked over twice. The first time tells how many bytes each class of
// worth has, which differ by a fifth, the second one takes those that are worth less than the class with which
// enough is freed, and of that as many as are needed.

const (
	classes      = 512 // of worth
	claimsAtOnce = 16
	claimRate    = 200 // claims a second that are read
	hopelessRest = 6 * time.Hour
)

// rank is the order in which things go.
type rank int

const (
	rankTarball rank = iota
	rankUpstream
	rankBuild
	ranks
)

func rankOf(why Why) rank {
	if why == Rebuild {
		return rankBuild
	}
	return rankUpstream
}

// classOf gives the class of a worth.
func classOf(worth float64) int {
	class := classes/2 + int(math.Floor(4*math.Log2(worth)))
	return min(max(class, 0), classes-1)
}

// ShrinkOptions say what [Catalog.Shrink] does.
type ShrinkOptions struct {
	MaxSize int64           // bytes that may be left, tarballs among them; below zero nothing goes, and all is counted
	DryRun  bool            // nothing is removed
	Gone    func(Candidate) // is told of each file that goes, or would; nil: nobody is
	Mine    func() bool     // whether to go on; nil: always
}

// Held counts what is held. The zero value is nothing.
type Held struct {
	Projects, Files     int
	Bytes, TarballBytes int64
}

// Shrunk is what [Catalog.Shrink] did.
type Shrunk struct {
	Left       Held
	Permanent  int64 // bytes of files that can never go
	Expendable int64 // of those that could, before
	Files      int   // that went
	Bytes      int64 // of them
	Tarballs   int64 // bytes of tarballs that went
}

// Shrink removes from a store far away what can be had again until the rest fits, in the order of [Catalog.Evictable]
// by and large. It reads the notes of all files of projects that have builds or are an upstream's, twice, and may take hours.
func (c *Catalog) Shrink(ctx context.Context, o ShrinkOptions) (Shrunk, error) {
	if c.far == nil || c.far.walked == nil || c.far.shared == nil {
		return Shrunk{}, errors.New("this is for what lies in a bucket")
	}
	if o.Mine == nil {
		o.Mine = func() bool { return true }
	}
	e := &eviction{far: c.far, options: o, now: time.Now(), pace: &pacer{rate: claimRate}, common: &sharedCommon{common: newCommon()}}
	var err error
	if e.uses, err = c.far.loadUses(ctx); err != nil {
		c.log.Warn("what was used of the files that may go is not known", "err", err)
	}
	if e.projects, err = c.far.expendable(ctx); err != nil {
		return Shrunk{}, err
	}
	if err := e.survey(ctx); err != nil {
		return Shrunk{}, err
	}
	if over := e.Left.Bytes + e.Left.TarballBytes - o.MaxSize; over > 0 && o.MaxSize >= 0 {
		err = e.remove(ctx, over)
	}
	return e.Shrunk, err
}

// eviction is what is found out by one.
type eviction struct {
	*far
	options  ShrinkOptions
	now      time.Time
	pace     *pacer
	uses     map[string]use
	projects *nameSet // that may have what can go
	common   *sharedCommon

	mu   sync.Mutex // guards:
	sums histogram
	Shrunk
}

// histogram has the bytes of what may go.
type histogram [ranks][classes]int64

func (h *histogram) plus(other *histogram) {
	for rank := range h {
		for class := range h[rank] {
			h[rank][class] += other[rank][class]
		}
	}
}

// bound is where an eviction ends: what is below goes, and of the class itself so many bytes.
type bound struct {
	rank  rank
	class int
	most  int64
}

// below finds the bound with which so many bytes go; all where they are not enough.
func (h *histogram) below(bytes int64) bound {
	for rank := range ranks {
		for class, sum := range h[rank] {
			if bytes <= sum {
				return bound{rank, class, bytes}
			}
			bytes -= sum
		}
	}
	return bound{rank: ranks}
}

// takes tells whether something of a rank and class goes, and counts it then.
func (b *bound) takes(r rank, class int, size int64) bool {
	switch {
	case r != b.rank:
		return r < b.rank
	case class != b.class:
		return class < b.class
	case b.most <= 0:
		return false
	}
	b.most -= size
	return true
}

// survey counts all that is held, and what may go, by its worth.
func (e *eviction) survey(ctx context.Context) error {
	return e.walk(ctx, e.options.Mine, func(projects projects) error {
		var (
			part census
			sums histogram
		)
		err := e.each(ctx, projects, func(p *bucket.Project) {
			part.add(p)
			e.tarballs(p, func(t bucket.Tarball, class int) { sums[rankTarball][class] += t.Size })
		}, func(_ *bucket.Project, _ bucket.Claim, x Candidate) error {
			e.mu.Lock()
			defer e.mu.Unlock()
			sums[rankOf(x.Why)][classOf(x.worth)] += x.Size
			return nil
		})
		if err != nil {
			return err
		}
		e.sums.plus(&sums)
		e.Left.Projects, e.Left.Files = e.Left.Projects+part.Projects, e.Left.Files+part.Files
		e.Left.Bytes, e.Left.TarballBytes = e.Left.Bytes+part.Bytes, e.Left.TarballBytes+part.TarballBytes
		e.Permanent += part.Bytes
		for _, rank := range []rank{rankUpstream, rankBuild} {
			for _, sum := range sums[rank] {
				e.Expendable += sum
				e.Permanent -= sum
			}
		}
		return nil
	})
}

// remove removes so many bytes, where that many can go.
func (e *eviction) remove(ctx context.Context, bytes int64) error {
	limit := e.sums.below(bytes)
	return e.walk(ctx, e.options.Mine, func(projects projects) error {
		var failed error
		err := e.each(ctx, projects, func(p *bucket.Project) {
			e.tarballs(p, func(t bucket.Tarball, class int) {
				e.mu.Lock()
				goes := limit.takes(rankTarball, class, t.Size)
				e.mu.Unlock()
				if goes {
					failed = errors.Join(failed, e.shed(ctx, t))
				}
			})
		}, func(p *bucket.Project, claim bucket.Claim, x Candidate) error {
			e.mu.Lock()
			goes := limit.takes(rankOf(x.Why), classOf(x.worth), x.Size)
			e.mu.Unlock()
			if !goes {
				return nil
			}
			return e.evict(ctx, p, claim, x)
		})
		return errors.Join(err, failed)
	})
}

// tarballs judges those of a project: the wheels that came first are worth the least.
func (e *eviction) tarballs(p *bucket.Project, judge func(t bucket.Tarball, class int)) {
	if len(p.Tarballs) == 0 {
		return
	}
	came := make(map[string]time.Time, len(p.Files))
	for _, f := range p.Files {
		came[f.Key] = f.ModTime
	}
	for _, t := range p.Tarballs {
		judge(t, classOf(1/(1+max(0, e.now.Sub(came[t.Wheel]).Hours()))))
	}
}

// each reads the claims of files that may go, several at once, and judges them; first is called for each project before.
func (e *eviction) each(ctx context.Context, projects projects, first func(*bucket.Project),
	judge func(*bucket.Project, bucket.Claim, Candidate) error,
) error {
	var failed error
	g, reading := errgroup.WithContext(ctx)
	g.SetLimit(claimsAtOnce)
	for p, err := range projects {
		if failed = err; err != nil || reading.Err() != nil {
			break
		}
		first(p)
		if !e.projects.has(p.Name) {
			continue
		}
		for _, info := range p.Files {
			g.Go(func() error {
				e.pace.wait(reading, 1)
				claim, x, err := e.candidate(reading, info)
				switch {
				case errors.Is(err, fs.ErrNotExist): // it went by itself
					return nil
				case err != nil || x.Why == "":
					return err
				}
				return judge(p, claim, x)
			})
		}
	}
	return errors.Join(g.Wait(), failed)
}

// candidate reads what is known of a file; Why is "" of one that cannot go.
func (e *eviction) candidate(ctx context.Context, info store.Info) (bucket.Claim, Candidate, error) {
	claim, err := e.walked.Claim(ctx, info.Key)
	if err != nil {
		return claim, Candidate{}, err
	}
	info.Size = claim.Size
	n, err := e.common.noted(claim.Note, info)
	if n.file == nil || !n.whole || err != nil {
		return claim, Candidate{}, nil //nolint:nilerr // whose it is nobody knows, so it stays
	}
	f := n.file
	f.Build = n.build
	x := Candidate{File: f, Why: f.expendable(), LastUsed: f.ModTime}
	if u, ok := e.uses[f.Filename]; ok {
		x.Uses, x.LastUsed = u.Count, time.Unix(u.Last, 0).UTC()
	}
	x.judge(e.now)
	return claim, x, nil
}

// shed removes a tarball.
func (e *eviction) shed(ctx context.Context, t bucket.Tarball) error {
	if !e.options.DryRun {
		if err := e.store.Remove(ctx, t.Key); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s cannot be removed: %w", t.Key, err)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.Tarballs += t.Size
	e.Left.TarballBytes -= t.Size
	return nil
}

// evict removes a file, if it is still the one that was judged, and its tarballs. What lies beside it stays: it is small, and
// counts again if the file comes back.
func (e *eviction) evict(ctx context.Context, p *bucket.Project, claim bucket.Claim, x Candidate) error {
	if !e.options.DryRun {
		if !e.options.Mine() {
			return errNotOurs
		}
		switch err := e.walked.RemoveClaimed(ctx, claim); {
		case errors.Is(err, fs.ErrNotExist): // another took it
			return nil
		case err != nil:
			return fmt.Errorf("%s cannot be removed: %w", x.Filename, err)
		}
		e.c.log.Info("evicted", "file", x.Filename, "bytes", x.Size, "why", x.Why, "uses", x.Uses, "last_used", x.LastUsed)
		e.c.told(Removal{Action: "evict", Filename: x.Filename, SHA256: x.SHA256, Size: x.Size, Why: string(x.Why)})
		e.again(x.Filename)
		for _, t := range p.Tarballs { // which the next walk finds where this fails
			if t.Wheel == x.Filename && e.store.Remove(ctx, t.Key) == nil {
				e.mu.Lock()
				e.Left.TarballBytes -= t.Size
				e.mu.Unlock()
			}
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.options.Gone != nil {
		e.options.Gone(x)
	}
	e.Files, e.Bytes = e.Files+1, e.Bytes+x.Size
	e.Left.Files, e.Left.Bytes = e.Left.Files-1, e.Left.Bytes-x.Size
	return nil
}

// nameSet has names by their hashes alone: at most some that are not in it are taken for one that is.
type nameSet struct {
	seed   maphash.Seed
	hashes map[uint64]bool
}

func (s *nameSet) add(name string)      { s.hashes[maphash.String(s.seed, name)] = true }
func (s *nameSet) has(name string) bool { return s.hashes[maphash.String(s.seed, name)] }

// expendable finds the projects that have builds, or are an upstream's.
func (r *far) expendable(ctx context.Context) (*nameSet, error) {
	found, pace := &nameSet{maphash.MakeSeed(), make(map[uint64]bool)}, &pacer{rate: walkRate}
	for _, prefix := range []string{"upstream/", "builds/"} {
		for info, err := range r.shared.List(ctx, prefix) {
			if err != nil {
				return nil, err
			}
			pace.wait(ctx, 1)
			name := info.Key[strings.LastIndexByte(info.Key, '/')+1:]
			if prefix == "builds/" {
				of, ok := projectOf(name)
				if !ok {
					continue
				}
				name = string(of)
			}
			if _, err := dist.ParseName(name); err == nil {
				found.add(name)
			}
		}
	}
	return found, nil
}

// reserve tells whether a file may come: not where what can never go leaves no room for it, as far as that is known. Else it is taken,
// and what can be had again goes for it with the next walk.
func (r *far) reserve(filename string, size int64) error {
	most := r.c.maxSize
	last := r.counted.last.Load()
	if most == 0 {
		return nil
	}
	permanent := r.counted.since.Load()
	if last != nil && last.Permanent != nil {
		permanent += *last.Permanent
	}
	if permanent+size > most {
		return &QuotaError{filename, size, most, permanent}
	}
	return nil
}
