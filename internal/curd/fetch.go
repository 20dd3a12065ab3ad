package curd

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/metadata"
	"curdling/internal/python"
	"curdling/internal/sdist"
	"curdling/internal/version"
)

// errAgain tells that what was known when the solve was done has changed: it must be done again. Each
// time, less is unknown.
var errAgain = errors.New("the solve must be done again")

// errCacheLost tells that a cache server stopped answering, or sent other bytes than it lists, after the solve had
// counted on it: the solve must be done again without it.
var errCacheLost = fmt.Errorf("%w: a cache server was lost", errAgain)

// key names a file for the memos: its hash, or its URL where the index tells no hash.
func key(f dist.File) string {
	if f.SHA256 != "" {
		return f.SHA256
	}
	return f.URL
}

// fetch gives the file from the own cache, downloading it first where it must be.
func (s *session) fetch(ctx context.Context, f dist.File) (held, error) {
	return s.files.get(ctx, key(f), func() (held, error) {
		p := s.cacheOf(f)
		h, err := s.download(ctx, f)
		if err == nil && f.Kind == dist.Sdist && onWeb(f) && filepath.Base(h.path) == f.Filename {
			s.own.Share(h.sha256, nil, nil) // also where a build of it is all that is wanted
		}
		if err == nil || ctx.Err() != nil {
			return h, err
		}
		if p != nil && (p.failed() != nil || lost(err) || s.verifies() && wrongBytes(err)) {
			s.giveUp(p, err)
			return held{}, fmt.Errorf("%w: %w", errCacheLost, err)
		}
		return held{}, err // which names the file
	})
}

// download is fetch for who asks alone.
func (s *session) download(ctx context.Context, f dist.File) (h held, err error) {
	h.path, h.sha256, err = s.own.Fetch(ctx, f, func(w *os.File) (string, error) {
		h.downloaded = true
		s.Notify(Event{Phase: Fetching, Kind: Begin, Name: f.Filename, Bytes: f.Size})
		defer s.Notify(Event{Phase: Fetching, Kind: End, Name: f.Filename})
		return s.receive(ctx, f, w, f.Filename)
	})
	return h, err
}

// receive has a file written to w and gives its hash; its progress is told under that name.
func (s *session) receive(ctx context.Context, f dist.File, w index.Sink, name string) (sha256 string, err error) {
	var before int64
	return askPlace(ctx, s.cacheOf(f), func(ctx context.Context) (string, error) {
		return s.clientFor(f).Download(ctx, f, w, func(n int64) {
			s.Notify(Event{Phase: Fetching, Kind: Progress, Name: name, Bytes: n - before})
			before = n
		})
	})
}

// lost tells a server that fails from one that answers with something wrong.
func lost(err error) bool {
	var status *index.StatusError
	var network *url.Error
	return errors.As(err, &network) || errors.As(err, &status) && (status.Code >= 500 || errors.Is(err, fs.ErrNotExist))
}

// wrongBytes tells that what came is not the file that was to come.
func wrongBytes(err error) bool { return errors.As(err, new(*index.HashError)) }

// cacheOf gives the cache server that a file's URL belongs to, nil where it is none.
func (s *session) cacheOf(f dist.File) *place {
	for _, c := range s.caches {
		if strings.HasPrefix(f.URL, c.shown+"/") {
			return c
		}
	}
	return nil
}

