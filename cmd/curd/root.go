package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"curdling/internal/curd"
	"curdling/internal/manual"
)

// Set by the build: -ldflags "-X main.version=... -X main.defaultIndex=...".
var (
	version      = "dev"
	defaultIndex = "" // root of the index that is asked where none is named
)

// Exit codes.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

// usageError is a wrong command line.
type usageError struct{ error }

// Main runs the program and gives its exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	findHome()
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "curd: interrupted; nothing was left half-done")
		return exitInterrupted
	case errors.As(err, &usage), cmd == root: // root itself fails only where there is no such command
		fmt.Fprintf(stderr, "curd: %v\ntry '%s --help'\n", err, cmd.CommandPath())
		return exitUsage
	}
	failures := curd.Failures{err}
	errors.As(err, &failures)
	for _, e := range failures {
		fmt.Fprintf(stderr, "curd: %s\n", strings.ReplaceAll(e.Error(), "\n", "\n  "))
	}
	return exitFailed
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "curd",
		Short: "install Python packages from a cache of wheels that all your machines share",
		Long: `curd installs Python packages. What a cache server (curd-server) holds comes from
there; what it lacks comes from the index, is built to a wheel, and with -u is
uploaded, so that the first machine warms the cache for all the others.`,
		Example: `  curd install flask
  curd install -c http://user:password@cache:8000 -u -r requirements.txt`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("curd {{.Version}}\n")
	root.SetGlobalNormalizationFunc(understandAliases)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newInstall())
	root.AddCommand(newSync())
	root.AddCommand(newLock())
	root.AddCommand(newWheel())
	root.AddCommand(newUninstall())
	root.AddCommand(newFreeze())
	root.AddCommand(newList())
	root.AddCommand(newCheck())
	root.AddCommand(newCache())
	root.AddCommand(newUpload())
	root.AddCommand(newKey())
	root.AddCommand(newConfig())
	root.AddCommand(manual.Command(func(err error) error { return usageError{err} }))
	return root
}

// findHome sets HOME where a service manager or a container left it out, for us and for the programs that we start.
func findHome() {
	if _, err := os.UserHomeDir(); err == nil {
		return
	}
	if me, err := user.Current(); err == nil && filepath.IsAbs(me.HomeDir) {
		_ = os.Setenv("HOME", me.HomeDir) // else there is none, which whoever needs it says
	}
}

// userAgent names us to servers.
func userAgent() string { return "curd/" + version }
