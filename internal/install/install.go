// Package install puts unpacked wheels into environments and takes
// distributions out of them (PEP 376, 427, 491, 610, 627, 660).
//
// What is installed is, file by file, what pip 26.3 installs with --no-compile:
// scripts point to the environment's interpreter, entry points become scripts,
// .data is spread over the scheme's folders, and .dist-info gets INSTALLER
// ("curd"), REQUESTED, direct_url.json and a RECORD in pip's order and form. It
// differs where a wheel ships INSTALLER, REQUESTED, direct_url.json or RECORD's
// signatures itself: those are left out; and RECORD has no rows for what was not
// installed (pip keeps those of setuptools' own wrappers). On Windows a wheel with entry points
// is refused, since no launcher for them is there.
//
// Files are cloned or linked from the wheel's tree, or copied where the file
// system can do neither: they share their content with the tree. What the
// installer writes itself (RECORD and the like, scripts that name the
// interpreter) never is a link. Bytecode, where an item has it, is linked like
// the rest and listed in RECORD as pip lists what it has compiled; its sources
// have the time of modification that it expects (see package curds).
//
// # Transactions
//
// Apply checks the whole plan before it touches anything. Everything that
// stands in the way is then moved into a stash, not deleted; a journal on disk,
// written before the first change, says how to put it back. On an error, or
// when the context ends, it is put back at once; after a crash, by the next
// Recover. What a transaction makes is complete when its journal is renamed,
// and .dist-info folders appear by a rename after all other files. Files are
// not synced to disk one by one: after a loss of power (not of the process) a
// transaction that had just ended may have to be done again.
//
// Nothing outside the folders that the interpreter names (purelib, platlib,
// scripts, data, headers) is written or removed, whatever a wheel's names, a
// RECORD or links in the environment say.
//
// Limits: those of package wheel; besides, RECORD of what is installed may have
// 64 MiB, direct_url.json 1 MiB, a script that is rewritten 64 MiB.
package install

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"curdling/internal/curds"
	"curdling/internal/python"
	"curdling/internal/wheel"
)

// Env is where to install. The paths come from the interpreter.
type Env struct{ Python *python.Interpreter }

// Target is a folder as an environment of its own (pip's --target): packages lie
// in dir itself, scripts, which start env's interpreter, in bin, headers in
// include, and data where a wheel's .data/data says. Unlike pip, which
// installs whatever is there already and then passes over, or with --upgrade
// replaces, every top-level name that exists, curd treats it like any other
// environment: List gives what is installed there, and of that alone the solver
// knows; what satisfies stays, what must change is replaced whole. RECORD too
// names the files where they are ("bin/flask"; pip leaves "../../bin/flask",
// which is true only of the folder that it moves them from). The folder is
// made where it is missing, and gets a lock file. That the system manages env
// (PEP 668) does not matter.
func Target(env Env, dir string) (Env, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o777)
	}
	if err != nil {
		return Env{}, fmt.Errorf("target folder: %w", err)
	}
	p := *env.Python
	include := "python" // both as pip has them
	if p.Prefix != p.BasePrefix {
		include = filepath.Join("site", filepath.Base(p.Include))
	}
	p.Prefix, p.Purelib, p.Platlib, p.Data = dir, dir, dir, dir
	p.Scripts, p.Include = filepath.Join(dir, "bin"), filepath.Join(dir, "include", include)
	p.SysPath, p.ExternallyManaged = []string{dir}, ""
	return Env{&p}, nil
}

// Item is a distribution to install.
type Item struct {
	Tree      wheel.Tree
	Bytecode  curds.Bytecode // of the tree, for the environment's interpreter; zero: none is installed
	Requested bool           // asked for by the user, not only needed by another
	DirectURL []byte         // content of direct_url.json; nil: it came from an index
}

// Plan is what shall change. Whatever is installed of the projects in Install is
// removed too, named in Remove or not.
type Plan struct {
	Remove  []Installed
	Install []Item
}

// Options say how. The zero value is the usual one.
type Options struct {
	LinkMode LinkMode
	Begin    func(name string) // called for each item before it is put in its place; nil: nobody listens
	Progress func(name string) // called for each item that is in place; nil: nobody listens
	Warn     func(text string) // called with what the user should know; nil: nobody listens
}

// Apply carries out the plan, whole or not at all. The caller holds the
// environment's Lock. Where two wheels have different files for one path, that
// of the later project, by name, is installed, and Warn tells.
func Apply(ctx context.Context, env Env, p Plan, o Options) error {
	if err := Recover(env); err != nil {
		return err
	}
	if len(p.Remove)+len(p.Install) == 0 {
		return nil
	}
	// pip removes even this folder with the last thing in it.
	if err := os.MkdirAll(env.Python.Purelib, 0o777); err != nil {
		return fmt.Errorf("the environment has no folder for packages: %w", err)
	}
	t, err := prepare(env, p, o)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return t.run(ctx)
}

// A transaction is a plan that was checked.
type transaction struct {
	env     Env
	site    *site
	base    *folder // Purelib: the journal lies here, and its paths are relative to it
	jobs    []*job
	journal journal
	linker  *linker
	options Options
}

// prepare checks the plan and decides on every path. It changes nothing.
func prepare(env Env, p Plan, o Options) (*transaction, error) {
	o = o.quiet()
	s, err := newSite(env)
	if err != nil {
		return nil, err
	}
	base, err := s.folder(env.Python.Purelib)
	if err != nil {
		return nil, err
	}
	t := &transaction{env: env, site: s, base: base, options: o, linker: newLinker(o)}
	if err := t.remove(p); err != nil {
		return nil, err
	}
	items := slices.Clone(p.Install)
	slices.SortStableFunc(items, func(a, b Item) int {
		return cmp.Or(strings.Compare(a.Tree.Manifest.Name, b.Tree.Manifest.Name),
			strings.Compare(a.Tree.Manifest.Version, b.Tree.Manifest.Version))
	})
	for i, item := range items {
		if i > 0 && item.Tree.Manifest.Name == items[i-1].Tree.Manifest.Name {
			return nil, fmt.Errorf("%s is to be installed twice", item.Tree.Manifest.Name)
		}
		j, err := t.newJob(i, item)
		if err != nil {
			return nil, fmt.Errorf("installing %s %s: %w", item.Tree.Manifest.Name, item.Tree.Manifest.Version, err)
		}
		t.jobs = append(t.jobs, j)
	}
	for _, j := range t.jobs {
		if err := t.check(j); err != nil {
			return nil, fmt.Errorf("installing %s %s: %w", j.m.Name, j.m.Version, err)
		}
	}
	t.settle()
	return t, nil
}

// quiet puts functions in the place of those that are nil; they are not called
// by two goroutines at once.
func (o Options) quiet() Options {
	var mu sync.Mutex
	wrap := func(f func(string)) func(string) {
		if f == nil {
			return func(string) {}
		}
		return func(s string) {
			mu.Lock()
			defer mu.Unlock()
			f(s)
		}
	}
	o.Begin, o.Progress, o.Warn = wrap(o.Begin), wrap(o.Progress), wrap(o.Warn)
	return o
}
