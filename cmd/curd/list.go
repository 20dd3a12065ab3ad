package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"curdling/internal/curd"
	"curdling/internal/dist"
	"curdling/internal/requirement"
)

// selection is what `curd list` and `curd freeze` have in common: an environment and what of it to show.
type selection struct {
	python                 string
	exclude                []string
	excludeEditable, local bool
}

func (s *selection) register(flags *pflag.FlagSet) {
	registerPython(flags, &s.python)
	flags.StringArrayVar(&s.exclude, "exclude", nil, "leave out these `NAMES` (comma-separated); may repeat")
	flags.BoolVar(&s.excludeEditable, "exclude-editable", false, "leave out editable installs")
	flags.BoolVar(&s.local, "local", false, "leave out what a virtualenv sees of the Python that it was made from")
}

func registerPython(flags *pflag.FlagSet, python *string) {
	flags.StringVar(python, "python", "", "interpreter or virtualenv to look at: a `PATH` or a version")
}

// open reads the environment and drops what is not chosen.
func (s *selection) open(cmd *cobra.Command, o curd.Options) (*curd.Environment, error) {
	var excluded, none requirement.Names
	for _, names := range s.exclude {
		if err := excluded.Add(names, &none); err != nil {
			return nil, usageError{fmt.Errorf("--exclude: %w", err)}
		}
	}
	env, err := curd.OpenEnvironment(cmd.Context(), o)
	if err != nil {
		return nil, err
	}
	env.Distributions = slices.DeleteFunc(env.Distributions, func(d curd.Distribution) bool {
		return excluded.All || excluded.Of[d.Name] || s.excludeEditable && d.Editable || s.local && !d.Own
	})
	return env, nil
}

// readOptions are those of a command that changes nothing. It does without the own cache where that has no place.
func readOptions(cmd *cobra.Command, python *string, ui *ui) (curd.Options, error) {
	cfg, err := configure(cmd)
	if err != nil {
		return curd.Options{}, err
	}
	dir, _ := cfg.CacheDir()
	return curd.Options{Python: *python, Home: dir, UserAgent: userAgent(), Notify: ui.notify}, nil
}

// noArguments is for commands that have options only.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}

// listFlags is the command line of `curd list`.
type listFlags struct {
	selection
	outdated, editable, pre bool
	format                  string
	places                  placeFlags // with outdated
	log                     logFlags
}

func newList() *cobra.Command {
	var f listFlags
	cmd := &cobra.Command{
		Use:   "list [flags]",
		Short: "list the installed packages, or those of which there are newer versions",
		Long: `List the packages of a virtualenv: the one of --python, else the active one
(VIRTUAL_ENV), else .venv here, else that of python3 on PATH. The formats are pip's.

With --outdated the cache servers and the first index that knows a name are asked
for the newest version that this Python can use; only packages with a newer one are listed. The flags
that say where distributions come from count for that alone.
Yanked versions do not count, prereleases with --pre only.`,
		Example: `  curd list
  curd list --format json --python .venv-3.13
  curd list --outdated
  curd list --outdated -c http://cache:8000 --exclude pip`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	f.register(flags)
	flags.BoolVarP(&f.outdated, "outdated", "o", false, "list packages of which there is a newer version")
	flags.BoolVarP(&f.editable, "editable", "e", false, "list editable installs only")
	flags.StringVar(&f.format, "format", "columns", "`FORM` of the list: columns, json or freeze")
	flags.BoolVar(&f.pre, "pre", false, "with --outdated: count prereleases")
	f.places.registerCaches(flags)
	f.places.register(flags)
	f.log.register(flags)
	return cmd
}

func (f *listFlags) run(cmd *cobra.Command) (err error) {
	switch {
	case !slices.Contains([]string{"columns", "json", "freeze"}, f.format):
		return usageError{fmt.Errorf("--format %s: the formats are columns, json and freeze", f.format)}
	case f.outdated && f.format == "freeze":
		return usageError{errors.New("--format freeze does not go with --outdated; take columns or json")}
	}
	log, closeLog, err := f.log.open(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog()) }()
	ui := newUI(cmd.ErrOrStderr(), false)
	defer ui.close()
	o, err := readOptions(cmd, &f.python, ui)
	if err != nil {
		return err
	}
	o.Log = log
	env, err := f.open(cmd, o)
	if err != nil {
		return err
	}
	env.Distributions = slices.DeleteFunc(env.Distributions, func(d curd.Distribution) bool {
		return d.InStandardLibrary() || f.editable && !d.Editable
	})
	var newer map[dist.Name]curd.Latest
	if f.outdated {
		if newer, err = f.askOutdated(cmd, env, o); err != nil {
			return err
		}
	}
	ui.close()
	w := cmd.OutOrStdout()
	switch f.format {
	case "freeze":
		for _, d := range env.Distributions {
			fmt.Fprintln(w, d.Spelled())
		}
	case "json":
		printJSON(w, env.Distributions, newer)
	default:
		printColumns(w, env.Distributions, newer)
	}
	return nil
}

