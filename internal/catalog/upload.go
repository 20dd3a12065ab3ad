package catalog

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"curdling/internal/dist"
	"curdling/internal/store"
)

// ConflictError says that other bytes are held under a name.
type ConflictError struct {
	Filename   string
	Held, Sent string // sha256; Held is "" where what lies there cannot be used
}

func (e *ConflictError) Error() string {
	if e.Held == "" {
		return e.Filename + ": a file of that name lies in the store and cannot be used; have it removed first"
	}
	return fmt.Sprintf("%s: other content is held under that name, and a name never changes its content: held is sha256 %s, sent was %s; raise the version or the build tag", e.Filename, e.Held, e.Sent)
}

// Upload is a file that came and is not held yet.
type Upload struct {
	Filename string
	Size     int64
	SHA256   string
	// Allow is asked by Keep whether files of a project may come; its error is
	// Keep's then. Nil: all may.
	Allow func(dist.Name) error
	// Record came with a wheel that was built of a source, see package record, and
	// Signature with the record; nil: there is none.
	Record, Signature []byte

	catalog *Catalog
	view    *View // what lies above in it counts more; nil: nothing does
	copied  bool  // from another catalog, which decided whether it may come: see [Copy]
	spooled *os.File
}

// Receive takes a file's bytes. The caller ends with Discard, after Keep too. A
// name that is no distribution file's is an *InvalidError, and nothing is read;
// an error of r comes back wrapped, and one of this machine's full disk may be a *[DiskFullError].
func (c *Catalog) Receive(filename string, r io.Reader) (*Upload, error) {
	if _, err := dist.ParseFilename(filename, ""); err != nil {
		return nil, &InvalidError{err}
	}
	f, err := c.Spool()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filename, err)
	}
	u := &Upload{Filename: filename, catalog: c, spooled: f}
	h := sha256.New()
	if u.Size, err = io.Copy(io.MultiWriter(f, h), r); err != nil {
		u.Discard()
		return nil, c.spoolError(fmt.Errorf("%s: %w", filename, err))
	}
	u.SHA256 = hex.EncodeToString(h.Sum(nil))
	return u, nil
}

// DiskFullError says that the disk is full on which this machine keeps what is on its way to a store far away. Nothing was done; other servers of
// that store may have room, and this one again once files at hand are gone.
type DiskFullError struct {
	Folder string // "": not known
	Err    error
}

func (e *DiskFullError) Error() string {
	return fmt.Sprintf("the disk with %s is full, on which a file lies on its way to the store: %v", cmp.Or(e.Folder, "this server's cache"), e.Err)
}

func (e *DiskFullError) Unwrap() error { return e.Err }

// spoolError makes of what went wrong with a temporary file a *DiskFullError, where the files do not lie on that disk but in a store far away.
func (c *Catalog) spoolError(err error) error {
	if c.far == nil || !store.IsFull(err) || errors.Is(err, store.ErrFull) {
		return err
	}
	full := &DiskFullError{Err: err}
	var at *fs.PathError
	if errors.As(err, &at) {
		full.Folder = filepath.Dir(at.Path)
	}
	c.log.Error("this server's own disk is full, and uploads cannot wait there on their way to the bucket: make room there, or give it a smaller --cache-size or a --cache-dir elsewhere",
		"folder", full.Folder, "err", err)
	if s, ok := c.store.(store.Yielder); ok {
		s.Yield()
	}
	return full
}

// Spool makes a temporary file, in the store where it can take it over. Whoever
// has it removes it, or gives it to [Catalog.Spooled]. The error is a *[DiskFullError] where the disk is full and is not what files are kept on.
func (c *Catalog) Spool() (f *os.File, err error) {
	if s, ok := c.store.(store.Spooler); ok {
		f, err = s.Spool()
	} else {
		f, err = os.CreateTemp("", "curdling-upload-")
	}
	if err != nil {
		return nil, c.spoolError(fmt.Errorf("no temporary file: %w", err))
	}
	return f, nil
}

// Spooled is [Catalog.Receive] for bytes that lie in a file of [Catalog.Spool]
// already: size bytes with that sha256. Discard closes and removes the file.
func (c *Catalog) Spooled(filename string, f *os.File, size int64, sha256 string) *Upload {
	return &Upload{Filename: filename, Size: size, SHA256: sha256, catalog: c, spooled: f}
}

// Digest gives another hash of the bytes than sha256, in hex.
func (u *Upload) Digest(h hash.Hash) (string, error) {
	_, err := io.Copy(h, io.NewSectionReader(u.spooled, 0, u.Size))
	return hex.EncodeToString(h.Sum(nil)), err
}

// Discard gives the temporary file back.
func (u *Upload) Discard() {
	u.spooled.Close()
	if err := os.Remove(u.spooled.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		u.catalog.log.Warn("a temporary file is left", "err", err)
	}
}

// Keep opens the file and has the store keep it; when it returns nil the file is
// held, and outlives a crash. created is false where the same bytes were held
// already; these stay from where they were. Other bytes under the name are a *ConflictError, a file that is not
// what its name says is an *InvalidError, a project that takes no files a *StatusError, one for
// which there is no room a *QuotaError.
func (u *Upload) Keep(ctx context.Context, from From) (created bool, err error) {
	created, err = u.keep(ctx, from)
	if created && u.Record != nil && u.view != nil && u.view.back != nil { // others wait for it, at servers that look into the bucket
		if f, err := dist.ParseFilename(u.Filename, ""); err == nil {
			u.view.back.await(ctx, f.Name)
		}
	}
	return created, err
}

