package main

import (
	"bytes"
	"cmp"
	"context"
	"debug/buildinfo"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// programs are what there is to compile, in cmd/.
var programs = []string{"curd", "curd-server"}

// A module is linked into at least one of the programs.
type module struct {
	path, version string
	sum           string   // of its content, as go.sum has it; "" for Go itself
	programs      []string // that it is linked into, sorted
}

// goModule is the name of Go's own library among the modules.
const goModule = "stdlib"

// build compiles the programs for all platforms. The environment says nothing
// that would change what comes out, and neither does the checkout's state.
func (r *release) build(ctx context.Context) error {
	for _, p := range platforms {
		args := []string{"build", "-trimpath", "-buildvcs=false",
			"-ldflags", "-s -w -X main.version=" + r.version + " -X main.defaultIndex=" + r.index,
			"-o", filepath.Join(r.built, p.name) + string(filepath.Separator)}
		for _, name := range programs {
			args = append(args, "./cmd/"+name)
		}
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Env = append(os.Environ(), "GOOS="+p.goos, "GOARCH="+p.goarch, "CGO_ENABLED=0",
			"GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFIPS140=off", "GOFLAGS=-mod=readonly", "GOWORK=off")
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: go build: %w", p.name, err)
		}
	}
	return nil
}

// findModules asks the programs what they were linked from.
func (r *release) findModules(context.Context) error {
	found := map[string]*module{}
	add := func(path, version, sum, program string) {
		m := found[path]
		if m == nil {
			m = &module{path: path, version: version, sum: sum}
			found[path] = m
		}
		if !slices.Contains(m.programs, program) {
			m.programs = append(m.programs, program)
		}
	}
	for _, name := range programs {
		for _, p := range platforms {
			path, _ := r.program(p, name)
			info, err := buildinfo.ReadFile(path)
			if err != nil {
				return err
			}
			add(goModule, strings.TrimPrefix(info.GoVersion, "go"), "", name)
			for _, dep := range info.Deps {
				add(dep.Path, dep.Version, dep.Sum, name)
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(found)) {
		r.modules = append(r.modules, *found[path])
	}
	return nil
}

// licence matches the files whose text must go where the program goes.
var licence = regexp.MustCompile(`(?i)^((un)?licen[cs]e|copying|notice)([.-]|$)`)

// readNotices collects the licences of all that the programs are linked from.
func (r *release) readNotices(ctx context.Context) error {
	var b bytes.Buffer
	b.WriteString("The programs contain the following, each under its own terms.\n")
	for _, m := range r.modules {
		dir, err := m.dir(ctx)
		if err != nil {
			return err
		}
		files, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		files = slices.DeleteFunc(files, func(f fs.DirEntry) bool { return f.IsDir() || !licence.MatchString(f.Name()) })
		if len(files) == 0 {
			return fmt.Errorf("%s %s has no licence in %s", m.path, m.version, dir)
		}
		for _, f := range files {
			text, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "\n%s\n%s %s: %s\n\n%s\n", strings.Repeat("=", 80), m.path, m.version, f.Name(), bytes.TrimSpace(text))
		}
	}
	r.notices = b.Bytes()
	return nil
}

// dir is where the module's sources lie.
func (m module) dir(ctx context.Context) (string, error) {
	if m.path == goModule {
		return output(ctx, "go", "env", "GOROOT")
	}
	return output(ctx, "go", "list", "-m", "-f", "{{.Dir}}", m.path)
}

// hostProgram is a program that runs here.
func (r *release) hostProgram(name string) (string, error) {
	for _, p := range platforms {
		if p.goos == runtime.GOOS && p.goarch == runtime.GOARCH {
			path, _ := r.program(p, name)
			return path, nil
		}
	}
	return "", fmt.Errorf("%s/%s is none of the platforms that are built for, so that no manual pages and completions can be written here", runtime.GOOS, runtime.GOARCH)
}

// output runs a program and gives what it prints, trimmed.
func output(ctx context.Context, name string, args ...string) (string, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, args[0], err, cmp.Or(strings.TrimSpace(stderr.String()), "no word why"))
	}
	return strings.TrimSpace(string(out)), nil
}
