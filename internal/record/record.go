// Package record is the record of a build: the JSON that lies beside a wheel
// which curd built, and tells what it was built from, with and on, what it needs
// of a host and what it cost. docs/builds.md describes the schema.
//
// Three names come from it. From.SHA256 is the source; the Key says, before a
// build, whether one that is there will do; the identity says, after it, which
// build it is, and stands in the wheel's build tag. See [Key] and [Record.Identity].
//
// Records are foreign: at most 256 KiB, checked when they are parsed. A record of a later schema
// keeps what this program does not know.
package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"curdling/internal/dist"
	"curdling/internal/fit"
	"curdling/internal/store"
)

const (
	// Suffix comes after the wheel's name in that of its record.
	Suffix = ".build.json"
	// SignatureSuffix comes after it in that of the signed note of the record.
	SignatureSuffix = ".build.sig"
	// MaxSize is the largest record, in bytes.
	MaxSize = 256 << 10
	// Schema is the newest version of the schema. Each later one keeps all that
	// earlier ones say, so that a reader of an earlier one may read it.
	Schema = 1
)

// Record tells of one build.
type Record struct {
	Schema int    `json:"schema"`
	Wheel  Wheel  `json:"wheel"`
	Key    string `json:"key"` // 64 hex digits, see [Key]
	From   From   `json:"from"`
	With   With   `json:"with"`
	On     On     `json:"on"`
	Needs  Needs  `json:"needs"`
	Cost   Cost   `json:"cost"`

	identity string
}

// Wheel is the file that was built.
type Wheel struct {
	Filename string `json:"filename"`
	Size     int64  `json:"size"` // bytes
	SHA256   string `json:"sha256"`
}

// From is the source.
type From struct {
	// SHA256 is that of the source distribution, or of what names a commit (docs/builds.md); 64 hex digits.
	SHA256   string `json:"sha256"`
	Filename string `json:"filename,omitempty"` // of the source distribution, where an index lists it
	// Repository is the public URL with its program before it, "git+https://...", at the full Commit. "": an archive.
	Repository   string `json:"repository,omitempty"`
	Commit       string `json:"commit,omitempty"`
	Subdirectory string `json:"subdirectory,omitempty"`
}

// With is what the build used.
type With struct {
	Backend   string              `json:"backend,omitempty"`   // "setuptools.build_meta"
	Requires  []Distribution      `json:"requires,omitempty"`  // installed for the build, sorted by name
	Settings  map[string][]string `json:"settings,omitempty"`  // for the backend (PEP 517)
	Variables map[string]string   `json:"variables,omitempty"` // of the environment, those that count
}

// Distribution is one that was installed for the build.
type Distribution struct {
	Name    dist.Name `json:"name"`
	Version string    `json:"version"`
	SHA256  string    `json:"sha256"` // of its wheel
}

// On is the machine.
type On struct {
	Python    string   `json:"python"`              // "3.11.2"
	Tag       string   `json:"tag"`                 // interpreter and ABI: "cp311-cp311"
	Platform  string   `json:"platform"`            // "linux_x86_64", "macosx_14_0_arm64"
	Libc      string   `json:"libc,omitempty"`      // "glibc 2.36"
	Compilers []string `json:"compilers,omitempty"` // as they signed the machine code: "GCC: (Debian 12.2.0-14) 12.2.0"
	Flags     []string `json:"flags,omitempty"`     // for the instruction set, from the log: "-march=native"
}

// Needs is what the wheel needs of a host.
type Needs struct {
	fit.Needs
	// CPU are the features of the processor that code for this very processor
	// (-march=native) may use, as /proc/cpuinfo names them, sorted.
	CPU []string `json:"cpu,omitempty"`
}

// Cost is what the build took.
type Cost struct {
	Seconds float64   `json:"seconds"`
	Bytes   int64     `json:"bytes,omitempty"` // of the source and of what was installed for the build
	Built   time.Time `json:"built"`           // when it ended, to the millisecond, which orders quick builds
}

// Duration is how long the build took.
func (c Cost) Duration() time.Duration { return time.Duration(c.Seconds * float64(time.Second)) }

// Native tells that the wheel holds code for the very processor that it was built on.
func (r *Record) Native() bool { return slices.ContainsFunc(r.On.Flags, isNative) }

func isNative(flag string) bool { return strings.HasSuffix(flag, "=native") }

