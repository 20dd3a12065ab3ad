package auth

import (
	"encoding/binary"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"curdling/internal/livefile"
)

const (
	maxPassword   = 1024 // bytes
	rememberFor   = 5 * time.Minute
	maxRemembered = 10_000
)

// Users is an htpasswd file, read again when it changes.
//
// A good hash takes long to check, on purpose, so a password that was right is
// remembered for five minutes, as a hash under a key that only this process
// has, until the file changes. An unknown user's costs
// what a known user's does, who come with the same password at the same time share
// one check, and no more checks run at once than there are processors.
type Users struct {
	file *livefile.File[userTable]
	key  key
	free chan struct{} // a place for each check under way
}

// userTable is one content of the file.
type userTable struct {
	hashes map[string]hash
	decoys []hash
	flight singleflight.Group

	mu         sync.Mutex
	remembered map[mac]time.Time // until when
}

// OpenUsers reads an htpasswd file. When it changes later and cannot be read
// then, log is told and the users stay as they are.
func OpenUsers(path string, log *slog.Logger) (*Users, error) {
	file, err := livefile.Open(log, "the user database", func() (*userTable, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		hashes, err := readHashes(f, path)
		return &userTable{hashes: hashes, decoys: slices.Collect(maps.Values(hashes)), remembered: make(map[mac]time.Time)}, err
	}, path)
	if err != nil {
		return nil, err
	}
	return &Users{file: file, key: newKey(), free: make(chan struct{}, runtime.GOMAXPROCS(0))}, nil
}

// Has tells whether there is such a user.
func (u *Users) Has(user string) bool { return u.file.Get().hashes[user] != nil }

// Check tells whether there is such a user and this is the password.
func (u *Users) Check(user, password string) bool {
	if user == "" || len(password) > maxPassword {
		return false
	}
	table, m := u.file.Get(), u.key.mac(user, password)
	if table.remembers(m) {
		return true
	}
	ok, _, _ := table.flight.Do(string(m[:]), func() (any, error) {
		u.free <- struct{}{}
		defer func() { <-u.free }()
		h, known := table.hashes[user]
		if !known {
			// The same name always costs the same, like a known one's.
			name := u.key.mac(user, "")
			h = table.decoys[binary.BigEndian.Uint64(name[:])%uint64(len(table.decoys))]
		}
		ok := h(password) && known
		if ok {
			table.remember(m)
		}
		return ok, nil
	})
	return ok.(bool)
}

func (t *userTable) remembers(m mac) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	until, ok := t.remembered[m]
	return ok && time.Now().Before(until)
}

func (t *userTable) remember(m mac) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.remembered) >= maxRemembered {
		clear(t.remembered)
	}
	t.remembered[m] = time.Now().Add(rememberFor)
}
