// Package store says what a place that keeps files must do. It is the seam
// between what a server holds and where the bytes lie: a folder (store/disk)
// or an object store (store/s3). The suite in store/storetest is this
// contract as a test, and every store passes it.
//
// A key is a relative slash-separated path, at most [MaxKey] bytes of printable
// UTF-8. No segment is empty, starts with a dot, ends with a dot or a space, or
// holds a backslash or a colon, so that a key is a safe file name everywhere and
// a store can keep its own things under names with a dot. [CheckKey] tells.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// MaxKey and MaxSegment are the longest key and the longest of its segments, in bytes.
const (
	MaxKey     = 1024
	MaxSegment = 255
)

// Store keeps immutable files under keys. All methods may be called at once
// from any number of goroutines, and several processes may use one store.
// A bad key is an error that wraps [fs.ErrInvalid].
type Store interface {
	// Open gives the file's bytes, and what is known of it. A key that is not
	// held is an error that wraps [fs.ErrNotExist]. The reader may have more
	// abilities; where it is an *os.File it can be sent by the kernel.
	Open(ctx context.Context, key string) (io.ReadSeekCloser, Info, error)

	// Create keeps what r gives, which must be exactly size bytes, under a key
	// that is not held yet; else the error wraps [fs.ErrExist]. Of several at
	// once exactly one succeeds. The file is visible only when it is whole, and
	// when Create returns nil it outlives a crash of the machine. After an error
	// nothing is left. No room is an error that satisfies [IsFull].
	Create(ctx context.Context, key string, r io.Reader, size int64) error

	// List gives what is held under keys that start with prefix, in no
	// particular order. After an error nothing more comes.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]

	// Remove forgets a file. A key that is not held is an error that wraps
	// [fs.ErrNotExist]. Readers that are open go on to its end.
	Remove(ctx context.Context, key string) error
}

// Info is what a store knows of a file without reading it.
type Info struct {
	Key     string
	Size    int64     // bytes
	ModTime time.Time // of the last change
}

// Spooler is a Store that lends temporary files. Create takes such a file (at
// any offset) over as it is, without copying its bytes. The borrower closes and
// removes it in any case; once it is taken over there is nothing left to remove.
type Spooler interface {
	Spool() (*os.File, error)
}

// Watcher is a Store that tells of changes that others made.
type Watcher interface {
	// Watch calls changed, from one goroutine: with "" once it watches and whenever
	// anything may have changed, which is the time to List; else with the key that
	// did. Some calls are for nothing. It returns when ctx is done, or with an error
	// where it cannot watch at all.
	Watch(ctx context.Context, changed func(key string)) error
}

// Digester is a Store that knows what its files must be before anybody read them.
type Digester interface {
	// SHA256 gives the hash that a file's bytes must have, in lower-case hex; "" is not known.
	SHA256(key string) string
}

// Quarantiner is a Store that can put a damaged file aside.
type Quarantiner interface {
	// Quarantine takes a file out of what is held, and keeps its bytes and the reason, a
	// sentence, where they are not held. A key that is not held is an error that wraps [fs.ErrNotExist].
	Quarantine(ctx context.Context, key, reason string) error
}

// Swapper is a Store in which small files can be changed.
type Swapper interface {
	// Swap puts content in the place of old, in one step: whoever looks, after a crash too, sees the one or the
	// other whole. Where the key holds something else by now, or nothing, the error wraps [ErrChanged], and of several
	// who swap the same at once exactly one succeeds. After another error nothing is known but that.
	Swap(ctx context.Context, key string, old, content []byte) error
}

// Stater is a Store that tells of a file without opening it.
type Stater interface {
	// Stat gives what is known of a file, as of now. A key that is not held is an error that wraps [fs.ErrNotExist].
	Stat(ctx context.Context, key string) (Info, error)
}

