// Package migrate copies all that a server keeps in one place, a folder or a bucket, to another: files with what is known of
// where they came from, what lies beside them, what has become of projects, tokens, which names are an upstream's, other builds of the
// same, and scopes below main. What can be made again it leaves out, and so builds under way, statistics and audit logs.
//
// It may be stopped at any time and goes on with the next run: whatever comes, comes whole, and what is there is passed over without being read.
// What lies under a name already stays.
package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"

	"curdling/internal/catalog"
	"curdling/internal/dist"
	"curdling/internal/livefile"
	"curdling/internal/mirror"
	"curdling/internal/store"
)

// Place is where a server keeps what it holds: see [Folder] and [Bucket].
type Place interface {
	// open opens main. Where dry is set nothing is made that is missing.
	open(ctx context.Context, dry bool, log *slog.Logger) (*level, error)
	// scopes gives the names of the scopes below it.
	scopes(ctx context.Context) ([]string, error)
	// below is one of them as a place, be it there or not.
	below(scope string) Place
}

// level is what is kept of main or of a scope.
type level struct {
	held     *catalog.Catalog
	tokens   livefile.Document
	names    *mirror.Names // that are an upstream's
	evidence func(make bool) (evidence, error)
	done     func() error
}

// evidence are builds that came when another of the same was held. Their names tell their hashes.
type evidence struct {
	in     store.Store // nil: there is none
	prefix string      // of their keys
	done   func() error
}

// Options say how to migrate.
type Options struct {
	catalog.CopyOptions
	// Scope is told of each scope before it is copied; may be nil.
	Scope func(name string)
	Log   *slog.Logger // of what is found in either place; nil is silent
}

// Migrated counts what was copied, or would be.
type Migrated struct {
	catalog.Copied // in main and in scopes; tokens that were left are among Left
	Tokens         bool
	Names          int // that are an upstream's
	Evidence       int
	Scopes         int
}

// Run copies what one place has and the other lacks.
func Run(ctx context.Context, from, to Place, o Options) (Migrated, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	var sum Migrated
	scopes, err := from.scopes(ctx)
	if err != nil {
		return sum, fmt.Errorf("scopes cannot be listed: %w", err)
	}
	if err := sum.level(ctx, from, to, o); err != nil {
		return sum, err
	}
	for _, scope := range scopes {
		if o.Scope != nil {
			o.Scope(scope)
		}
		if err := sum.level(ctx, from.below(scope), to.below(scope), o); err != nil {
			return sum, fmt.Errorf("scope %s: %w", scope, err)
		}
		sum.Scopes++
	}
	return sum, nil
}

// level copies main or one scope. Tokens come first, so that a server there is never open to everybody for a while.
func (sum *Migrated) level(ctx context.Context, from, to Place, o Options) (err error) {
	here, err := from.open(ctx, true, o.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, here.done()) }()
	there, err := to.open(ctx, o.DryRun, o.Log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, there.done()) }()
	if err := sum.tokens(ctx, here.tokens, there.tokens, o); err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	if err := sum.evidence(ctx, here, there, o.DryRun); err != nil {
		return fmt.Errorf("other builds of the same: %w", err)
	}
	if o.Allow, err = sum.names(ctx, here, there, o); err != nil {
		return fmt.Errorf("names that are an upstream's: %w", err)
	}
	copied, err := catalog.Copy(ctx, here.held, there.held, o.CopyOptions)
	sum.add(copied)
	return err
}

func (sum *Migrated) add(n catalog.Copied) {
	sum.Files += n.Files
	sum.Bytes += n.Bytes
	sum.Beside += n.Beside
	sum.Held += n.Held
	sum.Left += n.Left
	sum.Projects += n.Projects
	sum.Of += n.Of
}

// errTokens says what is done about tokens that differ. To add those that are missing would make good again what was revoked.
var errTokens = errors.New("there are other tokens already, and they stay: create there what is missing, or remove them all to have these")

func (sum *Migrated) tokens(ctx context.Context, from, to livefile.Document, o Options) error {
	content, _, err := from.Read(ctx, "")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	other, _, err := to.Read(ctx, "")
	if errors.Is(err, fs.ErrNotExist) {
		if sum.Tokens = true; o.DryRun {
			return nil
		}
		return to.Change(ctx, func(old []byte) ([]byte, error) {
			if other = old; old != nil && !bytes.Equal(old, content) {
				return nil, fmt.Errorf("%s: %w", to, errTokens)
			}
			return content, nil
		})
	}
	if err == nil && !bytes.Equal(content, other) {
		if sum.Left++; o.Left != nil {
			o.Left(to.String(), errTokens)
		}
	}
	return err
}

var (
	errPrivate = errors.New("the name is an upstream's in one and not in the other, where something of it is held already; it stays private there")
	errMixed   = errors.New("the name is an upstream's where it should come to, and not where it comes from: strangers' files of that name would count beside these; " +
		"upload them there if they may, or take the name from the upstream there")
)

// names copies which names are an upstream's, before anything of theirs comes, so that none of these is taken for private. What it gives says of which
// projects files may come: not of one that is private here and an upstream's there.
func (sum *Migrated) names(ctx context.Context, from, to *level, o Options) (func(dist.Name) error, error) {
	here, err := from.names.All(ctx)
	if err != nil {
		return nil, err
	}
	there, err := to.names.All(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(here)
	slices.Sort(there)
	for _, name := range here {
		if _, known := slices.BinarySearch(there, name); known {
			continue
		}
		if err := to.held.Fresh(ctx, name); err != nil {
			return nil, err
		}
		theirs := to.held.Project(name) == nil
		if theirs && !o.DryRun {
			if theirs, err = to.names.Add(ctx, name); err != nil {
				return nil, err
			}
		}
		if theirs {
			sum.Names++
		} else if sum.Left++; o.Left != nil {
			o.Left("upstream/"+string(name), errPrivate)
		}
	}
	return func(name dist.Name) error {
		_, ours := slices.BinarySearch(here, name)
		if _, theirs := slices.BinarySearch(there, name); theirs && !ours {
			return errMixed
		}
		return nil
	}, nil
}

// evidence copies other builds of the same.
func (sum *Migrated) evidence(ctx context.Context, from, to *level, dry bool) (err error) {
	here, err := from.evidence(false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, here.done()) }()
	names, err := here.names(ctx)
	if err != nil || len(names) == 0 {
		return err
	}
	there, err := to.evidence(!dry)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, there.done()) }()
	others, err := there.names(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if slices.Contains(others, name) {
			continue
		}
		if sum.Evidence++; dry {
			continue
		}
		r, info, err := here.in.Open(ctx, here.prefix+name)
		if err != nil {
			return err
		}
		err = there.in.Create(ctx, there.prefix+name, r, info.Size)
		r.Close()
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

func (e evidence) names(ctx context.Context) (names []string, err error) {
	if e.in == nil {
		return nil, nil
	}
	for info, err := range e.in.List(ctx, e.prefix) {
		if err != nil {
			return nil, err
		}
		names = append(names, info.Key[len(e.prefix):])
	}
	slices.Sort(names)
	return names, nil
}
