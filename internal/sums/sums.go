// Package sums keeps sums to which any number of servers add, in a store that all of them use.
//
// Each server has a file of its own, with what it added itself; all files together are the sum. Who was silent for long has his file
// folded into one that is for all, and goes on in another where he lives. Nothing is counted twice and nothing that was saved is lost, whatever
// fails, comes late or is done by two at once:
//
//   - A file is written on the condition that it is what its server knows, and counts how often it was. What of a write whose answer was lost
//     is in it, its server finds out before it writes anything else.
//   - A file is closed before it is folded, which its server cannot overlook: a closed file is never changed again.
//   - The file of all says which files are in it, and with how many writes, for a week after these are gone. Who finds his own file
//     gone learns there what was in it.
//
// A process that is stopped for more than that week may have lost what it counted in its last minute.
package sums

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"curdling/internal/store"
)

const (
	format  = 1
	suffix  = ".json"
	allName = "all" // the file of all

	every     = time.Minute // a sum is saved, and read where somebody wants to know
	foldEvery = 10 * time.Minute
	foldAfter = time.Hour          // of silence
	remember  = 7 * 24 * time.Hour // what was folded
	opTimeout = 10 * time.Second   // for the store to answer
	attempts  = 8
)

// Config says what is added up, and where.
type Config[T any] struct {
	Store  store.Versioned
	Prefix string // of the keys; ends with a slash
	Server string // whose sum it is, lower-case letters and digits: another for each run of a program
	// Plus adds two up, and changes neither. It gives the same in whatever order; its zero value is nothing.
	Plus func(a, b T) T
	// Take gives what is to be added by now, where that is not left to Add alone; false is nothing.
	Take func() (T, bool)
	// Check tells what is wrong with what a file says; nil is nothing.
	Check func(T) error
	Log   *slog.Logger // nil is silent
}

// Sum is a server's part, and what it knows of the others'. Make one with [New]; it is safe for concurrent use.
type Sum[T any] struct {
	config Config[T]
	log    *slog.Logger
	now    func() time.Time // monotonic: differences alone count
	wall   func() time.Time // roughly, for what is kept for a week

	turn    sync.Mutex // for whoever asks the store; guards:
	number  int        // of the server's files, the one that is written
	version string     // of that file; "" is none
	writes  int        // that are in it
	seen    map[string]sighting

	mu      sync.Mutex
	filed   T  // is in the file
	pending *T // may be in the file, with one write more; nil: nothing may
	fresh   T  // is not in the file
	added   bool
	own     T // all of this run
	folded  T // of this run, and not in others yet, as that was read before
	others  T
	read    time.Time // when others were; zero: never
	wanted  chan struct{}
}

// file is a server's, or the one of all.
type file[T any] struct {
	Format int               `json:"format"`
	Writes int               `json:"writes,omitempty"`
	Closed bool              `json:"closed,omitempty"`
	Folded map[string]folded `json:"folded,omitempty"` // of all: what is in it, by the name of the file
	Sum    T                 `json:"sum"`
}

// folded is a file that is in the one of all.
type folded struct {
	Writes int       `json:"writes"`
	Time   time.Time `json:"time"`
}

// sighting is what a file was when it was first seen to be so.
type sighting struct {
	info  store.Info
	since time.Time
}

// New makes a sum. Nothing is asked for before [Sum.Run], [Sum.Save] or [Sum.Read].
func New[T any](c Config[T]) *Sum[T] {
	return &Sum[T]{config: c, log: cmp.Or(c.Log, slog.New(slog.DiscardHandler)), now: time.Now, wall: time.Now,
		number: 1, seen: make(map[string]sighting), wanted: make(chan struct{}, 1)}
}

// Add adds to the sum.
func (s *Sum[T]) Add(v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fresh, s.own, s.added = s.config.Plus(s.fresh, v), s.config.Plus(s.own, v), true
}

func (s *Sum[T]) take() {
	if s.config.Take == nil {
		return
	}
	if v, ok := s.config.Take(); ok {
		s.Add(v)
	}
}

// Own gives what this server added.
func (s *Sum[T]) Own() T {
	s.take()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own
}

// All gives what all servers added, as far as it is known: all of this one's, and the others' as they were a minute or two ago
// while [Sum.Run] runs, and somebody asks.
func (s *Sum[T]) All() T {
	s.take()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.read.IsZero() || s.now().Sub(s.read) > every {
		select {
		case s.wanted <- struct{}{}:
		default:
		}
	}
	sum := s.config.Plus(s.others, s.config.Plus(s.folded, s.config.Plus(s.filed, s.fresh)))
	if s.pending != nil {
		sum = s.config.Plus(sum, *s.pending)
	}
	return sum
}

// Run saves and reads, until ctx is done, and then saves what is left. Where fold says so it folds, too, what silent servers left; that is
// for one of all, though two do no harm.
func (s *Sum[T]) Run(ctx context.Context, fold func() bool) {
	saving, folding := time.NewTicker(every), time.NewTicker(foldEvery)
	defer saving.Stop()
	defer folding.Stop()
	s.tell(ctx, "what others counted cannot be read", s.Read)
	for {
		select {
		case <-ctx.Done():
			s.tell(context.WithoutCancel(ctx), "what was counted last is lost", s.Save)
			return
		case <-saving.C:
			s.tell(ctx, "what is counted cannot be kept now", s.Save)
		case <-s.wanted:
			s.tell(ctx, "what others counted cannot be read", s.Read)
		case <-folding.C:
			if fold() {
				s.tell(ctx, "what silent servers counted cannot be put together", s.Fold)
			}
		}
	}
}

