package main

import (
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"curdling/internal/config"
	"curdling/internal/curd"
)

// configure gives the flags of a command that are not on its command line what the environment and
// the configuration say. Changed goes on to tell what is on the command line.
func configure(cmd *cobra.Command) (*config.Config, error) {
	c, err := config.Load(config.Options{Command: cmd.Name(), DefaultIndex: defaultIndex})
	if err != nil {
		return nil, err
	}
	if err := os.Unsetenv("CURD_SIGN_KEY"); err != nil { // no program that we start is to see a key
		return nil, err
	}
	return c, c.Apply(cmd.Flags())
}

// home is the folder of the machine's own cache.
func home() (string, error) {
	c, err := config.Load(config.Options{})
	if err != nil {
		return "", err
	}
	return c.CacheDir()
}

// configuredPlaces sets what the configuration says of servers, for a command without those flags.
func configuredPlaces(o *curd.Options) error {
	c, err := config.Load(config.Options{})
	if err != nil {
		return err
	}
	var f placeFlags
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.registerCaches(flags)
	f.register(flags)
	if err := c.Apply(flags); err != nil {
		return err
	}
	return f.places(o)
}
