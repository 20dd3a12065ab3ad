package curd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"curdling/internal/curds"
	"curdling/internal/dist"
	"curdling/internal/install"
	"curdling/internal/metadata"
	"curdling/internal/requirement"
	"curdling/internal/resolve"
	"curdling/internal/wheel"
)

// prepared is one distribution of which all is there to install it.
type prepared struct {
	choice   resolve.Choice
	hashes   []string           // all of which the file must have
	direct   *install.DirectURL // nil: from an index
	item     install.Item
	file     held   // the wheel; zero where its tarball was taken
	name     string // of the wheel's file
	origin   Origin
	special  bool   // built in a way that others did not ask for, and nobody could tell how
	record   []byte // of a build, nil where there is none
	signed   []byte // the signature with which the build came, nil where there is none
	saved    Saved
	metadata *metadata.Metadata
}

// choices gives what of a solution is to be installed, unprepared.
func (s *source) choices(solution *resolve.Solution) []prepared {
	var all []prepared
	for _, c := range solution.Chosen {
		if isInstalled(c.File) || s.OnlyDeps && c.Requested && !s.nested {
			continue
		}
		p := prepared{choice: c, origin: s.originOf(c.File, held{downloaded: true})}
		if p.origin == URL {
			d := s.direct[c.File.Name]
			p.direct, p.record = &d.from, d.record
		}
		all = append(all, p)
	}
	return all
}

// prepare fetches, builds and unpacks, all at once, what was chosen. Its error joins those of all that failed.
func (s *source) prepare(ctx context.Context, chosen []prepared) ([]prepared, error) {
	all := slices.Clone(chosen)
	if !s.nested {
		s.Notify(Event{Phase: Unpacking, Kind: Plan, Count: len(all)})
	}
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { errs[i] = s.prepareOne(ctx, &all[i]) })
	}
	wg.Wait()
	if failed := failures(errs); failed != nil {
		return nil, failed
	}
	if err := s.checkFit(all); err != nil {
		return all, err
	}
	for i := range all {
		errs[i] = s.keepRecord(&all[i]) // not before: what is noted is used again unseen
	}
	return all, failures(errs)
}

// Failures is what went wrong with several packages at once.
type Failures []error

func (f Failures) Error() string { return errors.Join(f...).Error() }

// Unwrap serves errors.Is and errors.As.
func (f Failures) Unwrap() []error { return f }

// failures collects the errors, each cause said once; nil where there is none.
func failures(errs []error) error {
	var all Failures
	said := map[string]bool{}
	for _, err := range errs {
		if err != nil && !said[err.Error()] {
			said[err.Error()] = true
			all = append(all, err)
		}
	}
	if all == nil {
		return nil
	}
	return all
}

func (s *source) prepareOne(ctx context.Context, p *prepared) error {
	unpacked, err := s.obtainTarball(ctx, p)
	if err == nil && !unpacked {
		err = s.obtainWheel(ctx, p)
	}
	if err != nil {
		return err
	}
	if !s.nested {
		s.Notify(Event{Phase: Unpacking, Kind: Begin, Name: p.name})
		defer s.Notify(Event{Phase: Unpacking, Kind: End, Name: p.name})
	}
	if !unpacked {
		if p.item.Tree, err = s.tree(ctx, p.file.sha256); err != nil {
			return err
		}
	}
	p.item.Requested = p.choice.Requested
	if p.direct != nil {
		p.item.DirectURL = p.direct.Encode()
	}
	switch {
	case s.nested:
		p.item.Bytecode = s.bytecodeForBuild(ctx, p.item.Tree)
	case s.compiler != nil:
		s.unpacks <- struct{}{}
		defer func() { <-s.unpacks }()
		p.item.Bytecode, err = s.own.Bytecode(ctx, p.item.Tree, s.python, s.compiler.Compile)
	}
	return err
}

// tree gives the tree of a wheel in the own cache, unpacked by as many at once as there are processors.
func (s *session) tree(ctx context.Context, sha256 string) (wheel.Tree, error) {
	return s.trees.get(ctx, sha256, func() (wheel.Tree, error) {
		select {
		case s.unpacks <- struct{}{}:
			defer func() { <-s.unpacks }()
			return s.own.Tree(ctx, sha256)
		case <-ctx.Done():
			return wheel.Tree{}, ctx.Err()
		}
	})
}

// bytecodeForBuild gives the bytecode of what a second build requires: each of them would compile it for itself.
// What is required once is left to that build, which needs little of it.
func (s *source) bytecodeForBuild(ctx context.Context, t wheel.Tree) curds.Bytecode {
	if _, again := s.required.LoadOrStore(t.Dir, true); !again || s.buildCompiler == nil {
		return curds.Bytecode{}
	}
	b, err := s.own.Bytecode(ctx, t, s.python, s.buildCompiler.Compile)
	if err != nil {
		s.log("build").Debug("nothing is compiled", "distribution", t.Manifest.Name, "err", err)
	}
	return b
}

