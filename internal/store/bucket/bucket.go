// Package bucket is a store of distribution files in an object store that any number of servers share.
//
// Its keys are flat, as in a folder: names of distribution files, names of what lies beside one (the file's name and
// one more ending or several), and PROJECT.status. Any other is a bad key. Below wheels/PROJECT/ of the raw store, where PROJECT is the
// normalised name that [dist.ParseFilename] reads without a hint, lie
//
//	KEY                    what lies beside a file, and statuses, as they are
//	FILE                   the claim of a distribution file: which bytes have its name, and the note
//	SHA256/PUT/FILE        bytes; PUT is random, so that each attempt to keep a file has a place of its own
//
// A file is held if and only if its claim is there and the bytes that it names. The bytes come first, then the claim,
// by one conditional put, which decides every race and is all that makes a file visible. Remove takes the claim first.
// As nobody but the one who put them and the claim that names them uses bytes, who removes some can take none from
// another, and what was put comes under no name before it is whole. Bytes that no claim names are rubbish, which a crash left: see
// [Store.SweepProject].
//
// A claim never changes, so what was read of one is known for good, as long as it is the same that a listing shows.
// A file that another server removed may be opened here until its group is listed again.
package bucket

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"curdling/internal/store"
	"curdling/internal/store/filecache"
)

// Raw is the object store below.
type Raw interface {
	store.Versioned
	store.Stater
	store.Swapper
	store.Folders
}

// Options of a store. The zero value will do.
type Options struct {
	// Cache is what distribution files and tarballs are read through. Nil keeps none: they stream from the raw store.
	Cache *filecache.Cache
	// Temp is the folder for temporary files; "" is that of the system.
	Temp string
	// Known is how many files are remembered at most, each with some 300 bytes; zero is 200,000. It should be
	// more than are asked for within some seconds.
	Known int
}

// Store is a store of distribution files. Make one with [New].
type Store struct {
	raw   Raw
	cache *filecache.Cache
	temp  string
	known memory
}

var (
	_ store.Noter       = (*Store)(nil)
	_ store.Spooler     = (*Store)(nil)
	_ store.Swapper     = (*Store)(nil)
	_ store.Stater      = (*Store)(nil)
	_ store.Digester    = (*Store)(nil)
	_ store.Quarantiner = (*Store)(nil)
	_ store.Presigner   = (*Store)(nil)
	_ store.Doubter     = (*Store)(nil)
	_ store.Yielder     = (*Store)(nil)
)

// New gives the store that lies in raw. It asks for nothing.
func New(raw Raw, o Options) *Store {
	s := &Store{raw: raw, cache: o.Cache, temp: filepath.Clean(o.Temp)}
	if o.Cache == nil {
		s.cache = filecache.New(filecache.Options{})
	}
	if o.Temp == "" {
		s.temp = filepath.Clean(os.TempDir())
	}
	if s.known.limit = o.Known; o.Known == 0 {
		s.known.limit = 200_000
	}
	return s
}

// Open asks for the bytes alone where the claim is known. The reader may need ctx as long as it is read. It gives the last of
// the bytes, read in their order, only where all have the hash that they must have.
func (s *Store) Open(ctx context.Context, key string) (io.ReadSeekCloser, store.Info, error) {
	p, err := placeOf(key)
	if err != nil {
		return nil, store.Info{}, err
	}
	if !p.file && p.sha256 == "" {
		r, info, err := s.raw.Open(ctx, p.object())
		info.Key = key
		return r, info, err
	}
	f, known := s.known.get(p)
	if known {
		r, err := s.bytes(ctx, f)
		if !errors.Is(err, fs.ErrNotExist) {
			return r, f.info(key), err
		}
		s.known.forget(p) // it was removed, and may have come back
	}
	if f, err = s.look(ctx, p); err != nil {
		return nil, store.Info{}, err
	}
	r, err := s.bytes(ctx, f)
	if err != nil {
		return nil, store.Info{}, err
	}
	s.known.put(p, f)
	return r, f.info(key), nil
}

// bytes opens what a file's claim names.
func (s *Store) bytes(ctx context.Context, f file) (io.ReadSeekCloser, error) {
	return s.cache.Open(ctx, f.sha256, f.size, func(ctx context.Context) (io.ReadSeekCloser, error) {
		r, info, err := s.raw.Open(ctx, f.object)
		if err == nil && info.Size != f.size {
			r.Close()
			err = fmt.Errorf("%s: %d bytes lie there, and must be %d", f.object, info.Size, f.size)
		}
		return r, err
	})
}

