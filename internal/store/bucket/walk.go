package bucket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"curdling/internal/store"
)

// Initials are what names of projects begin with.
const Initials = "0123456789abcdefghijklmnopqrstuvwxyz"

// Project is what a walk found of one project.
type Project struct {
	Name string
	Keys int // of the raw store
	// Files are the distribution files that have a claim and bytes: with the size of these, and the time of the claim. Which bytes a claim
	// names was not read.
	Files    []store.Info
	Tarballs []Tarball // of wheels in Files
	Broken   []string  // files of which no bytes are there

	listing *listing
}

// Tarball is one that lies beside its wheel.
type Tarball struct {
	store.Info
	Wheel string
}

// Walk gives the projects whose names begin with prefix, by one listing of all that they have: as many requests as there are
// pages, and no other. It is for raw stores that list the keys of one folder together, as all do; else a project
// comes in parts, of which nothing is removed that somebody needs.
func (s *Store) Walk(ctx context.Context, prefix string) iter.Seq2[*Project, error] {
	return func(yield func(*Project, error) bool) {
		name, l := "", newListing()
		for info, err := range s.raw.List(ctx, root+prefix) {
			if err != nil {
				yield(nil, err)
				return
			}
			group, rest, ok := strings.Cut(strings.TrimPrefix(info.Key, root), "/")
			if !ok || !isGroup(group) {
				continue
			}
			if group != name {
				if l.keys > 0 && !yield(l.project(name), nil) {
					return
				}
				name, l = group, newListing()
			}
			l.add(name, rest, info)
		}
		if l.keys > 0 {
			yield(l.project(name), nil)
		}
	}
}

// project tells of what was listed.
func (l *listing) project(name string) *Project {
	p := &Project{Name: name, Keys: l.keys, listing: l}
	held := make(map[string]bool, len(l.claims))
	for _, c := range l.claims {
		if bytes := l.bytes[c.place.key]; len(bytes) > 0 {
			held[c.place.key] = true
			p.Files = append(p.Files, store.Info{Key: c.place.key, Size: bytes[0].Size, ModTime: c.ModTime})
		} else {
			p.Broken = append(p.Broken, c.place.key)
		}
	}
	for _, b := range l.beside {
		if held[b.place.wheel] {
			p.Tarballs = append(p.Tarballs, Tarball{store.Info{Key: b.place.key, Size: b.Size, ModTime: b.ModTime}, b.place.wheel})
		}
	}
	return p
}

// sweepTarballs removes tarballs of wheels that are gone, and that are old.
func (s *Store) sweepTarballs(ctx context.Context, l *listing, before time.Time, swept *Swept) error {
	for _, b := range l.beside {
		if b.place.wheel == "" || l.hasWheelOf(b.place) || !b.ModTime.Before(before) {
			continue
		}
		switch err := s.raw.Remove(ctx, b.Key); {
		case err == nil:
			swept.Removed++
			swept.Bytes += b.Size
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	return nil
}

// hasWheelOf tells whether the bytes were listed that a tarball is of: WHEEL.OF-OWN.tar.zst, where OF begins their hash.
func (l *listing) hasWheelOf(tarball place) bool {
	of, _, named := strings.Cut(tarball.key[len(tarball.wheel)+1:], "-")
	return slices.ContainsFunc(l.bytes[tarball.wheel], func(b store.Info) bool {
		return !named || strings.HasPrefix(strings.TrimPrefix(b.Key, root+tarball.group+"/"), of)
	})
}

// Claim is the claim of a distribution file as it was when it was read.
type Claim struct {
	Key    string
	SHA256 string
	Size   int64  // of the bytes
	Note   []byte // nil: none

	version, object string // object is "" of a claim that cannot be read
}

// Claim reads the claim of a distribution file. Where there is none, or it cannot be read, the error wraps [fs.ErrNotExist].
func (s *Store) Claim(ctx context.Context, key string) (Claim, error) {
	p, err := placeOf(key)
	if err == nil && !p.file {
		err = fmt.Errorf("%s: it has no claim: %w", key, fs.ErrInvalid)
	}
	if err != nil {
		return Claim{}, err
	}
	return s.versioned(ctx, p)
}

// versioned is Claim for a place. Of a claim that cannot be read it gives the version, and an error that wraps errBroken.
func (s *Store) versioned(ctx context.Context, p place) (Claim, error) {
	text, version, err := s.raw.Get(ctx, p.object(), "")
	if err != nil {
		return Claim{}, err
	}
	c, err := parseClaim(text)
	if err != nil {
		return Claim{Key: p.key, version: version}, fmt.Errorf("%s: %w: %w: %w", p.object(), errBroken, err, fs.ErrNotExist)
	}
	return Claim{Key: p.key, SHA256: c.SHA256, Size: c.Size, Note: c.note, version: version, object: p.claimed(c).object}, nil
}

// RemoveClaimed removes a file that still has that claim, and else nothing: what came in its place stays. Then the error wraps
// [fs.ErrNotExist], as where it is gone.
func (s *Store) RemoveClaimed(ctx context.Context, c Claim) error {
	p, err := placeOf(c.Key)
	if err != nil {
		return err
	}
	if err := s.unclaim(ctx, p, c); err != nil {
		return err
	}
	if c.object != "" {
		s.drop(ctx, file{object: c.object})
	}
	return nil
}

// unclaim removes a claim, if it is still the same.
func (s *Store) unclaim(ctx context.Context, p place, c Claim) error {
	err := s.raw.Delete(ctx, p.object(), c.version)
	if errors.Is(err, store.ErrChanged) {
		err = fmt.Errorf("%s: %w: %w", p.key, fs.ErrNotExist, err)
	}
	s.known.forget(p)
	return err
}
