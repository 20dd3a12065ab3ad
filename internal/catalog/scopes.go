package catalog

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"curdling/internal/store/disk"
)

const (
	mostScopes = 64 // open at once
	scopeIdle  = 5 * time.Minute
	lookIdle   = time.Minute
)

// ErrBusy says that as many scopes are in use as may be open at once.
var ErrBusy = errors.New("too many scopes are in use at once; try again in a moment")

// ScopesConfig says what scopes there may be.
type ScopesConfig struct {
	Main   *View       // what lies above all of them
	Folder *disk.Store // main's, which has those of scopes
	Place  ScopePlace  // of scopes; nil: below Folder
	Log    *slog.Logger
	// MaxSize is how many bytes each may hold; zero is no bound.
	MaxSize int64
	// Keep is how long a scope is kept after a file last came; zero is for ever.
	Keep time.Duration
	// Sweep is how often Run looks for scopes that are too old; zero is never.
	Sweep time.Duration
	// Turn tells whether it is for this server to remove them; nil: it is.
	Turn func() bool
	// Removed is told of each scope that was removed, and of files that were put aside; may be nil.
	Removed func(Removal)

	most int // zero is mostScopes
}

// Scopes are the scopes below main. Each is opened when somebody first asks for it and closed when nobody
// did for five minutes; 64 are open at once at most. Make it with [NewScopes]; it is safe for concurrent use.
type Scopes struct {
	ScopesConfig
	mu   sync.Mutex
	open map[string]*openScope
	work sync.WaitGroup
}

// openScope is a scope that is open, or being opened.
type openScope struct {
	ready chan struct{} // closed when what follows is there
	err   error
	view  *View
	is    *ScopeStore
	close func() error

	users int       // guarded by Scopes.mu, as is what follows
	used  time.Time // last
	gone  bool      // nobody new may use it
}

// NewScopes makes them. Close ends what is open.
func NewScopes(config ScopesConfig) *Scopes {
	config.Log = cmp.Or(config.Log, slog.New(slog.DiscardHandler))
	config.most = cmp.Or(config.most, mostScopes)
	if config.Place == nil {
		config.Place = FolderScopes{config.Folder}
	}
	return &Scopes{ScopesConfig: config, open: make(map[string]*openScope)}
}

// View gives what those of a scope see, until release is called. A scope that is not there looks like main; for
// an upload it is made. A bad name is an error that wraps [fs.ErrInvalid].
func (s *Scopes) View(name string, upload bool) (view *View, release func(), err error) {
	there, err := s.Place.Look(name, upload)
	switch {
	case err != nil:
		return nil, nil, err
	case !there && !upload:
		return s.Main, func() {}, nil
	}
	x, fresh := s.take(name)
	if x == nil {
		return nil, nil, ErrBusy
	}
	if fresh {
		x.err = s.openScope(name, x)
		close(x.ready)
	}
	<-x.ready
	if x.err != nil {
		s.release(name, x, true)
		return nil, nil, fmt.Errorf("the scope %s cannot be opened: %w", name, x.err)
	}
	return x.view, sync.OnceFunc(func() { s.release(name, x, false) }), nil
}

// take counts a user of a scope. Where the caller has to open it, it is fresh; nil is one too many.
func (s *Scopes) take(name string) (x *openScope, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x = s.open[name]
	if x != nil {
		select {
		case <-x.ready:
			if x.is == nil || !x.is.Current() { // it was removed, and perhaps made anew
				s.retire(name, x)
				x = nil
			}
		default:
		}
	}
	if x == nil {
		if len(s.open) >= s.most && !s.closeIdle(0, 1) {
			return nil, false
		}
		x, fresh = &openScope{ready: make(chan struct{})}, true
		s.open[name] = x
	}
	x.users++
	return x, fresh
}

// release gives a scope back; failed is that it could not be opened.
func (s *Scopes) release(name string, x *openScope, failed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x.users--
	x.used = time.Now()
	if failed && !x.gone {
		s.retire(name, x)
	} else if x.gone && x.users == 0 {
		s.end(x)
	}
}

// retire has nobody new use a scope, and closes it when nobody uses it. The caller holds mu.
func (s *Scopes) retire(name string, x *openScope) {
	delete(s.open, name)
	x.gone = true
	if x.users == 0 {
		s.end(x)
	}
}

