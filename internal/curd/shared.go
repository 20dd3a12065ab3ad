package curd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"curdling/internal/build"
	"curdling/internal/curds"
	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/metadata"
	"curdling/internal/store"
)

// leased is this run's right to build something that others wait for at a cache server; nil: nobody gave one.
type leased struct {
	place *place
	lease *index.Lease
}

// shares tells whether cache servers are asked for what a recipe gives.
func (s *session) shares(r *recipe) bool {
	return len(s.caches) > 0 && !s.Offline && !s.NoBuildIsolation && !r.ours
}

// sharedBuild gives what a cache server has of a recipe, or what another machine builds of it at
// this very time, and the turn to build it where it is ours.
func (s *session) sharedBuild(ctx context.Context, r *recipe) (b curds.Build, found bool, t *leased, err error) {
	if !s.shares(r) {
		return b, false, nil, nil
	}
	for _, c := range s.caches {
		var unfit []string
		for again := true; again && c.failed() == nil; {
			again = false
			claim, err := s.claim(ctx, c, r, false, unfit)
			switch {
			case err != nil:
				return b, false, nil, err
			case claim == nil:
			case claim.Lease != nil:
				return b, false, &leased{c, claim.Lease}, nil
			default:
				for _, f := range claim.Files {
					b, why, err := s.takeBuild(ctx, c, r, f)
					if err != nil {
						return b, false, nil, err
					}
					if why == "" {
						return b, true, nil, nil
					}
					s.log("build").Info("is left out", "wheel", f.Filename, "at", c.shown, "why", why)
					unfit = append(unfit, f.Filename)
				}
				again = len(claim.Files) > 0 && len(unfit) < maxUnfit
			}
		}
	}
	return b, false, nil, nil
}

// maxUnfit is how many builds of one source are looked at.
const maxUnfit = 64

// claim asks one cache server; nil: it has nothing and gives no turn.
func (s *session) claim(ctx context.Context, c *place, r *recipe, md bool, unfit []string) (*index.Claim, error) {
	waiting := false
	defer func() {
		if waiting {
			s.Notify(Event{Phase: Building, Kind: End, Name: r.name})
		}
	}()
	claim, err := c.client.Claim(ctx, c.root, index.Build{
		From: r.source, Key: r.key(), Metadata: md, Name: r.name, Unfit: unfit, Wait: s.BuildWait, Look: !s.Upload,
		Progress: func(p index.BuildProgress) {
			if !waiting {
				waiting = true
				s.Notify(Event{Phase: Building, Kind: Begin, Name: r.name})
			}
			lines := strings.Split(strings.TrimSpace(p.Log), "\n")
			step := fmt.Sprintf("%s builds it since %v", cmp.Or(p.Holder, "another machine"), p.Since.Round(time.Second))
			if last := lines[len(lines)-1]; last != "" {
				step += ": " + last
			}
			s.Notify(Event{Phase: Building, Kind: Progress, Name: r.name, Step: step})
		},
	})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, index.ErrBuildWait):
		s.warn("%s: %v; it is built here too", c.shown, err)
		return nil, nil
	case err != nil:
		s.log("build").Debug("builds are not shared", "at", c.shown, "source", r.name, "why", err)
		return nil, nil
	case claim.Failed != nil && s.BuildWait > 0:
		return nil, failedElsewhere(r, claim.Failed)
	}
	return claim, nil
}

// failedElsewhere is the error for a build that failed on another machine a moment ago.
func failedElsewhere(r *recipe, f *index.BuildFailure) error {
	log := ""
	if lines := strings.Split(strings.TrimSpace(f.Log), "\n"); f.Log != "" {
		log = "; the end of its log:\n  " + strings.Join(lines[max(0, len(lines)-20):], "\n  ")
	}
	return fmt.Errorf("%s: %s built it %v ago, and that failed (%s)%s\nhint: --build-wait 0 builds it here whatever befell others",
		r.name, cmp.Or(f.Holder, "another machine"), time.Duration(f.Since*float64(time.Second)).Round(time.Second), f.Message, log)
}

