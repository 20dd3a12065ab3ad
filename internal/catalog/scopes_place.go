package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"curdling/internal/dist"
	"curdling/internal/scope"
	"curdling/internal/store"
	"curdling/internal/store/bucket"
	"curdling/internal/store/disk"
)

// ScopePlace is where scopes lie.
type ScopePlace interface {
	// Look tells whether a scope is there, roughly as of now; upload is that something is about to come into it. A bad name is an error
	// that wraps [fs.ErrInvalid].
	Look(name string, upload bool) (there bool, err error)
	// Open opens a scope, which need not be there.
	Open(name string) (*ScopeStore, error)
	// Scopes gives those that there are, in order of their names.
	Scopes(ctx context.Context) ([]disk.Scope, error)
	// RemoveScope removes a scope with all that lies in it, unless something came after unless; the zero time is for whatever came. A scope that is
	// not there is an error that wraps [fs.ErrNotExist].
	RemoveScope(ctx context.Context, name string, unless time.Time) (removed bool, err error)
}

// ScopeStore is a scope that is open.
type ScopeStore struct {
	Store   store.Store
	State   string      // see [Config.State]
	Derived store.Store // see [Config.Derived]
	Current func() bool // whether it is still the one that is there
	Close   func() error
}

// FolderScopes are the scopes below a folder.
type FolderScopes struct{ Folder *disk.Store }

// Look is ScopePlace's.
func (s FolderScopes) Look(name string, _ bool) (there bool, err error) {
	dir, err := s.Folder.ScopeDir(name)
	if err != nil {
		return false, fmt.Errorf("%w: %w", err, fs.ErrInvalid)
	}
	_, err = os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Open is ScopePlace's, and makes the folder where it is missing.
func (s FolderScopes) Open(name string) (*ScopeStore, error) {
	dir, err := s.Folder.ScopeDir(name)
	if err != nil {
		return nil, err
	}
	folder, err := s.Folder.OpenScope(name)
	if err != nil {
		return nil, err
	}
	is, err := os.Lstat(dir)
	if err != nil {
		return nil, errors.Join(err, folder.Close())
	}
	return &ScopeStore{
		Store: folder, State: filepath.Join(folder.Dir(), disk.StateDir), Close: folder.Close,
		Current: func() bool {
			fi, err := os.Lstat(dir)
			return err == nil && os.SameFile(fi, is)
		},
	}, nil
}

// Scopes is ScopePlace's.
func (s FolderScopes) Scopes(context.Context) ([]disk.Scope, error) { return s.Folder.Scopes() }

// RemoveScope is ScopePlace's.
func (s FolderScopes) RemoveScope(_ context.Context, name string, unless time.Time) (bool, error) {
	return s.Folder.RemoveScope(name, unless)
}

// ScopesPrefix is what the keys of all scopes in a bucket begin with.
const ScopesPrefix = "scopes/"

const (
	rememberScope  = time.Minute // that it is there; one that is empty looks like main, too
	rememberNone   = time.Second
	mostRemembered = 10_000
	scopeLookTime  = 10 * time.Second
)

// BucketScopes are the scopes below main in a bucket that any number of servers share: each lies below scopes/NAME/ as main does. A
// scope is there if anything lies there. Make it with [NewBucketScopes].
type BucketScopes struct {
	raw     bucket.Raw
	options bucket.Options
	flight  singleflight.Group

	mu   sync.Mutex
	seen map[string]scopeSeen
}

// scopeSeen is what was seen of a scope.
type scopeSeen struct {
	there bool
	until time.Time
}

// NewBucketScopes gives the scopes in raw, whose files are read as the options say.
func NewBucketScopes(raw bucket.Raw, o bucket.Options) *BucketScopes {
	return &BucketScopes{raw: raw, options: o, seen: make(map[string]scopeSeen)}
}

// ScopePrefix is what the keys of a scope in a bucket begin with. What lies there is as main has it.
func ScopePrefix(name string) string { return ScopesPrefix + name + "/" }

// Look is ScopePlace's. That a scope is there is believed for a minute, that it is not for a second.
func (s *BucketScopes) Look(name string, upload bool) (there bool, err error) {
	if err := scope.Check(name); err != nil {
		return false, fmt.Errorf("%w: %w", err, fs.ErrInvalid)
	}
	if upload {
		s.remember(name, true)
		return true, nil
	}
	s.mu.Lock()
	seen, known := s.seen[name]
	s.mu.Unlock()
	if known && time.Now().Before(seen.until) {
		return seen.there, nil
	}
	found, err, _ := s.flight.Do(name, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), scopeLookTime)
		defer cancel()
		began, there := time.Now(), false
		for _, err := range s.raw.List(ctx, ScopePrefix(name)) {
			if err != nil {
				return false, err
			}
			there = true
			break
		}
		s.mu.Lock()
		seen := s.seen[name]
		came := seen.there && seen.until.After(began) // something was about to
		s.mu.Unlock()
		if !came {
			s.remember(name, there)
		}
		return there || came, nil
	})
	return err == nil && found.(bool), err
}

