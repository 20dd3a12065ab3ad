package catalog

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"curdling/internal/dist"
	"curdling/internal/store"
	"curdling/internal/wheel"
)

// learnt is what reading told of one key.
type learnt struct {
	info              store.Info
	file              *File
	record, signature *sidecar // that are in its note
	sidecar           *sidecar
	err               error // what lies there cannot be used
}

// listing is what a project's listing told.
type listing struct {
	began    uint64
	infos    []store.Info
	tarballs map[string]dist.Tarball // by the name that they share with the wheel of those bytes
}

// lookAtProject lists a project, and reads what is new.
func (r *far) lookAtProject(ctx context.Context, p *place) error {
	l := listing{began: r.ticks.Add(1)}
	for info, err := range r.store.ListGroup(ctx, p.key) {
		switch {
		case err != nil:
			return err
		case strings.HasSuffix(info.Key, wheel.TarballSuffix):
			l.addTarball(info)
		default:
			l.infos = append(l.infos, info)
		}
	}
	news, changed := r.compare(p, l)
	all, err := r.learn(ctx, p, news)
	if err != nil {
		return err
	}
	if changed {
		r.take(p, l, all)
	}
	r.shrink()
	return nil
}

// A tarball lies beside its wheel as WHEEL.OF-OWN.tar.zst, where OF begins the wheel's sha256 and OWN is its own: a name that went and came
// again with other bytes has none of the old ones.
const tarballOf = 16

func tarballName(f *File) string { return f.Filename + "." + f.SHA256[:tarballOf] }

func tarballKey(f *File, own dist.Tarball) string {
	return tarballName(f) + "-" + own.SHA256 + wheel.TarballSuffix
}

// addTarball notes a tarball. Of several, which servers of different versions made, all servers take the same.
func (l *listing) addTarball(info store.Info) {
	stem := strings.TrimSuffix(info.Key, wheel.TarballSuffix)
	dash := strings.LastIndexByte(stem, '-')
	if dash < 0 || !store.IsSHA256(stem[dash+1:]) || info.Size <= 0 {
		return
	}
	if l.tarballs == nil {
		l.tarballs = make(map[string]dist.Tarball)
	}
	if known := l.tarballs[stem[:dash]]; known.SHA256 == "" || stem[dash+1:] < known.SHA256 {
		l.tarballs[stem[:dash]] = dist.Tarball{SHA256: stem[dash+1:], Size: info.Size}
	}
}

// tarball gives the tarball that was listed of a file; the zero value is of what has none.
func (l *listing) tarball(f *File) dist.Tarball {
	if len(l.tarballs) == 0 || !f.hasTarball() {
		return dist.Tarball{}
	}
	return l.tarballs[tarballName(f)]
}

// compare finds what is new in a listing, and tells whether anything is, or is gone.
func (r *far) compare(p *place, l listing) (news []store.Info, changed bool) {
	c, now := r.c, time.Now()
	c.mu.RLock()
	defer c.mu.RUnlock()
	known := len(p.beside)
	if held := c.projects[dist.Name(p.key)]; held != nil {
		known += len(held.Files)
		changed = slices.ContainsFunc(held.Files, func(f *File) bool { return f.Tarball != l.tarball(f) })
	}
	for _, info := range l.infos {
		if !c.knows(info) || c.sidecars[info.Key].unsettled(now) {
			news = append(news, info)
		}
	}
	return news, changed || len(news) > 0 || len(l.infos) != known || p.tick == 0
}

// unsettled tells that a sidecar may have changed within the second that its time is of, and is to be read again.
func (s *sidecar) unsettled(now time.Time) bool {
	return s != nil && !s.settled && !s.within && now.Sub(s.seen) >= sidecarSettled
}