// takeBuild fetches a build that a cache server has of a recipe; why tells why it does not do.
func (s *session) takeBuild(ctx context.Context, c *place, r *recipe, built index.BuiltFile) (b curds.Build, why string, err error) {
	f, err := dist.ParseFilename(built.Filename, r.project)
	if err != nil || !r.gives(f.Name, f.Version) {
		return b, "it is of another project or version", nil
	}
	f.URL, f.SHA256, f.Size = c.shown+"/p/"+f.Filename, built.SHA256, built.Size
	f.BuiltFrom, f.BuildKey = r.source, r.key()
	if why, ok := s.unfit.Load(f.URL); ok { // it was listed, and its wheel did not do
		return b, why.(string), nil
	}
	if !store.IsSHA256(f.SHA256) {
		return b, "its hash is not told", nil
	}
	a, err := s.admit(ctx, f)
	switch {
	case ctx.Err() != nil:
		return b, "", ctx.Err()
	case err != nil:
		return b, err.Error(), nil // and the server is not asked again
	case a.why != "":
		return b, a.why, nil
	}
	if why := s.misfit(a.record, r.python); why != "" {
		return b, why, nil
	}
	h, err := s.fetch(ctx, f)
	switch {
	case ctx.Err() != nil:
		return b, "", ctx.Err()
	case errors.Is(err, errCacheLost):
		return b, err.Error(), nil // and the server is not asked again
	case err != nil:
		return b, "", err
	}
	if why, err := s.symbolsLack(ctx, h.sha256, r.python); err != nil || why != "" {
		return b, why, err
	}
	b = curds.Build{
		Source: r.source, Key: r.key(), Wheel: h.sha256, Filename: f.Filename,
		Seconds: a.record.Cost.Seconds, Time: a.record.Cost.Built, Record: a.text,
		Server: c.shown, Signature: a.signature,
	}
	s.taken.Store(r.id(), true)
	s.sent.Store(sentKey{c, f.Filename}, false)
	return b, "", s.own.AddBuild(b)
}

// give ends a turn: what was built goes to who waits for it, and where nothing was, they are told why.
func (s *session) give(ctx context.Context, t *leased, r *recipe, b curds.Build, err error) {
	if t == nil {
		return
	}
	var failed *build.Error
	switch {
	case err == nil && s.send(ctx, t.place, b):
		err = t.lease.Done(ctx)
	case err == nil, ctx.Err() != nil, !errors.As(err, &failed), !failed.Everywhere():
		err = t.lease.GiveUp(ctx)
	default:
		err = t.lease.Fail(ctx, fmt.Sprintf("%v in %s", failed.Err, failed.Step))
	}
	if err != nil {
		s.log("build").Debug("the lease could not be ended", "at", t.place.shown, "source", r.name, "why", err)
	}
}

// send uploads a build at once.
func (s *session) send(ctx context.Context, c *place, b curds.Build) bool {
	path, ok := s.own.File(b.Wheel)
	if !ok {
		return false
	}
	signature, err := s.signed(b)
	if err == nil {
		_, err = c.client.Upload(ctx, c.root, path, beside(b.Record, signature)...)
	}
	if err != nil {
		s.log("build").Info("was not uploaded", "wheel", b.Filename, "at", c.shown, "err", err)
		return false
	}
	s.sent.Store(sentKey{c, b.Filename}, true)
	return true
}

// sentKey names a file that a cache server has.
type sentKey struct {
	place    *place
	filename string
}

// sharedMetadata gives the metadata of a source that another machine prepared, or the turn to prepare it. Nobody signs
// metadata: where cache servers are not believed, it is prepared here.
func (s *session) sharedMetadata(ctx context.Context, r *recipe) (md *metadata.Metadata, t *leased, err error) {
	if !s.shares(r) || s.verifies() {
		return nil, nil, nil
	}
	for _, c := range s.caches {
		if c.failed() != nil {
			continue
		}
		claim, err := s.claim(ctx, c, r, true, nil)
		switch {
		case err != nil:
			return nil, nil, err
		case claim == nil || claim.Lease == nil && claim.Metadata == nil:
			continue
		case claim.Lease != nil:
			return nil, &leased{c, claim.Lease}, nil
		}
		md, err := metadata.Parse(claim.Metadata)
		if err == nil && r.gives(md.Name, md.Version) {
			return md, nil, nil
		}
		s.log("build").Info("metadata is left out", "source", r.name, "at", c.shown, "err", err)
	}
	return nil, nil, nil
}

// giveMetadata ends a turn for metadata.
func (s *session) giveMetadata(ctx context.Context, t *leased, r *recipe, text []byte, err error) {
	if t == nil {
		return
	}
	if err != nil {
		s.give(ctx, t, r, curds.Build{}, err)
		return
	}
	err = t.place.client.PutBuildMetadata(ctx, t.place.root, index.Build{From: r.source, Key: r.key(), Name: r.name}, text)
	if err == nil {
		err = t.lease.Done(ctx)
	}
	if err != nil {
		s.log("build").Debug("metadata was not shared", "at", t.place.shown, "source", r.name, "why", err)
		_ = t.lease.GiveUp(ctx) // it may be over already
	}
}