func (s *BucketScopes) remember(name string, there bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) >= mostRemembered {
		clear(s.seen)
	}
	s.seen[name] = scopeSeen{there, time.Now().Add(rememberNone)}
	if there {
		s.seen[name] = scopeSeen{there, time.Now().Add(rememberScope)}
	}
}

// Open is ScopePlace's. It asks for nothing.
func (s *BucketScopes) Open(name string) (*ScopeStore, error) {
	if err := scope.Check(name); err != nil {
		return nil, err
	}
	raw := bucket.Below(s.raw, ScopePrefix(name))
	return &ScopeStore{
		Store: bucket.New(raw, s.options), Derived: raw,
		Current: func() bool { return true }, Close: func() error { return nil }, // what it knows of projects is a second old, be they gone and come again
	}, nil
}

// Scopes is ScopePlace's, by one listing of all scopes.
func (s *BucketScopes) Scopes(ctx context.Context) (all []disk.Scope, err error) {
	found := make(map[string]*scopeSum)
	pace := &pacer{rate: walkRate}
	for info, err := range s.raw.List(ctx, ScopesPrefix) {
		if err == nil {
			pace.wait(ctx, 1)
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		name, rest, ok := strings.Cut(strings.TrimPrefix(info.Key, ScopesPrefix), "/")
		if !ok || scope.Check(name) != nil {
			continue
		}
		if found[name] == nil {
			found[name] = &scopeSum{Scope: disk.Scope{Name: name}}
		}
		found[name].add(rest, info)
	}
	for _, x := range found {
		all = append(all, x.sum())
	}
	slices.SortFunc(all, func(a, b disk.Scope) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// scopeSum adds up what lies in a scope. When its files changed counts, and where it has none, when anything did.
type scopeSum struct {
	disk.Scope
	touched time.Time
}

func (x *scopeSum) add(rest string, info store.Info) {
	x.touched = later(x.touched, info.ModTime)
	switch partOf(rest) {
	case partDerived:
		return
	case partClaim:
		x.Files++
	case partBytes:
		x.Bytes += info.Size
	}
	x.Changed = later(x.Changed, info.ModTime)
}

func (x *scopeSum) sum() disk.Scope {
	if x.Changed.IsZero() {
		x.Changed = x.touched
	}
	return x.Scope
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// scopePart is what an object of a scope is, in the order in which they go: a file is not held any more when its claim
// is gone, and what lies beside it goes before.
type scopePart int

const (
	partDerived scopePart = iota
	partBeside
	partClaim
	partBytes
	parts
)

// partOf tells what lies in a scope's folder as rest.
func partOf(rest string) scopePart {
	key, ok := strings.CutPrefix(rest, "wheels/")
	if !ok {
		return partDerived
	}
	_, key, _ = strings.Cut(key, "/")
	if strings.Contains(key, "/") { // SHA256/PUT/FILE
		return partBytes
	}
	if _, err := dist.ParseFilename(key, ""); err != nil {
		return partBeside
	}
	return partClaim
}

// RemoveScope is ScopePlace's. What comes while it is being removed stays, and so does the rest of the scope then.
func (s *BucketScopes) RemoveScope(ctx context.Context, name string, unless time.Time) (removed bool, err error) {
	if err := scope.Check(name); err != nil {
		return false, err
	}
	prefix := ScopePrefix(name)
	x, any := scopeSum{}, false
	for info, err := range s.raw.List(ctx, prefix) {
		if err != nil {
			return false, err
		}
		any = true
		x.add(strings.TrimPrefix(info.Key, prefix), info)
	}
	switch {
	case !any:
		return false, fmt.Errorf("%s: %w", prefix, fs.ErrNotExist)
	case !unless.IsZero() && x.sum().Changed.After(unless):
		return false, nil
	}
	for part := range parts {
		for info, err := range s.raw.List(ctx, prefix) {
			if err != nil {
				return false, err
			}
			if partOf(strings.TrimPrefix(info.Key, prefix)) != part {
				continue
			}
			if part != partDerived && !unless.IsZero() && info.ModTime.After(unless) {
				return false, nil // it is in use
			}
			if err := s.removeSeen(ctx, part, info); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, store.ErrChanged) {
				return false, err
			}
		}
	}
	s.remember(name, false)
	return true, nil
}

// removeSeen removes an object that was listed, if it is still that: another who removes the scope, too, may have been first, and something have come
// since. What is derived can be made again, and nobody else ever puts something where bytes are.
func (s *BucketScopes) removeSeen(ctx context.Context, part scopePart, seen store.Info) error {
	if part == partDerived || part == partBytes || strings.HasSuffix(seen.Key, ".tar.zst") {
		return s.raw.Remove(ctx, seen.Key)
	}
	_, version, err := s.raw.Get(ctx, seen.Key, "")
	if err != nil {
		return err
	}
	now, err := s.raw.Stat(ctx, seen.Key)
	if err != nil {
		return err
	}
	if !now.ModTime.Equal(seen.ModTime) || now.Size != seen.Size {
		return store.ErrChanged
	}
	return s.raw.Delete(ctx, seen.Key, version)
}