// look asks the raw store what a key holds, and not yet for the bytes of a distribution file.
func (s *Store) look(ctx context.Context, p place) (file, error) {
	if p.file {
		_, f, err := s.claim(ctx, p)
		return f, err
	}
	info, err := s.raw.Stat(ctx, p.object())
	return p.beside(info), err
}

// Stat reads the claim of a distribution file anew.
func (s *Store) Stat(ctx context.Context, key string) (store.Info, error) {
	p, err := placeOf(key)
	if err != nil {
		return store.Info{}, err
	}
	if !p.file {
		info, err := s.raw.Stat(ctx, p.object())
		info.Key = key
		return info, err
	}
	_, info, err := s.noted(ctx, p)
	return info, err
}

// Note is answered from what the last listing brought, once, and then by reading the claim.
func (s *Store) Note(ctx context.Context, key string) ([]byte, store.Info, error) {
	p, err := placeOf(key)
	if err != nil {
		return nil, store.Info{}, err
	}
	if f, note, ok := s.known.takeNote(p); ok {
		return note, f.info(key), nil
	}
	if !p.file {
		info, err := s.Stat(ctx, key)
		return nil, info, err
	}
	return s.noted(ctx, p)
}

// noted reads a claim, and sees that the bytes are there, unless they were seen before.
func (s *Store) noted(ctx context.Context, p place) ([]byte, store.Info, error) {
	note, f, err := s.claim(ctx, p)
	if err == nil && !s.known.seen(p, f) {
		err = s.there(ctx, f)
	}
	if err != nil {
		s.known.forget(p)
		return nil, store.Info{}, err
	}
	s.known.put(p, f)
	return note, f.info(p.key), nil
}

// there tells whether the bytes are there that a claim names. Where they are not, the error wraps [fs.ErrNotExist].
func (s *Store) there(ctx context.Context, f file) error {
	info, err := s.raw.Stat(ctx, f.object)
	if err == nil && info.Size != f.size {
		return fmt.Errorf("%s: %d bytes lie there, and its claim says %d: %w", f.object, info.Size, f.size, fs.ErrNotExist)
	}
	return err
}

// SHA256 is "" where the claim was not read yet.
func (s *Store) SHA256(key string) string {
	p, err := placeOf(key)
	if err != nil {
		return ""
	}
	if f, ok := s.known.get(p); ok {
		return f.sha256
	}
	return p.sha256
}

// Place gives the key under which the raw store has the bytes, so that others can be sent there. They are not hashed.
func (s *Store) Place(ctx context.Context, key string) (object string, info store.Info, err error) {
	p, err := placeOf(key)
	if err != nil {
		return "", store.Info{}, err
	}
	f, ok := s.known.get(p)
	if !ok {
		if _, info, err = s.Note(ctx, key); err != nil {
			return "", store.Info{}, err
		}
		if f, ok = s.known.get(p); !ok {
			return p.object(), info, nil
		}
	}
	return f.object, f.info(key), nil
}

// Doubt has the cache's copy of a file hashed before it is used again.
func (s *Store) Doubt(key string) { s.cache.Doubt(s.SHA256(key)) }

// Yield is the cache's, whose folder may be on the disk of Temp.
func (s *Store) Yield() { s.cache.Yield() }

// Presign is for the raw stores that can do it; of others the error wraps [errors.ErrUnsupported].
func (s *Store) Presign(ctx context.Context, key string, ttl time.Duration) (string, error) {
	signer, ok := s.raw.(store.Presigner)
	if !ok {
		return "", fmt.Errorf("%s: no URL: %w", key, errors.ErrUnsupported)
	}
	p, err := placeOf(key)
	object := p.object()
	if err == nil && p.file {
		object, _, err = s.Place(ctx, key)
	}
	if err != nil {
		return "", err
	}
	return signer.Presign(ctx, object, ttl)
}

const spoolPrefix = "curdling-"

// Spool makes a temporary file, which Create reads again.
func (s *Store) Spool() (*os.File, error) { return os.CreateTemp(s.temp, spoolPrefix) }

// Create hashes a distribution file before it is sent. Where the raw store did not answer, its error leaves open
// whether the file is held.
func (s *Store) Create(ctx context.Context, key string, r io.Reader, size int64) error {
	p, err := placeOf(key)
	if err != nil {
		return err
	}
	if !p.file {
		if f, ok := s.spooled(r); ok {
			r = io.NewSectionReader(f, 0, size)
			if err := hasSize(f, size); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		}
		return s.raw.Create(ctx, p.object(), r, size)
	}
	return s.with(ctx, key, r, size, func(f *os.File) error {
		h := sha256.New()
		if _, err := io.Copy(h, io.NewSectionReader(f, 0, size)); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return s.create(ctx, p, claim{SHA256: hex.EncodeToString(h.Sum(nil)), Size: size}, f)
	})
}

