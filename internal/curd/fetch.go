package curd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"

	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/metadata"
	"curdling/internal/python"
	"curdling/internal/sdist"
	"curdling/internal/version"
)

// errCacheLost tells that a cache server stopped answering after the solve had
// counted on it: the solve must be done again without it.
var errCacheLost = errors.New("a cache server was lost")

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
		var h held
		var err error
		h.path, h.sha256, err = s.own.Fetch(ctx, f, func(w *os.File) (string, error) {
			h.downloaded = true
			s.Notify(Event{Phase: Fetching, Kind: Begin, Name: f.Filename, Bytes: f.Size})
			defer s.Notify(Event{Phase: Fetching, Kind: End, Name: f.Filename})
			var before int64
			return s.clientFor(f).Download(ctx, f, w, func(n int64) {
				s.Notify(Event{Phase: Fetching, Kind: Progress, Name: f.Filename, Bytes: n - before})
				before = n
			})
		})
		if err == nil || ctx.Err() != nil {
			return h, err
		}
		if p := s.cacheOf(f); p != nil && lost(err) {
			s.giveUp(p, err)
			return held{}, fmt.Errorf("%w: %w", errCacheLost, err)
		}
		return held{}, fmt.Errorf("%s: %w", f.Filename, err)
	})
}

// lost tells a server that fails from one that answers with something wrong.
func lost(err error) bool {
	var status *index.StatusError
	var network *url.Error
	return errors.As(err, &network) || errors.As(err, &status) && (status.Code >= 500 || errors.Is(err, fs.ErrNotExist))
}

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
func (s *session) wheelMetadata(ctx context.Context, f dist.File) (*metadata.Metadata, error) {
	return s.metadata.get(ctx, key(f), func() (*metadata.Metadata, error) {
		raw, err := s.clientFor(f).Metadata(ctx, f)
		if err == nil {
			return checkMetadata(f, raw)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
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
// it before, from its PKG-INFO where its dependencies are not dynamic (PEP 643), else from
// its build backend.
func (s *session) sdistMetadata(ctx context.Context, f dist.File, py *python.Interpreter) (*metadata.Metadata, error) {
	if s.onlyBinary(f.Name) {
		return nil, fmt.Errorf("%s: --only-binary forbids to build it", f.Filename)
	}
	h, err := s.fetch(ctx, f)
	if err != nil {
		return nil, err
	}
	leave, err := s.waits.enter(ctx, buildID(h, py), fmt.Sprintf("%s %s", f.Name, f.Version))
	if err != nil {
		return nil, err
	}
	defer leave()
	return s.metadata.get(ctx, buildID(h, py), func() (*metadata.Metadata, error) {
		if b, ok := s.own.Build(h.sha256, buildKey(py)); ok {
			return s.own.Metadata(b.Wheel)
		}
		if md, err := staticMetadata(h.path); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Filename, err)
		} else if md != nil {
			return md, nil
		}
		return s.preparedMetadata(ctx, f, h, py)
	})
}

// staticMetadata reads PKG-INFO; nil where it promises nothing of the dependencies.
func staticMetadata(path string) (*metadata.Metadata, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	md, err := sdist.Metadata(r, path)
	if err != nil || md == nil || !static(md) {
		return nil, err
	}
	return md, nil
}

// static tells whether PKG-INFO promises what any wheel of the source will
// require: from metadata version 2.2 on, for fields that are not dynamic (PEP 643).
func static(md *metadata.Metadata) bool {
	v, err := version.Parse(md.MetadataVersion)
	return err == nil && v.Compare(version.MustParse("2.2")) >= 0 &&
		!slices.Contains(md.Dynamic, "requires-dist") && !slices.Contains(md.Dynamic, "provides-extra") &&
		!slices.Contains(md.Dynamic, "requires-python")
}
