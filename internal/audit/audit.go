// Package audit writes down who changed what: a file of JSON lines ([Entry]) that only grows, or, of several
// servers, objects of such lines in their store ([Log.Share]).
//
// Any number of processes append to it. A line is written with one call, so that
// lines do not mix; after one that could be written in part only (a full disk) the
// next begins on a line of its own. A file that was renamed or deleted is made
// anew with the next line, so that logrotate needs no signal.
//
// Lines are not synced: what the machine's crash takes with it is the last few
// seconds of the log, and not the files that it tells of.
package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"curdling/internal/livefile"
)

// Entry is a line. What is zero is left out.
type Entry struct {
	Time      time.Time `json:"time"`                // zero: when it is written
	Action    string    `json:"action"`              // upload, yank, delete, token-create, token-revoke ...
	Status    int       `json:"status,omitempty"`    // HTTP's; 201 is a new file, 200 one that was held, from 400 on it was refused
	User      string    `json:"user,omitempty"`      // who did it; of a program on the server's own machine, the system's user
	Token     string    `json:"token,omitempty"`     // ID of the token that he used, or that it is about
	Scope     string    `json:"scope,omitempty"`     // of trust, that it happened in
	File      string    `json:"file,omitempty"`      // name
	SHA256    string    `json:"sha256,omitempty"`    // of the file, in hex, as far as it came
	Size      int64     `json:"size,omitempty"`      // of the file, in bytes
	Remote    string    `json:"remote,omitempty"`    // the client's address; local: the server's own machine
	Via       string    `json:"via,omitempty"`       // the proxy whose word the address is
	Forwarded string    `json:"forwarded,omitempty"` // what it said, at most 256 bytes
	Detail    string    `json:"detail,omitempty"`    // why it was refused, or what a token is good for; at most 1024 bytes
}

// Log is an audit log. Make one with [New]; it is safe for concurrent use, and
// nil writes nothing.
type Log struct {
	path    string   // "" is no file
	objects *objects // nil: there are none

	mu   sync.Mutex
	f    *os.File    // nil: to be opened
	is   os.FileInfo // of f
	torn bool        // the last line is not whole
}

// New makes a log of a file, which is opened when it is needed; "" is no file.
func New(path string) *Log { return &Log{path: path} }

// Ready tells whether a line could be written now.
func (l *Log) Ready() error {
	if l == nil {
		return nil
	}
	if l.objects != nil {
		if err := l.objects.ready(); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open()
}

// Write appends a line.
func (l *Log) Write(e Entry) error {
	if l == nil {
		return nil
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC().Truncate(time.Millisecond)
	e.Forwarded, e.Detail = clip(e.Forwarded, 256), clip(e.Detail, 1024)
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("%s: %w", l.path, err)
	}
	line = append(line, '\n')
	if l.objects != nil {
		err = l.objects.add(line)
	}
	return errors.Join(l.write(line), err)
}

func (l *Log) write(line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.open(); err != nil || l.f == nil {
		return err
	}
	if l.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := l.f.Write(line)
	if n > 0 {
		l.torn = n < len(line)
	}
	return err
}

// Reopen has the next line open the file again.
func (l *Log) Reopen() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.close()
}

// Close writes what is left for the store, and closes the file. A later line opens it again.
func (l *Log) Close() (err error) {
	if l == nil {
		return nil
	}
	if l.objects != nil {
		ctx, cancel := context.WithTimeout(context.Background(), lastTimeout)
		defer cancel()
		err = l.objects.flush(ctx)
	}
	return errors.Join(err, l.Reopen())
}

func (l *Log) close() error {
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}

// open sees to it that f is the file at path, where there is to be one.
func (l *Log) open() error {
	if l.path == "" {
		return nil
	}
	fi, err := os.Stat(l.path)
	if l.f != nil && err == nil && os.SameFile(fi, l.is) {
		return nil
	}
	isNew := errors.Is(err, os.ErrNotExist)
	if err := l.close(); err != nil {
		return err
	}
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	if isNew {
		err = livefile.Adopt(l.path)
	}
	if err == nil {
		l.is, err = f.Stat()
	}
	if err == nil {
		l.torn, err = isTorn(f, l.is)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.f = f
	return nil
}

// isTorn tells whether a crash or a full disk left part of a line at the end.
func isTorn(f *os.File, fi os.FileInfo) (bool, error) {
	if !fi.Mode().IsRegular() || fi.Size() == 0 {
		return false, nil
	}
	var last [1]byte
	_, err := f.ReadAt(last[:], fi.Size()-1)
	if errors.Is(err, io.EOF) { // shortened just now
		return false, nil
	}
	return last[0] != '\n', err
}

func clip(s string, most int) string { return s[:min(len(s), most)] }
