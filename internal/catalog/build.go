package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"curdling/internal/record"
	"curdling/internal/store"
)

// Build is what a catalog keeps in mind of a build's record.
type Build struct {
	Filename  string // of the wheel
	From, Key string // see package record
	SHA256    string // of the wheel
	Time      time.Duration
	Plain     bool // see [record.Record.Plain]
	OfRelease bool // see [record.Record.OfRelease]
}

// buildKey finds builds.
type buildKey struct{ from, key string }

// readBuild reads the record that lies beside the wheel called filename.
func readBuild(text []byte, filename string) (*Build, error) {
	r, err := record.Parse(text)
	if err != nil {
		return nil, err
	}
	if err := r.Of(filename, r.Wheel.SHA256); err != nil {
		return nil, err
	}
	return &Build{
		Filename: filename, From: r.From.SHA256, Key: r.Key, SHA256: r.Wheel.SHA256, Time: r.Cost.Duration(), Plain: r.Plain(), OfRelease: r.OfRelease(),
	}, nil
}

// index notes that a sidecar is in the place of another. The caller holds mu.
func (c *Catalog) index(old, now *sidecar) {
	if old != nil && old.build != nil {
		k := buildKey{old.build.From, old.build.Key}
		if left := slices.DeleteFunc(c.builds[k], func(b *Build) bool { return b == old.build }); len(left) > 0 {
			c.builds[k] = left
		} else {
			delete(c.builds, k)
		}
	}
	if now != nil && now.build != nil {
		k := buildKey{now.build.From, now.build.Key}
		c.builds[k] = append(c.builds[k], now.build)
	}
}

// Builds gives the wheels that were built from that source under that key (see
// package record), those that came first before others. The same source and key may have several: built on
// systems that differ, or with other versions of what the build requires.
func (c *Catalog) Builds(from, key string) []*File {
	c.mu.RLock()
	var found []*File
	for _, b := range c.builds[buildKey{from, key}] {
		if f := c.files[b.Filename]; f != nil && f.Build == b && c.projects[f.Name].Status != Quarantined {
			found = append(found, f)
		}
	}
	c.mu.RUnlock()
	slices.SortStableFunc(found, func(a, b *File) int { return a.UploadTime.Compare(b.UploadTime) })
	return found
}

// checkRecord holds the record that came with an upload against it, and the signature against the record. Whose
// signature it is, those judge who take the wheel.
func (u *Upload) checkRecord() error {
	r, err := record.Parse(u.Record)
	if err == nil {
		err = r.Of(u.Filename, u.SHA256)
	}
	if err != nil {
		return &InvalidError{fmt.Errorf("%s: its record: %w", u.Filename+RecordSuffix, err)}
	}
	if u.Signature != nil {
		if err := record.CheckSignature(u.Signature, u.Record); err != nil {
			return &InvalidError{fmt.Errorf("%s: its signature: %w", u.Filename+SignatureSuffix, err)}
		}
	}
	return nil
}