// end closes a scope that nobody uses.
func (s *Scopes) end(x *openScope) {
	if x.close == nil {
		return
	}
	s.work.Go(func() {
		if err := x.close(); err != nil {
			s.Log.Warn("a scope cannot be closed", "err", err)
		}
	})
}

// closeIdle closes scopes that nobody used for a while, at most a number of them, the longest unused first, and tells whether it closed one. The
// caller holds mu.
func (s *Scopes) closeIdle(idle time.Duration, most int) (closed bool) {
	for ; most > 0; most-- {
		oldest, of := (*openScope)(nil), ""
		for name, x := range s.open {
			if x.users == 0 && time.Since(x.used) >= idle && (oldest == nil || x.used.Before(oldest.used)) {
				oldest, of = x, name
			}
		}
		if oldest == nil {
			break
		}
		s.retire(of, oldest)
		closed = true
	}
	return closed
}

// openScope opens one.
func (s *Scopes) openScope(name string, x *openScope) (err error) {
	if x.is, err = s.Place.Open(name); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	held, err := Open(ctx, Config{
		Store: x.is.Store, State: x.is.State, Derived: x.is.Derived, Log: s.Log.With("scope", name), Scope: name,
		MaxSize: s.MaxSize, Sweep: s.Sweep, Removed: s.Removed,
	})
	if err != nil {
		stop()
		return errors.Join(err, x.is.Close())
	}
	x.view = s.Main.Lay(held)
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		if err := held.Run(ctx); err != nil {
			s.Log.Error("changes made by hand will not be seen", "scope", name, "err", err)
		}
	}()
	x.close = func() error {
		stop()
		<-ran
		return errors.Join(held.Close(), x.is.Close())
	}
	return nil
}

// Run closes scopes that nobody uses, and removes those that are too old, until ctx is done.
func (s *Scopes) Run(ctx context.Context) {
	look := time.NewTicker(lookIdle)
	defer look.Stop()
	var sweep <-chan time.Time
	if s.Sweep > 0 && s.Keep > 0 {
		ticker := time.NewTicker(s.Sweep)
		defer ticker.Stop()
		sweep = ticker.C
		s.removeOld(ctx)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			s.mu.Lock()
			s.closeIdle(scopeIdle, s.most)
			s.mu.Unlock()
		case <-sweep:
			s.removeOld(ctx)
		}
	}
}

// removeOld is RemoveOld where it is this server's turn.
func (s *Scopes) removeOld(ctx context.Context) {
	if s.Turn == nil || s.Turn() {
		s.RemoveOld(ctx)
	}
}

// RemoveOld removes scopes into which no file came for as long as they are kept. One that is in use stays for now.
func (s *Scopes) RemoveOld(ctx context.Context) {
	all, err := s.Place.Scopes(ctx)
	if err != nil && ctx.Err() == nil {
		s.Log.Error("the scopes cannot be listed", "err", err)
	}
	oldest := time.Now().Add(-s.Keep)
	for _, x := range all {
		if ctx.Err() != nil {
			return
		}
		if x.Changed.After(oldest) || !s.idle(x.Name) {
			continue
		}
		removed, err := s.Place.RemoveScope(ctx, x.Name, oldest)
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			s.Log.Error("an old scope cannot be removed", "scope", x.Name, "err", err)
		case removed:
			s.Log.Info("an old scope was removed", "scope", x.Name, "files", x.Files, "bytes", x.Bytes, "last_upload", x.Changed)
			if s.Removed != nil {
				s.Removed(Removal{Action: "scope-remove", Scope: x.Name, Size: x.Bytes, Why: "no file came since " + x.Changed.UTC().Format(time.RFC3339)})
			}
		}
	}
}

// idle tells that nobody uses a scope, and closes it.
func (s *Scopes) idle(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.open[name]
	if x == nil {
		return true
	}
	if x.users > 0 {
		return false
	}
	s.retire(name, x)
	return true
}

// Close closes what is open. Nothing may be in use.
func (s *Scopes) Close() {
	s.mu.Lock()
	for name, x := range s.open {
		s.retire(name, x)
	}
	s.mu.Unlock()
	s.work.Wait()
}
