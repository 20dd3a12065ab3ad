package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"curdling/internal/audit"
	"curdling/internal/auth"
	"curdling/internal/catalog"
	"curdling/internal/oidc"
	"curdling/internal/server"
	"curdling/internal/store/disk"
)

// scopeOptions say who is bound to a scope below main, and what becomes of these.
type scopeOptions struct {
	oidc         string        // file of rules; "" takes no ID token
	scopeKeep    time.Duration // 0 is for ever
	scopeMaxSize byteSize      // 0 is no bound
}

func (o *scopeOptions) add(flags *pflag.FlagSet) {
	flags.StringVar(&o.oidc, "oidc", "", "TOML `FILE` of CI systems whose ID tokens let their jobs in, and of what each job may do and in which scope; read again when it changes")
	flags.DurationVar(&o.scopeKeep, "scope-keep", 30*24*time.Hour, "remove a scope below main when no file came into it for `DURATION`; 0 keeps all")
	flags.Var(&o.scopeMaxSize, "scope-max-size", "each scope below main holds at most a `SIZE` like 5GB (default no bound)")
}

func (o *scopeOptions) check() error {
	if o.scopeKeep < 0 {
		return usageError{fmt.Errorf("--scope-keep %v: must be 0 or more", o.scopeKeep)}
	}
	return nil
}

// issuers has a policy take ID tokens.
func (o *scopeOptions) issuers(policy *auth.Policy, log *slog.Logger) (err error) {
	if o.oidc == "" {
		return nil
	}
	if policy.CI, err = oidc.Open(o.oidc, log); err != nil {
		return fmt.Errorf("--oidc: %w", err)
	}
	return nil
}

// scopes are those below main, in main's folder or bucket; nil where there can be none.
func (o *options) scopes(main *catalog.View, in holding, notes *audit.Log, log *slog.Logger) *catalog.Scopes {
	if in.folder == nil && in.fleet == nil {
		return nil
	}
	c := catalog.ScopesConfig{
		Main: main, Folder: in.folder, Log: log, MaxSize: int64(o.scopeMaxSize), Keep: o.scopeKeep, Sweep: o.sweep,
		Removed: noteRemovals(notes, "", log),
	}
	if in.fleet != nil {
		c.Place, c.Turn = in.scopes, in.fleet.turn.Mine
		if c.Sweep > 0 {
			c.Sweep = max(c.Sweep, time.Hour) // each is a listing of all of them
		}
	}
	return catalog.NewScopes(c)
}

func newScopes() *cobra.Command {
	var remove []string
	var flags placeFlags
	c := &cobra.Command{
		Use:   "scopes [--remove NAME] DIRECTORY|s3://BUCKET/PREFIX",
		Short: "list the scopes below main, or remove some",
		Long: `scopes lists the scopes below main: what lies in each, and when a file last came.
Who is bound to a scope (token create --in, --oidc) reads main and his own scope,
and uploads into his own. A scope is a folder, DIRECTORY/` + disk.ScopesDir + `/NAME, that is
made by the first upload and laid out like DIRECTORY itself, so that verify, gc
and yank take it for DIRECTORY; over a bucket it is s3://BUCKET/PREFIX/scopes/NAME.

With --remove it removes scopes with all their files. A server may run
meanwhile; it removes those by itself into which no file came for --scope-keep.`,
		Example: `  curd-server scopes wheels
  curd-server scopes --remove pr-123 wheels
  curd-server verify wheels/` + disk.ScopesDir + `/pr-123`,
		Args: oneDirectory,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			p, err := flags.open(cmd, args)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, p.close()) }()
			if remove == nil {
				return listScopes(cmd.Context(), p.scopes(), cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			return removeScopes(cmd.Context(), p.scopes(), remove, p.notes, cmd.OutOrStdout())
		},
		DisableFlagsInUseLine: true,
	}
	c.Flags().StringSliceVar(&remove, "remove", nil, "remove the scope `NAME` and all its files (repeatable)")
	flags.add(c.Flags())
	return c
}

func listScopes(ctx context.Context, scopes catalog.ScopePlace, stdout, stderr io.Writer) error {
	all, err := scopes.Scopes(ctx)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		fmt.Fprintln(stderr, "there are no scopes below main")
		return nil
	}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SCOPE\tFILES\tSIZE\tLAST UPLOAD")
	for _, x := range all {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", x.Name, x.Files, server.Size(x.Bytes), x.Changed.UTC().Format(time.RFC3339))
	}
	return w.Flush()
}

func removeScopes(ctx context.Context, scopes catalog.ScopePlace, names []string, log *audit.Log, stdout io.Writer) error {
	if err := log.Ready(); err != nil {
		return fmt.Errorf("the audit log cannot be written, and nothing was removed: %w", err)
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, err := scopes.RemoveScope(ctx, name, time.Time{}); err != nil {
			return fmt.Errorf("the scope %s cannot be removed: %w", name, err)
		}
		fmt.Fprintf(stdout, "removed %s\n", name)
		if err := log.Write(audit.Entry{Action: "scope-remove", User: systemUser(), Scope: name, Remote: "local"}); err != nil {
			return fmt.Errorf("the scope %s was removed, and cannot be noted in the audit log: %w", name, err)
		}
	}
	return nil
}