// learn reads what is new.
func (r *far) learn(ctx context.Context, p *place, news []store.Info) ([]learnt, error) {
	var (
		all    = make([]learnt, len(news))
		failed = make([]error, len(news))
		count  atomic.Int64
		in     = &sharedCommon{common: newCommon()}
		g      errgroup.Group
	)
	g.SetLimit(readAtOnce)
	for i, info := range news {
		if l, ok := p.unused[info.Key]; ok && stampOf(l.info) == stampOf(info) {
			all[i] = l
			continue
		}
		g.Go(func() error {
			select {
			case r.reading <- struct{}{}:
				defer func() { <-r.reading }()
			case <-ctx.Done():
			}
			if failed[i] = ctx.Err(); failed[i] == nil && count.Load() < mostFailed {
				all[i], failed[i] = r.read(ctx, dist.Name(p.key), info, in)
			}
			if failed[i] != nil {
				count.Add(1)
			}
			return failed[i]
		})
	}
	err := g.Wait()
	p.unused = nil
	if err != nil { // what was learnt need not be learnt again
		p.unused = make(map[string]learnt)
		for i, l := range all {
			if failed[i] == nil && l.info.Key != "" {
				p.unused[l.info.Key] = l
			}
		}
	}
	return all, err
}

// sharedCommon is a common for several goroutines.
type sharedCommon struct {
	mu sync.Mutex
	*common
}

// read reads one key; an error is the store's. What is gone by now is the zero value.
func (r *far) read(ctx context.Context, name dist.Name, info store.Info, in *sharedCommon) (learnt, error) {
	l := learnt{info: info}
	if of, ok := projectOf(info.Key); !ok || of != name {
		if _, l.err = dist.ParseFilename(info.Key, ""); l.err == nil || of != "" {
			l.err = fmt.Errorf("it lies among the files of %s", name)
		}
		r.c.log.Warn("ignored", "file", info.Key, "err", l.err)
		return l, nil
	}
	var err error
	if _, _, beside := splitSidecar(info.Key); beside {
		l.sidecar, l.info, err = r.readBeside(ctx, info.Key)
	} else {
		err = r.readNote(ctx, &l, in)
	}
	var invalid *InvalidError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return learnt{}, nil
	case errors.As(err, &invalid):
		r.c.log.Warn("ignored", "file", info.Key, "err", err)
		l.info, l.err = info, err
		return l, nil
	}
	return l, err
}

// readNote learns what is known of a file. Where its note does not tell all that is needed, the file itself is read.
func (r *far) readNote(ctx context.Context, l *learnt, in *sharedCommon) error {
	text, info, err := r.store.Note(ctx, l.info.Key)
	if err != nil {
		return err
	}
	n, err := in.noted(text, info)
	if l.file, l.info = n.file, info; l.file == nil {
		r.c.log.Debug("a file's note does not tell all, and the file is read", "file", info.Key)
		return r.readFile(ctx, l)
	}
	if err != nil { // as if it were no build it must not be shown
		return &InvalidError{fmt.Errorf("the record in its note: %w", err)}
	}
	if n.build != nil {
		l.record = &sidecar{within: true, build: n.build}
		if n.signed {
			l.signature = &sidecar{within: true}
		}
	}
	return nil
}

// noted is what a note tells of a file.
type noted struct {
	file   *File  // nil: it does not tell all
	whole  bool   // all of it could be read
	build  *Build // that made the file; nil: it tells of none
	signed bool   // there is a signature of the build's record
}

// noted reads the note of a file that lies in the store as info says. An error is of the record in it.
func (in *sharedCommon) noted(note []byte, info store.Info) (n noted, err error) {
	var x facts
	if len(note) <= maxNote {
		x, n.whole = parseFacts(string(note))
	}
	x.ModTime = info.ModTime.UnixNano()
	in.mu.Lock()
	n.file = x.file(info, in.common)
	in.mu.Unlock()
	if n.file == nil || x.Record == "" {
		return n, nil
	}
	n.signed = x.Signature != ""
	if n.build, err = readBuild([]byte(x.Record), info.Key); err == nil && n.build.SHA256 != n.file.SHA256 {
		err = errors.New("it is of another wheel")
	}
	return n, err
}

// readFile reads a file whole, as [Catalog.examine] does.
func (r *far) readFile(ctx context.Context, l *learnt) error {
	content, info, err := r.store.Open(ctx, l.info.Key)
	if err != nil {
		return err
	}
	defer content.Close()
	copied, err := r.c.Spool()
	if err != nil {
		return err
	}
	defer os.Remove(copied.Name())
	defer copied.Close()
	h := sha256.New()
	if n, err := io.Copy(io.MultiWriter(copied, h), io.LimitReader(content, info.Size)); err != nil || n != info.Size {
		return cmp.Or(err, io.ErrUnexpectedEOF)
	}
	if l.file, _, err = check(copied, info.Size, info.Key); err != nil {
		return err
	}
	l.info = info
	l.file.came(info, From{})
	l.file.SHA256 = hex.EncodeToString(h.Sum(nil))
	return nil
}

