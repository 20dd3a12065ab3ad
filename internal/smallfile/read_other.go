//go:build !unix

package smallfile

import (
	"errors"
	"io"
	"os"
)

func read(_ []byte, path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = tooLong(limit)
	}
	return b, err
}
