package curd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"

	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/metadata"
	"curdling/internal/smallfile"
	"curdling/internal/wheel"
)

// A cache server may have a wheel as a tarball, too, which unpacks several times as fast and is known by a hash of its own.
// It is taken where nobody but that server says what the wheel must be: what is unpacked is then what it says, in either form.

const (
	smallTarball  = 4 << 20  // bytes up to which one is received whole before it is unpacked
	tarballMemory = 48 << 20 // bytes of those that are held at once
	streams       = 6        // larger ones that are unpacked while they arrive
)

// takesTarball tells whether a wheel's tarball does in its place. It does not where the wheel's own hash is asked for: by
// the user, a lock, a policy on cache servers, or the record of a build, which names the build itself and what it was made with.
func (s *source) takesTarball(p *prepared) bool {
	f := p.choice.File
	c := s.cacheOf(f)
	switch {
	case f.Tarball.SHA256 == "", c == nil, c.noTarballs.Load(), p.direct != nil:
		return false
	case s.RequireHashes, len(p.hashes) > 0, len(s.Hashes[f.Name]) > 0, s.Lock != nil, s.verifies():
		return false
	case f.BuildKey != "", s.nested, s.wheels:
		return false
	}
	_, held := s.own.File(f.SHA256)
	return !held
}

// obtainTarball gets what was chosen as a tarball; false where it must be had as a wheel, which costs time alone.
func (s *source) obtainTarball(ctx context.Context, p *prepared) (ok bool, err error) {
	if !s.takesTarball(p) {
		return false, nil
	}
	f, c := p.choice.File, s.cacheOf(p.choice.File)
	u, err := s.tarballs.get(ctx, f.Tarball.SHA256, func() (unpacked, error) { return s.unpackTarball(ctx, f) })
	tree, origin := u.tree, u.origin
	if err == nil {
		err = s.checkTarball(f, tree) // it may have come before its metadata
	}
	if err == nil && (tree.Manifest.Name != string(f.Name) || tree.Manifest.Version != f.Version.String()) {
		err = fmt.Errorf("it is of %s %s", tree.Manifest.Name, tree.Manifest.Version)
	}
	var status *index.StatusError
	var local *fs.PathError
	switch {
	case err == nil:
		p.item.Tree, p.name, p.origin, p.saved.Bytes = tree, f.Filename, origin, f.Size
		return true, nil
	case ctx.Err() != nil:
		return false, ctx.Err()
	case c.failed() != nil, lost(err) && !errors.As(err, &status):
		s.giveUp(c, err)
		return false, fmt.Errorf("%w: %w", errCacheLost, err)
	case errors.As(err, &status), errors.As(err, &local), errors.Is(err, index.ErrOffline):
		s.log("fetch").Info("comes as a wheel", "file", f.Filename, "why", err)
	case c.noTarballs.CompareAndSwap(false, true):
		s.warn("cache server %s has a tarball that cannot be used, going on with wheels: %v", c.shown, err)
	}
	return false, nil
}

// unpacked is what came of a tarball.
type unpacked struct {
	tree   wheel.Tree
	origin Origin
}

func (s *source) unpackTarball(ctx context.Context, f dist.File) (u unpacked, err error) {
	u.origin = OwnCache
	u.tree, err = s.own.Tarball(ctx, f.Tarball.SHA256, func(dir string) (wheel.Tree, error) {
		u.origin = CacheServer
		return s.receiveTarball(ctx, f, dir)
	})
	return u, err
}