// addSignature adds those signatures of the upload to the held wheel's that are of the held record and under keys
// that have none there yet. What is there is never replaced: who may upload cannot spoil what others signed.
func (u *Upload) addSignature(ctx context.Context) error {
	c, key := u.catalog, u.Filename+SignatureSuffix
	c.recording.Lock()
	defer c.recording.Unlock()
	text, err := c.Sidecar(ctx, u.Filename+RecordSuffix)
	if err != nil || record.CheckSignature(u.Signature, text) != nil {
		return nil //nolint:nilerr // of another record of the same build, which was first
	}
	for range mostJoins { // until no other server comes between
		if err = u.joinSignature(ctx, key); !errors.Is(err, store.ErrChanged) && !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	c.examine(ctx, key, 0)
	return err
}

// mostJoins is how often a signature is tried to be added. Each time another server added one, and there is an end of these.
const mostJoins = 32

// joinSignature adds the upload's signatures to what is held under key, as it is now.
func (u *Upload) joinSignature(ctx context.Context, key string) error {
	c := u.catalog
	r, _, err := c.store.Open(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		all := u.Signature
		if came, err := c.Sidecar(ctx, key); err == nil { // with the wheel
			if all = record.MergeSignatures(came, all); all == nil {
				return nil
			}
		}
		return c.store.Create(ctx, key, bytes.NewReader(all), int64(len(all)))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	defer r.Close()
	held, err := io.ReadAll(io.LimitReader(r, record.MaxSignature+1))
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	all := record.MergeSignatures(held, u.Signature)
	swapper, ok := c.store.(store.Swapper)
	if all == nil || !ok {
		return nil
	}
	return swapper.Swap(ctx, key, held, all)
}

// replaceBeside lays a sidecar beside the wheel, in the place of what is there; nil removes that.
func (u *Upload) replaceBeside(ctx context.Context, suffix string, content []byte) error {
	c, key := u.catalog, u.Filename+suffix
	err := c.store.Remove(ctx, key)
	if content != nil && (err == nil || errors.Is(err, fs.ErrNotExist)) {
		err = c.store.Create(ctx, key, bytes.NewReader(content), int64(len(content)))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", key, err)
	}
	c.examine(ctx, key, 0)
	return nil
}

// keepRecord lays what came with the wheel beside its place, before the wheel comes: who sees the wheel sees its
// record. What is there already was left by an upload that did not end, and is replaced.
func (u *Upload) keepRecord(ctx context.Context) error {
	if err := u.checkRecord(); err != nil {
		return err
	}
	for suffix, content := range map[string][]byte{RecordSuffix: u.Record, SignatureSuffix: u.Signature} {
		if err := u.replaceBeside(ctx, suffix, content); err != nil {
			return err
		}
	}
	return nil
}

// mostEvidence is how many files are kept as evidence.
const mostEvidence = 100

// Evidence is a build that came when another of the same identity was held: the same source, built with the same
// things on the same system, gave other bytes. Either the build does not give the same bytes each time, or
// somebody sent what was not built so.
type Evidence struct {
	Filename   string
	Held, Sent string // sha256
	User       string // who sent it
	Time       time.Time
}

// evidence keeps what came, where there is room, and counts it: once, however often it comes, if it is kept.
func (u *Upload) evidence(ctx context.Context, held *File, user string) {
	c := u.catalog
	e := Evidence{u.Filename, held.SHA256, u.SHA256, user, time.Now().UTC()}
	kept, again := u.keepEvidence(ctx, e)
	if !again {
		c.mu.Lock()
		c.evidence[u.Filename]++
		c.conflicts++
		c.mu.Unlock()
	}
	c.log.Warn("another build of the same was sent, and the first one stays", "file", e.Filename, "held", e.Held, "sent", e.Sent, "user", user, "kept", kept)
}

// keepEvidence keeps what came with its record: again is that it was kept before.
func (u *Upload) keepEvidence(ctx context.Context, e Evidence) (kept, again bool) {
	c := u.catalog
	text, err := json.MarshalIndent(struct {
		Evidence
		Record json.RawMessage
	}{e, u.Record}, "", " ")
	if err != nil {
		return false, false
	}
	if c.far != nil {
		return c.far.keepEvidence(ctx, u, e, text)
	}
	if c.state == "" {
		return false, false
	}
	c.collecting.Lock()
	defer c.collecting.Unlock()
	there, err := os.ReadDir(c.evidenceDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, false
	}
	name := e.Sent[:evidenceHash] + "-" + u.Filename
	if slices.ContainsFunc(there, func(entry fs.DirEntry) bool { return entry.Name() == name }) {
		return true, true
	}
	if len(there) >= 2*mostEvidence {
		return false, false
	}
	name = filepath.Join(c.evidenceDir(), name)
	if writeWhole(name+".json", text) != nil {
		return false, false
	}
	out, err := os.CreateTemp(c.evidenceDir(), ".new-")
	if err != nil {
		return false, false
	}
	defer os.Remove(out.Name()) // nothing there after success
	_, err = io.Copy(out, io.NewSectionReader(u.spooled, 0, u.Size))
	if err = errors.Join(err, out.Close()); err == nil {
		err = os.Rename(out.Name(), name)
	}
	return err == nil, false
}

// evidenceHash is how many digits of the hash begin the name of a file of evidence.
const evidenceHash = 16

func (c *Catalog) evidenceDir() string { return filepath.Join(c.state, "evidence") }

// countEvidence counts what was kept before the start.
func (c *Catalog) countEvidence() {
	if c.state == "" {
		return
	}
	there, err := os.ReadDir(c.evidenceDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.log.Warn("builds that were put aside cannot be counted", "err", err)
	}
	for _, entry := range there {
		if name := entry.Name(); len(name) > evidenceHash+1 && filepath.Ext(name) == ".whl" {
			c.evidence[name[evidenceHash+1:]]++
			c.conflicts++
		}
	}
}

// Evidence tells how often another build of a wheel that is held was sent, and of all together: of what is kept, each once, and
// of what there was no room for, each time since the start.
func (c *Catalog) Evidence(filename string) (of, all int) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.evidence[filename], c.conflicts
}

// Listed gives the files that are Offered, without the builds of what is no release of the project, which are
// found by their source alone. plain leaves out those too that are for some machines or settings: it
// is for installers that know nothing of records.
func (p *Project) Listed(plain bool) []*File {
	all := p.Offered()
	hidden := func(f *File) bool { return f.Build != nil && (!f.Build.OfRelease || plain && !f.Build.Plain) }
	if !slices.ContainsFunc(all, hidden) {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), hidden)
}
