package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"curdling/internal/curd"
)

func newInstall() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "install [flags] REQUIREMENT...",
		Short: "install packages, from the caches where they have them",
		Long: `Install packages into a virtualenv: the one of --python, else the active one
(VIRTUAL_ENV), else .venv here, else that of python3 on PATH.

What is installed and satisfies stays. The rest comes from the cache servers, in
the order of -c; what they lack comes from the index and is built where it has no wheel
for this machine. A version that a cache server holds wins over a newer one of the
index, so that all machines get the same; --upgrade takes the newest of all.

A requirement is a name with versions, a wheel, a source distribution, a project's
folder, or the URL of one of these or of a repository (git+https://...@REVISION).
-r pylock.toml installs just what the lock file has, with every hash checked.

Exit status: 0 done, 1 failed (the environment is as it was), 2 wrong usage, 130 interrupted.`,
		Example: `  curd install flask 'django>=5,<6'
  curd install -c http://cache:8000 -u -r requirements.txt
  CURD_CACHES=http://user:password@cache:8000 curd install flask   (hidden from ps)
  curd install . -e ../lib                     (folders; -e: as they stand)
  curd install --python .venv-3.13 'black[jupyter]'
  curd install 'demo @ git+https://example.org/demo.git@v1.0'
  curd install -r pylock.toml
  curd install --exclude-newer 7d flask        (nothing younger than a week)`,
		RunE: f.install,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	f.inputFlags.register(flags)
	f.registerSharing(flags)
	f.placeFlags.register(flags)
	f.choiceFlags.register(flags)
	f.environmentFlags.register(flags)
	flags.BoolVar(&f.force, "force", false, "install again what is there already")
	flags.StringVar(&f.trace, "trace", "", "write to `FILE` what was done when, for chrome://tracing or ui.perfetto.dev")
	f.outputFlags.register(flags)
	return cmd
}

func (f *runFlags) install(cmd *cobra.Command, args []string) error {
	return f.run(cmd, args, func(o curd.Options) error {
		if f.sync && o.Lock == nil && len(o.Requirements) == 0 {
			return fmt.Errorf("%s: nothing is listed there; curd uninstall removes packages", strings.Join(f.files, ", "))
		}
		ui := f.open(cmd, &o)
		endTrace, err := startTrace(f.trace, &o)
		if err != nil {
			return err
		}
		report, err := curd.Install(cmd.Context(), o)
		return f.finish(cmd, ui, report, "installed", errors.Join(err, endTrace()))
	})
}

// run reads the options, opens the log, and does what the command is for.
func (f *runFlags) run(cmd *cobra.Command, args []string, do func(curd.Options) error) (err error) {
	o, err := f.options(cmd, args)
	if err != nil {
		return err
	}
	log, closeLog, err := f.log.open(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog()) }()
	o.Log = log
	return do(o)
}

// open makes the user interface that a run speaks to.
func (f *runFlags) open(cmd *cobra.Command, o *curd.Options) *ui {
	ui := newUI(cmd.ErrOrStderr(), f.quiet)
	for _, w := range f.warnings {
		ui.warn(w)
	}
	o.Notify = ui.notify
	o.Describe, o.Explain = f.report != "", f.verbose
	return ui
}

// finish says what a run did.
func (f *runFlags) finish(cmd *cobra.Command, ui *ui, report *curd.Report, did string, err error) error {
	ui.close()
	if err != nil {
		return err
	}
	for _, failed := range report.FailedUploads {
		ui.warn(failed.Error())
	}
	if f.report != "" {
		if err := writeReport(f.report, cmd.OutOrStdout(), report); err != nil {
			return err
		}
	}
	if !f.quiet && f.report != "-" {
		printReport(cmd.OutOrStdout(), report, did)
	}
	return nil
}
