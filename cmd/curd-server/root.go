package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"curdling/internal/manual"
	"curdling/internal/server"
)

// Set by the build: -ldflags "-X main.version=... -X main.defaultIndex=...".
var (
	version      = "dev"
	defaultIndex = "" // root of the index that --upstream pypi means
)

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a wrong command line.
type usageError struct{ error }

// Main runs the program until it is told to stop, and gives its exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "curd-server: %v\ntry 'curd-server --help'\n", err)
		return exitUsage
	}
	fmt.Fprintf(stderr, "curd-server: %v\n", err)
	return exitFailed
}

// options are the command line.
type options struct {
	directory string // "" is none
	config    string // file with settings; read by configure
	host      string
	port      uint16 // 0 is any free one
	userDB    string // "" lets everybody do everything
	maxUpload byteSize
	debug     bool
	upkeepOptions
	accessOptions
	mirrorOptions
	limitOptions
	watchOptions
	curdsOptions
	bucketOptions
	scopeOptions
}

func newRoot() *cobra.Command {
	o := options{maxUpload: server.DefaultMaxUpload}
	root := &cobra.Command{
		Use:   "curd-server [-h] [-d] [-H HOST] [-p PORT] [-u USER_DB] DIRECTORY | s3://BUCKET[/PREFIX]",
		Short: "share a folder of Python wheels with every machine that can reach it",
		Long: `curd-server shares a folder of Python wheels with every machine that can reach it.

DIRECTORY is a plain folder of wheels and source distributions; it is made where
it is missing. What is dropped into it or removed shows within a second. What the
server derives it keeps in DIRECTORY/.curdling, which may be deleted at any time.

In the place of DIRECTORY there may be s3://BUCKET/PREFIX of an object store, which
any number of servers share: what one of them takes the others have within a second.
None of them keeps anything that matters. Credentials are found where other programs
of S3 find them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the
role of the machine. With --bucket a folder has such a place as its second level.

The page at http://HOST:PORT/ shows what is held and how to point curd, pip, uv
and twine at it. Without --user-db and without tokens everybody who reaches the
server may read and upload; with them, those users and nobody else.

Every option can also be set by a variable (CURD_SERVER_PORT for --port) and in a
file (--config): 'curd-server config' shows what is in force. A folder that is
called like a command is served as ./NAME.`,
		Example: `  # the folder 'wheels' on port 8000 of all interfaces
  curd-server wheels

  # for this machine alone, on a free port
  curd-server -H 127.0.0.1 -p 0 wheels

  # with passwords, made by Apache's htpasswd
  htpasswd -B -c users alice
  curd-server -u users wheels

  # everybody may read, a token may upload
  curd-server token create --user ci --may upload wheels
  curd-server --anonymous-read wheels

  # main for the jobs of main, a scope of its own for each pull request
  curd-server --oidc /etc/curd-server/oidc.toml wheels

  # also what the default index has: fetched once, when it is asked for
  curd-server --upstream pypi --private 'acme-*' wheels

  # any number of servers over one bucket
  curd-server --s3-endpoint https://minio.example:9000 s3://wheels/team

  # a folder, and what it and others copied to a bucket
  curd-server --bucket s3://wheels/team wheels

  # this machine's own cache, for the machines beside it
  curd-server --curds -u users

  # on the other machines
  curd install -c http://alice:PASSWORD@HOST:8000 -u flask
  pip install --index-url http://alice:PASSWORD@HOST:8000/simple/ flask`,
		Version: version,
		Args:    oneDirectory,
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := configure(cmd, args); err != nil {
				return err
			}
			if err := o.chooseCurds(); err != nil {
				return err
			}
			if o.directory == "" {
				return errNoDirectory
			}
			if err := cmp.Or(o.checkBucket(), errors.Join(o.accessOptions.check(), o.scopeOptions.check())); err != nil {
				return err
			}
			return serve(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
		SilenceErrors:         true,
		SilenceUsage:          true,
		DisableFlagsInUseLine: true,
	}
	root.SetVersionTemplate("curd-server {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	flags := root.Flags()
	flags.StringVar(&o.directory, "directory", "", "the `DIRECTORY`, for variables and configuration files")
	_ = flags.MarkHidden("directory")
	flags.StringVar(&o.config, "config", "", "TOML `FILE` of settings, a key for each option here; see 'curd-server config --help'")
	flags.StringVarP(&o.host, "host", "H", "0.0.0.0", "address to listen on, a `HOST` or IP")
	flags.Uint16VarP(&o.port, "port", "p", 8000, "`PORT` to listen on; 0 takes a free one")
	flags.StringVarP(&o.userDB, "user-db", "u", "", "htpasswd file `USER_DB` of those who may read and upload (bcrypt, SHA-crypt, apr1, {SHA}, DES crypt)")
	flags.Var(&o.maxUpload, "max-upload", "largest file that is taken: a `SIZE` like 500MB or 2GiB")
	flags.BoolVarP(&o.debug, "debug", "d", false, "log each request, and more")
	o.upkeepOptions.add(flags)
	o.accessOptions.add(flags)
	o.mirrorOptions.add(flags)
	o.limitOptions.add(flags)
	o.watchOptions.add(flags)
	o.curdsOptions.add(flags)
	o.bucketOptions.add(flags)
	o.scopeOptions.add(flags)
	root.AddCommand(newConfig(root), newHealth(root, &o), manual.Command(func(err error) error { return usageError{err} }), newYank(), newVerify(), newGC(), newToken(), newScopes(), newMigrate())
	return root
}
