package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pelletier/go-toml/v2"

	"curdling/internal/lazyregexp"
	"curdling/internal/requirement"
)

const maxPyproject = 4 << 20 // bytes

// buildSystem is the table [build-system] of pyproject.toml (PEP 517, 518).
type buildSystem struct {
	requires    []requirement.Requirement
	backend     string   // "module:object", the object optional
	backendPath []string // below the source, slash-separated
}

// backendForm is what PEP 517 allows for a backend.
var backendForm = lazyregexp.New(`^[\pL_][\pL\pN_]*(\.[\pL_][\pL\pN_]*)*(:[\pL_][\pL\pN_]*(\.[\pL_][\pL\pN_]*)*)?$`)

// readBuildSystem gives the build system of the project in dir. Where
// pyproject.toml says nothing, or is missing beside a setup.py, it is that of setup.py's days.
func readBuildSystem(dir string) (buildSystem, error) {
	text, err := readFile(filepath.Join(dir, "pyproject.toml"), maxPyproject)
	if errors.Is(err, fs.ErrNotExist) {
		if info, err := os.Stat(filepath.Join(dir, "setup.py")); err != nil || !info.Mode().IsRegular() {
			return buildSystem{}, errors.New("not a Python project: it has neither pyproject.toml nor setup.py")
		}
		err = nil
	}
	var s buildSystem
	if err == nil {
		s, err = parseBuildSystem(text)
	}
	if err != nil {
		return s, fmt.Errorf("pyproject.toml: %w", err)
	}
	return s, s.checkPath(dir)
}

func parseBuildSystem(text []byte) (s buildSystem, err error) {
	var file map[string]any
	if err := toml.Unmarshal(text, &file); err != nil {
		return s, fmt.Errorf("is not valid TOML: %w", err)
	}
	value, ok := file["build-system"]
	if !ok {
		value = map[string]any{"requires": []any{"setuptools >= 40.8.0"}}
	}
	table, ok := value.(map[string]any)
	if !ok {
		return s, errors.New("build-system is not a table")
	}
	list, ok := table["requires"]
	if !ok {
		return s, errors.New("build-system has no \"requires\", which PEP 518 demands")
	}
	requires, err := stringList(list)
	if err != nil {
		return s, fmt.Errorf("build-system.requires %w", err)
	}
	if s.requires, err = parseRequires(requires); err != nil {
		return s, fmt.Errorf("build-system.requires: %w", err)
	}
	if path, ok := table["backend-path"]; ok {
		if s.backendPath, err = stringList(path); err != nil {
			return s, fmt.Errorf("build-system.backend-path %w", err)
		}
	}
	backend, ok := table["build-backend"]
	if !ok {
		backend = "setuptools.build_meta:__legacy__"
	}
	if s.backend, ok = backend.(string); !ok || !backendForm.MatchString(s.backend) {
		return s, fmt.Errorf("build-system.build-backend is not of the form \"module:object\": %.100q", fmt.Sprint(backend))
	}
	return s, nil
}

func stringList(value any) ([]string, error) {
	list, ok := value.([]any)
	result := make([]string, len(list))
	for i := range list {
		if result[i], ok = list[i].(string); !ok {
			break
		}
	}
	if !ok {
		return nil, errors.New("is not a list of strings")
	}
	return result, nil
}

func parseRequires(lines []string) ([]requirement.Requirement, error) {
	reqs := make([]requirement.Requirement, len(lines))
	for i, line := range lines {
		var err error
		if reqs[i], err = requirement.Parse(line); err != nil {
			return nil, err
		}
	}
	return reqs, nil
}

// checkPath sees that backend-path stays inside the source, links followed.
func (s *buildSystem) checkPath(source string) error {
	for _, p := range s.backendPath {
		if _, err := inside(source, p); err != nil {
			return fmt.Errorf("pyproject.toml: build-system.backend-path: %w", err)
		}
	}
	return nil
}

// inside gives the folder p, slash-separated, of dir, and sees that it is one and lies in it.
func inside(dir, p string) (string, error) {
	local := filepath.Clean(filepath.FromSlash(p))
	if !filepath.IsLocal(local) {
		return "", fmt.Errorf("%q does not lie inside the source", p)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	info, err := root.Stat(local)
	if err != nil {
		return "", fmt.Errorf("%q does not lie inside the source: %w", p, err)
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%q is not a folder", p)
	}
	return filepath.Join(dir, local), nil
}
