//go:build !windows

package build

import (
	"fmt"
	"os"
	"path/filepath"

	"curdling/internal/python"
)

// linkPython makes the environment's names of the interpreter.
func linkPython(env *python.Interpreter, base string) error {
	if err := os.Symlink(base, env.Executable); err != nil {
		return err
	}
	v := env.Target.Version
	for _, name := range []string{"python3", fmt.Sprintf("python%d.%d", v[0], v[1])} {
		if err := os.Symlink("python", filepath.Join(env.Scripts, name)); err != nil {
			return err
		}
	}
	return nil
}