// receiveTarball unpacks a tarball into dir, from memory or, where it is large, while it arrives.
func (s *source) receiveTarball(ctx context.Context, f dist.File, dir string) (wheel.Tree, error) {
	t := dist.File{Filename: f.Filename + wheel.TarballSuffix, URL: f.URL + wheel.TarballSuffix, SHA256: f.Tarball.SHA256, Size: f.Tarball.Size}
	receive := s.streamTarball
	if t.Size <= smallTarball {
		receive = s.loadTarball
	}
	s.Notify(Event{Phase: Fetching, Kind: Begin, Name: f.Filename, Bytes: t.Size})
	defer s.Notify(Event{Phase: Fetching, Kind: End, Name: f.Filename})
	download := func(w index.Sink) error {
		_, err := s.receive(ctx, t, w, f.Filename)
		return err
	}
	tree, err := receive(ctx, f, download, dir)
	if err != nil {
		return tree, err
	}
	return tree, s.checkTarball(f, tree)
}

// loadTarball unpacks what was received whole, as soon as a processor is free.
func (s *source) loadTarball(ctx context.Context, f dist.File, download func(index.Sink) error, dir string) (tree wheel.Tree, err error) {
	if err := s.tarballMemory.Acquire(ctx, f.Tarball.Size); err != nil {
		return tree, err
	}
	defer s.tarballMemory.Release(f.Tarball.Size)
	b := &memorySink{make([]byte, 0, f.Tarball.Size)}
	if err := download(b); err != nil {
		return tree, err
	}
	s.unpacks <- struct{}{}
	defer func() { <-s.unpacks }()
	return wheel.UnpackTarball(ctx, bytes.NewReader(b.b), f.Tarball.Size, f.Filename, dir)
}

// streamTarball unpacks what arrives. Its hash is known last: until then nobody sees what was unpacked.
func (s *source) streamTarball(ctx context.Context, f dist.File, download func(index.Sink) error, dir string) (tree wheel.Tree, err error) {
	if err := s.streams.Acquire(ctx, 1); err != nil {
		return tree, err
	}
	defer s.streams.Release(1)
	r, w := io.Pipe()
	received := make(chan error, 1)
	go func() {
		err := download(&pipeSink{PipeWriter: w})
		w.CloseWithError(err) // nil is the end
		received <- err
	}()
	tree, err = wheel.UnpackTarball(ctx, r, f.Tarball.Size, f.Filename, dir)
	r.CloseWithError(err) // which ends the download
	if failed := <-received; failed != nil {
		err = failed // it came first, or wraps the other
	}
	return tree, err
}

// checkTarball holds a tree against the metadata by which its wheel was chosen.
func (s *source) checkTarball(f dist.File, tree wheel.Tree) error {
	promised, known := s.metadata.peek(key(f))
	if !known || promised == nil {
		return nil
	}
	raw, err := smallfile.Read(filepath.Join(tree.Dir, tree.Manifest.DistInfo, "METADATA"), wheel.MaxMetadata)
	if err != nil {
		return err
	}
	md, err := metadata.ParseForSolving(raw)
	if md == nil {
		return err
	}
	if !sameRequires(md, promised) {
		return fmt.Errorf("%s: its METADATA requires something else than the metadata that its index gave of it", f.Filename+wheel.TarballSuffix)
	}
	return nil
}

// memorySink is an [index.Sink] of bounded size.
type memorySink struct{ b []byte }

func (m *memorySink) Write(p []byte) (int, error) {
	if len(p) > cap(m.b)-len(m.b) {
		return 0, errors.New("more bytes than were announced")
	}
	m.b = append(m.b, p...)
	return len(p), nil
}

func (m *memorySink) Seek(int64, int) (int64, error) { return 0, nil } // it is truncated to where it leads, the start
func (m *memorySink) Truncate(int64) error           { m.b = m.b[:0]; return nil }

// pipeSink is an [index.Sink] that nobody can begin again.
type pipeSink struct {
	*io.PipeWriter
	begun bool
}

func (p *pipeSink) Write(b []byte) (int, error) {
	p.begun = p.begun || len(b) > 0
	return p.PipeWriter.Write(b)
}

func (p *pipeSink) Seek(int64, int) (int64, error) { return 0, nil }

func (p *pipeSink) Truncate(int64) error {
	if p.begun {
		return errors.New("it was cut, and cannot be resumed")
	}
	return nil
}