// wheelMetadata gives a wheel's metadata, from its index where that can be had without the wheel.
// What a build needs that must be signed is read in the wheel itself, whose hash is signed.
func (s *session) wheelMetadata(ctx context.Context, f dist.File) (*metadata.Metadata, error) {
	whole := f.BuildKey != "" && len(s.Trusted) > 0
	if whole {
		a, err := s.admit(ctx, f)
		if err == nil && a.why != "" {
			err = s.barred(f, a.why)
		}
		if err != nil {
			return nil, err
		}
	}
	return s.metadata.get(ctx, key(f), func() (*metadata.Metadata, error) {
		at, raw, err := s.metadataOf(f), []byte(nil), index.ErrNoRanges
		if !whole {
			s.Notify(Event{Phase: Asking, Kind: Begin, Name: f.Filename})
			raw, err = askPlace(ctx, s.cacheOf(at), func(ctx context.Context) ([]byte, error) { return s.clientFor(at).Metadata(ctx, at) })
			s.Notify(Event{Phase: Asking, Kind: End, Name: f.Filename})
		}
		if err == nil {
			return checkMetadata(f, raw)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if p := s.cacheOf(at); p != nil && (p.failed() != nil || index.IsSilence(err)) { // nor would the wheel come
			s.giveUp(p, err)
			return nil, fmt.Errorf("%w: %w", errCacheLost, err)
		}
		s.log("resolve").Debug("metadata comes from the whole wheel", "file", f.Filename, "why", err)
		h, err := s.fetch(ctx, f)
		if err != nil {
			return nil, err
		}
		return s.own.Metadata(h.sha256)
	})
}

// checkMetadata parses metadata that came apart from its file and holds it against the file's name.
func checkMetadata(f dist.File, raw []byte) (*metadata.Metadata, error) {
	md, err := metadata.Parse(raw)
	if err != nil {
		return md, err
	}
	if md.Name != f.Name || md.Version.Compare(f.Version) != 0 {
		return nil, fmt.Errorf("%s: its metadata is of %s %s", f.Filename, md.Name, md.Version)
	}
	return md, nil
}

// sdistMetadata gives a source distribution's metadata: from a wheel built of
// it before, from a wheel of the same version for other machines, from its
// PKG-INFO where its dependencies are not dynamic (PEP 643), else from its build backend.
func (s *session) sdistMetadata(ctx context.Context, f dist.File, py *python.Interpreter) (*metadata.Metadata, error) {
	if s.onlyBinary(f.Name) {
		return nil, fmt.Errorf("%s: --only-binary forbids to build it", f.Filename)
	}
	if md, err := s.siblingMetadata(ctx, f, py); md != nil || err != nil {
		return md, err
	}
	r := s.sdistRecipe(f, held{sha256: f.SHA256}, py)
	if b, ok := s.remembered(r); ok && f.SHA256 != "" {
		return s.own.Metadata(b.Wheel)
	}
	h, err := s.fetch(ctx, f)
	if err != nil {
		return nil, err
	}
	r = s.sdistRecipe(f, h, py)
	leave, err := s.waits.enter(ctx, r.id(), r.name)
	if err != nil {
		return nil, err
	}
	defer leave()
	return s.metadata.get(ctx, r.id(), func() (*metadata.Metadata, error) {
		if b, ok := s.remembered(r); ok {
			return s.own.Metadata(b.Wheel)
		}
		md, err := staticMetadata(h.path)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", f.Filename, err)
		case md != nil && (md.Name != f.Name || md.Version.Compare(f.Version) != 0):
			return nil, fmt.Errorf("%s: its PKG-INFO is of %s %s", f.Filename, md.Name, md.Version)
		case md != nil:
			return md, nil
		}
		return s.preparedMetadata(ctx, r)
	})
}

// siblingMetadata gives the metadata of a wheel of the same version that is for other machines: it
// spares a build, which need not be possible for what is not chosen in the end. nil: there is none,
// or the source was built already, which counts more.
func (s *session) siblingMetadata(ctx context.Context, f dist.File, py *python.Interpreter) (*metadata.Metadata, error) {
	wheel, ok := s.siblings.Load(f.URL)
	if !ok {
		return nil, nil
	}
	r := s.sdistRecipe(f, held{sha256: f.SHA256}, py)
	if _, built := s.remembered(r); built {
		return nil, nil
	}
	md, err := s.wheelMetadata(ctx, wheel.(dist.File))
	if err != nil && ctx.Err() == nil {
		return nil, nil //nolint:nilerr // the source itself will tell
	}
	return md, err
}

// staticMetadata reads PKG-INFO; nil where it promises nothing of the dependencies.
func staticMetadata(path string) (*metadata.Metadata, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	md, err := sdist.Metadata(r, filepath.Base(path))
	if err != nil || md == nil || !static(md) {
		return nil, err
	}
	return md, nil
}

// static tells whether PKG-INFO promises what any wheel of the source will
// require: from metadata version 2.2 on, where Requires-Dist is not dynamic (PEP 643).
// setuptools calls Requires-Python dynamic wherever a setup.py states it; a wheel
// that says something else in the end is found out by checkBuilt.
func static(md *metadata.Metadata) bool {
	v, err := version.Parse(md.MetadataVersion)
	return err == nil && v.Compare(version.MustParse("2.2")) >= 0 && !slices.Contains(md.Dynamic, "requires-dist")
}

// algorithms of the hashes that users may give. The weak ones come in URLs alone, for old pages.
var algorithms = map[string]func() hash.Hash{
	"sha256": sha256.New, "sha384": sha512.New384, "sha512": sha512.New,
	"sha224": sha256.New224, "sha1": sha1.New, "md5": md5.New,
}

// hasHash tells whether a file has one of the hashes, which are written "sha256:..." in hex.
func hasHash(h held, hashes []string) (bool, error) {
	if slices.Contains(hashes, "sha256:"+h.sha256) {
		return true, nil
	}
	for _, want := range hashes {
		algorithm, digest, _ := strings.Cut(want, ":")
		if algorithms[algorithm] == nil || algorithm == "sha256" {
			continue
		}
		f, err := os.Open(h.path)
		if err != nil {
			return false, err
		}
		sum := algorithms[algorithm]()
		_, err = io.Copy(sum, f)
		f.Close()
		if err != nil || hex.EncodeToString(sum.Sum(nil)) == digest {
			return err == nil, err
		}
	}
	return false, nil
}
