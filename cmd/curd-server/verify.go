package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"curdling/internal/catalog"
	"curdling/internal/server"
	"curdling/internal/store/disk"
)

// verifyOptions are the command line of verify.
type verifyOptions struct {
	fix  bool
	rate byteSize // bytes a second; 0 is no bound
	jobs int      // 0 is one for each processor

	placeFlags
}

func newVerify() *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use:   "verify [--fix] [--rate SIZE] [--jobs N] DIRECTORY|s3://BUCKET/PREFIX",
		Short: "read all files anew and say which are damaged",
		Long: `verify reads all wheels and source distributions of DIRECTORY and says which are
damaged: their hash is not the one that was known, or they cannot be read or
opened. Its exit code is 1 where one is. Servers may run meanwhile.

With --fix damaged files are moved to DIRECTORY/.quarantine, each beside a
reason.txt; a server that runs stops serving them within a second. Nothing there
is ever removed. Of a bucket the claim of a damaged file goes, so that its name is free,
and its bytes stay where they are, with the reason below quarantine/.`,
		Example: `  curd-server verify wheels
  curd-server verify --fix --rate 50MB wheels`,
		Args: oneDirectory,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if o.jobs < 0 {
				return usageError{fmt.Errorf("--jobs %d: must be 0 or more", o.jobs)}
			}
			p, err := o.open(cmd, args)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, p.close()) }()
			return verify(cmd.Context(), p, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
		DisableFlagsInUseLine: true,
	}
	c.Flags().BoolVar(&o.fix, "fix", false, "move damaged files to DIRECTORY/.quarantine; in a bucket, take them out of what is held")
	c.Flags().Var(&o.rate, "rate", "read at most a `SIZE` a second, like 50MB")
	c.Flags().IntVarP(&o.jobs, "jobs", "j", 0, "read `N` files at once; 0 is one for each processor")
	o.add(c.Flags())
	return c
}

func verify(ctx context.Context, p *place, o verifyOptions, stdout, stderr io.Writer) (err error) {
	held, err := p.visit(ctx, -1, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	f, ok := stderr.(*os.File)
	progress := ok && term.IsTerminal(int(f.Fd()))
	clean := ""
	if progress {
		clean = "\r\033[K"
	}
	var failed error
	v, err := held.Verify(ctx, catalog.VerifyOptions{
		Rate: int64(o.rate), Parallel: o.jobs,
		Damaged: func(key string, damage error) {
			fmt.Fprintf(stderr, "%s", clean)
			fmt.Fprintf(stdout, "%s: %v\n", key, damage)
			if o.fix {
				failed = errors.Join(failed, held.Quarantine(ctx, key, damage))
			}
		},
		Progress: func(v catalog.Verified) {
			if progress {
				fmt.Fprintf(stderr, "%s%d of %d files, %s of %s", clean, v.Files, v.TotalFiles, server.Size(v.Bytes), server.Size(v.TotalBytes))
			}
		},
	})
	fmt.Fprintf(stderr, "%s", clean)
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d files verified, %s, %d damaged\n", v.Files, server.Size(v.Bytes), v.Damaged)
	switch {
	case v.Damaged == 0:
		return nil
	case o.fix && p.bucket != nil:
		return fmt.Errorf("damaged files are held no more; why is said below %s/quarantine/", strings.TrimRight(p.name, "/"))
	case o.fix:
		return fmt.Errorf("damaged files are now in %s", filepath.Join(p.name, disk.QuarantineDir))
	}
	return errors.New("damaged files are there; --fix puts them aside")
}
