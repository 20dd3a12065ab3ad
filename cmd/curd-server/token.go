package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/user"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"curdling/internal/audit"
	"curdling/internal/auth"
	"curdling/internal/livefile"
	"curdling/internal/scope"
	"curdling/internal/store/s3"
)

func newToken() *cobra.Command {
	token := &cobra.Command{
		Use:   "token",
		Short: "create, list and revoke the tokens of API clients",
		Long: `token creates, lists and revokes tokens, which programs use instead of a
password. They are kept, hashed, in DIRECTORY/` + auth.TokensFile + `, or where --token-db says;
a server that runs notices within a second. Those of s3://BUCKET/PREFIX are kept in it
for all servers over it, which notice within three seconds.

A token is the password of the user __token__, or of the user that it was made
for, or follows 'Authorization: Bearer'.`,
		Args: func(cmd *cobra.Command, args []string) error {
			return usageError{errors.New("token create, token list or token revoke")}
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	token.AddCommand(newTokenCreate(), newTokenList(), newTokenRevoke())
	return token
}

func newTokenCreate() *cobra.Command {
	var (
		place   tokenPlace
		t       auth.Token
		may     string
		expires string
	)
	cmd := &cobra.Command{
		Use:   "create --user NAME [--may read|upload] [--project GLOB] [--in SCOPE] [--expires WHEN] DIRECTORY|s3://BUCKET/PREFIX",
		Short: "create a token, and show it this once",
		Example: `  # a token for CI that may upload what is called acme-... for 90 days
  curd-server token create --user ci --may upload --project 'acme-*' --expires 90d wheels

  # what only reads
  curd-server token create --user laptop wheels

  # for the jobs of a pull request: main to read, a scope of its own to upload into
  curd-server token create --user pr-123 --may upload --in pr-123 --expires 7d wheels

  # for all servers over a bucket
  curd-server token create --user ci --may upload s3://wheels/team`,
		Args: oneDirectory,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if t.Scope = auth.Scope(may); t.Scope != auth.ScopeRead && t.Scope != auth.ScopeUpload {
				return usageError{fmt.Errorf("--may %.80q: a token may %s or %s; a scope of trust is named by --in", may, auth.ScopeRead, auth.ScopeUpload)}
			}
			if t.Expires, err = parseExpiry(expires, time.Now()); err != nil {
				return usageError{err}
			}
			if t.User == "" {
				return usageError{errors.New("--user NAME is needed: whose token is it?")}
			}
			if err := place.open(cmd, args); err != nil {
				return err
			}
			defer func() { err = cmp.Or(err, place.close()) }()
			return createToken(cmd.Context(), place, t, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
		DisableFlagsInUseLine: true,
	}
	flags := cmd.Flags()
	flags.StringVar(&t.User, "user", "", "`NAME` that the token stands for; he needs no password")
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "scope" { // as --may was called before there were scopes of trust
			name = "may"
		}
		return pflag.NormalizedName(name)
	})
	flags.StringVar(&may, "may", string(auth.ScopeRead), "`RIGHT`: read, or upload (and read)")
	flags.StringVar(&t.In, "in", "", "`SCOPE` of trust below main, like pr-123: it reads main and that one, and uploads into that one alone (default main)")
	flags.StringSliceVar(&t.Projects, "project", nil, "upload only projects that match `GLOB`, like acme-* (repeatable; default all)")
	flags.StringVar(&expires, "expires", "never", "`WHEN` it ends: after 90d, 12h or 2w, on 2027-03-31 (its last day, UTC), at an RFC 3339 time, or never")
	place.add(flags)
	return cmd
}

func createToken(ctx context.Context, place tokenPlace, t auth.Token, stdout, stderr io.Writer) error {
	if err := place.log.Ready(); err != nil {
		return fmt.Errorf("the audit log cannot be written, and no token was created: %w", err)
	}
	_, _, err := place.kept.Read(ctx, "")
	first := errors.Is(err, fs.ErrNotExist)
	secret, t, err := auth.CreateToken(ctx, place.kept, t)
	if err != nil {
		return fmt.Errorf("no token was created: %w", err)
	}
	if err := errors.Join(noteToken(place.log, "token-create", t), place.log.Close()); err != nil {
		return fmt.Errorf("the token %s was created, and cannot be noted in the audit log: %w; revoke it, or note it yourself", t.ID, err)
	}
	fmt.Fprintf(stderr, "token %s: %s. It is shown this once:\n", t.ID, describe(t))
	fmt.Fprintln(stdout, secret)
	fmt.Fprintf(stderr, "use it as the password of the user __token__: TWINE_USERNAME=__token__, https://__token__:TOKEN@HOST/simple/\n")
	if first {
		fmt.Fprintf(stderr, "note: this is the first token in %s. From now on %s is closed:\n"+
			"without --user-db only tokens let in (--anonymous-read still lets everybody read)\n", place.kept, place.server())
	}
	return nil
}

// tokenPlace is where tokens are kept, and noted.
type tokenPlace struct {
	files   accessFiles
	address bucketAddress

	kept   livefile.Document
	log    *audit.Log
	bucket *s3.Store // nil: it is a folder's
}

func (p *tokenPlace) add(flags *pflag.FlagSet) {
	p.files.add(flags)
	p.address.add(flags)
}

// open opens the place of the command's DIRECTORY, or the server's own.
func (p *tokenPlace) open(cmd *cobra.Command, args []string) error {
	directory, err := placeOf(cmd, args, "token-db", "audit-log", "s3-endpoint", "s3-region")
	if err != nil {
		return err
	}
	p.log = p.files.auditLog(directory)
	if !isBucket(directory) {
		p.kept = livefile.Path(p.files.tokensPath(directory))
		return nil
	}
	if p.bucket, err = s3.Open(cmd.Context(), directory, p.address.options()); err != nil {
		return err
	}
	p.log.Share(p.bucket, newServerName())
	p.kept = tokensIn(p.bucket)
	if p.files.tokens != "" {
		p.kept = livefile.Path(p.files.tokens)
	}
	return nil
}

func (p *tokenPlace) close() error {
	err := p.log.Close()
	if p.bucket != nil {
		p.bucket.Close()
	}
	return err
}

// server names whoever heeds the tokens.
func (p *tokenPlace) server() string {
	if p.bucket != nil {
		return "each server over this bucket"
	}
	return "a server of this folder"
}

// describe tells what a token is good for.
func describe(t auth.Token) string {
	what := t.User + " may read"
	if t.Scope == auth.ScopeUpload {
		what += " and upload " + projects(t)
	}
	if t.In != "" {
		what += " in the scope " + t.In
	}
	if t.Expires.IsZero() {
		return what + ", without an end"
	}
	return what + " until " + t.Expires.Format(time.RFC3339)
}

func projects(t auth.Token) string {
	if len(t.Projects) == 0 {
		return "all projects"
	}
	return strings.Join(t.Projects, ", ")
}

func newTokenList() *cobra.Command {
	var place tokenPlace
	cmd := &cobra.Command{
		Use:   "list DIRECTORY|s3://BUCKET/PREFIX",
		Short: "list the tokens",
		Args:  oneDirectory,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := place.open(cmd, args); err != nil {
				return err
			}
			defer func() { err = cmp.Or(err, place.close()) }()
			tokens, err := auth.ReadTokens(cmd.Context(), place.kept)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			if len(tokens) == 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), "there are no tokens")
				return nil
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tUSER\tMAY\tPROJECTS\tSCOPE\tCREATED\tEXPIRES")
			for _, t := range tokens {
				ends, what := "never", "-"
				if !t.Expires.IsZero() {
					ends = t.Expires.Format(time.RFC3339)
				}
				if t.Expired(time.Now()) {
					ends += " (over)"
				}
				if t.Scope == auth.ScopeUpload {
					what = projects(t)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.User, t.Scope, what, cmp.Or(t.In, scope.Main), t.Created.Format(time.RFC3339), ends)
			}
			return w.Flush()
		},
		DisableFlagsInUseLine: true,
	}
	place.add(cmd.Flags())
	return cmd
}

