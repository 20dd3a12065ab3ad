package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"curdling/internal/config"
)

// layers are where settings come from that are not on the command line.
func layers() config.Layers {
	return config.Layers{Program: "curd-server", Prefix: "CURD_SERVER_", Environ: os.Environ()}
}

// configure gives the flags of a command that are not on its command line what
// variables and the configuration file say, and takes DIRECTORY from its
// arguments. It tells where flags that were set so have their values from.
func configure(cmd *cobra.Command, args []string) (origins map[string]string, err error) {
	flags := cmd.Flags()
	for _, directory := range args {
		if err := flags.Set("directory", directory); err != nil {
			return nil, usageError{err}
		}
	}
	return layers().Apply(flags, cmd.Root().Flags())
}

// placeOf gives the DIRECTORY or s3://BUCKET/PREFIX of a command that works on what a server serves:
// its argument, else the server's own. The command's flags that are named mean the
// same as the server's, and are set as these are.
func placeOf(cmd *cobra.Command, args []string, same ...string) (string, error) {
	flags := pflag.NewFlagSet(cmd.Name(), pflag.ContinueOnError)
	directory := flags.String("directory", "", "")
	for _, name := range same {
		flags.AddFlag(cmd.Flags().Lookup(name))
	}
	if _, err := layers().Apply(flags, cmd.Root().Flags()); err != nil {
		return "", err
	}
	if len(args) == 1 {
		*directory = args[0]
	}
	if *directory == "" {
		return "", errNoDirectory
	}
	if isCurds(*directory) {
		return "", usageError{fmt.Errorf("%s is a machine's own cache, which curd looks after: see curd cache --help", *directory)}
	}
	return *directory, nil
}

var errNoDirectory = usageError{errors.New("one DIRECTORY is needed, not 0")}

// oneDirectory refuses more arguments than DIRECTORY.
func oneDirectory(_ *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError{fmt.Errorf("one DIRECTORY is needed, not %d", len(args))}
	}
	return nil
}

func newConfig(root *cobra.Command) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "config [flags] [DIRECTORY]",
		Short: "print every setting with where it comes from",
		Long: `Print every setting with where it comes from, under the flags that are given. What
the command line does not say comes from

  1. the environment: CURD_SERVER_ and the flag's name in capitals, with _ for -;
     what may be repeated is parted by commas, or by newlines where there are any
  2. the file that --config or CURD_SERVER_CONFIG names, in TOML: a key for each
     flag, an array for what may be repeated

The nearer replaces the farther, setting by setting. Paths are relative to the
folder that the server is started in.

  directory = "/srv/wheels"
  port = 8080
  user-db = "/etc/curd-server/users"
  max-upload = "500MB"

Passwords in URLs and other secrets are shown as ****.`,
		Example: `  curd-server config
  curd-server config --config /etc/curd-server.toml --format json
  CURD_SERVER_PORT=8080 curd-server config wheels`,
		Args: oneDirectory,
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != "text" && format != "json" {
				return usageError{fmt.Errorf("--format %s: the formats are text and json", format)}
			}
			origins, err := configure(cmd, args)
			if err != nil {
				return err
			}
			settings := layers().Show(root.Flags(), origins)
			if format == "json" {
				return config.PrintJSON(cmd.OutOrStdout(), settings)
			}
			return config.Print(cmd.OutOrStdout(), settings)
		},
		DisableFlagsInUseLine: true,
	}
	cmd.Flags().AddFlagSet(root.Flags())
	cmd.Flags().StringVar(&format, "format", "text", "`FORM` of what is printed: text or json")
	return cmd
}
