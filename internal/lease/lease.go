// Package lease lets one of many do a piece of work that all of them need, for
// any number of servers over one store.
//
// A lease is on a name. It is granted to one holder, who sends heartbeats with
// what his log grew by, and in the end says what became of it. The others wait,
// see the log, and get the lease where the holder falls silent. All that is known
// of a name is one small document, which is changed by compare-and-swap
// ([Documents]); a server keeps nothing that another one must know.
//
// # Expiry
//
// No two machines' clocks are compared. A document counts heartbeats, and a
// server takes a lease over only when it has itself read the same count, at
// moments that are a whole TTL apart by its own monotonic clock, and swaps the
// very document that it read. So a holder whose heartbeats arrive is never
// robbed, whatever clocks do. A server that was just started, or is
// asked for the first time, waits a whole TTL, too.
//
// A holder that was silent and lost its lease learns so from [ErrLost]. What it
// made may still be of use: that is for whoever keeps it to say.
//
// # Limits
//
// A name has at most 3 segments of 64 bytes of [0-9a-z], parted by slashes. A
// document has at most 160 KiB: the log's last 64 KiB, and some texts of 1 KiB. There are
// at most [Options.Documents] of them; those of which nobody needs to know any more are swept.
package lease

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"curdling/internal/store"
)

// Documents is where the state of leases is kept. All methods may be called from
// any number of goroutines and processes. An error that is none of those named
// here leaves open what happened: a swap may have been done, or be done later,
// as long as the document has that version still.
type Documents interface {
	// Get gives a document and its version, which is never "". Where the version is known still the
	// value is nil. Where there is none the error wraps fs.ErrNotExist.
	Get(ctx context.Context, name, known string) (value []byte, version string, err error)
	// Swap replaces the document that has that version; "" makes one where there is none.
	// Else the error wraps ErrConflict. Two versions of a name differ where the documents do.
	Swap(ctx context.Context, name, version string, value []byte) (newVersion string, err error)
	// Delete removes the document that has that version; else the error wraps
	// ErrConflict. A store that cannot do so in one step may look first: what comes
	// between is lost, and a build is done twice.
	Delete(ctx context.Context, name, version string) error
	// List gives the names of all documents, in no particular order. After an error nothing more comes.
	List(ctx context.Context) iter.Seq2[string, error]
}

var (
	// ErrConflict says that a document has another version by now.
	ErrConflict = store.ErrChanged
	// ErrLost says that a lease is not, or no longer, the caller's.
	ErrLost = errors.New("the lease is not yours any more")
	// ErrFull says that there are as many documents as there may be.
	ErrFull = errors.New("there are as many leases as there may be")
	// ErrNewer says that a document is of a later format, which is let alone.
	ErrNewer = errors.New("a newer curd-server wrote it")
)

const (
	// MaxLog is how much of a log is kept, and how much may come with one heartbeat, in bytes.
	MaxLog = 64 << 10
	// MostApart is how many documents a group of [Leases.Apart] may have.
	MostApart = 256

	attempts   = 16                    // to change a document that others change, too
	opTimeout  = 5 * time.Second       // for the store to answer
	maxPause   = 20 * time.Millisecond // between attempts
	sweepEvery = time.Minute           // documents, in a server that runs
	settle     = 3 * time.Second       // after a lease ended well: what was made shows within that time
	abandoned  = 2 * time.Hour         // silent for so long, and nobody asked
	recount    = 10 * time.Second      // how many documents there are
)

// Options of Leases. The zero value works.
type Options struct {
	TTL       time.Duration // a holder silent for so long loses its lease; 0 is 30 s
	Remember  time.Duration // how long a failure is remembered; 0 is 5 min
	Poll      time.Duration // how often waiters look what other servers did; 0 is 1 s
	Documents int           // how many there may be; 0 is 8192. Several servers may make some more
	// Sweeper tells whether this server sweeps; nil is always. See [Turn].
	Sweeper func() bool
	Log     *slog.Logger // nil is silent
}

// Leases grants leases. Make it with [New].
type Leases struct {
	docs     Documents
	ttl      time.Duration
	remember time.Duration
	poll     time.Duration
	most     int
	sweeper  func() bool
	log      *slog.Logger

	now  func() time.Time // monotonic: differences alone count
	wall func() time.Time // for people, and as a hint

	*tally

	mu      sync.Mutex
	sights  map[string]*sight
	apart   map[string]*Leases
	counted int       // documents, when they were
	when    time.Time // they were counted; zero: never
}

// tally is what leases and those apart from them have counted together.
type tally struct {
	waiters atomic.Int64
	counts  [outcomes]atomic.Int64
}

