package sdist

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"testing"
)

// zeros is a reader of n zero bytes.
type zeros struct{ n int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.n == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.n)
	clear(p[:n])
	z.n -= n
	return int(n), nil
}

func bomb(t *testing.T, size int64) []byte {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: "p/x", Size: size, Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, &zeros{size}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestBombs(t *testing.T) {
	t.Parallel()
	t.Run("ratio", func(t *testing.T) {
		t.Parallel()
		if err := Verify(bytes.NewReader(bomb(t, 63<<20)), "p.tar.gz"); err != nil {
			t.Error(err)
		}
		err := Verify(bytes.NewReader(bomb(t, 90<<20)), "p.tar.gz")
		if err == nil || !strings.Contains(err.Error(), "more than 200 times its size") {
			t.Error(err)
		}
	})
	t.Run("implied folders", func(t *testing.T) {
		t.Parallel()
		var members []member
		for i := range MaxEntries/400 + 1 {
			members = append(members, member{name: fmt.Sprintf("%d/", i) + strings.Repeat("d/", 400) + "x"})
		}
		err := Verify(bytes.NewReader(tarOf(t, members...)), "p.tar")
		if err == nil || !strings.Contains(err.Error(), "more than 200000 files") {
			t.Error(err)
		}
	})
	t.Run("holes", func(t *testing.T) { // a sparse file of 1 TiB in a few bytes
		t.Parallel()
		refused(t, sparse(t, 1<<40), "p.tar", "unpacks to more than")
	})
}

// sparse is a tar with one file of GNU's old sparse format that is nothing but a hole.
func sparse(t *testing.T, size int64) []byte {
	b := tarOf(t, member{name: "p/x"})
	h := b[:512]
	h[156] = tar.TypeGNUSparse
	copy(h[257:], "ustar  \x00")
	copy(h[386:], fmt.Sprintf("%011o\x00%011o\x00", 0, 0)) // one piece: at 0, of 0 bytes
	h[483] = 0x80                                          // the real size, in base 256
	for i := range 8 {
		h[494-i] = byte(size >> (8 * i))
	}
	copy(h[148:], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}
