package catalog

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"curdling/internal/dist"
	"curdling/internal/store"
)

// CopyOptions say how to copy.
type CopyOptions struct {
	// DryRun only tells what would be copied. Nothing but what lies beside files is read for it, where both have it.
	DryRun bool
	// Parallel is how many files are copied at once; zero is 8.
	Parallel int
	// Allow is asked whether anything of a project may come; its error is why not. Nil: all may. From any goroutine.
	Allow func(dist.Name) error
	// Left is told of what was not copied and why, from one goroutine at a time; may be nil.
	Left func(key string, why error)
	// Progress is told after each project and each file, from one goroutine at a time; may be nil.
	Progress func(Copied)
	// Retry is told that something failed and is tried again later, from any goroutine; may be nil.
	Retry func(err error, in time.Duration)
}

// Copied counts what was copied, or would be.
type Copied struct {
	Files    int   // that came
	Bytes    int64 // of these
	Beside   int   // of what lies beside files, and statuses, came
	Held     int   // files that were there, with the same hash
	Left     int   // that were left where they are: others lie there, or they cannot be used
	Projects int   // that were looked at
	Of       int   // projects there are
}

// Copy copies what one catalog holds and another lacks: files with what is known of where they came from, what lies beside
// them, and what has become of projects. What lies there already stays, be it the same or not. Files are hashed on the way, and one that is not what it
// was known to be is left. Each comes whole or not at all, so that a Copy that was stopped goes on with the next one; of what is there by then it reads
// nothing. Servers may go on with both: what comes while it works may be left for the next time.
func Copy(ctx context.Context, from, to *Catalog, o CopyOptions) (Copied, error) {
	x := &copying{from: from, to: to, CopyOptions: o, tries: mostTries}
	names, err := x.names(ctx)
	if err != nil {
		return Copied{}, err
	}
	x.copied.Of = len(names)
	pieces := make(chan piece)
	g, ctx := errgroup.WithContext(ctx)
	for range cmp.Or(o.Parallel, 8) {
		g.Go(func() error {
			for p := range pieces {
				before := x.files()
				err := x.piece(ctx, p)
				if err != nil && p.file != nil && ctx.Err() == nil && x.files() > before && !store.IsFull(err) { // it is this file's own
					x.left(p.file.Filename, err)
				} else if err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(pieces)
		projects, ctx := errgroup.WithContext(ctx)
		projects.SetLimit(projectsAtOnce)
		for _, name := range names {
			projects.Go(func() error {
				return x.project(ctx, name, func(p piece) error {
					select {
					case pieces <- p:
						return nil
					case <-ctx.Done():
						return context.Cause(ctx)
					}
				})
			})
		}
		return projects.Wait()
	})
	err = g.Wait()
	return x.copied, err
}

const projectsAtOnce = 8

// copying is a Copy under way.
type copying struct {
	from, to *Catalog
	CopyOptions
	tries int                    // of what fails
	loose map[dist.Name][]string // what lies beside the files of each project; nil: of what is held alone is asked

	mu     sync.Mutex
	copied Copied
}

// piece is a file, or none, and what lies beside it.
type piece struct {
	file   *File // nil: none
	beside []string
}

// names gives the projects of which something is held or said.
func (x *copying) names(ctx context.Context) ([]dist.Name, error) {
	if err := x.patiently(ctx, func() error { return x.from.FreshNames(ctx) }); err != nil {
		return nil, err
	}
	names, _ := x.from.Names()
	if x.from.far != nil {
		return slices.Clone(names), nil
	}
	x.loose = make(map[dist.Name][]string)
	x.from.mu.RLock()
	for key := range x.from.sidecars {
		if name, ok := x.from.whose(key); ok {
			x.loose[name] = append(x.loose[name], key)
		}
	}
	x.from.mu.RUnlock()
	all := slices.Clone(names)
	for name := range x.loose {
		all = append(all, name)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// whose is projectOf that knows what is held. The caller holds mu.
func (c *Catalog) whose(key string) (dist.Name, bool) {
	if of, suffix, ok := splitSidecar(key); ok && suffix != StatusSuffix {
		if f := c.files[of]; f != nil {
			return f.Name, true
		}
	}
	return projectOf(key)
}

// sidecarsOf gives the keys of what lies beside a project's files, and of its status.
func (x *copying) sidecarsOf(name dist.Name) (keys []string) {
	if x.loose != nil {
		return x.loose[name]
	}
	c := x.from
	var far *place
	if c.far != nil {
		far = c.far.project(name)
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	add := func(key string) {
		if c.sidecars[key] != nil {
			keys = append(keys, key)
		}
	}
	if far != nil {
		for key := range far.beside {
			add(key)
		}
		return keys
	}
	add(string(name) + StatusSuffix)
	if p := c.projects[name]; p != nil {
		for _, f := range p.Files {
			for _, suffix := range []string{YankedSuffix, ProvenanceSuffix, AttestationsSuffix} {
				add(f.Filename + suffix)
			}
		}
	}
	return keys
}

// project copies what has become of a project, and then hands its files on, each with what lies beside it.
func (x *copying) project(ctx context.Context, name dist.Name, each func(piece) error) error {
	if x.Allow != nil {
		if err := x.Allow(name); err != nil {
			x.left(string(name), err)
			return nil
		}
	}
	for _, c := range []*Catalog{x.from, x.to} {
		if err := x.patiently(ctx, func() error { return c.Fresh(ctx, name) }); err != nil {
			return err
		}
	}
	beside := make(map[string][]string) // by file
	for _, key := range x.sidecarsOf(name) {
		switch of, suffix, _ := splitSidecar(key); suffix {
		case StatusSuffix:
			if err := x.sidecar(ctx, key); err != nil {
				return err
			}
		case RecordSuffix, SignatureSuffix: // they come with the file
		default:
			beside[of] = append(beside[of], key)
		}
	}
	var pieces []piece
	if p := x.from.Project(name); p != nil {
		for _, f := range p.Files {
			pieces = append(pieces, piece{f, beside[f.Filename]})
			delete(beside, f.Filename)
		}
	}
	for _, keys := range beside {
		pieces = append(pieces, piece{nil, keys})
	}
	for _, p := range pieces {
		if err := each(p); err != nil {
			return err
		}
	}
	x.count(func(n *Copied) { n.Projects++ })
	return nil
}

// count changes what was counted, and tells of it.
func (x *copying) count(change func(*Copied)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	change(&x.copied)
	if x.Progress != nil {
		x.Progress(x.copied)
	}
}

// left counts what is not copied.
func (x *copying) left(key string, why error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.copied.Left++
	if x.Left != nil {
		x.Left(key, why)
	}
}

// piece copies what lies beside a file, so that it is never seen without, and then the file.
func (x *copying) piece(ctx context.Context, p piece) error {
	var held *File
	f := p.file
	if f != nil {
		if held = x.to.File(f.Filename); held != nil && held.SHA256 != f.SHA256 {
			x.left(f.Filename, &ConflictError{f.Filename, held.SHA256, f.SHA256})
			return nil
		}
	}
	for _, key := range p.beside {
		if f == nil && x.to.File(key[:strings.LastIndexByte(key, '.')]) != nil {
			continue // who knows whether it is of that file
		}
		if err := x.sidecar(ctx, key); err != nil {
			return err
		}
	}
	switch {
	case f == nil:
		return nil
	case held != nil:
		x.count(func(n *Copied) { n.Held++ })
		if x.DryRun || f.Build == nil {
			return nil
		}
	}
	if !x.DryRun {
		err := x.patiently(ctx, func() error {
			if held != nil {
				return copyRecord(ctx, x.from, x.to, f, held)
			}
			return copyFile(ctx, x.from, x.to, f)
		})
		var verdict *leftError
		switch {
		case errors.As(err, &verdict):
			x.left(f.Filename, verdict.error)
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", f.Filename, err)
		case held != nil:
			return nil
		}
	}
	x.count(func(n *Copied) { n.Files, n.Bytes = n.Files+1, n.Bytes+f.Size })
	return nil
}

// files counts the files that came so far.
func (x *copying) files() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.copied.Files
}

// leftError says why a file is not copied, however often it is tried.
type leftError struct{ error }

func (e *leftError) Unwrap() error { return e.error }

// copyFile has a catalog hold a file of another, with all that is known of it.
func copyFile(ctx context.Context, from, to *Catalog, f *File) error {
	r, info, err := from.store.Open(ctx, f.Filename)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &leftError{errors.New("it was removed before it could be copied")}
	case err != nil:
		return err
	}
	defer r.Close()
	if stampOf(info) != f.stamp() {
		return &leftError{errors.New("it changed before it could be copied")}
	}
	u, err := to.Receive(f.Filename, paced{ctx, new(pacer), r})
	if err != nil {
		return err
	}
	defer u.Discard()
	if u.SHA256 != f.SHA256 {
		return &leftError{fmt.Errorf("it is damaged: its sha256 is %s, and must be %s", u.SHA256, f.SHA256)}
	}
	u.copied = true
	if err := u.withRecord(ctx, from, f); err != nil {
		return err
	}
	_, err = u.Keep(ctx, From{User: f.From.User, Upstream: f.From.Upstream, UploadTime: f.UploadTime})
	var (
		invalid  *InvalidError
		conflict *ConflictError
	)
	if errors.As(err, &invalid) || errors.As(err, &conflict) {
		return &leftError{err}
	}
	return err
}

// copyRecord has a file that both hold have the record of its build there too, and the signatures.
func copyRecord(ctx context.Context, from, to *Catalog, f, held *File) error {
	u := &Upload{Filename: f.Filename, Size: f.Size, SHA256: f.SHA256, catalog: to}
	if err := u.withRecord(ctx, from, f); err != nil {
		return err
	}
	if held.Build == nil {
		return u.keepRecord(ctx)
	}
	if u.Signature == nil {
		return nil
	}
	return u.addSignature(ctx)
}

// withRecord gives an upload what another catalog has of the build of its file.
func (u *Upload) withRecord(ctx context.Context, from *Catalog, f *File) (err error) {
	if f.Build == nil {
		return nil
	}
	if u.Record, err = from.beside(ctx, f.Filename+RecordSuffix); err != nil {
		return err
	}
	if u.Signature, err = from.beside(ctx, f.Filename+SignatureSuffix); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// errOther says that something else lies where something was to be copied to.
var errOther = errors.New("what lies there is another one, and stays")

// sidecar copies what lies beside a file, or what has become of a project.
func (x *copying) sidecar(ctx context.Context, key string) error {
	came := false
	err := x.patiently(ctx, func() (err error) {
		came, err = x.copySidecar(ctx, key)
		return err
	})
	var verdict *leftError
	switch {
	case errors.As(err, &verdict):
		x.left(key, verdict.error)
	case err != nil:
		return err
	case came:
		x.count(func(n *Copied) { n.Beside++ })
	}
	return nil
}

func (x *copying) copySidecar(ctx context.Context, key string) (came bool, err error) {
	content, err := x.from.beside(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // it is gone, or another one by now: the next time, then
	}
	if err != nil {
		return false, err
	}
	r, _, err := x.to.store.Open(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		if x.DryRun {
			return true, nil
		}
		err = x.to.store.Create(ctx, key, bytes.NewReader(content), int64(len(content)))
		if errors.Is(err, fs.ErrExist) {
			return x.copySidecar(ctx, key)
		}
		if err == nil {
			x.to.examine(ctx, key, 0)
		}
		return err == nil, err
	}
	if err != nil {
		return false, err
	}
	defer r.Close()
	held, err := io.ReadAll(io.LimitReader(r, MaxSidecar+1))
	if err == nil && !bytes.Equal(held, content) {
		err = &leftError{errOther}
	}
	return false, err
}

// mostTries is how often something is tried that fails, over half a minute or more.
const mostTries = 6

// patiently tries until it succeeds, or it seems to be of no use.
func (x *copying) patiently(ctx context.Context, do func() error) error {
	for n := 1; ; n++ {
		err := do()
		var verdict *leftError
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil, n == x.tries, errors.As(err, &verdict), store.IsFull(err), errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrInvalid):
			return err
		}
		rest := time.Second << (n - 1)
		var away *store.UnavailableError
		if errors.As(err, &away) {
			rest = max(rest, min(away.RetryAfter, time.Minute))
		}
		if x.Retry != nil {
			x.Retry(err, rest)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(rest):
		}
	}
}
