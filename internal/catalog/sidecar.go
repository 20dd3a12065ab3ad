package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"
	"unicode"

	"curdling/internal/dist"
	"curdling/internal/record"
	"curdling/internal/store"
)

// A sidecar is a small file beside the distribution files that says something of one of them, or of a project. Whoever
// may write into the store puts it there; it may come before what it is of.
//
//	FILE.yanked        FILE is yanked (PEP 592); the text, which may be empty, is the reason
//	FILE.provenance    a provenance object (PEP 740), served as it is
//	FILE.attestations  a list of attestation objects (PEP 740), as an upload brought it
//	FILE.build.json    the record of the build that made the wheel FILE, see package record
//	FILE.build.sig     a signed note of that record
//	PROJECT.status     "archived", "deprecated", "quarantined" or "active" (PEP 792), and after a colon the reason
const (
	YankedSuffix       = ".yanked"
	ProvenanceSuffix   = ".provenance"
	AttestationsSuffix = ".attestations"
	RecordSuffix       = record.Suffix
	SignatureSuffix    = record.SignatureSuffix
	StatusSuffix       = ".status"
)

// Project statuses (PEP 792); "" is active.
const (
	Archived    = "archived"
	Quarantined = "quarantined"
	Deprecated  = "deprecated"
)

const (
	// MaxSidecar is the largest provenance or list of attestations, in bytes.
	MaxSidecar = 1 << 20
	maxReason  = 1000 // bytes of a reason that are kept
)

// sidecar is what was read of one.
type sidecar struct {
	stamp  stamp
	status string // of a .status
	reason string // of a .yanked or .status
	build  *Build // of a .build.json

	// Of what is far away, see far. within is of what is not there, but in the note of its file.
	within  bool
	seen    time.Time // when it was first read with that stamp
	settled bool      // nobody can have changed it since then and left the stamp as it is
}

// splitSidecar tells whether a key is a sidecar's, and of what it is.
func splitSidecar(key string) (of, suffix string, ok bool) {
	if strings.Contains(key, "/") {
		return "", "", false
	}
	for _, suffix := range []string{RecordSuffix, SignatureSuffix} {
		if of, ok := strings.CutSuffix(key, suffix); ok {
			return of, suffix, true
		}
	}
	dot := strings.LastIndexByte(key, '.')
	if dot < 0 {
		return "", "", false
	}
	switch of, suffix = key[:dot], key[dot:]; suffix {
	case YankedSuffix, ProvenanceSuffix, AttestationsSuffix, StatusSuffix:
		return of, suffix, true
	}
	return "", "", false
}

// readSidecar reads a sidecar. Of a reason more than is kept is passed over.
func readSidecar(r io.Reader, info store.Info) (*sidecar, error) {
	of, suffix, _ := splitSidecar(info.Key)
	s := &sidecar{stamp: stampOf(info)}
	switch suffix {
	case StatusSuffix:
		if name, err := dist.ParseName(of); err != nil {
			return nil, err
		} else if string(name) != of {
			return nil, fmt.Errorf("it is read as %s%s only: the project's name, normalised", name, StatusSuffix)
		}
	default:
		if _, err := dist.ParseFilename(of, ""); err != nil {
			return nil, err
		}
	}
	switch suffix {
	case ProvenanceSuffix, AttestationsSuffix:
		return s, checkJSON(r, info, suffix)
	case RecordSuffix:
		text, err := io.ReadAll(io.LimitReader(r, record.MaxSize+1))
		if err == nil {
			s.build, err = readBuild(text, of)
		}
		return s, err
	case SignatureSuffix:
		if info.Size > record.MaxSignature {
			return nil, fmt.Errorf("%d bytes, more than %d", info.Size, record.MaxSignature)
		}
		return s, nil
	}
	text, err := io.ReadAll(io.LimitReader(r, maxReason))
	if err != nil {
		return nil, err
	}
	s.reason = oneLine(string(text))
	if suffix == StatusSuffix {
		status, reason, _ := strings.Cut(s.reason, ":")
		s.status, s.reason = strings.ToLower(strings.TrimSpace(status)), strings.TrimSpace(reason)
		switch s.status {
		case "active":
			s.status, s.reason = "", ""
		case Archived, Quarantined, Deprecated:
		default:
			return nil, fmt.Errorf("%.40q is no status; write archived, deprecated, quarantined or active, and after a colon the reason", s.status)
		}
	}
	return s, nil
}

// checkJSON holds a provenance object, or a list of attestations, against its outline: bounded, whole, and of version 1.
func checkJSON(r io.Reader, info store.Info, suffix string) error {
	if info.Size > MaxSidecar {
		return fmt.Errorf("%d bytes, more than %d", info.Size, MaxSidecar)
	}
	content, err := io.ReadAll(io.LimitReader(r, MaxSidecar))
	if err != nil {
		return err
	}
	if suffix == AttestationsSuffix {
		var list []json.RawMessage
		return json.Unmarshal(content, &list)
	}
	var provenance struct {
		Version int               `json:"version"`
		Bundles []json.RawMessage `json:"attestation_bundles"`
	}
	if err := json.Unmarshal(content, &provenance); err != nil {
		return err
	}
	if provenance.Version != 1 || provenance.Bundles == nil {
		return errors.New("no provenance object of version 1 (PEP 740)")
	}
	return nil
}

// oneLine makes a text that people wrote fit for a page and a terminal.
func oneLine(s string) string {
	s = strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return ' '
	}, strings.ToValidUTF8(s, ""))
	return strings.Join(strings.Fields(s), " ")
}

