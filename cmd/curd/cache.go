package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"curdling/internal/curds"
	"curdling/internal/dist"
)

func newCache() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache COMMAND",
		Short: "look after the machine's own cache",
		Long: `Look after the machine's own cache: the folder ~/.curds, or $CURD_CACHE. It keeps
wheels and source distributions, wheels unpacked, which builds gave which wheels, and the
answers of indexes. Everything in it can be had again, and all of it may be
deleted at any time; these commands do so without harm to what runs meanwhile.`,
		Example: `  curd cache size
  curd cache prune --keep 30d
  curd cache clean flask
  curd cache verify`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q for \"curd cache\"", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCacheDir(), newCacheSize(), newCacheClean(), newCachePrune(), newCacheVerify(), newCacheExplain())
	return cmd
}

func newCacheDir() *cobra.Command {
	return &cobra.Command{
		Use:     "dir",
		Short:   "print where the cache is",
		Long:    `Print the path of the machine's own cache: $CURD_CACHE, else ~/.curds. It need not be there yet.`,
		Example: `  du -sh "$(curd cache dir)"`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := home()
			if err == nil {
				dir, err = filepath.Abs(dir)
			}
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), dir)
			}
			return err
		},
	}
}

// openCache opens the machine's own cache.
func openCache() (*curds.Curds, error) {
	dir, err := home()
	if err != nil {
		return nil, err
	}
	return curds.Open(dir)
}

