package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

type verified struct {
	name   string
	r      io.ReadSeeker
	size   int64
	want   string // sha256
	hash   hash.Hash
	hashed int64 // bytes, from the first on
	at     int64
	err    error // they are not what they must be
}

// Verify gives what r gives, which has size bytes, and the last of it only where all has the hash that it must have, in lower-case
// hex. What is read out of turn is not verified. The name is for the error.
func Verify(name string, r io.ReadSeeker, size int64, sha256sum string) io.ReadSeeker {
	return &verified{name: name, r: r, size: size, want: sha256sum, hash: sha256.New()}
}

func (v *verified) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n, err := v.r.Read(p)
	if end := v.at + int64(n); v.at <= v.hashed && v.hashed < end {
		v.hash.Write(p[v.hashed-v.at : n])
		v.hashed = end
	}
	if v.at += int64(n); v.hashed >= v.size && (n > 0 || errors.Is(err, io.EOF)) {
		if got := hex.EncodeToString(v.hash.Sum(nil)); got != v.want {
			v.err = fmt.Errorf("%s: the bytes have sha256 %s, and must have %s", v.name, got, v.want)
			return 0, v.err
		}
	}
	return n, err
}

func (v *verified) Seek(offset int64, whence int) (int64, error) {
	at, err := v.r.Seek(offset, whence)
	if err == nil {
		v.at = at
	}
	return at, err
}