// obtainWheel fetches what was chosen, and builds it where it is a source.
func (s *source) obtainWheel(ctx context.Context, p *prepared) error {
	f := p.choice.File
	if err := s.checkBuild(ctx, p); err != nil {
		return err
	}
	h := held{sha256: f.SHA256}
	if f.Kind != dist.Sdist || f.SHA256 == "" || s.hasOtherHashes(p) {
		var err error
		if h, err = s.fetch(ctx, f); err != nil {
			return err
		}
	}
	if err := s.checkHashes(p, h); err != nil {
		return err
	}
	if err := s.checkPromise(f, h); err != nil {
		return err
	}
	p.file, p.name = h, f.Filename
	if p.direct == nil {
		p.origin = s.originOf(f, h)
	}
	if p.origin == OwnCache || p.origin == CacheServer {
		p.saved.Bytes = fileSize(h.path)
	}
	if published(p) && filepath.Base(h.path) == f.Filename {
		s.own.Share(h.sha256, p.record, s.ownSignature(f, p))
	}
	if f.Kind != dist.Sdist {
		return nil
	}
	r := s.sdistRecipe(f, h, s.python)
	b, err := s.built(ctx, r)
	if err != nil {
		return err
	}
	path, ok := s.own.File(b.Wheel)
	if !ok {
		return fmt.Errorf("own cache: %s is gone", b.Filename)
	}
	if err := s.checkBuilt(f, r, b); err != nil {
		return err
	}
	p.file, p.name = held{path: path, sha256: b.Wheel}, b.Filename
	p.special, p.record = s.NoBuildIsolation, b.Record
	p.origin = Built
	if _, other := s.taken.Load(r.id()); other {
		p.origin, p.saved.Bytes = CacheServer, f.Size
	}
	if published(p) && !p.special {
		signature, _ := s.signed(b) // what cannot be signed is shared unsigned
		s.own.Share(b.Wheel, b.Record, signature)
	}
	if _, now := s.fresh.Load(r.id()); !now {
		p.saved.Builds, p.saved.Time = 1, time.Duration(b.Seconds*float64(time.Second))
	}
	return nil
}

// published tells whether what was chosen is on a page of an index or a cache server, and so no secret
// of this machine.
func published(p *prepared) bool {
	return p.direct == nil && onWeb(p.choice.File)
}

func onWeb(f dist.File) bool {
	return strings.HasPrefix(f.URL, "https:") || strings.HasPrefix(f.URL, "http:")
}

// checkPromise holds a wheel that just came against the metadata that its index gave of it, by which it was chosen.
func (s *source) checkPromise(f dist.File, h held) error {
	promised, known := s.metadata.peek(key(f))
	if !h.downloaded || f.Kind != dist.Wheel || !known || promised == nil {
		return nil
	}
	md, err := s.own.Metadata(h.sha256)
	if err != nil {
		return err
	}
	if sameRequires(md, promised) {
		return nil
	}
	err = fmt.Errorf("%s: its METADATA requires something else than the metadata that its index gave of it", f.Filename)
	if s.forgetPlans() {
		return fmt.Errorf("%w: %w", errAgain, err)
	}
	return err
}

func sameRequires(a, b *metadata.Metadata) bool {
	return slices.EqualFunc(a.RequiresDist, b.RequiresDist, func(a, b requirement.Requirement) bool {
		return a.String() == b.String() && a.URL == b.URL
	})
}

// checkBuilt holds a built wheel against the metadata by which its source was chosen: that of the source, or of a
// wheel for other machines. Where the wheel says something else, the next solve hears it.
func (s *source) checkBuilt(f dist.File, r *recipe, b curds.Build) error {
	promises := r.id()
	if wheel, ok := s.siblings.Load(f.URL); ok {
		promises = key(wheel.(dist.File))
	}
	promised, known := s.metadata.peek(promises)
	if !known {
		return nil
	}
	md, err := s.own.Metadata(b.Wheel)
	var wrong *metadata.FieldError
	if err != nil && !errors.As(err, &wrong) {
		return err
	}
	s.siblings.Delete(f.URL)
	s.metadata.forget(func(key string) bool { return key == r.id() })
	switch {
	case wrong != nil || !sameRequires(md, promised):
		return fmt.Errorf("%w: %s requires something else than was said of it", errAgain, b.Filename)
	case !md.RequiresPython.Contains(s.python.Version):
		return fmt.Errorf("%w: %s needs Python %s", errAgain, b.Filename, md.RequiresPython)
	}
	return nil
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// hasOtherHashes tells whether a file must be there to be held against its hashes. A source
// distribution of which a build is there need not be fetched otherwise.
func (s *source) hasOtherHashes(p *prepared) bool {
	other := func(hash string) bool { return !strings.HasPrefix(hash, "sha256:") }
	return slices.ContainsFunc(p.hashes, other) || slices.ContainsFunc(s.Hashes[p.choice.File.Name], other)
}

// checkHashes holds a file against the hashes of a lock, which must all be right, and against those
// of --hash, of which one must.
func (s *source) checkHashes(p *prepared, h held) error {
	f := p.choice.File
	var sets [][]string
	for _, hash := range p.hashes {
		sets = append(sets, []string{hash})
	}
	if given := s.Hashes[f.Name]; len(given) > 0 && !s.nested && p.direct == nil {
		sets = append(sets, given)
	}
	for _, set := range sets {
		ok, err := hasHash(h, set)
		if err != nil {
			return err
		}
		if !ok && !slices.Contains(set, "sha256:"+f.BuiltFrom) {
			return fmt.Errorf("%s: its sha256 is %s; expected was %s", f.Filename, h.sha256, strings.Join(set, " or "))
		}
	}
	return nil
}

// originOf tells where a file came from.
func (s *source) originOf(f dist.File, h held) Origin {
	switch {
	case s.direct[f.Name].URL == f.URL:
		return URL
	case strings.HasPrefix(f.URL, "file:"):
		return Folder
	case !h.downloaded:
		return OwnCache
	case s.cacheOf(f) != nil:
		return CacheServer
	default:
		return Index
	}
}
