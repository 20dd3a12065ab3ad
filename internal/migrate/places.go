package migrate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"curdling/internal/auth"
	"curdling/internal/catalog"
	"curdling/internal/livefile"
	"curdling/internal/mirror"
	"curdling/internal/scope"
	"curdling/internal/store"
	"curdling/internal/store/bucket"
	"curdling/internal/store/disk"
)

// patience is how long files are read of which a folder's state says nothing.
const patience = 30 * 24 * time.Hour

// Folder is a folder that a server serves, or may come to serve. It is made where something is to come into it.
func Folder(dir string) Place { return folder(dir) }

type folder string

func (f folder) open(ctx context.Context, dry bool, log *slog.Logger) (*level, error) {
	dir := string(f)
	if missing(dir) && dry {
		empty, err := os.MkdirTemp("", "curd-migrate-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(empty)
		dir = empty
	}
	in, err := disk.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be opened: %w", f, err)
	}
	state := filepath.Join(in.Dir(), disk.StateDir)
	held, err := catalog.Open(ctx, catalog.Config{Store: in, State: state, Log: log, Patience: patience, Guest: true, Tarballs: true})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s cannot be opened: %w", f, err), in.Close())
	}
	names, err := mirror.NamesInFile(filepath.Join(string(f), mirror.ClaimsFile))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s cannot be opened: %w", f, err), held.Close(), in.Close())
	}
	return &level{
		held: held, names: names, tokens: livefile.Path(filepath.Join(string(f), auth.TokensFile)),
		evidence: func(make bool) (evidence, error) { return evidenceIn(filepath.Join(state, "evidence"), make) },
		done:     func() error { return errors.Join(names.Close(), held.Close(), in.Close()) },
	}, nil
}

func evidenceIn(dir string, make bool) (evidence, error) {
	if !make && missing(dir) {
		return evidence{done: func() error { return nil }}, nil
	}
	in, err := disk.Open(dir)
	if err != nil {
		return evidence{}, fmt.Errorf("%s cannot be opened: %w", dir, err)
	}
	return evidence{in: in, done: in.Close}, nil
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

func (f folder) scopes(context.Context) (names []string, err error) {
	entries, err := os.ReadDir(filepath.Join(string(f), disk.ScopesDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, entry := range entries {
		if entry.IsDir() && scope.Check(entry.Name()) == nil {
			names = append(names, entry.Name())
		}
	}
	return names, err
}

func (f folder) below(scope string) Place {
	return folder(filepath.Join(string(f), disk.ScopesDir, scope))
}

// Bucket is a bucket, or what lies below a prefix in it; temp is a folder for files on their way.
func Bucket(raw bucket.Raw, temp string) Place { return objects{raw, temp} }

type objects struct {
	raw  bucket.Raw
	temp string
}

func (b objects) open(ctx context.Context, _ bool, log *slog.Logger) (*level, error) {
	held, err := catalog.Open(ctx, catalog.Config{Store: bucket.New(b.raw, bucket.Options{Temp: b.temp}), Derived: b.raw, Log: log})
	if err != nil {
		return nil, err
	}
	return &level{
		held: held, names: mirror.NamesInStore(b.raw), tokens: store.Document{Store: b.raw, Key: auth.TokensKey},
		evidence: func(bool) (evidence, error) {
			return evidence{in: b.raw, prefix: "evidence/", done: func() error { return nil }}, nil
		},
		done: held.Close,
	}, nil
}

func (b objects) scopes(ctx context.Context) (names []string, err error) {
	for name, err := range b.raw.ListFolders(ctx, catalog.ScopesPrefix) {
		if err != nil {
			return nil, err
		}
		if scope.Check(name) == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

func (b objects) below(scope string) Place {
	return objects{bucket.Below(b.raw, catalog.ScopePrefix(scope)), b.temp}
}
