package main

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"curdling/internal/curd"
	"curdling/internal/index"
)

func newUpload() *cobra.Command {
	var log logFlags
	var quiet bool
	var signKey string
	cmd := &cobra.Command{
		Use:   "upload [flags] URL FILE|DIR...",
		Short: "upload wheels and source distributions to a cache server",
		Long: `Upload wheels and source distributions to a cache server: files, and those that lie in
folders. A file that the server holds already is no error; other bytes under a name that it holds are
refused, as is what is not what its name says. With a wheel that was built go its record and
signature, where they lie beside it (curd wheel puts them there); --sign-key signs the record first: that
this build is to be used by all who trust the key.

Credentials come from the URL, from netrc or, out of the sight of ps, from CURD_CACHES or a curd.toml
that names the same server among its caches.

Exit status: 0 the server has all files, 1 it has not, 2 wrong usage, 130 interrupted.`,
		Example: `  curd upload http://cache:8000 dist/
  curd upload http://cache:8000 wheelhouse/*.whl
  CURD_CACHES=http://user:password@cache:8000 curd upload http://cache:8000 dist/app-1.0.tar.gz`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usageError{errors.New("name the URL of a cache server, and files or folders to upload")}
			}
			return checkURL(args[0])
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			o := curd.Options{UserAgent: userAgent()}
			var closeLog func() error
			if o.Log, closeLog, err = log.open(cmd.ErrOrStderr()); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, closeLog()) }()
			if _, err := configure(cmd); err != nil {
				return err
			}
			if o.Signer, err = readSigner(cmd, signKey); err != nil {
				return err
			}
			return upload(cmd, o, args[0], args[1:], quiet)
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "say nothing but errors")
	registerSignKey(cmd.Flags(), &signKey)
	log.register(cmd.Flags())
	return cmd
}

func upload(cmd *cobra.Command, o curd.Options, server string, paths []string, quiet bool) error {
	files, err := curd.Distributions(paths)
	if err != nil {
		return err
	}
	if err := configuredPlaces(&o); err != nil {
		return err
	}
	ui := newUI(cmd.ErrOrStderr(), quiet)
	if ui.bars != nil {
		o.Notify = ui.notify
	}
	sent, err := curd.Upload(cmd.Context(), o, withCredentials(server, o.Caches), files)
	ui.close()
	var failed curd.Failures
	created, there := 0, 0
	for _, s := range sent {
		name := filepath.Base(s.Path)
		said := "uploaded"
		switch {
		case s.Err != nil:
			failed = append(failed, fmt.Errorf("%s was refused: %w", name, s.Err))
			continue
		case s.Created:
			created++
		default:
			there++
			said = "already there"
		}
		if !quiet {
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", said, name)
		}
	}
	if err != nil {
		failed = append(failed, err)
		if left := len(files) - len(sent); left > 1 {
			failed = append(failed, fmt.Errorf("%s were not sent", count(left, "file")))
		}
	}
	if !quiet {
		fmt.Fprintf(cmd.OutOrStdout(), "uploaded %s to %s, %d already there, %d failed\n",
			count(created, "file"), index.Redact(server), there, len(files)-created-there)
	}
	if failed != nil {
		return failed
	}
	return nil
}

// withCredentials gives the URL of the server as the configured caches have it, where the given one says nothing of who we are.
func withCredentials(server string, caches []string) string {
	if u, err := url.Parse(server); err != nil || u.User != nil {
		return server
	}
	root := func(u string) string { return strings.TrimSuffix(index.Redact(u), "/") }
	for _, known := range caches {
		if root(known) == root(server) {
			return known
		}
	}
	return server
}