// OfRelease tells that the build is of a source distribution that an index lists, and so one of the project's
// releases. What was built of a commit, or of an archive at some URL, is found by its source alone.
func (r *Record) OfRelease() bool { return r.From.Filename != "" }

// Plain tells that the build is of a release, as anyone would have it who builds that source,
// and that the wheel's tags say all that it needs: installers that know nothing of records may have it.
func (r *Record) Plain() bool {
	platform := r.Wheel.Filename[strings.LastIndexByte(r.Wheel.Filename, '-')+1:]
	return r.OfRelease() && len(r.With.Settings) == 0 && len(r.With.Variables) == 0 && !r.Native() &&
		!strings.HasPrefix(platform, "linux_")
}

// identityDigits is how much of the identity stands in the build tag.
const identityDigits = 10

// Identity is SHA-256 in hex of what the build was from, with and on. Two wheels of one identity should be the same.
func (r *Record) Identity() string { return r.identity }

// BuildTag is the wheel's build tag: "0b" and digits of the identity. With the
// number 0 it sorts before every tag that a project gave to a wheel of its own.
func (r *Record) BuildTag() dist.BuildTag {
	return dist.BuildTag{Suffix: "b" + r.identity[:identityDigits], Set: true}
}

// parts are those of a record that make its identity, in the bytes in which they stand.
type parts struct {
	From json.RawMessage `json:"from"`
	With json.RawMessage `json:"with"`
	On   json.RawMessage `json:"on"`
}

func (p parts) identity() (string, error) {
	var text bytes.Buffer
	for _, part := range []json.RawMessage{p.From, p.With, p.On} {
		if err := json.Compact(&text, part); err != nil {
			return "", err
		}
		text.WriteByte('\n')
	}
	sum := sha256.Sum256(text.Bytes())
	return hex.EncodeToString(sum[:]), nil
}

// Identify gives a new record its identity. From, With and On are not to change then.
func (r *Record) Identify() error {
	r.Schema = Schema
	var p parts
	text, err := marshal(r)
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err == nil {
		r.identity, err = p.identity()
	}
	return err
}

// Encode writes the record as it lies beside the wheel.
func (r *Record) Encode() ([]byte, error) {
	text, err := marshal(r)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", " "); err != nil {
		return nil, err
	}
	if b.Len() > MaxSize {
		return nil, fmt.Errorf("the record of %s has %d bytes, more than %d", r.Wheel.Filename, b.Len(), MaxSize)
	}
	return b.Bytes(), nil
}

// marshal writes <, > and & as they are, so that what is read is written again byte for byte.
func marshal(r *Record) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(r)
	return b.Bytes(), err
}

// Parse reads a record and sees that it is consistent: the wheel's build tag is that of what the record says.
func Parse(text []byte) (*Record, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("%d bytes, more than a record may have (%d)", len(text), MaxSize)
	}
	var r Record
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	if r.Schema < 1 {
		return nil, errors.New("it names no schema")
	}
	for what, sum := range map[string]string{"wheel.sha256": r.Wheel.SHA256, "key": r.Key, "from.sha256": r.From.SHA256} {
		if !store.IsSHA256(sum) {
			return nil, fmt.Errorf("%s is not a sha256 in lower-case hex", what)
		}
	}
	var p parts
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, err
	}
	var err error
	if r.identity, err = p.identity(); err != nil {
		return nil, errors.New("from, with or on is missing")
	}
	f, err := dist.ParseFilename(r.Wheel.Filename, "")
	switch {
	case err != nil:
		return nil, err
	case f.Kind != dist.Wheel:
		return nil, fmt.Errorf("%s is no wheel", f.Filename)
	case f.Build != r.BuildTag():
		return nil, fmt.Errorf("%s has not the build tag %s, which is that of from, with and on", f.Filename, r.BuildTag())
	case r.Wheel.Size <= 0 || r.Cost.Bytes < 0 || !(r.Cost.Seconds >= 0 && r.Cost.Seconds < 1e7):
		return nil, errors.New("a size or a time is impossible")
	}
	return &r, nil
}

// Of tells whether the record is of that wheel.
func (r *Record) Of(filename, sha256 string) error {
	if r.Wheel.Filename != filename || r.Wheel.SHA256 != sha256 {
		return fmt.Errorf("the record is of %s with sha256 %s, not of %s with sha256 %s", r.Wheel.Filename, r.Wheel.SHA256, filename, sha256)
	}
	return nil
}