func newCacheSize() *cobra.Command {
	var exact bool
	cmd := &cobra.Command{
		Use:   "size",
		Short: "print how large the cache is",
		Long: `Print how many bytes are in the cache, by kind. Unpacked wheels are counted in full, though
the environments that are linked to them take no room besides.`,
		Example: `  curd cache size
  curd cache size --bytes | awk '$1 == "total" {print $2}'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			own, err := openCache()
			if err != nil {
				return err
			}
			usage, err := own.Usage(cmd.Context())
			if err != nil {
				return err
			}
			printUsage(cmd.OutOrStdout(), usage, exact)
			return nil
		},
	}
	cmd.Flags().BoolVar(&exact, "bytes", false, "print bytes, not KiB, MiB and GiB")
	return cmd
}

// things are what the items of a kind are called.
var things = map[curds.Kind]string{
	curds.Files: "file", curds.Trees: "unpacked wheel", curds.Tarballs: "unpacked tarball", curds.Builds: "build",
	curds.Memories: "answer", curds.Logs: "log", curds.Temps: "temporary folder",
}

func printUsage(w io.Writer, usage []curds.Usage, exact bool) {
	amount := size
	if exact {
		amount = func(n int64) string { return strconv.FormatInt(n, 10) }
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var total int64
	for _, u := range usage {
		total += u.Bytes
		fmt.Fprintf(table, "%s\t%s\t%s\n", u.Kind, amount(u.Bytes), count(u.Count, things[u.Kind]))
	}
	fmt.Fprintf(table, "total\t%s\n", amount(total))
	table.Flush()
}

// summary writes "2 files, 1 build (3.4 MiB)".
func summary(usage []curds.Usage) string {
	var parts []string
	var total int64
	for _, u := range usage {
		parts = append(parts, count(u.Count, things[u.Kind]))
		total += u.Bytes
	}
	return fmt.Sprintf("%s (%s)", strings.Join(parts, ", "), size(total))
}

// cleanFlags are those of the commands that take things away.
type cleanFlags struct{ force bool }

func (f *cleanFlags) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.force, "force", false, "do not wait for the runs of curd that use the cache now; they may fail then")
}

func (f *cleanFlags) wait(ui *ui) curds.Wait {
	return curds.Wait{Force: f.force, Notify: func() {
		ui.say("waiting until no other run uses the cache (--force does not wait)")
	}}
}

func newCacheClean() *cobra.Command {
	var f cleanFlags
	cmd := &cobra.Command{
		Use:   "clean [NAME...]",
		Short: "remove everything, or what belongs to projects",
		Long: `Remove everything from the cache or, where projects are named, their files, unpacked
wheels, builds and build logs, of all versions. Environments stay as they are. It waits for the
runs of curd that use the cache now, and they for it.`,
		Example: `  curd cache clean
  curd cache clean flask werkzeug`,
		RunE: func(cmd *cobra.Command, args []string) error {
			names := make([]dist.Name, len(args))
			for i, arg := range args {
				var err error
				if names[i], err = dist.ParseName(arg); err != nil {
					return usageError{err}
				}
			}
			own, err := openCache()
			if err != nil {
				return err
			}
			ui := newUI(cmd.ErrOrStderr(), true)
			removed, err := own.Clean(cmd.Context(), names, f.wait(ui))
			return printCleaned(cmd.OutOrStdout(), removed, err)
		},
	}
	f.register(cmd)
	return cmd
}

func newCachePrune() *cobra.Command {
	var f cleanFlags
	var keep string
	cmd := &cobra.Command{
		Use:   "prune [flags]",
		Short: "remove what is of no use any more",
		Long: `Remove what nobody can use any more: unpacked wheels without their wheel, builds whose wheel
is gone, and what runs that were killed left behind.

With --keep also what was not used for so long. The file system's access times tell that, which
most systems keep to the day; where it keeps none (the mount option noatime), there is a
warning, and what was fetched or built longer ago goes, used or not. It waits for the runs
of curd that use the cache now, and they for it.`,
		Example: `  curd cache prune
  curd cache prune --keep 30d
  curd cache prune --keep 12h`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			age, err := parseAge(keep)
			if err != nil {
				return usageError{fmt.Errorf("--keep %s: %w", keep, err)}
			}
			own, err := openCache()
			if err != nil {
				return err
			}
			ui := newUI(cmd.ErrOrStderr(), true)
			removed, aged, err := own.Prune(cmd.Context(), age, f.wait(ui))
			if age > 0 && !aged && err == nil {
				ui.warn(fmt.Sprintf("the file system of %s keeps no access times: what was fetched or built longer than %s ago is gone, used or not", own.Dir(), keep))
			}
			return printCleaned(cmd.OutOrStdout(), removed, err)
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&keep, "keep", "", "remove also what was not used for this `DURATION`: 30d, 2w, 12h")
	return cmd
}

// parseAge reads a number with a unit of Go's, d or w; "" is 0.
func parseAge(s string) (time.Duration, error) {
	wrong := errors.New("not a duration above zero; write 30d, 2w or 12h")
	if s == "" {
		return 0, nil
	}
	const day = 24 * time.Hour
	unit := map[byte]time.Duration{'d': day, 'w': 7 * day}[s[len(s)-1]]
	if unit == 0 {
		age, err := time.ParseDuration(s)
		if err != nil || age <= 0 {
			return 0, wrong
		}
		return age, nil
	}
	n, err := strconv.Atoi(s[:len(s)-1])
	if err != nil || n <= 0 || n > int(100*365*day/unit) {
		return 0, wrong
	}
	return time.Duration(n) * unit, nil
}

// printCleaned says what was removed.
func printCleaned(w io.Writer, removed []curds.Usage, err error) error {
	if len(removed) > 0 {
		fmt.Fprintf(w, "removed %s\n", summary(removed))
	} else if err == nil {
		fmt.Fprintln(w, "nothing to remove")
	}
	return err
}

func newCacheVerify() *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "read the whole cache and remove what is damaged",
		Long: `Read every file and every unpacked wheel of the cache, hold them against their hashes, and
remove what is damaged; it will be fetched or unpacked again. Damage is most often
a file edited in an environment that is linked to the cache: there 'curd install -f' mends it.

Exit status: 0 all is well, 1 something was damaged.`,
		Example: `  curd cache verify`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			own, err := openCache()
			if err != nil {
				return err
			}
			damaged := 0
			read, err := own.Verify(cmd.Context(), func(d curds.Damage) {
				damaged++
				fmt.Fprintf(cmd.OutOrStdout(), "removed %s: %v\n", d.Path, d.Err)
			})
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "verified %s\n", summary(read))
			if damaged > 0 {
				return fmt.Errorf("damaged and removed: %s of the cache", count(damaged, "part"))
			}
			return nil
		},
	}
}
