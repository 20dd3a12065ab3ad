package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"curdling/internal/curd"
	"curdling/internal/dist"
	"curdling/internal/lock"
)

// lockFlags is the command line of `curd lock`.
type lockFlags struct {
	runFlags
	output string
	check  bool
}

func newLock() *cobra.Command {
	var f lockFlags
	cmd := &cobra.Command{
		Use:   "lock [flags] REQUIREMENT...",
		Short: "write down what requirements resolve to, with every hash: pylock.toml",
		Long: `Resolve requirements and write a lock file (PEP 751): each package's version, with all its
files and their hashes. curd, pip and uv install from it. A lock file that is there already is
followed as far as it can be: --upgrade and -P NAME look for newer versions.

The lock is for all environments in which the markers that were looked at come out as here; the file
says which ones ("environments").

Cache servers are not asked: a lock names places that anybody can reach. What this machine has of
their builds tells what a source needs, as far as --trust and --verify allow.

--check writes nothing: it fails where the lock file does not hold any more.

Exit status: 0 done, 1 failed or --check found a difference, 2 wrong usage, 130 interrupted.`,
		Example: `  curd lock -r requirements.in
  curd lock -r pyproject.toml --group dev -o pylock.dev.toml
  curd lock --check -r requirements.in
  curd lock -P flask -r requirements.in        (a newer flask, the rest as it is)`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, args, func(o curd.Options) error { return f.lock(cmd, o) })
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVarP(&f.output, "output", "o", "pylock.toml", "the lock `FILE`: pylock.toml or pylock.NAME.toml; - is standard output")
	flags.BoolVar(&f.check, "check", false, "see whether the lock file still holds, and write nothing")
	f.inputFlags.register(flags)
	f.placeFlags.register(flags)
	f.registerTrust(flags)
	f.choiceFlags.register(flags)
	flags.StringVar(&f.python, "python", "", "interpreter or virtualenv to lock for: a `PATH` or a version")
	f.registerSaying(flags)
	return cmd
}

func (f *lockFlags) lock(cmd *cobra.Command, o curd.Options) error {
	switch {
	case o.Lock != nil:
		return usageError{errors.New("a lock is made of requirements, not of a lock; name it with -o to follow it")}
	case f.output == "-" && f.check:
		return usageError{errors.New("--check needs a lock file: name it with -o")}
	case f.output != "-" && !lock.IsFilename(f.output):
		return usageError{fmt.Errorf("-o %s: lock files are called pylock.toml or pylock.NAME.toml (PEP 751)", f.output)}
	}
	old, err := f.follow(&o)
	if err != nil {
		return err
	}
	dir := "."
	if f.output != "-" {
		dir = filepath.Dir(f.output)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	ui := f.open(cmd, &o)
	made, err := curd.MakeLock(cmd.Context(), o, dir)
	ui.close()
	if err != nil {
		return err
	}
	text := made.Encode()
	switch changes := lockChanges(old, made); {
	case f.output == "-":
		_, err = cmd.OutOrStdout().Write(text)
		return err
	case f.check && old == nil:
		return fmt.Errorf("%s is not there: write it with curd lock", f.output)
	case f.check && !bytes.Equal(old.Encode(), text):
		return fmt.Errorf("%s does not hold any more:\n%s\nlock again with curd lock", f.output, strings.Join(changes, "\n"))
	case f.check:
		return f.say(cmd, "%s holds: %s\n", f.output, count(len(made.Packages), "package"))
	case old != nil && bytes.Equal(old.Encode(), text):
		return f.say(cmd, "%s is unchanged: %s\n", f.output, count(len(made.Packages), "package"))
	default:
		if err := curd.WriteFile(f.output, bytes.NewReader(text)); err != nil {
			return fmt.Errorf("lock file: %w", err)
		}
		for _, c := range changes {
			_ = f.say(cmd, "%s\n", c)
		}
		return f.say(cmd, "locked %s in %s\n", count(len(made.Packages), "package"), f.output)
	}
}

func (f *lockFlags) say(cmd *cobra.Command, format string, args ...any) (err error) {
	if !f.quiet {
		_, err = fmt.Fprintf(cmd.OutOrStdout(), format, args...)
	}
	return err
}

// follow reads the lock file that is there, and has its versions preferred.
func (f *lockFlags) follow(o *curd.Options) (*lock.Lock, error) {
	if f.output == "-" {
		return nil, nil
	}
	text, err := os.ReadFile(f.output)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	old, err := lock.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.output, err)
	}
	o.Follow(old)
	return old, nil
}

// lockChanges says what differs between two locks, a line each.
func lockChanges(old, made *lock.Lock) (lines []string) {
	was := map[dist.Name]lock.Package{}
	if old != nil {
		for _, p := range old.Packages {
			was[p.Name] = p
		}
	}
	for _, p := range made.Packages {
		o, there := was[p.Name]
		delete(was, p.Name)
		switch {
		case !there:
			lines = append(lines, fmt.Sprintf("+ %s %s", p.Name, p.Version))
		case o.Version.Compare(p.Version) != 0:
			lines = append(lines, fmt.Sprintf("+ %s %s -> %s", p.Name, o.Version, p.Version))
		case old != nil && !samePackage(o, p):
			lines = append(lines, fmt.Sprintf("~ %s %s: other files or dependencies", p.Name, p.Version))
		}
	}
	for _, p := range made.Packages {
		delete(was, p.Name)
	}
	if old != nil {
		for _, p := range old.Packages {
			if _, gone := was[p.Name]; gone {
				lines = append(lines, fmt.Sprintf("- %s %s", p.Name, p.Version))
			}
		}
	}
	return lines
}

func samePackage(a, b lock.Package) bool {
	one := func(p lock.Package) []byte { return (&lock.Lock{Packages: []lock.Package{p}}).Encode() }
	return bytes.Equal(one(a), one(b))
}
