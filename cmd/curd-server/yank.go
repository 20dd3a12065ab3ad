package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"curdling/internal/audit"
	"curdling/internal/catalog"
	"curdling/internal/dist"
	"curdling/internal/store/disk"
	pep440 "curdling/internal/version"
)

func newYank() *cobra.Command {
	var o yankOptions
	var files accessFiles
	c := &cobra.Command{
		Use:   "yank [--reason TEXT] [--undo] DIRECTORY FILE|PROJECT==VERSION...",
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
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := folderOnly(cmd, args[0]); err != nil {
				return err
			}
			o.log = files.auditLog(args[0])
			defer o.log.Close()
			return yank(cmd.Context(), args[0], args[1:], o, cmd.OutOrStdout())
		},
		DisableFlagsInUseLine: true,
	}
	c.Flags().StringVar(&o.reason, "reason", "", "`TEXT` that installers show")
	c.Flags().BoolVar(&o.undo, "undo", false, "take it back")
	files.addAudit(c.Flags())
	return c
}

type yankOptions struct {
	reason string
	undo   bool
	log    *audit.Log // is told of each file
}

func yank(ctx context.Context, directory string, what []string, o yankOptions, stdout io.Writer) error {
	if _, err := os.Stat(directory); err != nil {
		return fmt.Errorf("%s cannot be opened: %w", directory, err)
	}
	folder, err := disk.Open(directory)
	if err != nil {
		return fmt.Errorf("%s cannot be opened: %w", directory, err)
	}
	defer folder.Close()
	for _, w := range what {
		files, err := filesOf(ctx, folder, w)
		if err != nil {
			return err
		}
		if len(files) == 0 {
			return fmt.Errorf("%s holds no file of %s; what it holds is directly in the folder, not below", directory, w)
		}
		for _, file := range files {
			key, done, action := file+catalog.YankedSuffix, "yanked", "yank"
			if o.undo {
				action = "unyank"
				done = "not yanked any more:"
				if err = folder.Remove(ctx, key); errors.Is(err, fs.ErrNotExist) {
					err, done = nil, "was not yanked:"
				}
			} else {
				err = folder.Replace(ctx, key, []byte(o.reason))
			}
			if err != nil {
				return err
			}
			fmt.Fprintln(stdout, done, file)
			if err := o.log.Write(audit.Entry{Action: action, User: systemUser(), File: file, Remote: "local", Detail: o.reason}); err != nil {
				return fmt.Errorf("%s, and it cannot be noted in the audit log: %w", done, err)
			}
		}
	}
	return nil
}

// filesOf finds a file, or the files of PROJECT==VERSION.
func filesOf(ctx context.Context, folder *disk.Store, what string) (found []string, err error) {
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
	} else if _, err := dist.ParseFilename(what, ""); err != nil {
		return nil, fmt.Errorf("%q is neither a file's name nor PROJECT==VERSION", what)
	}
	for info, err := range folder.List(ctx, "") {
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
