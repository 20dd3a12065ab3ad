package wheel

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"curdling/internal/inflate"
)

// An inflater takes members out of an archive, one after the other.
type inflater struct {
	decoder inflate.Decoder
	in      section
	out     exactly
}

var inflaters = sync.Pool{New: func() any { return new(inflater) }}

// copy writes the member's content to w: as many bytes as the directory says,
// with the checksum that it says, and nothing left over.
func (x *inflater) copy(w io.Writer, r io.ReaderAt, m *member) (err error) {
	x.in, x.out = section{r, m.data, m.packed}, exactly{w: w, left: m.size}
	defer func() { x.in, x.out = section{}, exactly{} }()
	if m.method == deflated {
		err = x.decoder.Decode(&x.out, &x.in)
	} else {
		_, err = io.Copy(&x.out, &x.in)
	}
	switch {
	case err != nil && !errors.Is(err, inflate.ErrMore):
		return err
	case err != nil || x.out.left != 0:
		return errors.New("does not unpack to the size that the central directory says")
	case x.out.crc != m.crc:
		return errors.New("checksum does not match")
	}
	return nil
}

// section is an io.SectionReader that need not be allocated.
type section struct {
	r        io.ReaderAt
	at, left int64
}

func (s *section) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.r.ReadAt(p[:min(int64(len(p)), s.left)], s.at)
	s.at += int64(n)
	if s.left -= int64(n); err == io.EOF {
		err = nil
		if n == 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	return n, err
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
