package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"curdling/internal/scope"
)

// ScopesDir is the folder within the store's for scopes below it: each a store of its own in
// .curdling-scopes/NAME. What lies there nothing can make again.
const ScopesDir = ".curdling-scopes"

// removedPrefix begins the names of scopes that are being removed. No scope is called so.
const removedPrefix = ".removed-"

// Scope is what is known of a scope without opening it.
type Scope struct {
	Name    string
	Files   int
	Bytes   int64
	Changed time.Time // when a file last came or went
}

// ScopeDir is where a scope lies, whether it is there or not.
func (s *Store) ScopeDir(name string) (string, error) {
	if err := scope.Check(name); err != nil {
		return "", err
	}
	if !filepath.IsLocal(name) { // one of the names that Windows forbids
		return "", &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	return filepath.Join(s.root, ScopesDir, name), nil
}

// OpenScope opens the store of a scope, and makes it where it is missing.
func (s *Store) OpenScope(name string) (*Store, error) {
	dir, err := s.ScopeDir(name)
	if err != nil {
		return nil, err
	}
	switch fi, err := os.Lstat(dir); {
	case err == nil && !fi.IsDir():
		return nil, fmt.Errorf("%s is no folder, and no scope: %w", dir, fs.ErrInvalid)
	case errors.Is(err, fs.ErrNotExist):
		if err := errors.Join(os.MkdirAll(dir, 0o777), syncDir(filepath.Dir(dir)), syncDir(s.root)); err != nil {
			return nil, err
		}
	}
	return Open(dir)
}

// Scopes gives the scopes that there are, in order of their names.
func (s *Store) Scopes() (all []Scope, err error) {
	entries, err := os.ReadDir(filepath.Join(s.root, ScopesDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, entry := range entries {
		if entry.IsDir() && scope.Check(entry.Name()) == nil {
			x := Scope{Name: entry.Name()}
			if err := x.look(filepath.Join(s.root, ScopesDir, x.Name)); err == nil {
				all = append(all, x)
			} else if !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
	}
	return all, err
}

// look counts what lies in a scope's folder.
func (x *Scope) look(dir string) error {
	fi, err := os.Stat(dir)
	if err != nil {
		return err
	}
	x.Changed = fi.ModTime()
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		fi, err := os.Stat(filepath.Join(dir, entry.Name())) // what a link leads to counts, as it is served
		if err != nil || !fi.Mode().IsRegular() {
			continue
		}
		x.Files, x.Bytes = x.Files+1, x.Bytes+fi.Size()
		if fi.ModTime().After(x.Changed) {
			x.Changed = fi.ModTime()
		}
	}
	return err
}

// RemoveScope removes a scope with all that lies in it, unless something came after unless; the zero time is for
// whatever came. A scope that is not there is an error that wraps [fs.ErrNotExist]. What a crash leaves of a removal the next one clears away.
func (s *Store) RemoveScope(name string, unless time.Time) (removed bool, err error) {
	dir, err := s.ScopeDir(name)
	if err != nil {
		return false, err
	}
	s.clearScopes()
	// Out of the way first: what comes from now on makes a scope anew, or fails.
	parent := filepath.Dir(dir)
	aside, err := os.MkdirTemp(parent, removedPrefix)
	if err != nil {
		if _, missing := os.Lstat(dir); missing != nil {
			return false, missing
		}
		return false, err
	}
	moved := filepath.Join(aside, name)
	if err := os.Rename(dir, moved); err != nil {
		return false, errors.Join(err, os.Remove(aside))
	}
	x := Scope{Name: name}
	if err := x.look(moved); err != nil || !unless.IsZero() && x.Changed.After(unless) {
		return false, errors.Join(err, os.Rename(moved, dir), os.Remove(aside))
	}
	return true, errors.Join(syncDir(parent), os.RemoveAll(aside))
}

// clearScopes removes what crashes left of removals.
func (s *Store) clearScopes() {
	parent := filepath.Join(s.root, ScopesDir)
	entries, _ := os.ReadDir(parent)
	for _, entry := range entries {
		if fi, err := entry.Info(); err == nil && strings.HasPrefix(entry.Name(), removedPrefix) && time.Since(fi.ModTime()) > time.Hour {
			_ = os.RemoveAll(filepath.Join(parent, entry.Name())) // next time, then
		}
	}
}
