package livefile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
)

// Document is a small text that several processes read and change: a file ([Path]), or one in a store that several machines use.
type Document interface {
	// Read gives the content and its version, which is never "". Where the version is known still, content is nil.
	// Where there is none the error wraps fs.ErrNotExist.
	Read(ctx context.Context, known string) (content []byte, version string, err error)
	// Change has it hold what edit makes of what it held, in one step; nil is of one that was missing. Where others change it at the same time edit is
	// called again. An error of a store that does not answer leaves open whether it was changed.
	Change(ctx context.Context, edit func(old []byte) ([]byte, error)) error
	// String is its path or URL.
	String() string
}

const maxDocument = 16 << 20 // bytes

// Path is a file as a [Document].
type Path string

// Read is Document's.
func (p Path) Read(_ context.Context, known string) (content []byte, version string, err error) {
	f, err := os.Open(string(p))
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	content, err = io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err != nil {
		return nil, "", err
	}
	if len(content) > maxDocument {
		return nil, "", fmt.Errorf("%s: larger than %d MiB", p, maxDocument>>20)
	}
	sum := sha256.Sum256(content)
	if version = hex.EncodeToString(sum[:]); version == known {
		content = nil
	}
	return content, version, nil
}

// Change is Document's.
func (p Path) Change(ctx context.Context, edit func(old []byte) ([]byte, error)) error {
	return Change(ctx, string(p), edit)
}

func (p Path) String() string { return string(p) }
