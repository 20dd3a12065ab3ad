package filecache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"curdling/internal/store"
)

const (
	// large is the size, in bytes, from which on a file is read as it comes.
	large = 8 << 20
	// tail is how many bytes at the end wait for the hash.
	tail = 64 << 10
)

// errBypass says that a file has to be read from the store, as the disk does not take it now.
var errBypass = errors.New("the cache's disk failed")

// fill is a file on its way to the disk.
type fill struct {
	c      *Cache
	sum    string
	size   int64
	fetch  Fetch
	ctx    context.Context // ends when nobody waits
	cancel context.CancelFunc

	// What follows is guarded by c.mu.
	refs    int           // those who wait and read, and run
	file    *os.File      // what came lies here; closed with the last of refs. nil: nothing came yet
	have    int64         // bytes that came
	whole   bool          // all of them, with the right hash
	err     error         // it ended so
	changed chan struct{} // closed when any of that changes
}

func (f *fill) run() {
	err := f.do()
	c := f.c
	c.mu.Lock()
	if c.fills[f.sum] == f {
		delete(c.fills, f.sum)
	}
	f.err = err
	f.tell()
	c.mu.Unlock()
	f.cancel()
	f.release()
}

// do has the file on the disk, where what is there is not it.
func (f *fill) do() error {
	c := f.c
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-f.ctx.Done():
		return f.ctx.Err()
	case <-time.After(fillWait):
		return &store.UnavailableError{Err: errors.New("too many files are being fetched at once"), RetryAfter: time.Second}
	}
	if f.adopt() {
		return nil
	}
	if !c.reserve(f.size) {
		return errBypass
	}
	defer func() {
		c.mu.Lock()
		c.reserved -= f.size
		c.mu.Unlock()
	}()
	temp, err := c.temp()
	if err != nil {
		c.broke(err, f.size)
		return errBypass
	}
	if err = f.receive(temp); err != nil {
		_ = os.Remove(temp.Name())
	}
	var disk diskError
	if errors.As(err, &disk) {
		c.broke(disk, f.size)
		return errBypass
	}
	return err
}

// adopt takes a file that an earlier process left, if it is what it has to be.
func (f *fill) adopt() bool {
	c := f.c
	file, err := os.Open(c.path(f.sum))
	if err != nil {
		return false
	}
	sum := sha256.New()
	n, err := io.Copy(sum, store.Until(f.ctx, io.LimitReader(file, f.size+1)))
	if err == nil && n == f.size && sumOf(sum) == f.sum {
		c.add(f.sum, f.size, false)
		f.lend(file)
		f.complete()
		return true
	}
	file.Close()
	if f.ctx.Err() == nil {
		c.log.Warn("a damaged file of the cache is thrown away, and fetched again", "sha256", f.sum, "bytes", n, "err", err)
		c.forget(f.sum)
	}
	return false
}

// diskError is an error of the disk, and none of the store.
type diskError struct{ error }

func (e diskError) Unwrap() error { return e.error }

// receive fetches the file into temp, and puts it in its place.
func (f *fill) receive(temp *os.File) error {
	f.lend(temp)
	body, err := f.fetch(f.ctx)
	if err != nil {
		return err
	}
	defer body.Close()
	sum := sha256.New()
	if err := f.copy(temp, sum, body); err != nil {
		return err
	}
	if got := sumOf(sum); got != f.sum {
		return mismatch(f.sum, got)
	}
	err = f.c.place(temp.Name(), f.sum)
	if err == nil {
		f.c.mended()
		f.c.add(f.sum, f.size, true)
	}
	f.complete() // who has the right bytes may read them, though they might not be kept
	if err != nil {
		return diskError{err}
	}
	return nil
}

var buffers = sync.Pool{New: func() any { return new([128 << 10]byte) }}

