//go:build !unix

package wheel

import (
	"io"
	"os"
)

// create makes a new file that is not executable.
func create(path string) (io.WriteCloser, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
}
