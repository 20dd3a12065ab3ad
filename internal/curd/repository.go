package curd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"curdling/internal/build"
	"curdling/internal/install"
	"curdling/internal/record"
	"curdling/internal/requirement"
	"curdling/internal/vcs"
)

// repository builds the wheel of a commit, or finds the one that was built of it before.
func (s *source) repository(ctx context.Context, name, at string, src requirement.Source) (d direct, err error) {
	if s.Editable[at] {
		return s.editableRepository(ctx, name, at, src)
	}
	if s.Offline {
		return d, fmt.Errorf("%s: repositories cannot be asked offline", vcs.PublicURL(src))
	}
	s.Notify(Event{Phase: Resolving, Kind: Progress, Name: name})
	commit, err := vcs.Resolve(ctx, src)
	if err != nil {
		return d, err
	}
	checkout := ""
	if commit == "" { // only a checkout tells
		if checkout, err = os.MkdirTemp(s.own.Temp(), "repository-"); err != nil {
			return d, fmt.Errorf("own cache: %w", err)
		}
		defer os.RemoveAll(checkout)
		checkout = filepath.Join(checkout, "source")
		c, err := vcs.Fetch(ctx, src, checkout)
		if err != nil {
			return d, err
		}
		commit = c.Commit
	}
	exact := src
	exact.Revision = commit
	d, err = s.builtDirect(ctx, &recipe{
		source: hashText(src.VCS + "+" + vcs.PublicURL(src) + "@" + commit + "#" + src.Subdirectory),
		name:   name, python: s.python, settings: s.settings(at), variables: s.variables(),
		from: record.From{Repository: src.VCS + "+" + vcs.PublicURL(src), Commit: commit, Subdirectory: src.Subdirectory},
		lay: func(ctx context.Context, dir string) (build.Source, error) {
			if checkout != "" {
				dir = checkout
			} else if _, err := vcs.Fetch(ctx, exact, dir); err != nil {
				return build.Source{}, err
			}
			return build.Source{Dir: dir, Subdirectory: src.Subdirectory}, nil
		},
	})
	d.from = install.DirectURL{
		URL: vcs.PublicURL(src), Subdirectory: src.Subdirectory,
		VCS: &install.VCSInfo{VCS: src.VCS, RequestedRevision: src.Revision, CommitID: commit},
	}
	return d, err
}

// editableRepository checks a repository out into the environment's folder src, where it stays to be
// worked on. What is there already is used where it is the same commit of the same repository.
func (s *source) editableRepository(ctx context.Context, name, at string, src requirement.Source) (d direct, err error) {
	dir := filepath.Join(s.python.Prefix, "src", name)
	_, err = os.Lstat(dir)
	there := err == nil
	if there {
		err = isCheckout(ctx, dir, src)
	} else {
		if err = os.MkdirAll(filepath.Dir(dir), 0o777); err == nil {
			_, err = vcs.Fetch(ctx, src, dir)
		}
	}
	if err != nil {
		return d, err
	}
	d, err = s.builtFolder(ctx, dir, at, src.Subdirectory)
	if err != nil && !there {
		_ = os.RemoveAll(dir)
	}
	d.from = install.DirectURL{URL: fileURL(dir), Subdirectory: src.Subdirectory, Dir: &install.DirInfo{Editable: true}}
	return d, err
}

// isCheckout sees that a folder holds the commit that a source names.
func isCheckout(ctx context.Context, dir string, src requirement.Source) error {
	commit, err := vcs.Resolve(ctx, src)
	if err != nil {
		return err
	}
	var remote, have string
	if c := findWorkingCopy(ctx, dir); c != nil {
		have, _ = c.commit(ctx, *c)
		remote, _ = c.remote(ctx, *c)
	}
	if have != commit || withoutSecrets(remote) != withoutSecrets(src.URL) {
		return fmt.Errorf("-e %s: %s is there already, and is not its commit %s; install that folder with -e, or move it away", vcs.PublicURL(src), dir, commit)
	}
	return nil
}