// copy writes what comes, which must be just as many bytes as the file has.
func (f *fill) copy(temp *os.File, sum hash.Hash, body io.Reader) error {
	buffer := buffers.Get().(*[128 << 10]byte)
	defer buffers.Put(buffer)
	for have := int64(0); ; {
		n, err := body.Read(buffer[:])
		if have += int64(n); have > f.size {
			return fmt.Errorf("%s: the store has more than its %d bytes", f.sum, f.size)
		}
		if _, err := temp.Write(buffer[:n]); err != nil {
			return diskError{err}
		}
		sum.Write(buffer[:n])
		if n > 0 {
			f.came(have)
		}
		switch {
		case errors.Is(err, io.EOF) && have < f.size:
			return fmt.Errorf("%s: %d of its %d bytes came: %w", f.sum, have, f.size, io.ErrUnexpectedEOF)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// lend has those who wait read the file.
func (f *fill) lend(file *os.File) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	f.file = file
}

// complete says that all of it is there, and right.
func (f *fill) complete() {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	f.whole = true
}

func (f *fill) came(have int64) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	f.have = have
	f.tell()
}

// tell wakes who waits. c.mu is held.
func (f *fill) tell() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// limit is up to where the file may be read. c.mu is held.
func (f *fill) limit() int64 {
	switch {
	case f.whole:
		return f.size
	case f.size < f.c.large:
		return 0
	}
	return min(f.have, f.size-tail)
}

// await waits until there is something to read after offset, and tells up to where.
func (f *fill) await(ctx context.Context, offset int64) (limit int64, err error) {
	for {
		f.c.mu.Lock()
		limit, whole, err, changed := f.limit(), f.whole, f.err, f.changed
		f.c.mu.Unlock()
		switch {
		case whole || limit > offset:
			return limit, nil
		case err != nil:
			return 0, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// open gives the file as soon as something of it can be read, for one of refs.
func (f *fill) open(ctx context.Context) (io.ReadSeekCloser, error) {
	limit, err := f.await(ctx, 0)
	if err != nil {
		f.release()
		return nil, err
	}
	if limit == f.size {
		if file, err := os.Open(f.c.path(f.sum)); err == nil { // else it is evicted already
			f.release()
			return file, nil
		}
	}
	return &reader{f: f, ctx: ctx}, nil
}

// release is for each of refs, once. What nobody waits for is broken off, unless half of it is there.
func (f *fill) release() {
	c := f.c
	c.mu.Lock()
	defer c.mu.Unlock()
	f.refs--
	running := c.fills[f.sum] == f
	switch {
	case f.refs == 1 && running && f.have <= f.size/2:
		delete(c.fills, f.sum) // who comes now begins anew
		f.cancel()
	case f.refs == 0 && f.file != nil:
		f.file.Close()
	}
}

// reader reads a file while it comes. It is for one goroutine.
type reader struct {
	f      *fill
	ctx    context.Context
	offset int64
	closed bool
}

func (r *reader) Read(p []byte) (int, error) {
	switch {
	case r.closed:
		return 0, fs.ErrClosed
	case len(p) == 0:
		return 0, nil
	case r.offset >= r.f.size:
		return 0, io.EOF
	}
	limit, err := r.f.await(r.ctx, r.offset)
	if err != nil {
		return 0, err
	}
	n, err := r.f.file.ReadAt(p[:min(int64(len(p)), limit-r.offset)], r.offset)
	r.offset += int64(n)
	return n, err
}

func (r *reader) Seek(offset int64, whence int) (int64, error) {
	offset, err := seek(r.offset, r.f.size, offset, whence)
	if err == nil {
		r.offset = offset
	}
	return offset, err
}

func (r *reader) Close() error {
	if !r.closed {
		r.closed = true
		r.f.release()
	}
	return nil
}

func seek(at, size, offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += at
	case io.SeekEnd:
		offset += size
	}
	if offset < 0 || whence < io.SeekStart || whence > io.SeekEnd {
		return 0, fmt.Errorf("seeking to byte %d, from %d: there is none", offset, whence)
	}
	return offset, nil
}

func sumOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

func mismatch(want, got string) error {
	return fmt.Errorf("sha256 of what the store has is %s, and had to be %s", got, want)
}