// askOutdated asks for newer versions, and leaves in the environment only what has one.
func (f *listFlags) askOutdated(cmd *cobra.Command, env *curd.Environment, o curd.Options) (map[dist.Name]curd.Latest, error) {
	cfg, err := configure(cmd)
	if err != nil {
		return nil, err
	}
	if err := f.places.places(&o); err != nil {
		return nil, usageError{err}
	}
	o.Prereleases, o.DefaultIndex, o.Sources = f.pre, defaultIndex, cfg.Sources()
	f.places.chooseIndexes(cmd, cfg, &o)
	if err := checkServers(o); err != nil {
		return nil, err
	}
	if o.Home, err = cfg.CacheDir(); err != nil {
		return nil, err
	}
	newer, err := env.Outdated(cmd.Context(), o)
	if err != nil {
		return nil, err
	}
	env.Distributions = slices.DeleteFunc(env.Distributions, func(d curd.Distribution) bool {
		_, ok := newer[d.Name]
		return !ok
	})
	return newer, nil
}

// printColumns prints pip's table. newer is nil where it is not asked for.
func printColumns(w io.Writer, all []curd.Distribution, newer map[dist.Name]curd.Latest) {
	if len(all) == 0 {
		return
	}
	columns := [6][]string{{"Package"}, {"Version"}, {"Latest"}, {"Type"}, {"Build"}, {"Editable project location"}}
	for _, d := range all {
		latest := newer[d.Name]
		facts, _ := d.Wheel() // without one there is no build tag
		for i, cell := range []string{d.RawName, d.RawVersion, latest.Version.String(), latest.Kind.String(), facts.Build, d.Project} {
			columns[i] = append(columns[i], cell)
		}
	}
	lines := make([]string, len(all)+2)
	for i, column := range columns {
		optional := i >= 4 && !slices.ContainsFunc(column[1:], func(cell string) bool { return cell != "" })
		if optional || newer == nil && (i == 2 || i == 3) {
			continue
		}
		width := 0
		for _, cell := range column {
			width = max(width, utf8.RuneCountInString(cell))
		}
		for n, cell := range slices.Insert(column, 1, strings.Repeat("-", width)) {
			lines[n] += fmt.Sprintf("%-*s ", width, cell)
		}
	}
	for _, line := range lines {
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
}

// printJSON prints pip's JSON, in one line.
func printJSON(w io.Writer, all []curd.Distribution, newer map[dist.Name]curd.Latest) {
	rows := make([]string, len(all))
	for i, d := range all {
		version := d.Version.String()
		if d.Version.IsZero() {
			version = d.RawVersion
		}
		fields := []string{jsonField("name", d.RawName), jsonField("version", version)}
		if latest, ok := newer[d.Name]; ok {
			fields = append(fields, jsonField("latest_version", latest.Version.String()), jsonField("latest_filetype", latest.Kind.String()))
		}
		if d.Project != "" {
			fields = append(fields, jsonField("editable_project_location", d.Project))
		}
		rows[i] = "{" + strings.Join(fields, ", ") + "}"
	}
	fmt.Fprintf(w, "[%s]\n", strings.Join(rows, ", "))
}

func jsonField(key, value string) string {
	b, _ := json.Marshal(value) // a string can be written always
	return fmt.Sprintf("%q: %s", key, b)
}
