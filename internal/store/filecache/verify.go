package filecache

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
)

// verified reads a file from the store that is not kept. Where it is read from its start to its end the last bytes come only if
// the hash is right. Of a part nothing can be told.
type verified struct {
	io.ReadSeekCloser
	want   string
	size   int64
	offset int64
	sum    hash.Hash // of the bytes before hashed
	hashed int64
	last   []byte // the bytes at the end, once the hash was right
}

func verify(r io.ReadSeekCloser, sha256sum string, size int64) (*verified, error) {
	n, err := r.Seek(0, io.SeekEnd)
	if err == nil && n != size {
		err = fmt.Errorf("%s: the store has %d bytes, and not its %d", sha256sum, n, size)
	}
	if err == nil {
		_, err = r.Seek(0, io.SeekStart)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return &verified{ReadSeekCloser: r, want: sha256sum, size: size, sum: sha256.New()}, nil
}

func (v *verified) Read(p []byte) (n int, err error) {
	end := max(v.size-tail, 0)
	switch {
	case v.offset >= v.size && v.size > 0:
		return 0, io.EOF
	case v.offset == v.hashed && v.offset < end:
		n, err = v.ReadSeekCloser.Read(p[:min(int64(len(p)), end-v.offset)])
		v.sum.Write(p[:n])
		v.hashed += int64(n)
	case v.offset == v.hashed && v.last == nil:
		if err := v.finish(); err != nil {
			return 0, err
		}
		fallthrough
	case v.last != nil && v.offset >= end:
		n = copy(p, v.last[v.offset-end:])
		if n == 0 && len(p) > 0 {
			return 0, io.EOF
		}
	default:
		n, err = v.ReadSeekCloser.Read(p)
	}
	v.offset += int64(n)
	return n, err
}

// finish reads the last bytes, and holds the hash against what it had to be.
func (v *verified) finish() error {
	last := make([]byte, v.size-v.hashed)
	if _, err := io.ReadFull(v.ReadSeekCloser, last); err != nil {
		return err
	}
	v.sum.Write(last)
	if got := sumOf(v.sum); got != v.want {
		v.hashed = -1
		return mismatch(v.want, got)
	}
	v.last = last
	return nil
}

func (v *verified) Seek(offset int64, whence int) (int64, error) {
	offset, err := seek(v.offset, v.size, offset, whence)
	if err != nil {
		return 0, err
	}
	if _, err := v.ReadSeekCloser.Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	v.offset = offset
	return offset, nil
}
