package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	maxPassword   = 1024 // bytes
	statEvery     = time.Second
	rememberFor   = 5 * time.Minute
	maxRemembered = 10_000
)

// Users is an htpasswd file, read again when it changes.
//
// A good hash takes long to check, on purpose, so a password that was right is
// remembered for five minutes, as an HMAC under a key that only this process
// has, until the file changes. A wrong one is never remembered, an unknown
// user's costs what a known user's does, and no more checks run at once than
// there are processors.
type Users struct {
	path string
	log  *slog.Logger
	key  [sha256.Size]byte
	free chan struct{} // a place for each check under way

	current  atomic.Pointer[generation]
	nextStat atomic.Int64 // Unix nanoseconds
	reload   sync.Mutex
	seen     os.FileInfo // of the last file that was read, good or bad; nil: it was missing. Under reload.
}

// generation is one content of the file and what was learnt about it.
type generation struct {
	hashes map[string]hash
	decoys []hash
	flight singleflight.Group

	mu         sync.RWMutex
	remembered map[mac]time.Time // until when
}

type mac [sha256.Size]byte

// OpenUsers reads an htpasswd file. When it changes later and cannot be read
// then, log is told and the users stay as they are.
func OpenUsers(path string, log *slog.Logger) (*Users, error) {
	u := &Users{path: path, log: log, free: make(chan struct{}, runtime.GOMAXPROCS(0))}
	if _, err := rand.Read(u.key[:]); err != nil {
		return nil, err
	}
	u.nextStat.Store(time.Now().Add(statEvery).UnixNano())
	return u, u.read()
}

// Check tells whether there is such a user and this is the password.
func (u *Users) Check(user, password string) bool {
	u.refresh(time.Now())
	if user == "" || len(password) > maxPassword {
		return false
	}
	g, m := u.current.Load(), u.mac(user, password)
	if g.remembers(m) {
		return true
	}
	ok, _, _ := g.flight.Do(string(m[:]), func() (any, error) {
		u.free <- struct{}{}
		defer func() { <-u.free }()
		h, known := g.hashes[user]
		if !known {
			// The same name always costs the same, like a known one's.
			name := u.mac(user, "")
			h = g.decoys[binary.BigEndian.Uint64(name[:])%uint64(len(g.decoys))]
		}
		ok := h(password) && known
		if ok {
			g.remember(m)
		}
		return ok, nil
	})
	return ok.(bool)
}

func (u *Users) mac(user, password string) (m mac) {
	h := hmac.New(sha256.New, u.key[:])
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(user)))
	h.Write(length[:])
	h.Write([]byte(user))
	h.Write([]byte(password))
	h.Sum(m[:0])
	return m
}

func (g *generation) remembers(m mac) bool {
	g.mu.RLock()
	until, ok := g.remembered[m]
	g.mu.RUnlock()
	return ok && time.Now().Before(until)
}

func (g *generation) remember(m mac) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.remembered) >= maxRemembered {
		clear(g.remembered)
	}
	g.remembered[m] = time.Now().Add(rememberFor)
}

// refresh reads the file again if it has changed; it looks once a second at most.
func (u *Users) refresh(now time.Time) {
	next := u.nextStat.Load()
	if now.UnixNano() < next || !u.nextStat.CompareAndSwap(next, now.Add(statEvery).UnixNano()) {
		return
	}
	if !u.reload.TryLock() {
		return
	}
	defer u.reload.Unlock()
	fi, err := os.Stat(u.path)
	if err != nil && u.seen == nil || err == nil && u.seen != nil && same(fi, u.seen) {
		return
	}
	if err := u.read(); err != nil {
		u.log.Error("the user database was changed and cannot be used; the users stay as they were", "err", err)
		return
	}
	u.log.Info("the user database was read again", "path", u.path, "users", len(u.current.Load().hashes))
}

func (u *Users) read() error {
	u.seen = nil
	f, err := os.Open(u.path)
	if err != nil {
		return err
	}
	defer f.Close()
	if u.seen, err = f.Stat(); err != nil {
		return err
	}
	hashes, err := readHashes(f, u.path)
	if err != nil {
		return err
	}
	u.current.Store(&generation{hashes: hashes, decoys: slices.Collect(maps.Values(hashes)), remembered: make(map[mac]time.Time)})
	return nil
}

func same(a, b os.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
