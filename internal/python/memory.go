package python

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

// memoryKey gives the key under which the answer of the interpreter at path is
// remembered, "" where it must not be.
func memoryKey(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	if script, err := isScript(real); script || err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n", probe, kernel())
	bin := filepath.Dir(path)
	for _, p := range []string{path, real, filepath.Join(bin, "pyvenv.cfg"), filepath.Join(filepath.Dir(bin), "pyvenv.cfg")} {
		fmt.Fprintf(h, "%q", p)
		if info, err := os.Lstat(p); err == nil {
			fmt.Fprintf(h, " %d %d", info.Size(), info.ModTime().UnixNano())
		}
		fmt.Fprintln(h)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// isScript tells whether the file begins with "#!".
func isScript(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var head [2]byte
	if _, err := f.Read(head[:]); err != nil {
		return false, fmt.Errorf("%s: not an interpreter: %w", path, err)
	}
	return bytes.Equal(head[:], []byte("#!")), nil
}
