package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"curdling/internal/dist"
	"curdling/internal/metadata"
	"curdling/internal/sdist"
	"curdling/internal/wheel"
)

// InvalidError says that a file is not what its name says, or no distribution
// file at all. Err names the file.
type InvalidError struct{ Err error }

func (e *InvalidError) Error() string { return e.Err.Error() }
func (e *InvalidError) Unwrap() error { return e.Err }

// check opens a file and tells what it is, and a wheel's METADATA; SHA256 and what [File.came] sets stay unset. An
// error of the content is an *InvalidError.
func check(r io.ReaderAt, size int64, filename string) (f *File, metadata []byte, err error) {
	named, err := dist.ParseFilename(filename, "")
	if err == nil {
		if named.Kind == dist.Wheel {
			return checkWheel(r, size, filename)
		}
		f, err = checkSdist(r, size, filename)
		return f, nil, err
	}
	return nil, nil, &InvalidError{err}
}

func checkWheel(r io.ReaderAt, size int64, filename string) (*File, []byte, error) {
	w, err := wheel.Open(r, size, filename)
	if err != nil {
		return nil, nil, &InvalidError{err}
	}
	f := &File{File: w.File, Summary: shorten(w.Metadata.Summary)}
	f.Size = size
	f.RequiresPython = w.Metadata.RequiresPython
	f.HasMetadata, f.MetadataSHA256 = true, sum(w.RawMetadata)
	return f, w.RawMetadata, nil
}

func checkSdist(r io.ReaderAt, size int64, filename string) (*File, error) {
	m, err := sdist.Metadata(io.NewSectionReader(r, 0, size), filename)
	var field *metadata.FieldError
	if err != nil && (m == nil || !errors.As(err, &field)) {
		return nil, &InvalidError{err}
	}
	if m == nil {
		m = &metadata.Metadata{}
	}
	f, err := dist.ParseFilename(filename, m.Name)
	if err != nil {
		return nil, &InvalidError{err}
	}
	if !m.Version.IsZero() && m.Version.Compare(f.Version) != 0 {
		return nil, &InvalidError{fmt.Errorf("%s: PKG-INFO says version %s", filename, m.Version)}
	}
	if err := sdist.Verify(io.NewSectionReader(r, 0, size), filename); err != nil {
		return nil, &InvalidError{err}
	}
	f.Size, f.RequiresPython = size, m.RequiresPython
	return &File{File: f, Summary: shorten(m.Summary)}, nil
}

// shorten cuts a summary to 512 bytes, between characters.
func shorten(s string) string {
	const most = 512
	if len(s) <= most {
		return s
	}
	end := most
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// hashOf reads r from its start and gives the sha256 of its first size bytes.
func hashOf(r io.ReaderAt, size int64) (string, error) {
	h := sha256.New()
	n, err := io.Copy(h, io.NewSectionReader(r, 0, size))
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return hex.EncodeToString(h.Sum(nil)), err
}

// readerAt gives random access to what a store opened.
func readerAt(r io.ReadSeeker) io.ReaderAt {
	if at, ok := r.(io.ReaderAt); ok {
		return at
	}
	return seeker{r}
}

// seeker is an io.ReaderAt for one goroutine.
type seeker struct{ r io.ReadSeeker }

func (s seeker) ReadAt(p []byte, offset int64) (int, error) {
	if _, err := s.r.Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(s.r, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}
