package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"curdling/internal/curd"
)

func newCheck() *cobra.Command {
	var python string
	cmd := &cobra.Command{
		Use:   "check [flags]",
		Short: "verify that the installed packages fit together",
		Long: `Verify a virtualenv: the one of --python, else the active one (VIRTUAL_ENV),
else .venv here, else that of python3 on PATH.

A line is printed, in pip's words, for each requirement of an installed package that is
missing or there in a wrong version, and for each package that does not support this
platform. Besides what pip looks at: the extras that packages require of one another,
the Python version that a package requires, and packages that are installed twice.

Exit status: 0 all fits, 1 it does not, 2 wrong usage.`,
		Example: `  curd check
  curd check --python .venv-3.13 || curd install --python .venv-3.13 -r requirements.txt`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ui := newUI(cmd.ErrOrStderr(), false)
			defer ui.close()
			o, err := readOptions(cmd, &python, ui)
			if err != nil {
				return err
			}
			env, err := curd.OpenEnvironment(cmd.Context(), o)
			if err != nil {
				return err
			}
			problems, ok := env.Check()
			for _, p := range problems {
				fmt.Fprintln(cmd.OutOrStdout(), p)
			}
			if !ok {
				return fmt.Errorf("%s is not sound", env.Python.Prefix)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "No broken requirements found.")
			return nil
		},
	}
	registerPython(cmd.Flags(), &python)
	return cmd
}
