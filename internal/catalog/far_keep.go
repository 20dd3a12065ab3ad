package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"curdling/internal/dist"
	"curdling/internal/store"
)

// wrote learns of a sidecar that this server wrote, or removed.
func (r *far) wrote(ctx context.Context, key string) {
	c := r.c
	name, ok := projectOf(key)
	if !ok {
		return
	}
	s, _, err := r.readBeside(ctx, key)
	p := r.project(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.stale()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.beside == nil {
		p.beside = make(map[string]bool)
	}
	if p.beside[key] = true; s == nil {
		delete(p.beside, key)
	}
	r.mark(p, key)
	c.note(key, s)
	r.weigh(p)
}

// mark notes that this server wrote a key of a project. The caller holds Catalog.mu.
func (r *far) mark(p *place, key string) {
	if p.written == nil {
		p.written = make(map[string]uint64)
	}
	p.tick = r.ticks.Add(1)
	p.written[key] = p.tick
}

// again has the next who asks for a key's project look.
func (r *far) again(key string) {
	if name, ok := projectOf(key); ok {
		if p := r.project(name); p != nil {
			p.stale()
		}
	}
}

// heldNow gives a file that is held, by what the store says now: who is told that what he sent is held need not send it again.
func (r *far) heldNow(ctx context.Context, filename string) (*File, error) {
	name, ok := projectOf(filename)
	if !ok {
		return nil, nil
	}
	p := r.project(name)
	if err := p.sure(ctx, p.look); err != nil {
		return nil, err
	}
	f := r.c.File(filename)
	if f == nil {
		return nil, nil
	}
	now, err := r.stat(ctx, filename)
	switch {
	case err == nil && stampOf(now) == f.stamp():
		return f, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	err = p.anew(ctx, p.look)
	return r.c.File(filename), err
}

// stat asks the store for a file that is known.
func (r *far) stat(ctx context.Context, filename string) (store.Info, error) {
	if s, ok := r.store.(store.Stater); ok {
		return s.Stat(ctx, filename)
	}
	_, info, err := r.store.Note(ctx, filename)
	return info, err
}

// keep is the end of [Upload.Keep]: what others need that find the file, then the file and its note in one step.
func (r *far) keep(ctx context.Context, u *Upload, f *File, metadata []byte, from From) (created bool, err error) {
	c := r.c
	if name, ok := projectOf(u.Filename); !ok || name != f.Name {
		return false, &InvalidError{fmt.Errorf("%s: it is of the project %s, and its name is read as one of %s; build it anew with a tool that names it %s-%s.tar.gz",
			u.Filename, f.Name, name, strings.ReplaceAll(string(f.Name), "-", "_"), f.Version)}
	}
	var l learnt
	f.SHA256 = u.SHA256
	f.came(store.Info{ModTime: time.Unix(0, 0)}, from)
	x := factsOf(f)
	if u.Record != nil {
		if err := u.checkRecord(); err != nil {
			return false, err
		}
		x.Record, x.Signature = string(u.Record), string(u.Signature)
		b, err := readBuild(u.Record, u.Filename)
		if err != nil {
			return false, &InvalidError{err}
		}
		l.record = &sidecar{within: true, build: b}
		if u.Signature != nil {
			l.signature = &sidecar{within: true}
		}
		if err := r.deriveBuild(ctx, b); err != nil {
			return false, err
		}
	}
	if f.HasMetadata {
		if err := r.derive(ctx, metadataKey(u.SHA256), metadata); err != nil {
			return false, err
		}
	}
	var note bytes.Buffer
	if err := x.write(&note); err != nil {
		return false, err
	}
	err = r.store.CreateNoted(ctx, u.Filename, u.SHA256, note.Bytes(), u.spooled, u.Size)
	p := r.project(f.Name)
	if errors.Is(err, fs.ErrExist) {
		if err := p.anew(ctx, p.look); err != nil {
			return false, err
		}
		return false, u.compare(ctx, c.File(u.Filename), from.User)
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", u.Filename, err)
	}
	_, info, err := r.store.Note(ctx, u.Filename)
	if err != nil { // it is held, and seen with the next listing
		p.stale()
		return true, nil
	}
	f.came(info, from)
	c.mu.Lock()
	defer c.mu.Unlock()
	r.mark(p, u.Filename)
	c.noteWithin(u.Filename, l.record, l.signature)
	c.take([]*File{f})
	c.tarballs.want(c.files[u.Filename])
	r.weigh(p)
	if c.files[f.Filename].expendable() == "" {
		r.counted.since.Add(f.Size)
	}
	return true, nil
}

// shareTarball keeps a tarball that was made where all servers find it.
func (r *far) shareTarball(ctx context.Context, f *File, own dist.Tarball, content io.Reader) error {
	if err := r.store.Create(ctx, tarballKey(f, own), content, own.Size); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if p := r.project(f.Name); p != nil {
		r.c.mu.Lock()
		defer r.c.mu.Unlock()
		r.mark(p, tarballName(f))
	}
	return nil
}

// derive keeps what can be made again where servers share it. Of what is there already the content is the same.
func (r *far) derive(ctx context.Context, key string, content []byte) error {
	if r.derived == nil {
		return nil
	}
	if err := r.derived.Create(ctx, key, bytes.NewReader(content), int64(len(content))); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// deriveBuild has a build found by its source and key.
func (r *far) deriveBuild(ctx context.Context, b *Build) error {
	return r.derive(ctx, "builds/"+b.From+"/"+b.Key+"/"+b.Filename, nil)
}

// mostDerived is the largest file that is derived, in bytes.
const mostDerived = 16 << 20

// derivedFile reads what servers share; nil where it is not there, or cannot be had now.
func (r *far) derivedFile(ctx context.Context, key string) []byte {
	if r.derived == nil {
		return nil
	}
	content, info, err := r.derived.Open(ctx, key)
	if err != nil {
		return nil
	}
	defer content.Close()
	text, err := io.ReadAll(io.LimitReader(content, mostDerived))
	if err != nil || int64(len(text)) != info.Size {
		return nil
	}
	return text
}

// within gives a record or a signature that is in a file's note.
func (r *far) within(ctx context.Context, filename, suffix string) ([]byte, error) {
	text, _, err := r.store.Note(ctx, filename)
	if err != nil {
		return nil, err
	}
	x, ok := parseFacts(string(text))
	found := x.Record
	if suffix == SignatureSuffix {
		found = x.Signature
	}
	if !ok || found == "" {
		return nil, fmt.Errorf("%s%s: %w", filename, suffix, fs.ErrNotExist)
	}
	return []byte(found), nil
}

// keepEvidence is [Upload.keepEvidence] where servers share it.
func (r *far) keepEvidence(ctx context.Context, u *Upload, e Evidence, about []byte) (kept, again bool) {
	if r.derived == nil {
		return false, false
	}
	n, name := 0, "evidence/"+e.Sent[:evidenceHash]+"-"+u.Filename
	for info, err := range r.derived.List(ctx, "evidence/") {
		if err != nil {
			return false, false
		}
		if n++; info.Key == name {
			return true, true
		}
	}
	if n >= 2*mostEvidence {
		return false, false
	}
	err := r.derive(ctx, name+".json", about)
	if err == nil {
		err = r.derived.Create(ctx, name, io.NewSectionReader(u.spooled, 0, u.Size), u.Size)
	}
	return err == nil, errors.Is(err, fs.ErrExist)
}

// metadataKey is where servers share the METADATA of the wheel with that hash.
func metadataKey(sha256 string) string { return "metadata/" + sha256[:2] + "/" + sha256 }
