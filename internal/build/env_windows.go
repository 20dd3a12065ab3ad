package build

import (
	"errors"
	"os"
	"path/filepath"

	"curdling/internal/python"
)

// linkPython copies the launcher, which finds the interpreter by pyvenv.cfg.
func linkPython(env *python.Interpreter, base string) error {
	from := filepath.Join(filepath.Dir(base), "Lib", "venv", "scripts", "nt")
	launcher, err := os.ReadFile(filepath.Join(from, "venvlauncher.exe")) // Python 3.13 and later
	if errors.Is(err, os.ErrNotExist) {
		launcher, err = os.ReadFile(filepath.Join(from, "python.exe"))
	}
	if err != nil {
		return err
	}
	return os.WriteFile(env.Executable, launcher, 0o777)
}
