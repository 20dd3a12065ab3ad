package bucket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"curdling/internal/store"
)

// atOnce is how many claims are read at once for one listing.
const atOnce = 32

// Groups asks for the folders alone.
func (s *Store) Groups(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var names []string
		for name, err := range s.raw.ListFolders(ctx, root) {
			if err != nil {
				yield("", err)
				return
			}
			if isGroup(name) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			if !yield(name, nil) {
				return
			}
		}
	}
}

// List lists group by group, so it is for those who want everything.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		if prefix != "" {
			if err := store.CheckKey(strings.TrimSuffix(prefix, "/")); err != nil {
				yield(store.Info{}, err)
				return
			}
		}
		for name, err := range s.Groups(ctx) {
			if err != nil {
				yield(store.Info{}, err)
				return
			}
			for info, err := range s.ListGroup(ctx, name) {
				if (err != nil || strings.HasPrefix(info.Key, prefix)) && !yield(info, err) || err != nil {
					return
				}
			}
		}
	}
}

// ListGroup is one listing, and reads the claims that were not read before. What they say is known then, their notes
// among it, also where one of them cannot be read, which is an error: the next listing goes on from there.
func (s *Store) ListGroup(ctx context.Context, name string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		infos, err := s.listGroup(ctx, name)
		if err != nil {
			yield(store.Info{}, err)
			return
		}
		for _, info := range infos {
			if !yield(info, nil) {
				return
			}
		}
	}
}

func (s *Store) listGroup(ctx context.Context, name string) ([]store.Info, error) {
	if !isGroup(name) {
		return nil, fmt.Errorf("group %.100q: not the normalised name of a project: %w", name, fs.ErrInvalid)
	}
	began := s.known.now()
	l, err := s.listing(ctx, name)
	if err != nil {
		return nil, err
	}
	known := s.known.snapshot(name)
	files := make(map[string]file, len(l.claims))
	infos := make([]store.Info, 0, len(l.claims)+len(l.beside))
	for _, b := range l.beside {
		info := store.Info{Key: b.place.key, Size: b.Size, ModTime: b.ModTime}
		if infos = append(infos, info); b.place.sha256 != "" {
			files[b.place.key] = b.place.beside(info)
		}
	}
	var (
		mu sync.Mutex
		g  errgroup.Group
	)
	found := func(p place, f file) {
		mu.Lock()
		defer mu.Unlock()
		files[p.key] = f
	}
	g.SetLimit(atOnce)
	for _, c := range l.claims {
		f, ok := known[c.place.key]
		if ok && f.of(c.Info) && l.agrees(c.place, f) {
			found(c.place, f)
			continue
		}
		g.Go(func() error {
			f, err := s.examine(ctx, c.place, l)
			switch {
			case err == nil:
				found(c.place, f)
			case errors.Is(err, fs.ErrNotExist): // removed meanwhile, or it cannot be read
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		s.known.list(name, began, files, false)
		return nil, err
	}
	for _, c := range l.claims {
		if f, ok := files[c.place.key]; ok && !f.missing {
			infos = append(infos, f.info(c.place.key))
		}
	}
	s.known.list(name, began, files, true)
	return infos, nil
}

// examine reads a claim that a listing shows, and sees whether its bytes are there.
func (s *Store) examine(ctx context.Context, p place, l *listing) (file, error) {
	note, f, err := s.claim(ctx, p)
	if err != nil {
		return file{}, err
	}
	f.noted, f.note = true, note
	if l.has(p, f) {
		return f, nil
	}
	// They may have come after the page was listed on which they would be.
	err = s.there(ctx, f)
	if f.missing = errors.Is(err, fs.ErrNotExist); f.missing {
		f, err = f.withoutNote(), nil
	}
	return f, err
}

// listing is what lies in a group's folder of the raw store.
type listing struct {
	keys   int
	claims []listed
	beside []listed
	bytes  map[string][]store.Info // by the name of the file, with the raw store's key
}

type listed struct {
	place place
	store.Info
}

func newListing() *listing { return &listing{bytes: make(map[string][]store.Info)} }

// listing lists a group's folder.
func (s *Store) listing(ctx context.Context, name string) (*listing, error) {
	folder := root + name + "/"
	l := newListing()
	for info, err := range s.raw.List(ctx, folder) {
		if err != nil {
			return nil, err
		}
		l.add(name, strings.TrimPrefix(info.Key, folder), info)
	}
	return l, nil
}

// add notes what lies in the folder of a group as rest. What is not ours is left out.
func (l *listing) add(group, rest string, info store.Info) {
	l.keys++
	if strings.Contains(rest, "/") {
		if file, ok := splitBytes(rest); ok {
			l.bytes[file] = append(l.bytes[file], info)
		}
		return
	}
	p, err := placeOf(rest)
	switch {
	case err != nil || p.group != group:
	case p.file:
		l.claims = append(l.claims, listed{p, info})
	default:
		l.beside = append(l.beside, listed{p, info})
	}
}

// has tells whether the bytes were listed that a claim names.
func (l *listing) has(p place, f file) bool {
	return slices.ContainsFunc(l.bytes[p.key], func(b store.Info) bool { return b.Key == f.object && b.Size == f.size })
}

// agrees tells whether a listing leaves no doubt that what is known of a file is still so. Where other bytes lie
// under its name, the claim may be another one of the same second.
func (l *listing) agrees(p place, f file) bool {
	if f.missing {
		return len(l.bytes[p.key]) == 0
	}
	return len(l.bytes[p.key]) == 1 && l.has(p, f)
}