func (u *Upload) keep(ctx context.Context, from From) (created bool, err error) {
	c := u.catalog
	above, err := u.view.heldAbove(ctx, u.Filename)
	if above != nil {
		if err := cmp.Or(u.allowed(above.Name), u.compare(ctx, above, from.User)); err != nil || u.view.back == nil {
			return false, err
		}
	}
	if err != nil {
		return false, err
	}
	held, err := c.stillHeld(ctx, u.Filename)
	if err != nil {
		return false, err
	}
	if held != nil {
		switch err := cmp.Or(u.allowed(held.Name), u.compare(ctx, held, from.User)); {
		case err != nil || u.Record == nil:
			return false, err
		case held.Build == nil:
			return false, u.keepRecord(ctx) // which a crash left out
		}
		if c.far != nil { // who removed an old one of that name, or its scope, may have taken this
			if err := c.far.deriveBuild(ctx, held.Build); err != nil {
				return false, err
			}
		}
		if u.Signature != nil {
			return false, u.addSignature(ctx)
		}
		return false, nil
	}
	if above != nil {
		return false, nil
	}
	f, metadata, err := check(u.spooled, u.Size, u.Filename)
	if err != nil {
		return false, err
	}
	if err := errors.Join(u.view.takesAbove(f.Name), c.takes(f.Name), u.allowed(f.Name)); err != nil && !u.copied {
		return false, err
	}
	if _, err := u.spooled.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	release, err := c.reserve(ctx, u.Filename, u.Size)
	if err != nil {
		return false, err
	}
	defer release()
	if c.far != nil {
		return c.far.keep(ctx, u, f, metadata, from)
	}
	if u.Record != nil {
		c.recording.Lock()
		defer c.recording.Unlock()
		if held := c.File(u.Filename); held != nil {
			return false, u.compare(ctx, held, from.User)
		}
		if err := u.keepRecord(ctx); err != nil {
			return false, err
		}
	}
	noted, err := u.noteAhead(f, from)
	if err != nil {
		return false, err
	}
	err = c.store.Create(ctx, u.Filename, u.spooled, u.Size)
	if errors.Is(err, fs.ErrExist) {
		c.examine(ctx, u.Filename, 0)
		return false, u.compare(ctx, c.File(u.Filename), from.User)
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", u.Filename, err)
	}
	r, info, err := c.store.Open(ctx, u.Filename)
	if err != nil {
		return false, fmt.Errorf("%s: kept, and cannot be opened: %w", u.Filename, err)
	}
	r.Close()
	f.SHA256 = u.SHA256
	f.came(info, from)
	c.put(f)
	if f.stamp() != noted {
		c.journal.append(f)
	}
	return true, nil
}

// noteAhead has a file that is copied keep the time at which it was published, and notes where it came from before it
// comes: a server of the same store that finds it knows so what is known here. Any other file is noted once it is held.
func (u *Upload) noteAhead(f *File, from From) (noted stamp, err error) {
	if !u.copied {
		return stamp{}, nil
	}
	if err := os.Chtimes(u.spooled.Name(), time.Time{}, from.UploadTime); err != nil {
		return stamp{}, err
	}
	fi, err := u.spooled.Stat()
	if err != nil {
		return stamp{}, err
	}
	f.SHA256 = u.SHA256
	f.came(store.Info{Size: u.Size, ModTime: fi.ModTime()}, from)
	u.catalog.journal.append(f)
	return f.stamp(), nil
}

// stillHeld gives a file that is held and lies in the store as it did; nil where there is none.
func (c *Catalog) stillHeld(ctx context.Context, filename string) (*File, error) {
	if c.far != nil {
		return c.far.heldNow(ctx, filename)
	}
	if held := c.File(filename); held != nil && c.unchanged(ctx, held.info()) {
		return held, nil
	}
	return nil, nil
}

func (u *Upload) allowed(project dist.Name) error {
	if u.Allow == nil {
		return nil
	}
	return u.Allow(project)
}

// compare tells whether the file came that is held. Of two builds of one identity the second is evidence.
func (u *Upload) compare(ctx context.Context, held *File, user string) error {
	switch {
	case held == nil:
		return &ConflictError{u.Filename, "", u.SHA256}
	case held.SHA256 != u.SHA256:
		if held.Build != nil && u.Record != nil && u.checkRecord() == nil {
			u.evidence(ctx, held, user)
		}
		return &ConflictError{u.Filename, held.SHA256, u.SHA256}
	}
	return nil
}

func (f *File) info() store.Info {
	return store.Info{Key: f.Filename, Size: f.Size, ModTime: f.ModTime}
}

// came notes how the file lies in the store, and where it came from.
func (f *File) came(info store.Info, from From) {
	f.ModTime = info.ModTime.UTC()
	if from.UploadTime.IsZero() {
		from.UploadTime = f.ModTime
	}
	f.From, f.UploadTime = from, from.UploadTime
}
