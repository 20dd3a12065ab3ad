package wheel

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
)

// TarballSuffix is what follows a wheel's file name in that of its tarball.
//
// A tarball is another form of a wheel: its files as one zstd-compressed tar (RFC 8878, POSIX.1-2001), which unpacks
// several times as fast. It holds regular files alone, in the order of their names, each of mode 0755 where the wheel's
// is executable and else 0644, and RECORD last; folders and RECORD's signatures are left out. A name that does not fit into
// a ustar header stands in a pax header, which holds nothing else. One wheel gives one tarball, byte for byte,
// as long as the compressor is the same; the window is of at most MaxWindow bytes.
const TarballSuffix = ".tar.zst"

const (
	// MaxWindow is the most that one who unpacks a tarball must remember of it, in bytes.
	MaxWindow = 8 << 20
	// maxTarFile is the largest file that a ustar header can state, in bytes.
	maxTarFile = 1<<33 - 1

	tarBlock = 512
	modeFile = 0o644
	modeExec = 0o755
)

// tarTime is when all files of a tarball were changed, which means nothing: the first moment that a zip archive can state.
var tarTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// WriteTarball writes the wheel's tarball, checking every file against RECORD on the way. After an error what was
// written is good for nothing. It works in the caller's goroutine alone.
func (w *Wheel) WriteTarball(ctx context.Context, out io.Writer) error {
	if err := w.writeTarball(ctx, out); err != nil {
		return fmt.Errorf("%s: %w", w.File.Filename+TarballSuffix, err)
	}
	return nil
}

func (w *Wheel) writeTarball(ctx context.Context, out io.Writer) error {
	z := encoders.Get().(*zstd.Encoder)
	defer encoders.Put(z)
	z.Reset(out)
	err := errors.Join(w.writeTar(ctx, z), z.Close())
	z.Reset(nil) // lets go of out
	return err
}

// encoders take megabytes each. Their level and window are measured: see "tarballs" in docs/server.md.
var encoders = sync.Pool{New: func() any {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithWindowSize(512<<10),
		zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // the options are right
	}
	return z
}}

func (w *Wheel) writeTar(ctx context.Context, out io.Writer) error {
	t := tar.NewWriter(out)
	m, x := w.manifest(), inflaters.Get().(*inflater)
	defer inflaters.Put(x)
	for i, f := range w.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if f.size > maxTarFile {
			return fmt.Errorf("%s: %d bytes, at most %d fit", f.name, f.size, maxTarFile)
		}
		if err := t.WriteHeader(tarHeader(f.name, f.size, f.executable())); err != nil {
			return err
		}
		in := newInspector(t, &m.Files[i])
		if err := x.copy(in, w.r, f.member); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if err := in.check(&m.Files[i]); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if err := t.WriteHeader(tarHeader(w.DistInfo+"/RECORD", int64(len(w.record)), false)); err != nil {
		return err
	}
	if _, err := io.WriteString(t, w.record); err != nil {
		return err
	}
	return t.Close()
}

func tarHeader(name string, size int64, executable bool) *tar.Header {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: modeFile, ModTime: tarTime}
	if executable {
		h.Mode = modeExec
	}
	return h
}