// note takes what a sidecar says, nil that it is gone. The caller holds mu.
func (c *Catalog) note(key string, s *sidecar) {
	c.index(c.sidecars[key], s)
	if s == nil {
		delete(c.sidecars, key)
	} else {
		c.sidecars[key] = s
		delete(c.ignored, key)
		if name, ok := c.whose(key); ok && c.changed != nil {
			c.changed(name)
		}
	}
	of, suffix, _ := splitSidecar(key)
	if suffix == StatusSuffix {
		if p := c.projects[dist.Name(of)]; p != nil {
			c.projects[p.Name] = c.marked(&Project{Name: p.Name, Files: p.Files})
		}
		return
	}
	if f := c.files[of]; f != nil {
		c.renew(f)
	}
}

// renew puts what is known now of a file that is held in its place. The caller holds mu.
func (c *Catalog) renew(f *File) {
	again := c.dressed(f)
	if again == f {
		return
	}
	if again.expendable() != f.expendable() {
		c.count(f, -1)
		c.count(again, 1)
	} else {
		c.tarballs.bytes += again.Tarball.Size - f.Tarball.Size
	}
	c.want(again)
	c.files[f.Filename] = again
	p := c.projects[f.Name]
	c.projects[f.Name] = c.marked(p.without(f).with(f.Name, []*File{again}))
}

// dressed is f with what its sidecars say, and its tarball. The caller holds mu.
func (c *Catalog) dressed(f *File) *File {
	if len(c.sidecars) == 0 && !f.Yanked && f.Provenance == "" && f.Build == nil && c.tarball(f) == f.Tarball {
		return f
	}
	again, provenance := *f, f.Filename+ProvenanceSuffix
	again.Yanked, again.YankedReason, again.Provenance, again.Build = false, "", "", nil
	if s := c.sidecars[f.Filename+YankedSuffix]; s != nil {
		again.Yanked, again.YankedReason = true, s.reason
	}
	if c.sidecars[provenance] != nil {
		again.Provenance = provenance
	}
	if s := c.sidecars[f.Filename+RecordSuffix]; s != nil && s.build.SHA256 == f.SHA256 {
		again.Build = s.build
	}
	again.Tarball = c.tarball(&again)
	if !again.Yanked && !f.Yanked && again.Provenance == f.Provenance && again.Build == f.Build && again.Tarball == f.Tarball {
		return f
	}
	return &again
}

// marked sets what a project's sidecar says of it. The caller holds mu.
func (c *Catalog) marked(p *Project) *Project {
	if p == nil {
		return nil
	}
	p.Status, p.StatusReason = "", ""
	if s := c.sidecars[string(p.Name)+StatusSuffix]; s != nil {
		p.Status, p.StatusReason = s.status, s.reason
	}
	return p
}

// StatusError says that a project's status forbids something.
type StatusError struct {
	Name           dist.Name
	Status, Reason string
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s is %s here", e.Name, e.Status)
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

// Offered gives a file that is held and may be had. Else the error wraps
// fs.ErrNotExist, or is a *StatusError where its project is quarantined, be the file held or not.
func (c *Catalog) Offered(filename string) (*File, error) {
	c.mu.RLock()
	f := c.files[filename]
	var p *Project
	if f != nil {
		p = c.projects[f.Name]
	}
	c.mu.RUnlock()
	if f == nil {
		return nil, c.missing(filename)
	}
	if p.Status == Quarantined {
		return nil, &StatusError{p.Name, p.Status, p.StatusReason}
	}
	return f, nil
}

// missing is the error for a file that is not held.
func (c *Catalog) missing(filename string) error {
	if f, err := dist.ParseFilename(filename, ""); err == nil {
		if status, reason := c.Status(f.Name); status == Quarantined {
			return &StatusError{f.Name, status, reason}
		}
	}
	return fmt.Errorf("%s: %w", filename, fs.ErrNotExist)
}

// Status gives what its sidecar says of a project, of which nothing need be held.
func (c *Catalog) Status(name dist.Name) (status, reason string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if s := c.sidecars[string(name)+StatusSuffix]; s != nil {
		return s.status, s.reason
	}
	return "", ""
}

// takes tells whether a project takes new files.
func (c *Catalog) takes(name dist.Name) error {
	status, reason := c.Status(name)
	if status != Archived && status != Quarantined {
		return nil
	}
	return &StatusError{name, status, reason}
}

// Sidecar gives what lies beside a file, as it is, of one that is held and
// may be had: key is the sidecar's. Else the error is that of Offered.
func (c *Catalog) Sidecar(ctx context.Context, key string) ([]byte, error) {
	of, _, ok := splitSidecar(key)
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, fs.ErrNotExist)
	}
	if _, err := c.Offered(of); err != nil {
		return nil, err
	}
	return c.beside(ctx, key)
}

// beside is Sidecar whatever may be had.
func (c *Catalog) beside(ctx context.Context, key string) ([]byte, error) {
	of, suffix, _ := splitSidecar(key)
	c.mu.RLock()
	known := c.sidecars[key]
	c.mu.RUnlock()
	switch {
	case known == nil:
		return nil, fmt.Errorf("%s: %w", key, fs.ErrNotExist)
	case known.within:
		return c.far.within(ctx, of, suffix)
	}
	r, info, err := c.store.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if stampOf(info) != known.stamp {
		c.again(key)
		return nil, fmt.Errorf("%s: changed on disk, and not read again yet: %w", key, fs.ErrNotExist)
	}
	return io.ReadAll(io.LimitReader(r, MaxSidecar))
}
