package main

import (
	"github.com/spf13/cobra"

	"curdling/internal/config"
)

// configure gives the flags of a command that are not on its command line what the environment and
// the configuration say. Changed goes on to tell what is on the command line.
func configure(cmd *cobra.Command) (*config.Config, error) {
	c, err := config.Load(config.Options{Command: cmd.Name(), DefaultIndex: defaultIndex})
	if err != nil {
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
