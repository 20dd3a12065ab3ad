package main

import (
	"errors"

	"github.com/spf13/cobra"
)

func newSync() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "sync [flags] FILE...",
		Short: "bring an environment to just what a lock or requirements file says",
		Long: `Bring a virtualenv to just what a lock file (pylock.toml) has, or what requirements
files list and that needs: what is missing is installed, what differs is replaced, what is not in it is
removed. pip, setuptools and wheel stay, unless the file has others.

Exit status: 0 done, 1 failed (the environment is as it was), 2 wrong usage, 130 interrupted.`,
		Example: `  curd sync pylock.toml
  curd sync --dry-run requirements.txt
  curd sync -c http://cache:8000 --python .venv pylock.toml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("name a lock file or a requirements file")}
			}
			f.files, f.sync = args, true
			return f.install(cmd, nil)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	f.registerParts(flags)
	f.registerConstraints(flags)
	f.registerSharing(flags)
	f.placeFlags.register(flags)
	f.choiceFlags.register(flags)
	f.environmentFlags.register(flags)
	f.outputFlags.register(flags)
	return cmd
}