// New makes leases whose documents are kept by docs.
func New(docs Documents, o Options) *Leases {
	l := &Leases{
		docs: docs, ttl: cmp.Or(o.TTL, 30*time.Second), remember: cmp.Or(o.Remember, 5*time.Minute), poll: cmp.Or(o.Poll, time.Second),
		most: cmp.Or(o.Documents, 8192), sweeper: o.Sweeper, log: o.Log, now: time.Now, wall: time.Now,
		tally: new(tally), sights: make(map[string]*sight),
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	return l
}

// Apart gives the leases of a group by itself, which are kept in what docs gives. They have nothing to do with those
// here or in another group: no holder, no failure and no number of them is seen by the others. They have the same options, but for
// at most [MostApart] documents; Sweep and Stats are about them, too.
func (l *Leases) Apart(group string, docs func() Documents) *Leases {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.apart[group]
	if a == nil {
		a = &Leases{
			docs: docs(), ttl: l.ttl, remember: l.remember, poll: l.poll, most: min(l.most, MostApart), log: l.log.With("group", group), now: l.now, wall: l.wall,
			tally: l.tally, sights: make(map[string]*sight),
		}
		if l.apart == nil {
			l.apart = make(map[string]*Leases)
		}
		l.apart[group] = a
	}
	return a
}

// TTL is how long a holder may be silent.
func (l *Leases) TTL() time.Duration { return l.ttl }

// CheckName tells what is wrong with a name. Its error wraps fs.ErrInvalid.
func CheckName(name string) error {
	segments := strings.Split(name, "/")
	ok := len(segments) <= 3
	for _, s := range segments {
		ok = ok && s != "" && len(s) <= 64 && strings.Trim(s, "0123456789abcdefghijklmnopqrstuvwxyz") == ""
	}
	if !ok {
		return fmt.Errorf("%.200q is not a lease's name: %w", name, fs.ErrInvalid)
	}
	return nil
}

// NewToken makes a holder's token: 26 letters and digits, of 128 bits of chance.
func NewToken() string { return rand.Text() }

// IsToken tells whether a text has a token's form.
func IsToken(s string) bool {
	return len(s) == 26 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// Asker is who wants a lease.
type Asker struct {
	Token string // that the lease is to have, see [NewToken]: who asks again with it gets the same lease; "": a new one
	By    string // who it is, for the others to read; at most 1 KiB counts
	What  string // what it is about, for people; at most 1 KiB counts
}

// Acquire grants a lease, or tells why it cannot be had: the status is Granted,
// Held, Failed or Done; Free only where it became so in this very moment. after
// is Status.After of what the asker knows already, "" for nothing.
func (l *Leases) Acquire(ctx context.Context, name string, a Asker, after string) (Status, error) {
	s, err := l.pin(name)
	if err != nil {
		return Status{}, err
	}
	defer l.unpin(s)
	if err := s.enter(ctx); err != nil {
		return Status{}, err
	}
	defer s.leave()
	if a.Token == "" {
		a.Token = NewToken()
	}
	mine := hashed(a.Token)
	// What was read a moment ago will do to say no.
	if err := l.read(ctx, s, l.poll); err != nil {
		return Status{}, err
	}
	if l.state(s) != Free && (s.doc.State != Held || s.doc.Token != mine) {
		return l.status(s, after), nil
	}
	again, outcome := false, granted
	err = l.update(ctx, s, func(d document) (document, error) {
		again, outcome = false, granted
		switch state := l.state(s); {
		case d.State == Held && d.Token == mine: // the answer was lost on its way
			again = true
			d.Beat++
			return d, nil
		case state != Free:
			return d, errUnchanged
		case d.State == Held:
			outcome = takenOver
		}
		if s.version == "" {
			if err := l.room(ctx); err != nil {
				return d, err
			}
		}
		return document{State: Held, Token: mine, Beat: d.Beat + 1, By: clip(a.By), What: clip(a.What), Began: l.wall().UTC().Truncate(time.Second)}, nil
	})
	switch {
	case errors.Is(err, errUnchanged):
	case err != nil:
		return Status{}, err
	case !again:
		l.counts[outcome].Add(1)
		l.log.Info("lease granted", "name", name, "what", a.What, "by", a.By, "taken over", outcome == takenOver)
	}
	status := l.status(s, after)
	if s.doc.State == Held && s.doc.Token == mine {
		status.State, status.Token = Granted, a.Token
	}
	return status, nil
}

// Look tells how it stands with a name: Free, Held, Failed or Done.
func (l *Leases) Look(ctx context.Context, name, after string) (Status, error) {
	s, err := l.pin(name)
	if err != nil {
		return Status{}, err
	}
	defer l.unpin(s)
	return l.look(ctx, s, after)
}

func (l *Leases) look(ctx context.Context, s *sight, after string) (Status, error) {
	if err := s.enter(ctx); err != nil {
		return Status{}, err
	}
	defer s.leave()
	if err := l.read(ctx, s, l.poll); err != nil {
		return Status{}, err
	}
	return l.status(s, after), nil
}

// Wait returns when a name's Status.After is not after any more, or ctx is done. What
// happens on this server is known at once, of other servers it is
// known within Options.Poll. A store that fails is waited for.
func (l *Leases) Wait(ctx context.Context, name, after string) {
	s, err := l.pin(name)
	if err != nil {
		return
	}
	defer l.unpin(s)
	l.waiters.Add(1)
	defer l.waiters.Add(-1)
	timer := time.NewTimer(l.poll)
	defer timer.Stop()
	for {
		changed := l.changed(s)
		if status, err := l.look(ctx, s, after); err == nil && status.After != after {
			return
		}
		timer.Reset(l.poll)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-timer.C:
		}
	}
}

// Heartbeat says that the holder lives, and what its log has from byte at on.
// What came before is not taken twice. ErrLost says that it is the holder no more.
func (l *Leases) Heartbeat(ctx context.Context, name, token string, at int64, log []byte) error {
	return l.held(ctx, name, token, Held, func(d document) document {
		d.Beat++
		d.write(at, log)
		return d
	})
}

// Done says that what the lease was for is there, for everybody to take. Who comes within
// seconds is told to wait, as what is there may show later on other servers.
func (l *Leases) Done(ctx context.Context, name, token string) error {
	return l.end(ctx, name, token, done, document{State: Done})
}

// Fail says that the work failed, and would for everybody. That is
// remembered for Options.Remember, with the log.
func (l *Leases) Fail(ctx context.Context, name, token, message string) error {
	return l.end(ctx, name, token, failed, document{State: Failed, Message: clip(message)})
}

// GiveUp says that somebody else should do it.
func (l *Leases) GiveUp(ctx context.Context, name, token string) error {
	return l.end(ctx, name, token, givenUp, document{State: Free})
}

// end has the holder's document be another, which keeps what is known of the holder.
func (l *Leases) end(ctx context.Context, name, token string, o outcome, with document) error {
	err := l.held(ctx, name, token, with.State, func(d document) document {
		with.Token, with.Beat, with.Began, with.By, with.What = d.Token, d.Beat, d.Began, d.By, d.What
		if with.State == Failed {
			with.Ended, with.Log, with.LogEnd = l.wall().UTC().Truncate(time.Second), d.Log, d.LogEnd
		}
		return with
	})
	if err == nil {
		l.counts[o].Add(1)
		l.log.Info("lease ended", "name", name, "what", with.What, "by", with.By, "state", with.State, "message", with.Message)
	}
	return err
}

// held changes the document of the holder with that token, so that its state is to.
func (l *Leases) held(ctx context.Context, name, token string, to State, edit func(document) document) error {
	s, err := l.pin(name)
	if err != nil {
		return err
	}
	defer l.unpin(s)
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	mine := hashed(token)
	err = l.update(ctx, s, func(d document) (document, error) {
		switch {
		case d.Token == mine && d.State == Held:
			return edit(d), nil
		case d.Token == mine && d.State == to: // the answer was lost on its way
			return d, errUnchanged
		}
		return d, ErrLost
	})
	switch {
	case errors.Is(err, errUnchanged):
		return nil
	case errors.Is(err, ErrLost):
		l.counts[lost].Add(1)
	}
	return err
}

// errUnchanged ends an update that has nothing to do.
var errUnchanged = errors.New("nothing to change")

// update has edit change the document until nobody came between. What was seen of it last will do for the first
// attempt: where it is another by now, it cannot be swapped. The caller has entered s.
func (l *Leases) update(ctx context.Context, s *sight, edit func(document) (document, error)) error {
	fresh := false
	for range attempts {
		if !s.first.IsZero() {
			next, err := edit(s.doc)
			if err == nil {
				if err = l.swap(ctx, s, next); err == nil {
					return nil
				}
				if !errors.Is(err, ErrConflict) {
					return fmt.Errorf("lease %s: %w", s.name, err)
				}
			} else if fresh {
				return err
			}
			if fresh { // another came between
				select {
				case <-ctx.Done():
					return context.Cause(ctx)
				case <-time.After(mathrand.N(maxPause)):
				}
			}
		}
		if err := l.read(ctx, s, 0); err != nil {
			return err
		}
		fresh = true
	}
	return fmt.Errorf("lease %s: %w, time after time", s.name, ErrConflict)
}

func (l *Leases) swap(ctx context.Context, s *sight, next document) error {
	value, err := next.render()
	if err != nil {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	began := l.now()
	version, err := l.docs.Swap(bounded, s.name, s.version, value)
	if err == nil {
		l.note(s, next, version, began)
	}
	return err
}

// hashed is how a token is kept.
func hashed(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// clip shortens a text to what a document takes, in valid UTF-8.
func clip(s string) string {
	return string(bytes.ToValidUTF8([]byte(s[:min(len(s), maxText)]), nil))
}