// Folders is a Store that lists what its keys begin with, without listing all of them.
type Folders interface {
	// ListFolders gives the segments that come after prefix, which is "" or ends with a slash, and before a slash
	// in the keys that start with it: each once, in no particular order. After an error nothing more comes.
	ListFolders(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// Noter is a Store that is too large and too far away to be listed whole at the start, and read file by file. Its keys
// fall into groups, the projects, each of which is listed alone; and with a file it keeps a note of what was learnt of it.
type Noter interface {
	Store

	// CreateNoted is Create for a file with that sha256, in lower-case hex, and a note, which becomes visible in the
	// same step. The bytes must have that hash.
	CreateNoted(ctx context.Context, key, sha256 string, note []byte, r io.Reader, size int64) error

	// Note gives the note that a file was created with; nil where there was none. A key that is not held is an error
	// that wraps [fs.ErrNotExist].
	Note(ctx context.Context, key string) ([]byte, Info, error)

	// ListGroup is List for the keys of one group. It sees each Create of which it is known that it ended before it began.
	ListGroup(ctx context.Context, group string) iter.Seq2[Info, error]

	// Groups gives the groups of which something may be held, sorted by their bytes. After an error nothing more comes.
	Groups(ctx context.Context) iter.Seq2[string, error]
}

// Presigner is a Store whose files others can fetch, for a while, without asking whoever has it open.
type Presigner interface {
	// Presign gives a URL at which the file can be had by GET until ttl is over, ranges of it too, with no
	// credentials but the URL itself. Nobody looks whether the file is held.
	Presign(ctx context.Context, key string, ttl time.Duration) (url string, err error)
}

// Doubter is a Store that has files at hand that it fetched before.
type Doubter interface {
	// Doubt has what is at hand of a file held against its hash before it is used again.
	Doubt(key string)
}

// Yielder is a Store that has files at hand which it can do without.
type Yielder interface {
	// Yield removes some of them, as the disk is full.
	Yield()
}

// UnavailableError says that a store does not answer, or not now. What was to be done was not done, or that is not known.
type UnavailableError struct {
	Err        error
	RetryAfter time.Duration // it is of no use to ask before; 0 is not known
}

func (e *UnavailableError) Error() string { return "the store is not available: " + e.Err.Error() }

func (e *UnavailableError) Unwrap() error { return e.Err }

// Versioned is a Store in which small files have versions, and are changed on the condition that they have the one that was seen.
// They have at most [MaxVersioned] bytes.
type Versioned interface {
	Store

	// Get gives a file whole, and its version, which is never "" and another one once the content is another: what comes back
	// to what it was may have the version that it had. Where the version is known still, content is nil. A key that is not held is an error that
	// wraps [fs.ErrNotExist].
	Get(ctx context.Context, key, known string) (content []byte, version string, err error)

	// Put puts content in the place of what has that version; "" makes a file where there is none. Whoever looks sees the one or
	// the other whole. Where the file has another version, or is gone, the error wraps [ErrChanged], and of several at once exactly one succeeds.
	// Another error leaves open what happened: it may have been done, or be done later, as long as the file has that version.
	Put(ctx context.Context, key, version string, content []byte) (newVersion string, err error)

	// Delete removes the file that has that version; else, and where there is none, the error wraps [ErrChanged]. A store that cannot do so in one
	// step looks first, and what comes between is lost.
	Delete(ctx context.Context, key, version string) error
}

// MaxVersioned is how large a file with versions may be, in bytes.
const MaxVersioned = 16 << 20

// ErrChanged is wrapped by the error of a swap to which another change came first.
var ErrChanged = errors.New("it was changed meanwhile")

// ErrFull is wrapped by errors of stores that have no room left. Ask with [IsFull].
var ErrFull = errors.New("no space left in the store")

// IsFull tells whether err says that there is no room, in a store or on a disk.
func IsFull(err error) bool {
	return errors.Is(err, ErrFull) || isDiskFull(err)
}

// CheckKey tells what is wrong with a key. Its error wraps [fs.ErrInvalid].
func CheckKey(key string) error {
	bad := func(why string) error {
		return fmt.Errorf("key %.100q: %s: %w", key, why, fs.ErrInvalid)
	}
	if len(key) > MaxKey {
		return bad("too long")
	}
	if !utf8.ValidString(key) || strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return bad("not printable")
	}
	if strings.ContainsAny(key, `\:`) {
		return bad("holds a backslash or a colon")
	}
	for segment := range strings.SplitSeq(key, "/") {
		switch {
		case segment == "":
			return bad("empty segment")
		case len(segment) > MaxSegment:
			return bad("segment too long")
		case segment[0] == '.':
			return bad("segment starts with a dot")
		case strings.HasSuffix(segment, ".") || strings.HasSuffix(segment, " "):
			return bad("segment ends with a dot or a space")
		}
	}
	return nil
}