// CreateNoted sends the bytes, and claims the name for them. It is for distribution files alone. Bytes with another hash
// are not kept. Where the raw store did not answer, its error leaves open whether the file is held.
func (s *Store) CreateNoted(ctx context.Context, key, sha256 string, note []byte, r io.Reader, size int64) error {
	p, err := placeOf(key)
	switch {
	case err != nil:
		return err
	case !p.file:
		return fmt.Errorf("%s: only a distribution file has a note: %w", key, fs.ErrInvalid)
	case !store.IsSHA256(sha256):
		return fmt.Errorf("%s: %.80q is no sha256 in lower-case hex: %w", key, sha256, fs.ErrInvalid)
	case len(note) > MaxNote:
		return fmt.Errorf("%s: its note of %d bytes is longer than %d: %w", key, len(note), MaxNote, fs.ErrInvalid)
	}
	return s.with(ctx, key, r, size, func(f *os.File) error {
		return s.create(ctx, p, claim{SHA256: sha256, Size: size, note: note}, f)
	})
}

// with has do work on a file with just the size bytes of r: r itself where it is one of Spool.
func (s *Store) with(ctx context.Context, key string, r io.Reader, size int64, do func(*os.File) error) error {
	f, ok := s.spooled(r)
	if !ok {
		var err error
		if f, err = s.Spool(); err != nil {
			return fmt.Errorf("%s: no temporary file: %w", key, err)
		}
		defer os.Remove(f.Name())
		defer f.Close()
		if _, err := io.Copy(f, io.LimitReader(store.Until(ctx, r), size+1)); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	if err := errors.Join(hasSize(f, size), ctx.Err()); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return do(f)
}

func (s *Store) spooled(r io.Reader) (*os.File, bool) {
	f, ok := r.(*os.File)
	if !ok {
		return nil, false
	}
	dir, name := filepath.Split(f.Name())
	return f, filepath.Clean(dir) == s.temp && strings.HasPrefix(name, spoolPrefix)
}

func hasSize(f *os.File, size int64) error {
	fi, err := f.Stat()
	if err == nil && fi.Size() != size {
		err = fmt.Errorf("%d bytes came, %d were announced: %w", fi.Size(), size, io.ErrUnexpectedEOF)
	}
	return err
}

// create puts the bytes, then the claim.
func (s *Store) create(ctx context.Context, p place, c claim, spooled *os.File) error {
	c.Put = rand.Text()
	f := p.claimed(c)
	body := store.Verify(p.key, io.NewSectionReader(spooled, 0, c.Size), c.Size, c.SHA256)
	err := s.raw.Create(ctx, f.object, body, c.Size)
	if err != nil && !errors.Is(err, fs.ErrExist) { // what has this name is of an attempt before that
		return err
	}
	text := c.render()
	f.claimSize = int64(len(text))
	err = s.raw.Create(ctx, p.object(), bytes.NewReader(text), f.claimSize)
	if err != nil {
		_, held, lookErr := s.claim(ctx, p)
		switch taken := errors.Is(err, fs.ErrExist); {
		case lookErr == nil && held.object == f.object:
			err = nil // the answer was lost
		case taken && (lookErr == nil || errors.Is(lookErr, errBroken)):
			s.drop(ctx, f)
		case taken:
			err = &store.UnavailableError{Err: errors.New(p.key + ": it was taken, and by whom cannot be seen: " + lookErr.Error())}
		}
	}
	if err == nil {
		s.known.put(p, f)
	}
	return err
}

// drop removes bytes that no claim names any more. Where that fails they are rubbish, which is swept.
func (s *Store) drop(ctx context.Context, f file) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	_ = s.raw.Remove(ctx, f.object)
}

// Remove takes the claim of a distribution file, and then its bytes, and so a claim that has none, or cannot be read.
// Who reads them goes on, or fails where he has to ask again.
func (s *Store) Remove(ctx context.Context, key string) error {
	p, err := placeOf(key)
	if err != nil {
		return err
	}
	if !p.file {
		s.known.forget(p)
		return s.raw.Remove(ctx, p.object())
	}
	c, err := s.versioned(ctx, p)
	if err != nil && !errors.Is(err, errBroken) {
		return err
	}
	return s.RemoveClaimed(ctx, c)
}

// Swap changes what lies beside a file. A distribution file never changes.
func (s *Store) Swap(ctx context.Context, key string, old, content []byte) error {
	p, err := placeOf(key)
	if err == nil && (p.file || p.sha256 != "") {
		err = fmt.Errorf("%s: a file with this name never changes: %w", key, fs.ErrInvalid)
	}
	if err != nil {
		return err
	}
	return s.raw.Swap(ctx, p.object(), old, content)
}
