package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"curdling/internal/curd"
	"curdling/internal/dist"
	"curdling/internal/record"
)

// explainFlags is the command line of `curd cache explain`.
type explainFlags struct {
	python string
	caches []string
	format string
}

func newCacheExplain() *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain [flags] PROJECT",
		Short: "tell what builds of a project are there, of what and with what they were built, and why again",
		Long: `Tell of the wheels of a project that were built from sources: those in the machine's own
cache and, with -c, those of cache servers. Of each it is told

  from    which source it was built of
  with    the packages, settings and environment variables that the build used
  on      the Python and the system that built it
  needs   the libraries that it asks of a machine
  cost    how long the build took
  here    whether the Python of --python and this machine would use it, or why not

and, of each but the first of a version, what is another than with the one before it: why it was built again.
A build is used again where source, interpreter, ABI, system, settings and variables are the same and the machine
has what it needs. A new version of what the build requires is no reason to build again,
unless a build constraint asks for it.`,
		Example: `  curd cache explain pyyaml
  curd cache explain -c http://cache:8000 --python .venv numpy
  curd cache explain --format json lxml | jq '.[0].cost.seconds'`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("name one project")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	registerPython(cmd.Flags(), &f.python)
	cmd.Flags().StringArrayVarP(&f.caches, "cache", "c", nil, "`URL` of a cache server to ask too; may repeat (default $CURD_CACHES)")
	cmd.Flags().StringVar(&f.format, "format", "text", "`FORM` of the answer: text or json (the records)")
	return cmd
}

func (f *explainFlags) run(cmd *cobra.Command, project string) error {
	name, err := dist.ParseName(project)
	switch {
	case err != nil:
		return usageError{err}
	case f.format != "text" && f.format != "json":
		return usageError{fmt.Errorf("--format %s: the formats are text and json", f.format)}
	}
	ui := newUI(cmd.ErrOrStderr(), false)
	defer ui.close()
	o, err := readOptions(cmd, &f.python, ui)
	if err != nil {
		return err
	}
	if o.Home, err = home(); err != nil {
		return err
	}
	o.Caches = f.caches
	if err := checkServers(o); err != nil {
		return err
	}
	builds, err := curd.ExplainBuilds(cmd.Context(), o, name)
	if err != nil {
		return err
	}
	ui.close()
	if f.format == "json" {
		records := make([]*record.Record, len(builds))
		for i, b := range builds {
			records[i] = b.Record
		}
		return json.NewEncoder(cmd.OutOrStdout()).Encode(records)
	}
	if len(builds) == 0 {
		return fmt.Errorf("no build of %s is there; wheels that an index published have no record", name)
	}
	for i, b := range builds {
		if i > 0 {
			fmt.Fprintln(cmd.OutOrStdout())
		}
		printExplained(cmd.OutOrStdout(), b)
	}
	return nil
}

func printExplained(w io.Writer, b curd.Explained) {
	fmt.Fprintln(w, b.Wheel.Filename)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(what string, parts ...string) {
		parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
		if len(parts) > 0 {
			fmt.Fprintf(table, "  %s\t%s\n", what, strings.Join(parts, ", "))
		}
	}
	at := b.From.Filename
	if b.From.Repository != "" {
		at = b.From.Repository + "@" + b.From.Commit
	}
	row("from", at, "sha256 "+b.From.SHA256)
	with := []string{b.With.Backend}
	for _, d := range b.With.Requires {
		with = append(with, string(d.Name)+" "+d.Version)
	}
	for _, name := range slices.Sorted(maps.Keys(b.With.Settings)) {
		with = append(with, "--config-settings "+name+"="+strings.Join(b.With.Settings[name], " "))
	}
	for _, name := range slices.Sorted(maps.Keys(b.With.Variables)) {
		with = append(with, name+"="+b.With.Variables[name])
	}
	row("with", with...)
	row("on", slices.Concat([]string{"Python " + b.On.Python, b.On.Tag, b.On.Platform, b.On.Libc}, b.On.Compilers, b.On.Flags)...)
	var needs []string
	for _, file := range b.Needs.Files {
		for _, library := range slices.Sorted(maps.Keys(file.Libraries)) {
			needs = append(needs, strings.TrimSpace(library+" "+strings.Join(file.Libraries[library], " ")))
		}
	}
	row("needs", needs...)
	row("cost", b.Cost.Duration().Round(100*time.Millisecond).String(), "built "+b.Cost.Built.Local().Format(time.DateTime))
	row("key", b.Key)
	if b.At != "" {
		row("at", b.At)
	}
	if b.Misfit == "" {
		row("here", "it is used")
	} else {
		row("here", "it is not used: "+b.Misfit)
	}
	if b.Earlier != nil {
		why := "nothing that is known: the build before it was lost, or built elsewhere at the same time"
		if len(b.Changed) > 0 {
			why = strings.Join(b.Changed, ", ")
		}
		row("built again because", why)
	}
	table.Flush()
}
