package livefile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	followEvery   = 2 * time.Second
	followTimeout = 5 * time.Second
)

// Followed is what a document says that is far away: who asks does not wait for it. Make one with [Follow]; it is safe for concurrent use.
type Followed[T any] struct {
	doc   Document
	what  string
	parse func(content []byte, err error) (*T, error)
	log   *slog.Logger
	start time.Time

	version string // "": there is none, or nobody looked yet
	silent  bool   // the log was told so

	current atomic.Pointer[T]
	looked  atomic.Int64 // when it was last seen to say so, in nanoseconds since start
}

// Follow reads a document by means of parse, which gets an error that wraps fs.ErrNotExist where there is none. When
// it changes later ([Followed.Run]) and parse gives an error then, log is told, in a sentence that begins with what, and what was read
// before stays.
func Follow[T any](ctx context.Context, log *slog.Logger, what string, doc Document, parse func(content []byte, err error) (*T, error)) (*Followed[T], error) {
	f := &Followed[T]{doc: doc, what: what, parse: parse, log: log, start: time.Now()}
	value, err := f.look(ctx)
	if err != nil {
		return nil, err
	}
	f.current.Store(value)
	return f, nil
}

// Get gives what the document says, and how long ago it was seen to say so.
func (f *Followed[T]) Get() (value *T, age time.Duration) {
	return f.current.Load(), time.Since(f.start) - time.Duration(f.looked.Load())
}

// errSilent says that the document could not be asked for.
var errSilent = errors.New("it does not answer")

// look gives what the document says, nil where it says what it said.
func (f *Followed[T]) look(ctx context.Context) (*T, error) {
	ctx, cancel := context.WithTimeout(ctx, followTimeout)
	defer cancel()
	began := time.Since(f.start)
	content, version, err := f.doc.Read(ctx, f.version)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", errSilent, err)
	}
	f.looked.Store(int64(began))
	if f.current.Load() != nil && version == f.version {
		return nil, nil
	}
	f.version = version
	return f.parse(content, err)
}

// Run looks at the document each two seconds, until ctx is done.
func (f *Followed[T]) Run(ctx context.Context) {
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		value, err := f.look(ctx)
		silent := errors.Is(err, errSilent)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && (!silent || !f.silent):
			f.log.Error(f.what+" cannot be read again, and stays as it was", "err", err)
		case value != nil:
			f.current.Store(value)
			f.log.Info(f.what+" was read again", "path", f.doc.String())
		}
		f.silent = silent
	}
}
