package s3

import (
	"context"
	"errors"
	"fmt"
	"io"

	"curdling/internal/store"
)

// reader reads an object from wherever it was told to, and asks again where a connection breaks.
type reader struct {
	get    func(offset int64) (io.ReadCloser, error)
	size   int64
	offset int64         // of the next byte to be read
	body   io.ReadCloser // nil: to be asked for
	at     int64         // the byte that comes next from body
	broken int           // connections in a row that brought nothing
}

// maxBroken is how many connections in a row may break before they brought a byte.
const maxBroken = 3

func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.offset < r.size {
		if r.body == nil || r.at != r.offset {
			if err := r.ask(); err != nil {
				return 0, err
			}
		}
		n, err := r.body.Read(p[:min(int64(len(p)), r.size-r.offset)])
		if n > 0 { // an error comes again
			r.offset += int64(n)
			r.at, r.broken = r.offset, 0
			return n, nil
		}
		if err == nil {
			continue
		}
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return 0, err
		}
		if r.broken++; r.broken > maxBroken {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, &store.UnavailableError{Err: err}
		}
		r.Close()
	}
	return 0, io.EOF
}

// ask asks for the object from offset on.
func (r *reader) ask() (err error) {
	r.Close()
	if r.body, err = r.get(r.offset); err != nil {
		r.body = nil
	}
	r.at = r.offset
	return err
}

// Seek asks for nothing before the next Read.
func (r *reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.offset
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 || whence < io.SeekStart || whence > io.SeekEnd {
		return 0, fmt.Errorf("seeking to byte %d, from %d: there is none", offset, whence)
	}
	r.offset = offset
	return offset, nil
}

func (r *reader) Close() error {
	if r.body != nil {
		r.body.Close() // of what was only read nothing can be lost
		r.body = nil
	}
	return nil
}

// exact gives what r gives, and fails, before the last byte is out, where that are not just as many bytes as
// announced, or ctx is done.
type exact struct {
	ctx  context.Context
	r    io.Reader
	left int64
	err  error // why it ended early
}

// begin tells whether there is anything in the way of an empty file, of which nobody reads a byte.
func (e *exact) begin() error {
	if e.left == 0 {
		e.err = e.end()
	}
	return e.err
}

// end is the error for what comes after the last byte.
func (e *exact) end() error {
	n, err := io.ReadFull(e.r, make([]byte, 1))
	switch {
	case n > 0:
		return errors.New("more bytes came than were announced")
	case !errors.Is(err, io.EOF):
		return err
	}
	return context.Cause(e.ctx)
}

func (e *exact) Read(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	switch {
	case e.left == 0:
		e.err = e.end()
	case errors.Is(err, io.EOF):
		e.err = fmt.Errorf("%d bytes less came than were announced: %w", e.left, io.ErrUnexpectedEOF)
	default:
		e.err = errors.Join(err, context.Cause(e.ctx))
	}
	if e.err != nil {
		return 0, e.err
	}
	return n, nil
}
