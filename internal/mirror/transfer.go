package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"curdling/internal/catalog"
	"curdling/internal/dist"
	"curdling/internal/index"
)

const (
	tail        = 64 << 10 // bytes at the end that wait for the hash
	mostUnsized = 2 << 30  // bytes of a file whose size nobody tells
	mostFailed  = 1000     // failures remembered
)

var (
	errMismatch = errors.New("what came is not what the upstream's page promised")
	errChanged  = errors.New("the upstream began again with other bytes")
)

// failure is remembered, so that not every client has a bad file fetched anew.
type failure struct {
	err   error
	until time.Time
}

// Fetch has a file fetched, or joins who does, and gives its bytes as they
// arrive. The errors are those of [Mirror.Find], and [ErrHeld].
func (m *Mirror) Fetch(ctx context.Context, filename string) (*Reader, error) {
	m.mu.Lock()
	r, err := m.join(ctx, filename)
	m.mu.Unlock()
	if r != nil || err != nil {
		return r, err
	}
	f, page, err := m.find(ctx, filename)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, err := m.join(ctx, filename); r != nil || err != nil { // another came first, and may have failed already
		return r, err
	}
	switch {
	case m.catalog.File(filename) != nil:
		return nil, ErrHeld
	case m.ctx.Err() != nil:
		return nil, m.ctx.Err()
	}
	spool, err := m.catalog.Spool()
	if err != nil {
		return nil, err
	}
	t := newTransfer(m, f, page.from, spool)
	m.transfers[filename] = t
	m.work.Go(t.run)
	return t.reader(ctx), nil
}

// join gives a reader of a fetch that is under way, or the error of one that failed a moment ago. m.mu is held.
func (m *Mirror) join(ctx context.Context, filename string) (*Reader, error) {
	if t := m.transfers[filename]; t != nil {
		return t.reader(ctx), nil
	}
	if f, ok := m.failures[filename]; ok {
		if m.now().Before(f.until) {
			return nil, f.err
		}
		delete(m.failures, filename)
	}
	return nil, nil
}

// transfer is a file on its way. It is the index.Sink of its download. What was read
// by somebody is never changed under him: where the upstream begins again, the
// bytes are compared with those that are there.
type transfer struct {
	m     *Mirror
	file  dist.File
	from  *upstream
	began time.Time
	over  chan struct{} // closed when all is done

	spool *os.File

	mu       sync.Mutex
	refs     int             // of spool
	upload   *catalog.Upload // what spool became
	changed  chan struct{}   // closed when any of what follows changes
	pos      int64           // where the download writes
	have     int64           // bytes that are there
	size     int64           // of all; -1: not known
	whole    bool            // and it is what it should be
	err      error           // the transfer ended so
	readers  map[*Reader]bool
	compared []byte
}

func newTransfer(m *Mirror, f dist.File, u *upstream, spool *os.File) *transfer {
	t := &transfer{
		m: m, file: f, from: u, began: m.now(), over: make(chan struct{}), spool: spool,
		refs: 1, changed: make(chan struct{}), size: -1, readers: make(map[*Reader]bool),
	}
	if f.Size > 0 {
		t.size = f.Size
	}
	return t
}

// run fetches the file and has it kept.
func (t *transfer) run() {
	m := t.m
	ctx, quit := context.WithCancelCause(m.ctx)
	defer quit(nil)
	first := time.AfterFunc(m.waits.firstByte, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.have == 0 {
			quit(fmt.Errorf("no byte came within %v", m.waits.firstByte))
		}
	})
	defer first.Stop()
	sum, err := t.from.files.Download(ctx, t.file, t, nil)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	var hash *index.HashError
	if errors.As(err, &hash) {
		m.count.mismatches.Add(1)
		err = fmt.Errorf("%w: %w", errMismatch, err)
	}
	t.from.count(err)
	if err == nil {
		err = t.keep(sum)
	}
	t.end(err)
}

