package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"curdling/internal/curd"
	"curdling/internal/requirement"
	"curdling/internal/resolve"
)

// uninstallFlags is the command line of `curd uninstall`.
type uninstallFlags struct {
	python                          string
	files                           []string
	yes, dryRun, breakSystem, quiet bool
}

func newUninstall() *cobra.Command {
	var f uninstallFlags
	cmd := &cobra.Command{
		Use:   "uninstall [flags] PACKAGE...",
		Short: "remove packages",
		Long: `Remove packages from a virtualenv: the one of --python, else the active one
(VIRTUAL_ENV), else .venv here, else that of python3 on PATH.

What a package's RECORD lists goes, with its commands, its bytecode and the folders
that are empty then; what another package lists too stays, and is named. Editable installs
go, their projects stay. Either all the packages go or, after an error, none. A
package without RECORD, such as the system's own ones, is refused. One that is not
installed is a warning.

On a terminal you are asked first; -y answers yes. Elsewhere nobody is asked.

Exit status: 0 done, 1 failed (the environment is as it was), 2 wrong usage, 130 interrupted.`,
		Example: `  curd uninstall flask werkzeug
  curd uninstall -y -r requirements.txt
  curd uninstall --dry-run --python .venv-3.13 flask`,
		RunE: f.run,
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.files, "requirement", "r", nil, "remove what a requirements `FILE` lists; may repeat")
	flags.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	flags.StringVar(&f.python, "python", "", "interpreter or virtualenv to remove from: a `PATH` or a version")
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what would be removed, and change nothing")
	flags.BoolVar(&f.breakSystem, "break-system-packages", false, "remove even from a Python that the system manages")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "say nothing but warnings and errors")
	return cmd
}

func (f *uninstallFlags) run(cmd *cobra.Command, args []string) error {
	ui := newUI(cmd.ErrOrStderr(), f.quiet)
	defer ui.close()
	o, err := readOptions(cmd, &f.python, ui)
	if err != nil {
		return err
	}
	o.BreakSystemPackages, o.DryRun = f.breakSystem, f.dryRun
	if o.Requirements, err = f.wanted(cmd.Context(), args); err != nil {
		return err
	}
	confirm := func(r *curd.Removal) (bool, error) {
		ask := !f.yes && !f.dryRun && isTerminalInput(cmd.InOrStdin())
		if ask || f.dryRun && !f.quiet {
			printRemoval(cmd.OutOrStdout(), r)
		}
		if !ask {
			return true, nil
		}
		return askYes(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr())
	}
	r, err := curd.Uninstall(cmd.Context(), o, confirm)
	switch {
	case err != nil:
		return err
	case len(r.Removed) == 0 || f.dryRun || f.quiet:
	case !r.Done:
		fmt.Fprintln(cmd.OutOrStdout(), "nothing was removed")
	default:
		printRemoved(cmd.OutOrStdout(), r)
	}
	return nil
}

// wanted gives what the arguments and -r files name.
func (f *uninstallFlags) wanted(ctx context.Context, args []string) ([]resolve.Wanted, error) {
	var all []resolve.Wanted
	for _, arg := range args {
		r, err := requirement.Parse(arg)
		if err != nil {
			return nil, usageError{err}
		}
		all = append(all, resolve.Wanted{Requirement: r, Where: "the command line"})
	}
	for _, path := range f.files {
		file, err := requirement.ReadFile(path, opener(ctx, curd.Options{UserAgent: userAgent()}))
		if err != nil {
			return nil, err
		}
		for _, line := range file.Requirements {
			w, err := wanted(line)
			if err != nil {
				return nil, err
			}
			all = append(all, w)
		}
	}
	if len(args)+len(f.files) == 0 {
		return nil, usageError{errors.New("nothing to remove: name a package, or a file with -r")}
	}
	return all, nil
}

// printRemoval says what would go.
func printRemoval(w io.Writer, r *curd.Removal) {
	for _, p := range r.Removed {
		fmt.Fprintf(w, "would remove %s %s:\n", p.Name, p.Version)
		for _, path := range p.Goes {
			fmt.Fprintf(w, "  %s\n", path)
		}
		if len(p.Stays) > 0 {
			fmt.Fprintln(w, "would not remove, since no package lists it:")
		}
		for _, path := range p.Stays {
			fmt.Fprintf(w, "  %s\n", path)
		}
	}
}

func printRemoved(w io.Writer, r *curd.Removal) {
	s := style{colour: isTerminal(w) && os.Getenv("NO_COLOR") == ""}
	for _, p := range r.Removed {
		fmt.Fprintf(w, "%s %s %s\n", s.yellow("-"), p.Name, p.Version)
	}
	fmt.Fprintf(w, "removed %s from %s in %s\n", count(len(r.Removed), "package"), r.Environment, r.Elapsed.Round(time.Millisecond))
}

func isTerminalInput(r io.Reader) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// askYes asks until the answer is one. The end of the input is a no.
func askYes(ctx context.Context, in io.Reader, out io.Writer) (bool, error) {
	answers := make(chan string)
	go func() { // a read of a terminal cannot be interrupted
		defer close(answers)
		for lines := bufio.NewScanner(in); lines.Scan(); {
			answers <- strings.ToLower(strings.TrimSpace(lines.Text()))
		}
	}()
	for {
		fmt.Fprint(out, "Proceed (Y/n)? ")
		select {
		case <-ctx.Done():
			fmt.Fprintln(out)
			return false, ctx.Err()
		case answer, ok := <-answers:
			switch {
			case !ok:
				fmt.Fprintln(out)
				return false, nil
			case answer == "" || answer == "y" || answer == "yes":
				return true, nil
			case answer == "n" || answer == "no":
				return false, nil
			}
		}
	}
}
