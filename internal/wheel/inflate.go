package wheel

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"
	"slices"
	"sync"

	"github.com/klauspost/compress/flate"

	"curdling/internal/inflate"
)

// wholeSize is up to which a member is unpacked as a whole, in memory; largeSize is above which only
// as many at once are as there are processors.
const (
	wholeSize = 16 << 20 // bytes, packed or not
	largeSize = 1 << 20
)

// buffers are what a member is unpacked from and into.
type buffers struct{ packed, content []byte }

// large has the buffers of large members, one for each processor.
var large = func() chan *buffers {
	c := make(chan *buffers, runtime.GOMAXPROCS(0))
	for range cap(c) {
		c <- &buffers{}
	}
	return c
}()

// An inflater takes members out of an archive, one after the other.
type inflater struct {
	whole  inflate.Decoder
	small  buffers
	packed *bufio.Reader // nil until a member is too large for memory
	flate  io.ReadCloser
}

var inflaters = sync.Pool{New: func() any { return new(inflater) }}

// copy writes the member's content to w: as many bytes as the directory says,
// with the checksum that it says, and nothing left over.
func (x *inflater) copy(w io.Writer, r io.ReaderAt, m *member) error {
	if m.size > wholeSize || m.packed > wholeSize {
		return x.stream(w, r, m)
	}
	b := &x.small
	if m.size > largeSize || m.packed > largeSize {
		b = <-large
		defer func() { large <- b }()
	}
	b.packed = slices.Grow(b.packed[:0], int(m.packed))[:m.packed]
	if n, err := r.ReadAt(b.packed, m.data); n < len(b.packed) {
		return fmt.Errorf("reading: %w", err)
	}
	content := b.packed
	if m.method == deflated {
		b.content = slices.Grow(b.content[:0], int(m.size))[:m.size]
		content = b.content
		if err := x.whole.Decode(content, b.packed); err != nil {
			return cmp.Or(x.stream(io.Discard, r, m), err) // the stream tells what is wrong
		}
	}
	if int64(len(content)) != m.size {
		return errors.New("does not unpack to the size that the central directory says")
	}
	if crc32.ChecksumIEEE(content) != m.crc {
		return errors.New("checksum does not match")
	}
	_, err := w.Write(content)
	return err
}

// stream is copy of what is too large for memory.
func (x *inflater) stream(w io.Writer, r io.ReaderAt, m *member) error {
	if x.packed == nil {
		x.packed = bufio.NewReaderSize(nil, 64<<10)
		x.flate = flate.NewReader(x.packed)
	}
	x.packed.Reset(io.NewSectionReader(r, m.data, m.packed))
	var src io.Reader = x.packed
	if m.method == deflated {
		if err := x.flate.(flate.Resetter).Reset(x.packed, nil); err != nil {
			return err
		}
		src = x.flate
	}
	out := &exactly{w: w, left: m.size}
	if _, err := io.Copy(out, src); err != nil {
		return err
	}
	if _, err := x.packed.ReadByte(); out.left != 0 || err != io.EOF {
		return errors.New("does not unpack to the size that the central directory says")
	}
	if out.crc != m.crc {
		return errors.New("checksum does not match")
	}
	return nil
}

// exactly passes on no more than left bytes, and sums them up.
type exactly struct {
	w    io.Writer
	left int64
	crc  uint32
}

func (e *exactly) Write(p []byte) (int, error) {
	if int64(len(p)) > e.left {
		return 0, errors.New("unpacks to more than the central directory says")
	}
	e.left -= int64(len(p))
	e.crc = crc32.Update(e.crc, crc32.IEEETable, p)
	return e.w.Write(p)
}

// read gives the member's content, at most limit bytes.
func (m *member) read(r io.ReaderAt, limit int64) ([]byte, error) {
	if m.size > limit {
		return nil, fmt.Errorf("%s: %d bytes, at most %d are allowed", m.name, m.size, limit)
	}
	var b bytes.Buffer
	x := inflaters.Get().(*inflater)
	defer inflaters.Put(x)
	if err := x.copy(&b, r, m); err != nil {
		return nil, fmt.Errorf("%s: %w", m.name, err)
	}
	return b.Bytes(), nil
}