// keep has the whole file kept.
func (t *transfer) keep(sum string) error {
	m := t.m
	if err := m.claim(m.ctx, t.file.Name); err != nil {
		return err
	}
	size, err := t.complete()
	if err != nil {
		return err
	}
	u := m.catalog.Spooled(t.file.Filename, t.spool, size, sum)
	t.mu.Lock()
	t.upload = u
	t.mu.Unlock()
	_, err = u.Keep(m.ctx, catalog.From{Upstream: t.from.Name, UploadTime: t.file.UploadTime})
	if err != nil {
		return err
	}
	m.count.fetched.Add(1)
	m.log.Info("fetched", "file", t.file.Filename, "upstream", t.from.Name, "bytes", size, "sha256", sum,
		"ms", m.now().Sub(t.began).Milliseconds())
	return nil
}

// complete says that all bytes are there and, where the hash was known, right. It gives their number.
func (t *transfer) complete() (int64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pos < t.have {
		t.cut(t.pos)
	}
	if t.size >= 0 && t.size != t.have {
		return 0, fmt.Errorf("%w: %d bytes came, %d were announced", errMismatch, t.have, t.size)
	}
	t.size, t.whole = t.have, t.file.SHA256 != ""
	t.tell()
	return t.size, nil
}

// end lets everybody know how it went.
func (t *transfer) end(err error) {
	m := t.m
	m.mu.Lock()
	delete(m.transfers, t.file.Filename)
	if err != nil && m.ctx.Err() == nil {
		t.fail(err)
	}
	m.mu.Unlock()
	t.mu.Lock()
	if !t.whole { // who has all the right bytes may send them, though they cannot be kept
		t.err = err
	}
	t.whole = t.whole || err == nil
	t.tell()
	t.mu.Unlock()
	close(t.over)
	t.release()
}

// fail remembers and tells that the file could not be had. m.mu is held.
func (t *transfer) fail(err error) {
	m := t.m
	wait := 2 * time.Second
	if errors.Is(err, errMismatch) {
		wait = absentUse
	}
	m.count.errors.Add(1)
	m.log.Warn("a file could not be fetched and kept", "file", t.file.Filename, "upstream", t.from.Name, "err", err)
	if t.isWhole() {
		return // it was served
	}
	if len(m.failures) >= mostFailed {
		clear(m.failures)
	}
	m.failures[t.file.Filename] = failure{&Error{t.from.Name, err}, m.now().Add(wait)}
}

func (t *transfer) isWhole() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.whole
}

// failure gives the error that the transfer ended with.
func (t *transfer) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return &Error{t.from.Name, t.err}
	}
	return nil
}

// tell wakes who waits. t.mu is held.
func (t *transfer) tell() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// release gives spool back when nobody needs it any more.
func (t *transfer) release() {
	t.mu.Lock()
	t.refs--
	last, upload := t.refs == 0, t.upload
	t.mu.Unlock()
	switch {
	case !last:
	case upload != nil:
		upload.Discard()
	default:
		t.spool.Close()
		if err := os.Remove(t.spool.Name()); err != nil {
			t.m.log.Warn("a temporary file is left", "err", err)
		}
	}
}

// Announce implements index.Announcer.
func (t *transfer) Announce(size int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case size < 0:
		return nil
	case t.size < 0:
		t.size = size
		t.tell()
	case t.size != size:
		return fmt.Errorf("%d bytes, before it were %d", size, t.size)
	}
	return nil
}

// Seek implements io.Seeker, as far as a download needs it.
func (t *transfer) Seek(offset int64, whence int) (int64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pos = offset
	return offset, nil
}

// Truncate is the download's word that it begins again: what is there stays, to compare.
func (t *transfer) Truncate(int64) error { return nil }

