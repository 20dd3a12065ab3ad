package sums

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"curdling/internal/store"
)

// Fold puts the files of servers that were silent for an hour, as this one saw it, into the one of all.
func (s *Sum[T]) Fold(ctx context.Context) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	names, err := s.list(ctx)
	if err != nil {
		return err
	}
	versions, sums := make(map[string]string), make(map[string]file[T])
	var failures []error
	for _, name := range s.silent(names) {
		f, version, err := s.closed(ctx, name)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, store.ErrChanged): // it is gone, or not silent
		case err != nil:
			failures = append(failures, err)
		default:
			versions[name], sums[name] = version, f
		}
	}
	if err := s.gather(ctx, sums, names); err != nil {
		return errors.Join(append(failures, err)...)
	}
	for name, version := range versions {
		ctx, cancel := context.WithTimeout(ctx, opTimeout)
		err := s.config.Store.Delete(ctx, s.key(name), version)
		cancel()
		if err != nil && !errors.Is(err, store.ErrChanged) {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// silent gives those of the files that are as they were for long.
func (s *Sum[T]) silent(names map[string]store.Info) (silent []string) {
	now := s.now()
	for name := range s.seen {
		if _, ok := names[name]; !ok {
			delete(s.seen, name)
		}
	}
	for name, info := range names {
		seen, ok := s.seen[name]
		if !ok || seen.info != info {
			seen = sighting{info, now}
			s.seen[name] = seen
		}
		if now.Sub(seen.since) >= foldAfter {
			silent = append(silent, name)
		}
	}
	return silent
}

// closed closes a file, for good.
func (s *Sum[T]) closed(ctx context.Context, name string) (f file[T], version string, err error) {
	f, version, err = s.get(ctx, name)
	if err != nil || f.Closed {
		return f, version, err
	}
	f.Closed = true
	version, err = s.put(ctx, name, version, f)
	return f, version, err
}

// gather adds closed files to the one of all, and has it forget what is long gone; names are what there still is.
func (s *Sum[T]) gather(ctx context.Context, sums map[string]file[T], names map[string]store.Info) error {
	for range attempts {
		all, version, err := s.get(ctx, allName)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		now, changed := s.wall().UTC().Truncate(time.Second), false
		for name, f := range all.Folded {
			if _, there := names[name]; !there && now.Sub(f.Time) > remember {
				delete(all.Folded, name)
				changed = true
			}
		}
		for name, f := range sums {
			if _, ok := all.Folded[name]; ok {
				continue
			}
			if all.Folded == nil {
				all.Folded = make(map[string]folded)
			}
			all.Sum, all.Folded[name], changed = s.config.Plus(all.Sum, f.Sum), folded{f.Writes, now}, true
		}
		if !changed {
			return nil
		}
		if _, err = s.put(ctx, allName, version, all); !errors.Is(err, store.ErrChanged) {
			return err
		}
	}
	return store.ErrChanged
}
