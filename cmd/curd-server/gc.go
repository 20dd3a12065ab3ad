package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"curdling/internal/catalog"
	"curdling/internal/server"
)

func newGC() *cobra.Command {
	var maxSize byteSize
	var dryRun bool
	var flags placeFlags
	c := &cobra.Command{
		Use:   "gc [--dry-run] [--max-size SIZE] DIRECTORY|s3://BUCKET/PREFIX",
		Short: "remove what can be had again until the rest fits",
		Long: `gc removes files of DIRECTORY until what is left is no larger than SIZE: first tarballs
of wheels, then files of upstreams, then builds, and of these first what costs least to
have again for its size and its use. What somebody uploaded or put there by hand never goes.
Without --max-size it only says what is held. A server may run meanwhile.

What lies in a bucket is walked over, once to count and once more to remove, which may
take hours; what goes there is worth less than what stays by and large.`,
		Example: `  curd-server gc --dry-run --max-size 100GB wheels
  curd-server gc --max-size 10TB s3://acme/wheels`,
		Args: oneDirectory,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			p, err := flags.open(cmd, args, "max-size")
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, p.close()) }()
			held, err := p.visit(cmd.Context(), 24*time.Hour, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, held.Close()) }()
			if p.bucket != nil {
				return gcBucket(cmd.Context(), held, int64(maxSize), dryRun, cmd.OutOrStdout())
			}
			return gc(cmd.Context(), held, int64(maxSize), dryRun, cmd.OutOrStdout())
		},
		DisableFlagsInUseLine: true,
	}
	c.Flags().Var(&maxSize, "max-size", "what may stay, a `SIZE` like 100GB")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would go")
	flags.add(c.Flags())
	return c
}

func gc(ctx context.Context, held *catalog.Catalog, maxSize int64, dryRun bool, stdout io.Writer) error {
	stats, can := held.Stats(), held.Expendable()
	fmt.Fprintf(stdout, "%d files are held, %s; %s of these can be had again\n", stats.Files, server.Size(stats.Bytes), server.Size(can))
	if stats.TarballBytes > 0 {
		fmt.Fprintf(stdout, "tarballs of wheels take %s besides; they go first\n", server.Size(stats.TarballBytes))
	}
	if maxSize == 0 {
		return nil
	}
	did := "removed"
	if dryRun {
		did = "would remove"
	}
	shed := min(stats.TarballBytes, max(0, stats.Bytes+stats.TarballBytes-maxSize))
	if !dryRun {
		shed = held.ShedTarballs(maxSize)
	}
	if shed > 0 {
		fmt.Fprintf(stdout, "%s tarballs, %s\n", did, server.Size(shed))
	}
	count, bytes := 0, int64(0)
	for _, x := range held.Evictable(maxSize) {
		if !dryRun {
			if err := held.Evict(ctx, x); err != nil {
				return err
			}
		}
		fmt.Fprintf(stdout, "%s %s, %s: %s\n", did, x.Filename, server.Size(x.Size), reason(x))
		count, bytes = count+1, bytes+x.Size
	}
	fmt.Fprintf(stdout, "%s %d files, %s\n", did, count, server.Size(bytes))
	if left := stats.Bytes - bytes; left > maxSize {
		return fmt.Errorf("%s are left, more than %s: none of it can be had again", server.Size(left), server.Size(maxSize))
	}
	return nil
}

// gcBucket is gc for what lies in a bucket. Zero only counts.
func gcBucket(ctx context.Context, held *catalog.Catalog, maxSize int64, dryRun bool, stdout io.Writer) error {
	o := catalog.ShrinkOptions{MaxSize: maxSize, DryRun: dryRun}
	did := "removed"
	if dryRun {
		did = "would remove"
	}
	if maxSize == 0 {
		o.MaxSize = -1
	}
	o.Gone = func(x catalog.Candidate) {
		fmt.Fprintf(stdout, "%s %s, %s: %s\n", did, x.Filename, server.Size(x.Size), reason(x))
	}
	s, err := held.Shrink(ctx, o)
	if err != nil {
		return err
	}
	if maxSize == 0 {
		fmt.Fprintf(stdout, "%d files are held, %s; %s of these can be had again\n", s.Left.Files, server.Size(s.Left.Bytes), server.Size(s.Expendable))
		fmt.Fprintf(stdout, "tarballs of wheels take %s besides; they go first\n", server.Size(s.Left.TarballBytes))
		return nil
	}
	if s.Tarballs > 0 {
		fmt.Fprintf(stdout, "%s tarballs, %s\n", did, server.Size(s.Tarballs))
	}
	fmt.Fprintf(stdout, "%s %d files, %s\n", did, s.Files, server.Size(s.Bytes))
	if left := s.Left.Bytes + s.Left.TarballBytes; left > maxSize {
		return fmt.Errorf("%s are left, more than %s: none of it can be had again", server.Size(left), server.Size(maxSize))
	}
	return nil
}

// reason says why a file may go.
func reason(x catalog.Candidate) string {
	why := "upstream " + x.From.Upstream + " has it"
	if x.Why == catalog.Rebuild {
		why = fmt.Sprintf("can be built again in %v", x.Build.Time.Round(time.Second))
	}
	if x.Uses == 0 {
		return fmt.Sprintf("%s, not used since it came on %s", why, x.LastUsed.Format(time.DateOnly))
	}
	return fmt.Sprintf("%s, used %d times, last on %s", why, x.Uses, x.LastUsed.Format(time.DateOnly))
}