// Write takes the next bytes of the download.
func (t *transfer) Write(p []byte) (int, error) {
	t.m.count.bytes.Add(int64(len(p)))
	again := int(min(t.have-t.pos, int64(len(p)))) // only this goroutine changes them
	if again > 0 {
		if err := t.compare(p[:again]); err != nil {
			return 0, err
		}
	}
	if _, err := t.spool.WriteAt(p[again:], t.pos+int64(again)); err != nil {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pos += int64(len(p))
	t.have = max(t.have, t.pos)
	if t.size < 0 && t.have > mostUnsized {
		return 0, fmt.Errorf("more than %d bytes, and nobody says how many", int64(mostUnsized))
	}
	t.tell()
	return len(p), nil
}

// compare holds bytes that come again against those that are there. From where they differ the new ones count.
func (t *transfer) compare(p []byte) error {
	if cap(t.compared) < len(p) {
		t.compared = make([]byte, len(p))
	}
	old := t.compared[:len(p)]
	if _, err := t.spool.ReadAt(old, t.pos); err != nil {
		return err
	}
	if bytes.Equal(old, p) {
		return nil
	}
	t.mu.Lock()
	t.cut(t.pos)
	t.mu.Unlock()
	_, err := t.spool.WriteAt(p, t.pos)
	return err
}

// cut forgets what is there from an offset on, and whoever read of that. t.mu is held.
func (t *transfer) cut(offset int64) {
	t.have = offset
	_ = t.spool.Truncate(offset) // what is left there is not read before it is written again
	for r := range t.readers {
		r.broken = r.broken || r.high > offset
	}
	t.tell()
}

// limit is up to where bytes may be passed on. t.mu is held.
func (t *transfer) limit() int64 {
	switch {
	case t.whole:
		return t.have
	case t.size < 0 || t.file.SHA256 == "":
		return 0
	}
	return min(t.have, t.size-tail)
}

// Reader reads a file while it arrives. It is for one goroutine.
type Reader struct {
	t      *transfer
	ctx    context.Context
	offset int64
	err    error // a Read failed so

	high   int64 // up to where anything was read; of t.mu
	broken bool  // what was read is not right any more; of t.mu
}

// reader lends the spooled file.
func (t *transfer) reader(ctx context.Context) *Reader {
	t.m.count.misses.Add(1)
	r := &Reader{t: t, ctx: ctx}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refs++
	t.readers[r] = true
	return r
}

// Ready waits until the first bytes can be read and the size is known; before
// that an error can still be told.
func (r *Reader) Ready() error {
	for {
		t := r.t
		t.mu.Lock()
		ready, err, changed := t.whole || t.limit() > 0, t.err, t.changed
		t.mu.Unlock()
		switch {
		case err != nil:
			return &Error{t.from.Name, err}
		case ready:
			return nil
		}
		if err := r.wait(changed); err != nil {
			return err
		}
	}
}

func (r *Reader) wait(changed <-chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
}

// File is what the upstream says of the file.
func (r *Reader) File() dist.File { return r.t.file }

// Err gives the error that a Read failed with. What was read then is not the file.
func (r *Reader) Err() error { return r.err }

// Read waits for the bytes.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := r.read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

func (r *Reader) read(p []byte) (int, error) {
	t := r.t
	for {
		t.mu.Lock()
		limit, size, err, changed := t.limit(), t.size, t.err, t.changed
		n := int(max(0, min(int64(len(p)), limit-r.offset)))
		switch {
		case r.broken:
			err = errChanged
		case size >= 0 && r.offset >= size:
			err = io.EOF
		case n > 0:
			r.high = max(r.high, r.offset+int64(n))
		}
		t.mu.Unlock()
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return 0, &Error{t.from.Name, err}
		case err != nil:
			return 0, err
		case n > 0 || len(p) == 0:
			return r.take(p[:n])
		}
		if err := r.wait(changed); err != nil {
			return 0, err
		}
	}
}

// take reads bytes that are there, unless they change in that moment.
func (r *Reader) take(p []byte) (int, error) {
	n, err := r.t.spool.ReadAt(p, r.offset)
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	if r.broken {
		return 0, errChanged
	}
	r.offset += int64(n)
	return n, err
}

// Seek implements io.Seeker. The end is known once Ready says so.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.offset
	case io.SeekEnd:
		r.t.mu.Lock()
		offset += r.t.size
		r.t.mu.Unlock()
	}
	if offset < 0 {
		return 0, fmt.Errorf("%s: offset %d", r.t.file.Filename, offset)
	}
	r.offset = offset
	return offset, nil
}

// Close gives the file back.
func (r *Reader) Close() error {
	r.t.mu.Lock()
	delete(r.t.readers, r)
	r.t.mu.Unlock()
	r.t.release()
	return nil
}
