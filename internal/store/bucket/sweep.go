package bucket

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"curdling/internal/store"
)

// quarantine is the folder of the raw store with the reasons for which files were put aside, each under its bytes' own path.
const quarantine = "quarantine/"

// Quarantine takes the claim away, leaves the bytes where they are, and writes the reason to
// quarantine/PROJECT/SHA256/PUT/FILE, which keeps them from SweepProject. Of a sidecar only the reason is kept.
func (s *Store) Quarantine(ctx context.Context, key, reason string) error {
	p, err := placeOf(key)
	if err != nil {
		return err
	}
	aside, c := quarantine+p.group+"/"+rand.Text()+"/"+key, Claim{}
	if p.file {
		if c, err = s.versioned(ctx, p); err != nil && !errors.Is(err, errBroken) {
			return err
		}
		if err == nil {
			aside = quarantine + strings.TrimPrefix(c.object, root)
		}
	}
	text := key + ": " + reason + "\n"
	err = s.raw.Create(ctx, aside, strings.NewReader(text), int64(len(text)))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if !p.file {
		s.known.forget(p)
		return s.raw.Remove(ctx, p.object())
	}
	return s.unclaim(ctx, p, c)
}

// Swept is what a sweep found.
type Swept struct {
	Groups  int      // that were looked at
	Removed int      // objects: bytes that no claim named, and tarballs of files that are gone
	Bytes   int64    // of these
	Broken  []string // files that are not held, as their claim cannot be read, or no bytes have their name, or several and not those claimed
}

// Clock asks the raw store for the time, which all servers have in common, by what it says of an object that was put just now.
func (s *Store) Clock(ctx context.Context) (time.Time, error) {
	key := "clock/" + rand.Text()
	if err := s.raw.Create(ctx, key, strings.NewReader(""), 0); err != nil {
		return time.Time{}, err
	}
	now, err := s.raw.Stat(ctx, key)
	if err := errors.Join(err, s.raw.Remove(ctx, key)); err != nil {
		return time.Time{}, err
	}
	for old, err := range s.raw.List(ctx, "clock/") { // which a crash left
		if err != nil {
			return time.Time{}, err
		}
		if now.ModTime.Sub(old.ModTime) > time.Hour {
			_ = s.raw.Remove(ctx, old.Key)
		}
	}
	return now.ModTime, nil
}

// SweepProject removes the bytes of a project that no claim names, and tarballs of wheels that are gone, where they were put before a
// time: that of [Store.Clock] without as long as an upload may be under way, for which a day is enough. A broken claim
// it leaves alone: who knows that the bytes are lost can Remove it. Several may sweep at once.
func (s *Store) SweepProject(ctx context.Context, p *Project, before time.Time, swept *Swept) error {
	name, l := p.Name, p.listing
	swept.Groups++
	if err := s.sweepTarballs(ctx, l, before, swept); err != nil {
		return err
	}
	for _, c := range l.claims {
		if len(l.bytes[c.place.key]) == 1 {
			delete(l.bytes, c.place.key) // nothing there is too many
			continue
		}
		f, err := s.examine(ctx, c.place, l)
		switch {
		case f.missing || errors.Is(err, errBroken):
			swept.Broken = append(swept.Broken, c.place.key)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	if len(l.bytes) == 0 {
		return nil
	}
	aside := make(map[string]bool) // keys of bytes that Quarantine keeps
	for info, err := range s.raw.List(ctx, quarantine+name+"/") {
		if err != nil {
			return err
		}
		aside[root+strings.TrimPrefix(info.Key, quarantine)] = true
	}
	for key, puts := range l.bytes {
		p, err := placeOf(key)
		if err != nil || !p.file || p.group != name {
			continue // nothing of ours
		}
		puts = slices.DeleteFunc(puts, func(put store.Info) bool { return !put.ModTime.Before(before) || aside[put.Key] })
		if err := s.sweepFile(ctx, p, puts, swept); err != nil {
			return err
		}
	}
	return nil
}

// sweepFile removes those of some old bytes that the file's claim does not name.
func (s *Store) sweepFile(ctx context.Context, p place, puts []store.Info, swept *Swept) error {
	if len(puts) == 0 {
		return nil
	}
	_, f, err := s.claim(ctx, p)
	switch {
	case errors.Is(err, errBroken):
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	for _, put := range puts {
		if put.Key == f.object {
			continue
		}
		if err := s.raw.Remove(ctx, put.Key); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			return err
		}
		swept.Removed++
		swept.Bytes += put.Size
	}
	return nil
}
