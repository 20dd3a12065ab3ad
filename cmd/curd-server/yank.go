package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"curdling/internal/audit"
	"curdling/internal/catalog"
	"curdling/internal/dist"
	"curdling/internal/store"
	pep440 "curdling/internal/version"
)

func newYank() *cobra.Command {
	var o yankOptions
	var flags placeFlags
	c := &cobra.Command{
		Use:   "yank [--reason TEXT] [--undo] DIRECTORY|s3://BUCKET/PREFIX FILE|PROJECT==VERSION...",
		Short: "have installers leave files out that are not asked for by their very version",
		Long: `yank marks files of DIRECTORY as yanked (PEP 592): they stay where they are, and
installers use them only where a requirement or a lock names their very version.
A server that runs sees it within a second.

It writes an empty file FILE.yanked, or one with the reason, beside each file;
writing and removing these by hand does the same.`,
		Example: `  curd-server yank --reason 'loses data' wheels flask==3.0
  curd-server yank --undo wheels flask-3.0-py3-none-any.whl`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usageError{errors.New("a DIRECTORY is needed, and a FILE or PROJECT==VERSION in it")}
			}
			if o.undo && o.reason != "" {
				return usageError{errors.New("--reason is of no use with --undo")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			p, err := flags.open(cmd, args[:1])
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, p.close()) }()
			return yank(cmd.Context(), p, args[1:], o, cmd.OutOrStdout())
		},
		DisableFlagsInUseLine: true,
	}
	c.Flags().StringVar(&o.reason, "reason", "", "`TEXT` that installers show")
	c.Flags().BoolVar(&o.undo, "undo", false, "take it back")
	flags.add(c.Flags())
	return c
}

type yankOptions struct {
	reason string
	undo   bool
}

func yank(ctx context.Context, p *place, what []string, o yankOptions, stdout io.Writer) error {
	for _, w := range what {
		files, err := p.filesOf(ctx, w)
		if err != nil {
			return err
		}
		if len(files) == 0 {
			return fmt.Errorf("%s holds no file of %s; what it holds is directly there, not below", p.name, w)
		}
		for _, file := range files {
			key, done, action := file+catalog.YankedSuffix, "yanked", "yank"
			if o.undo {
				action = "unyank"
				done = "not yanked any more:"
				if err = p.store().Remove(ctx, key); errors.Is(err, fs.ErrNotExist) {
					err, done = nil, "was not yanked:"
				}
			} else {
				err = p.replace(ctx, key, []byte(o.reason))
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(stdout, done, file)
			if err := p.notes.Write(audit.Entry{Action: action, User: systemUser(), File: file, Remote: "local", Detail: o.reason}); err != nil {
				return fmt.Errorf("%s, and it cannot be noted in the audit log: %w", done, err)
			}
		}
	}
	return nil
}

// filesOf finds a file, or the files of PROJECT==VERSION.
func (p *place) filesOf(ctx context.Context, what string) (found []string, err error) {
	name, number, isVersion := strings.Cut(what, "==")
	var project dist.Name
	var wanted pep440.Version
	if isVersion {
		if project, err = dist.ParseName(strings.TrimSpace(name)); err != nil {
			return nil, err
		}
		if wanted, err = pep440.Parse(strings.TrimSpace(number)); err != nil {
			return nil, err
		}
	} else if f, err := dist.ParseFilename(what, ""); err == nil {
		project = f.Name
	} else {
		return nil, fmt.Errorf("%q is neither a file's name nor PROJECT==VERSION", what)
	}
	for info, err := range p.list(ctx, project) {
		if err != nil {
			return nil, err
		}
		if !isVersion && info.Key == what {
			return []string{what}, nil
		}
		f, err := dist.ParseFilename(info.Key, project)
		if isVersion && err == nil && f.Name == project && f.Version.Compare(wanted) == 0 {
			found = append(found, info.Key)
		}
	}
	slices.Sort(found)
	return found, nil
}

// store is where the files lie.
func (p *place) store() store.Store {
	if p.folder != nil {
		return p.folder
	}
	return p.bucket
}

// list lists a project, in a folder all of them.
func (p *place) list(ctx context.Context, project dist.Name) iter.Seq2[store.Info, error] {
	if p.folder != nil {
		return p.folder.List(ctx, "")
	}
	return p.bucket.ListGroup(ctx, string(project))
}

// replace has a small file beside another hold just that.
func (p *place) replace(ctx context.Context, key string, content []byte) error {
	if p.folder != nil {
		return p.folder.Replace(ctx, key, content)
	}
	err := p.bucket.Create(ctx, key, bytes.NewReader(content), int64(len(content)))
	for range mostChanges {
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, store.ErrChanged) {
			return err
		}
		var r io.ReadCloser
		if r, _, err = p.bucket.Open(ctx, key); err != nil {
			return err
		}
		old, failed := io.ReadAll(io.LimitReader(r, catalog.MaxSidecar))
		if err := errors.Join(failed, r.Close()); err != nil {
			return err
		}
		err = p.bucket.Swap(ctx, key, old, content)
	}
	return err
}

// mostChanges is how often somebody else may change what is to be replaced.
const mostChanges = 8
