package wheel

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"
)

// An inflater takes members out of an archive, one after the other.
type inflater struct {
	packed *bufio.Reader
	flate  io.ReadCloser
}

func newInflater() *inflater {
	packed := bufio.NewReaderSize(nil, 64<<10)
	return &inflater{packed, flate.NewReader(packed)}
}

// copy writes the member's content to w: as many bytes as the directory says,
// with the checksum that it says, and nothing left over.
func (x *inflater) copy(w io.Writer, r io.ReaderAt, m *member) error {
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
	if err := newInflater().copy(&b, r, m); err != nil {
		return nil, fmt.Errorf("%s: %w", m.name, err)
	}
	return b.Bytes(), nil
}
