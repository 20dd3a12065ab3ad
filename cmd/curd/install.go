package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"curdling/internal/curd"
	"curdling/internal/dist"
)

// installFlags is the command line of `curd install`, as it was given.
type installFlags struct {
	caches, indexes, files      []string
	editable, groups            []string
	constraints                 []string
	private, noBinary, onlyBin  []string
	python                      string
	upload, upgrade, force, pre bool
	dryRun, breakSystem, quiet  bool
	hashes                      bool
	log                         logFlags
}

func newInstall() *cobra.Command {
	var f installFlags
	cmd := &cobra.Command{
		Use:   "install [flags] REQUIREMENT...",
		Short: "install packages, from the caches where they have them",
		Long: `Install packages into a virtualenv: the one of --python, else the active one
(VIRTUAL_ENV), else .venv here, else that of python3 on PATH.

What is installed and satisfies stays. The rest comes from the cache servers, in
the order of -c; what they lack comes from the index and is built where it has no wheel
for this machine. A version that a cache server holds wins over a newer one of the
index, so that all machines get the same; --upgrade takes the newest of all.

Exit status: 0 done, 1 failed (the environment is as it was), 2 wrong usage, 130 interrupted.`,
		Example: `  curd install flask 'django>=5,<6'
  curd install -c http://cache:8000 -u -r requirements.txt
  CURD_CACHES=http://user:password@cache:8000 curd install flask   (hidden from ps)
  curd install . -e ../lib                     (folders; -e: as they stand)
  curd install --python .venv-3.13 'black[jupyter]'
  curd install 'demo @ https://example.org/demo-1.0-py3-none-any.whl'`,
		RunE: f.run,
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.caches, "cache", "c", nil, "`URL` of a cache server; may repeat (default $CURD_CACHES)")
	flags.StringArrayVarP(&f.indexes, "index", "i", nil, "`URL` of an index, in the place of the default one; may repeat\n(default $CURD_INDEX_URL, else pip's own setting)")
	flags.StringArrayVarP(&f.files, "requirement", "r", nil, "install what a requirements `FILE` lists, or a pyproject.toml requires; may repeat")
	flags.StringArrayVar(&f.constraints, "constraint", nil, "keep what is needed to the versions that `FILE` lists; may repeat")
	flags.StringArrayVar(&f.groups, "group", nil, "install dependency group `NAME` of the pyproject.toml here; may repeat")
	flags.StringArrayVarP(&f.editable, "editable", "e", nil, "install a project's `FOLDER` as it stands, so that changes show at once; may repeat")
	flags.BoolVarP(&f.upload, "upload", "u", false, "upload to the cache servers what they lacked")
	flags.BoolVar(&f.upgrade, "upgrade", false, "take the newest version of all places")
	flags.BoolVarP(&f.force, "force", "f", false, "install again what is there already")
	flags.BoolVar(&f.pre, "pre", false, "admit prereleases")
	flags.BoolVar(&f.hashes, "require-hashes", false, "install only files whose sha256 is given with --hash in the -r files")
	flags.StringVar(&f.python, "python", "", "interpreter or virtualenv to install into: a `PATH` or a version")
	flags.StringArrayVar(&f.private, "private", nil, "never ask the default index for names that match this `GLOB`; may repeat\n(default $CURD_PRIVATE)")
	flags.StringArrayVar(&f.noBinary, "no-binary", nil, "build these `NAMES` (comma-separated, or :all:) from source")
	flags.StringArrayVar(&f.onlyBin, "only-binary", nil, "never build these `NAMES` (comma-separated, or :all:)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what would be installed, and change nothing")
	flags.BoolVar(&f.breakSystem, "break-system-packages", false, "install even into a Python that the system manages")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "say nothing but errors")
	f.log.register(flags)
	return cmd
}

func (f *installFlags) run(cmd *cobra.Command, args []string) (err error) {
	o, err := f.options(args)
	if err != nil {
		return err
	}
	log, closeLog, err := f.log.open(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog()) }()
	o.Log = log
	ui := newUI(cmd.ErrOrStderr(), f.quiet)
	o.Notify = ui.notify
	report, err := curd.Install(cmd.Context(), o)
	ui.close()
	if err != nil {
		return err
	}
	for _, failed := range report.FailedUploads {
		ui.warn(failed.Error())
	}
	if !f.quiet {
		printReport(cmd.OutOrStdout(), report)
	}
	return nil
}

// options makes of flags, environment and configuration what the run is asked to do.
func (f *installFlags) options(args []string) (curd.Options, error) {
	o := curd.Options{
		Python: f.python, BreakSystemPackages: f.breakSystem,
		Upload: f.upload, Upgrade: f.upgrade, Force: f.force, Prereleases: f.pre, DryRun: f.dryRun,
		RequireHashes: f.hashes, Hashes: map[dist.Name][]string{}, Editable: map[string]bool{},
		DefaultIndex: defaultIndex, UserAgent: userAgent(),
	}
	var err error
	if o.Home, err = home(); err != nil {
		return o, err
	}
	o.Caches = orFields(f.caches, "CURD_CACHES")
	o.Private = orFields(f.private, "CURD_PRIVATE")
	for _, v := range f.noBinary {
		err = errors.Join(err, o.NoBinary.Add(v, &o.OnlyBinary))
	}
	for _, v := range f.onlyBin {
		err = errors.Join(err, o.OnlyBinary.Add(v, &o.NoBinary))
	}
	if err != nil {
		return o, usageError{err}
	}
	if err := f.requirements(&o, args); err != nil {
		return o, err
	}
	if len(f.indexes) > 0 {
		o.Indexes = f.indexes
	} else if len(o.Indexes) == 0 && !o.NoIndex {
		o.Indexes = configuredIndexes(os.Getenv)
	}
	if o.Upload && len(o.Caches) == 0 {
		return o, usageError{errors.New("-u needs a cache server to upload to: say -c URL or set CURD_CACHES")}
	}
	for _, u := range slices.Concat(o.Caches, o.Indexes) {
		if err := checkURL(u); err != nil {
			return o, err
		}
	}
	return o, nil
}

// home is the folder of the machine's own cache.
func home() (string, error) {
	if dir := os.Getenv("CURD_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no place for the machine's own cache: %w; set CURD_CACHE to a folder", err)
	}
	return filepath.Join(dir, ".curds"), nil
}

// orFields gives what the flags say, else the words of a variable.
func orFields(given []string, variable string) []string {
	if len(given) > 0 {
		return given
	}
	return strings.Fields(os.Getenv(variable))
}