func (s *Sum[T]) tell(ctx context.Context, what string, do func(context.Context) error) {
	if err := do(ctx); err != nil && ctx.Err() == nil {
		s.log.Warn(what, "err", err)
	}
}

// name gives the name of this server's file.
func (s *Sum[T]) name() string {
	if s.number == 1 {
		return s.config.Server
	}
	return fmt.Sprintf("%s-%d", s.config.Server, s.number)
}

func (s *Sum[T]) key(name string) string { return s.config.Prefix + name + suffix }

// get reads a file.
func (s *Sum[T]) get(ctx context.Context, name string) (f file[T], version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	content, version, err := s.config.Store.Get(ctx, s.key(name), "")
	if err != nil {
		return f, "", err
	}
	if err = json.Unmarshal(content, &f); err == nil && f.Format != format {
		err = fmt.Errorf("format %d, and this program knows %d", f.Format, format)
	}
	if err == nil && s.config.Check != nil {
		err = s.config.Check(f.Sum)
	}
	if err != nil {
		return file[T]{}, "", fmt.Errorf("%s: %w: %w", s.key(name), errForeign, err)
	}
	return f, version, nil
}

// errForeign says that a file cannot be understood.
var errForeign = errors.New("no sum that this program knows")

// put writes a file.
func (s *Sum[T]) put(ctx context.Context, name, version string, f file[T]) (newVersion string, err error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	f.Format = format
	content, err := json.Marshal(f)
	if err != nil {
		return "", err
	}
	return s.config.Store.Put(ctx, s.key(name), version, append(content, '\n'))
}

// Save writes what was added since the last time. After an error it is written the next time.
func (s *Sum[T]) Save(ctx context.Context) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.take()
	for range attempts {
		next, anything := s.next()
		if !anything {
			return nil
		}
		version, err := s.put(ctx, s.name(), s.version, next)
		switch {
		case err == nil:
			s.version = version
			s.settle(next.Writes)
			continue // with what came since that was first tried
		case !errors.Is(err, store.ErrChanged):
			return err // it may have been written
		}
		if err := s.look(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: %w, time after time", s.key(s.name()), store.ErrChanged)
}

// next gives what is to be written. What may have been written already is written as it was. The caller has the turn.
func (s *Sum[T]) next() (f file[T], anything bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending == nil {
		if !s.added {
			return f, false
		}
		fresh := s.fresh
		s.pending, s.fresh, s.added = &fresh, *new(T), false
	}
	return file[T]{Writes: s.writes + 1, Sum: s.config.Plus(s.filed, *s.pending)}, true
}

// settle knows how many writes are in the file. The caller has the turn.
func (s *Sum[T]) settle(writes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending == nil {
		return
	}
	if writes > s.writes {
		s.filed, s.writes = s.config.Plus(s.filed, *s.pending), s.writes+1
	} else {
		s.fresh, s.added = s.config.Plus(*s.pending, s.fresh), true
	}
	s.pending = nil
}

// look finds out what the server's own file is. The caller has the turn.
func (s *Sum[T]) look(ctx context.Context) error {
	f, version, err := s.get(ctx, s.name())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		all, _, err := s.get(ctx, allName)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.settle(s.writesIn(all))
		s.begin()
	case err != nil:
		return err
	case f.Closed:
		s.settle(f.Writes)
		s.begin()
	default:
		s.version = version
		s.settle(f.Writes)
	}
	return nil
}

// writesIn is how many writes of the own file, which is gone, are in the one of all. Where nobody remembers it is what was tried, so
// that nothing counts twice.
func (s *Sum[T]) writesIn(all file[T]) int {
	if f, ok := all.Folded[s.name()]; ok {
		return f.Writes
	}
	return s.writes + 1
}

// begin begins another file: what is in the one before belongs to all. The caller has the turn, and settled.
func (s *Sum[T]) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number, s.version, s.writes = s.number+1, "", 0
	s.folded, s.filed = s.config.Plus(s.folded, s.filed), *new(T)
}

// list gives the names of the servers' files.
func (s *Sum[T]) list(ctx context.Context) (names map[string]store.Info, err error) {
	names = make(map[string]store.Info)
	for info, err := range s.config.Store.List(ctx, s.config.Prefix) {
		if err != nil {
			return nil, err
		}
		name, ok := strings.CutSuffix(strings.TrimPrefix(info.Key, s.config.Prefix), suffix)
		if ok && name != allName && !strings.Contains(name, "/") {
			names[name] = info
		}
	}
	return names, nil
}

// Read reads what all others added.
func (s *Sum[T]) Read(ctx context.Context) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	began := s.now()
	names, err := s.list(ctx)
	if err != nil {
		return err
	}
	files := make(map[string]file[T])
	for name := range names {
		f, _, err := s.get(ctx, name)
		switch {
		case errors.Is(err, fs.ErrNotExist): // it is in the one of all, which is read last
		case errors.Is(err, errForeign):
			s.log.Warn("what a server counted is left out", "err", err)
		case err != nil:
			return err
		default:
			files[name] = f
		}
	}
	all, _, err := s.get(ctx, allName)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if f, ok := all.Folded[s.name()]; ok {
		s.settle(f.Writes)
		s.begin()
	}
	others := all.Sum
	for name, f := range files {
		if _, ok := all.Folded[name]; !ok && name != s.name() {
			others = s.config.Plus(others, f.Sum)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.others, s.folded, s.read = others, *new(T), began
	return nil
}
