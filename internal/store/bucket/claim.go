package bucket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"curdling/internal/store"
)

// MaxNote is the longest note, in bytes.
const MaxNote = 1 << 20

const (
	format   = 1
	maxClaim = MaxNote + 4<<10 // bytes
)

// claim is the object that says which bytes have a file's name: a line of JSON, and after it the note as it is. What a
// newer program added to the line is passed over; it must not change what the fields mean that are here.
type claim struct {
	Format int    `json:"format"`
	SHA256 string `json:"sha256"`
	Put    string `json:"put"` // the attempt that put the bytes
	Size   int64  `json:"size"`

	note []byte // nil: none
}

func (c claim) render() []byte {
	c.Format = format
	line, err := json.Marshal(c)
	if err != nil {
		panic(err) // there is nothing in it that cannot be
	}
	return append(append(line, '\n'), c.note...)
}

// parseClaim reads a claim, which anybody may have written who may write into the bucket.
func parseClaim(text []byte) (claim, error) {
	if len(text) > maxClaim {
		return claim{}, fmt.Errorf("longer than %d bytes", maxClaim)
	}
	line, note, _ := bytes.Cut(text, []byte("\n"))
	var c claim
	if err := json.Unmarshal(line, &c); err != nil {
		return claim{}, err
	}
	if c.Format < 1 || !store.IsSHA256(c.SHA256) || !isPut(c.Put) || c.Size < 0 {
		return claim{}, errors.New("no claim looks like that")
	}
	if len(note) > 0 {
		c.note = note
	}
	return c, nil
}

// errBroken is wrapped, beside [fs.ErrNotExist], by the error of a claim that cannot be read: it holds its name, and no file.
var errBroken = errors.New("not a claim")

// claim reads the claim of a distribution file.
func (s *Store) claim(ctx context.Context, p place) (note []byte, f file, err error) {
	r, info, err := s.raw.Open(ctx, p.object())
	if err != nil {
		return nil, file{}, err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, maxClaim+1))
	if err != nil {
		return nil, file{}, fmt.Errorf("%s: %w", p.object(), err)
	}
	c, err := parseClaim(text)
	if err != nil {
		return nil, file{}, fmt.Errorf("%s: %w: %w: %w", p.object(), errBroken, err, fs.ErrNotExist)
	}
	f = p.claimed(c)
	f.claimSize, f.modTime = info.Size, info.ModTime
	return c.note, f, nil
}

// claimed is the file that a claim makes.
func (p place) claimed(c claim) file {
	object := root + p.group + "/" + c.SHA256 + "/" + c.Put + "/" + p.key
	at := len(root) + len(p.group) + 1
	return file{object: object, sha256: object[at : at+len(c.SHA256)], size: c.Size}
}

// beside is a tarball as a file.
func (p place) beside(info store.Info) file {
	return file{object: p.object(), sha256: p.sha256, size: info.Size, modTime: info.ModTime}
}
