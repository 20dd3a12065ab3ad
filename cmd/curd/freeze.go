package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newFreeze() *cobra.Command {
	var s selection
	var all bool
	cmd := &cobra.Command{
		Use:   "freeze [flags]",
		Short: "print what is installed as a requirements file",
		Long: `Print the packages of a virtualenv as the lines of a requirements file that
installs them again: the virtualenv of --python, else the active one (VIRTUAL_ENV),
else .venv here, else that of python3 on PATH.

Order and form are pip's: what came by a URL is given by it, with its hash or commit;
an editable install by its repository and commit where it is a checkout, else by its
folder. Passwords in URLs are left out.`,
		Example: `  curd freeze > requirements.txt
  curd freeze --python .venv-3.13 --exclude-editable
  curd freeze --exclude my-app,my-tools`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ui := newUI(cmd.ErrOrStderr(), false)
			defer ui.close()
			o, err := readOptions(cmd, &s.python, ui)
			if err != nil {
				return err
			}
			env, err := s.open(cmd, o)
			if err != nil {
				return err
			}
			lines, err := env.Freeze(cmd.Context(), all)
			if err != nil {
				return err
			}
			for _, line := range lines {
				fmt.Fprintln(cmd.OutOrStdout(), line)
			}
			return nil
		},
	}
	s.register(cmd.Flags())
	cmd.Flags().BoolVar(&all, "all", false, "do not leave out pip and, below Python 3.12, setuptools, distribute and wheel")
	return cmd
}