// readBeside reads a sidecar.
func (r *far) readBeside(ctx context.Context, key string) (*sidecar, store.Info, error) {
	content, info, err := r.store.Open(ctx, key)
	if err != nil {
		return nil, info, err
	}
	defer content.Close()
	text, err := io.ReadAll(io.LimitReader(content, MaxSidecar+1))
	if err != nil {
		return nil, info, err
	}
	s, err := readSidecar(bytes.NewReader(text), info)
	if err != nil {
		return nil, info, &InvalidError{err}
	}
	s.seen = time.Now()
	s.settled = s.seen.Sub(info.ModTime) > sidecarOld
	return s, info, nil
}

// take takes what a listing and what was read after it told of a project, in one step.
func (r *far) take(p *place, told listing, all []learnt) {
	c := r.c
	defer c.sweepTarballs()
	c.mu.Lock()
	defer c.mu.Unlock()
	// What was written while it was listed is known better.
	newer := func(key string) bool { return p.written[key] > told.began }
	var files []*File
	for _, l := range all {
		key := l.info.Key
		switch {
		case newer(key):
		case l.err != nil:
			c.forget(key)
			c.ignored[key] = stampOf(l.info)
		case l.sidecar != nil:
			c.noteAgain(key, l.sidecar)
		case l.file != nil:
			c.noteWithin(key, l.record, l.signature)
			c.knowTarball(l.file, told.tarball(l.file))
			files = append(files, l.file)
		}
	}
	c.take(files)
	there := make(map[string]bool, len(told.infos))
	for _, info := range told.infos {
		there[info.Key] = true
	}
	var gone []string
	if held := c.projects[dist.Name(p.key)]; held != nil {
		for _, f := range held.Files {
			if !there[f.Filename] && !newer(f.Filename) {
				gone = append(gone, f.Filename)
			} else if own := told.tarball(f); own != f.Tarball && !newer(tarballName(f)) {
				c.knowTarball(f, own)
				c.renew(f)
			}
		}
	}
	for key := range p.beside {
		if !there[key] && !newer(key) {
			gone = append(gone, key)
			delete(p.beside, key)
		}
	}
	for _, key := range gone {
		c.forget(key)
	}
	if p.beside == nil {
		p.beside = make(map[string]bool)
	}
	for key := range there {
		if c.files[key] == nil && !newer(key) {
			p.beside[key] = true
		} else if c.files[key] != nil {
			delete(p.beside, key)
		}
	}
	maps.DeleteFunc(p.written, func(_ string, tick uint64) bool { return tick <= told.began })
	p.tick = max(p.tick, told.began)
	// Others may have uploaded the first of its files, or removed the last.
	c.listed(dist.Name(p.key), c.projects[dist.Name(p.key)] != nil)
	r.weigh(p)
}

// noteAgain is note for what was read again, where mostly it says the same. The caller holds mu.
func (c *Catalog) noteAgain(key string, s *sidecar) {
	old := c.sidecars[key]
	switch {
	case old == nil:
	case old.within && old.build != nil:
		return // what came with the file counts more
	case !old.within && old.stamp == s.stamp && old.says(s):
		old.settled = s.settled || s.seen.Sub(old.seen) >= sidecarSettled
		return
	}
	c.note(key, s)
}

// says tells whether two sidecars of one key say the same.
func (s *sidecar) says(other *sidecar) bool {
	return s.status == other.status && s.reason == other.reason &&
		(s.build == other.build || s.build != nil && other.build != nil && *s.build == *other.build)
}

// noteWithin is note for what a file's note says of its record, and its signature. The caller holds mu.
func (c *Catalog) noteWithin(filename string, record, signature *sidecar) {
	for _, x := range []struct {
		suffix string
		s      *sidecar
	}{{RecordSuffix, record}, {SignatureSuffix, signature}} {
		key := filename + x.suffix
		old := c.sidecars[key]
		switch {
		case x.s == nil && old != nil && old.within, x.s != nil && (old == nil || old.within || x.s.build != nil):
			c.note(key, x.s)
		}
	}
}
