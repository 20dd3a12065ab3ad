package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"curdling/internal/audit"
	"curdling/internal/catalog"
	"curdling/internal/migrate"
	"curdling/internal/server"
	"curdling/internal/store/s3"
)

// migrateOptions are the command line of migrate.
type migrateOptions struct {
	dryRun bool
	jobs   int
	bucketAddress
	files accessFiles
}

func newMigrate() *cobra.Command {
	var o migrateOptions
	c := &cobra.Command{
		Use:   "migrate [--dry-run] [--jobs N] FROM TO",
		Short: "copy all that a server holds into another folder or bucket",
		Long: `migrate copies all that is held in FROM and not in TO, each of them a folder or
s3://BUCKET/PREFIX: files with when they were published, by whom, and what they were
built from, what is yanked, statuses, attestations, tokens, which names are an upstream's,
scopes below main.
Nothing in FROM is changed, and nothing that is in TO already. Not copied are what can be
made again, builds under way, statistics and the audit log.

Servers may go on with both meanwhile. Stop it whenever you like: nothing is there by
half, and the same command goes on where it was. What is in TO with the same hash it
passes over without reading it, so that a second run is quick. What lies in TO under the
same name with other bytes stays, and is named.

Each file is hashed while it is copied. At the end TO is listed anew and held against
FROM. The exit code is 0 if TO has all that FROM has then, with the same hashes; else 1,
be it that something was left, or that something came to FROM while it was copied.

To move a team from a folder to a bucket without an hour in which nothing works:

  1. curd-server migrate wheels s3://acme/wheels      hours, if need be
  2. start servers over the bucket, and try them
  3. curd-server migrate wheels s3://acme/wheels      minutes: what came since
  4. point the name of the cache (DNS, load balancer) at the new servers
  5. when nobody asks the old server any more, stop it, and migrate once more:
     what was uploaded to it until then

The way back is the same with FROM and TO exchanged. Users, rules of --oidc and settings
are files of yours: give them to the new servers.`,
		Example: `  curd-server migrate --dry-run wheels s3://acme/wheels
  curd-server migrate wheels s3://acme/wheels
  curd-server migrate --s3-endpoint http://10.0.0.7:9000 s3://acme/wheels wheels`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError{fmt.Errorf("FROM and TO are needed: two places, not %d", len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			flags := pflag.NewFlagSet(cmd.Name(), pflag.ContinueOnError)
			for _, name := range []string{"s3-endpoint", "s3-region", "audit-log"} { // the server's own
				flags.AddFlag(cmd.Flags().Lookup(name))
			}
			if _, err := layers().Apply(flags, cmd.Root().Flags()); err != nil {
				return err
			}
			return runMigrate(cmd.Context(), args[0], args[1], o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
		DisableFlagsInUseLine: true,
	}
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "only say what would be copied")
	c.Flags().IntVarP(&o.jobs, "jobs", "j", 8, "copy `N` files at once")
	o.add(c.Flags())
	o.files.addAudit(c.Flags())
	return c
}

func runMigrate(ctx context.Context, from, to string, o migrateOptions, stdout, stderr io.Writer) error {
	if o.jobs < 1 {
		return usageError{fmt.Errorf("--jobs %d: must be 1 or more", o.jobs)}
	}
	if samePlace(from, to) {
		return usageError{fmt.Errorf("FROM and TO are the same: %s", from)}
	}
	if _, err := os.Stat(from); err != nil && !isBucket(from) {
		return fmt.Errorf("%s cannot be opened: %w", from, err)
	}
	temp, err := os.MkdirTemp("", "curd-migrate-")
	if err != nil {
		return fmt.Errorf("there is no place for files on their way: %w; TMPDIR names a folder that can be written to", err)
	}
	defer os.RemoveAll(temp)
	log := o.files.auditLog(to)
	var places [2]migrate.Place
	for i, name := range []string{from, to} {
		if !isBucket(name) {
			if isCurds(name) {
				return usageError{fmt.Errorf("%s is a machine's own cache, which curd looks after", name)}
			}
			places[i] = migrate.Folder(name)
			continue
		}
		in, err := s3.Open(ctx, name, o.options())
		if err != nil {
			return err
		}
		defer in.Close()
		if name == to {
			log.Share(in, newServerName())
		}
		places[i] = migrate.Bucket(in, temp)
	}
	show := &migration{stdout: stdout, stderr: stderr}
	defer show.close()
	n, err := migrate.Run(ctx, places[0], places[1], show.tell("copying", o))
	show.close()
	if n.Files > 0 && !o.dryRun {
		entry := audit.Entry{Action: "migrate", User: systemUser(), Remote: "local", Detail: told(n) + " from " + from}
		if noted := errors.Join(log.Write(entry), log.Close()); noted != nil {
			return fmt.Errorf("copied %s, and that cannot be noted in the audit log: %w", told(n), errors.Join(noted, err))
		}
	}
	if ctx.Err() != nil {
		return errors.New("stopped; nothing is there by half, and the same command goes on from here")
	}
	if err != nil {
		return fmt.Errorf("%w; the same command goes on from here", err)
	}
	verb := "copied"
	if o.dryRun {
		verb = "would copy"
	}
	fmt.Fprintf(stdout, "%s %s; %d files were there\n", verb, told(n), n.Held)
	if o.dryRun {
		return nil
	}
	return verifyMigrated(ctx, places, n.Left, o, show, to, stdout)
}

// verifyMigrated opens both places anew and holds one against the other.
func verifyMigrated(ctx context.Context, places [2]migrate.Place, left int, o migrateOptions, show *migration, to string, stdout io.Writer) error {
	check := show.tell("verifying", o)
	check.DryRun, check.Left = true, nil
	v, err := migrate.Run(ctx, places[0], places[1], check)
	show.close()
	if err != nil {
		return fmt.Errorf("what was copied cannot be verified: %w", err)
	}
	fmt.Fprintf(stdout, "verified: %d files are in %s with the same hash\n", v.Held, to)
	var lacking error
	if v.Files+v.Beside+v.Names+v.Evidence > 0 || v.Tokens {
		lacking = fmt.Errorf("%s lacks %s: it came meanwhile, or was left; the same command takes what came", to, told(v))
	}
	if left = max(left, v.Left); left > 0 {
		return errors.Join(fmt.Errorf("%d were left as they are, named above", left), lacking)
	}
	return lacking
}

// told says what was copied.
func told(n migrate.Migrated) string {
	what := fmt.Sprintf("%d files (%s)", n.Files, server.Size(n.Bytes))
	if n.Beside > 0 {
		what += fmt.Sprintf(", %d small ones beside them", n.Beside)
	}
	if n.Tokens {
		what += ", the tokens"
	}
	if n.Names > 0 {
		what += fmt.Sprintf(", %d names that are an upstream's", n.Names)
	}
	if n.Evidence > 0 {
		what += fmt.Sprintf(", %d files of other builds of the same", n.Evidence)
	}
	return what
}

// samePlace tells whether two names are of the same place.
func samePlace(a, b string) bool {
	if isBucket(a) || isBucket(b) {
		return strings.Trim(a, "/") == strings.Trim(b, "/")
	}
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other) || filepath.Clean(a) == filepath.Clean(b)
}

// migration shows how far a migration is: by a bar on a terminal, else it says only what somebody must know.
type migration struct {
	stdout, stderr io.Writer
	bars           *mpb.Progress // nil: no terminal
	bar            *mpb.Bar
	copied         atomic.Pointer[catalog.Copied]
	where          atomic.Pointer[string]
}

// tell has Run tell of what it does, which a verb says.
func (m *migration) tell(verb string, o migrateOptions) migrate.Options {
	m.where.Store(&verb)
	m.copied.Store(new(catalog.Copied))
	if f, ok := m.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		m.bars = mpb.New(mpb.WithOutput(m.stderr), mpb.WithWidth(40), mpb.WithRefreshRate(100*time.Millisecond))
		m.bar = m.bars.New(0, mpb.BarStyle(), mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return *m.where.Load() + " " })), mpb.AppendDecorators(decor.Any(m.sum)))
	}
	return migrate.Options{
		CopyOptions: catalog.CopyOptions{
			DryRun: o.dryRun, Parallel: o.jobs,
			Left: func(key string, why error) { m.say(m.stdout, "left: %s: %v\n", key, why) },
			Retry: func(err error, in time.Duration) {
				m.say(m.stderr, "curd-server: %v; again in %v\n", err, in.Round(time.Second))
			},
			Progress: m.progress,
		},
		Scope: func(name string) {
			in := verb + " " + name
			m.where.Store(&in)
		},
		Log: slog.New(slog.NewTextHandler(writer(func(p []byte) { m.say(m.stderr, "%s", p) }), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
}

func (m *migration) progress(n catalog.Copied) {
	if m.bar != nil {
		m.copied.Store(&n)
		m.bar.SetTotal(int64(n.Of), false)
		m.bar.SetCurrent(int64(n.Projects))
	}
}

func (m *migration) sum(decor.Statistics) string {
	n := m.copied.Load()
	return fmt.Sprintf(" %d/%d projects  %d files, %s  (%d were there)", n.Projects, n.Of, n.Files, server.Size(n.Bytes), n.Held)
}

// say says something above the bar, where there is one.
func (m *migration) say(w io.Writer, format string, args ...any) {
	if m.bars != nil {
		w = m.bars
	}
	fmt.Fprintf(w, format, args...)
}

// close ends the bar.
func (m *migration) close() {
	if m.bars == nil {
		return
	}
	m.bar.Abort(true)
	m.bars.Wait()
	m.bars, m.bar = nil, nil
}

// writer is a function as an [io.Writer].
type writer func([]byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}
