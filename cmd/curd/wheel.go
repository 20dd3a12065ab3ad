package main

import (
	"github.com/spf13/cobra"

	"curdling/internal/curd"
)

func newWheel() *cobra.Command {
	var f runFlags
	var dir string
	cmd := &cobra.Command{
		Use:   "wheel [flags] REQUIREMENT...",
		Short: "collect the wheels of packages in a folder, to carry away",
		Long: `Collect the wheels of packages and of all that they need in a folder. What has no wheel for
this machine is built. Nothing is installed. The folder serves any installer:
curd install --no-index --find-links FOLDER, or pip the same.

Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted.`,
		Example: `  curd wheel -w wheelhouse flask
  curd wheel -w wheelhouse -r requirements.txt --only-binary :all:
  curd install --no-index --find-links wheelhouse flask`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, args, func(o curd.Options) error {
				ui := f.open(cmd, &o)
				report, err := curd.Wheels(cmd.Context(), o, dir)
				return f.finish(cmd, ui, report, "collected", err)
			})
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVarP(&dir, "wheel-dir", "w", ".", "the `FOLDER`")
	f.inputFlags.register(flags)
	f.registerSharing(flags)
	f.placeFlags.register(flags)
	f.choiceFlags.register(flags)
	flags.StringVar(&f.python, "python", "", "interpreter or virtualenv that the wheels are for: a `PATH` or a version")
	f.outputFlags.register(flags)
	return cmd
}