func newTokenRevoke() *cobra.Command {
	var place tokenPlace
	cmd := &cobra.Command{
		Use:   "revoke DIRECTORY|s3://BUCKET/PREFIX ID...",
		Short: "revoke tokens: they are good for nothing within a second",
		Long: `revoke has tokens be good for nothing within a second, with s3://BUCKET/PREFIX within
three. A server that cannot read them there goes on with what it knows for a
quarter of an hour; then it lets nobody in by a token until it can.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usageError{errors.New("the DIRECTORY and an ID, as token list shows it, are needed")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			ids := args[1:]
			if err := place.open(cmd, args[:1]); err != nil {
				return err
			}
			defer func() { err = cmp.Or(err, place.close()) }()
			if _, _, err := place.kept.Read(cmd.Context(), ""); err != nil { // and no lock is left beside it
				return fmt.Errorf("there is no file of tokens: %w", err)
			}
			revoked, left, err := auth.RevokeTokens(cmd.Context(), place.kept, ids...)
			if err != nil {
				return err
			}
			for _, t := range revoked {
				fmt.Fprintf(cmd.OutOrStdout(), "revoked %s: %s\n", t.ID, describe(t))
				err = errors.Join(err, noteToken(place.log, "token-revoke", t))
			}
			if left == 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "note: no token is left; %s stays closed: to open it to everybody, remove %s and start it again\n", place.server(), place.kept)
			}
			if err = errors.Join(err, place.log.Close()); err != nil {
				return fmt.Errorf("revoked, and cannot be noted in the audit log: %w", err)
			}
			return nil
		},
		DisableFlagsInUseLine: true,
	}
	place.add(cmd.Flags())
	return cmd
}

// noteToken writes to the audit log what was done to a token on this machine.
func noteToken(log *audit.Log, action string, t auth.Token) error {
	return log.Write(audit.Entry{Action: action, User: systemUser(), Token: t.ID, Remote: "local", Detail: describe(t)})
}

func systemUser() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
}

// parseExpiry reads when a token ends; never is the zero time.
func parseExpiry(s string, now time.Time) (time.Time, error) {
	var t time.Time
	switch day, err := time.Parse(time.DateOnly, s); {
	case s == "never":
		return time.Time{}, nil
	case err == nil:
		t = day.AddDate(0, 0, 1)
	default:
		if t, err = time.Parse(time.RFC3339, s); err != nil {
			if t, err = after(s, now); err != nil {
				return time.Time{}, err
			}
		}
	}
	if !t.After(now) {
		return time.Time{}, fmt.Errorf("--expires %s: that is over", s)
	}
	return t.UTC().Truncate(time.Second), nil
}

// after adds a span like 90d.
func after(s string, now time.Time) (time.Time, error) {
	units := map[string]time.Duration{"m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}
	digits := strings.TrimRight(s, "mhdw")
	n, err := strconv.ParseInt(digits, 10, 64)
	unit, known := units[s[len(digits):]]
	if err != nil || !known || n <= 0 || n > int64(math.MaxInt64/unit)/2 {
		return time.Time{}, fmt.Errorf("--expires %q: write a span (12h, 90d, 2w), a day (2027-03-31), an RFC 3339 time, or never", s)
	}
	return now.Add(time.Duration(n) * unit), nil
}
