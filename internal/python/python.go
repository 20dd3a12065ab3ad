// Package python asks one interpreter what it is: paths, markers, tags; and has
// it compile sources.
//
// The interpreter runs once, isolated from the environment's PYTHON* variables,
// the user's site-packages and the current folder, with a probe that needs the
// standard library alone. CPython and PyPy from Python 3.8 on are known. Limits:
// an answer comes within 30 seconds and has at most 1 MiB.
package python

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"curdling/internal/lazyregexp"
	"curdling/internal/marker"
	"curdling/internal/tag"
	"curdling/internal/version"
)

// Interpreter is what one Python said of itself. It is kept as JSON.
type Interpreter struct {
	Executable string             // absolute, not resolved: the virtualenv's own bin/python
	Version    version.Version    // full: 3.11.7; of 3.14.0rc1 it is 3.14.0, as pip holds it against Requires-Python
	Markers    marker.Environment // packaging's default_environment
	Target     tag.Target
	Prefix     string // sys.prefix
	BasePrefix string // sys.base_prefix; another than Prefix in a virtualenv
	// Paths that pip installs to, absolute. Headers of a distribution go to a
	// folder of its name in Include.
	Purelib, Platlib, Scripts, Data, Include string
	// ExternallyManaged is the message of an EXTERNALLY-MANAGED file (PEP 668), "" where there is none.
	// A virtualenv is never externally managed.
	ExternallyManaged string
	SysPath           []string // sys.path of an isolated start, site-packages included
	// CacheTag and Magic say which bytecode it takes (PEP 3147): "cpython-311", and the number that
	// the files begin with, in hex. Both are "" where it keeps none.
	CacheTag, Magic string
}

// Memory keeps an interpreter's answer under a key.
type Memory interface {
	Get(key string) ([]byte, bool)
	Put(key string, answer []byte)
}

// Inspect runs the interpreter at path once, isolated, and remembers its answer
// by path, size and mtime (of the file, of what it resolves to, and of
// pyvenv.cfg), and by the running kernel, which the answer names too. mem may
// be nil. Two are run anew each time: a script that chooses an interpreter, such
// as pyenv's (Executable is what it chose), and an externally managed one, which
// the user may free of that.
func Inspect(ctx context.Context, path string, mem Memory) (*Interpreter, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("python %s: %w", path, err)
	}
	key, err := memoryKey(path)
	if err != nil {
		return nil, fmt.Errorf("python: %w", err)
	}
	if mem == nil {
		key = ""
	}
	if key != "" {
		if answer, ok := mem.Get(key); ok {
			if i, err := decode(answer); err == nil {
				return i, nil
			}
		}
	}
	i, err := ask(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("python %s: %w", path, err)
	}
	if key != "" && i.ExternallyManaged == "" {
		answer, err := json.Marshal(i)
		if err != nil {
			return nil, fmt.Errorf("python %s: %w", path, err)
		}
		mem.Put(key, answer)
	}
	return i, nil
}

var (
	isCacheTag = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`).MatchString // it becomes part of file names
	isMagic    = lazyregexp.New(`^[0-9a-f]{8}$`).MatchString
)

// decode reads an answer and checks that it is complete.
func decode(answer []byte) (*Interpreter, error) {
	i := new(Interpreter)
	if err := json.Unmarshal(answer, i); err != nil {
		return nil, err
	}
	if release := i.Version.Release(); len(release) < 2 {
		return nil, errors.New("the answer lacks the version")
	} else if release[0] < 3 || release[0] == 3 && release[1] < 8 {
		return nil, fmt.Errorf("is Python %s, older than 3.8: choose a newer one with --python, "+
			"or make a virtualenv with one: python3 -m venv .venv", i.Version)
	}
	if i.CacheTag+i.Magic != "" && (!isCacheTag(i.CacheTag) || !isMagic(i.Magic)) {
		return nil, fmt.Errorf("the answer has an odd tag or number for bytecode: %q, %q", i.CacheTag, i.Magic)
	}
	for _, p := range []string{i.Executable, i.Prefix, i.Purelib, i.Platlib, i.Scripts, i.Data, i.Include} {
		if !filepath.IsAbs(p) {
			return nil, fmt.Errorf("the answer has a path that is not absolute: %q", p)
		}
	}
	return i, nil
}
