package index

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"
)

const (
	maxChunk       = 64 << 10 // bytes of a log that go with one heartbeat
	logEvery       = 2 * time.Second
	beatsPerTTL    = 3
	releaseTries   = 3
	releaseTimeout = 10 * time.Second
)

// Lease is the right to build something that others wait for. It sends heartbeats until it is ended, by
// Done, Fail or GiveUp, or the context of its Claim is done. Losing it changes nothing
// for the holder: what he builds is as welcome. All methods may be called at once, and the first that ends it counts.
type Lease struct {
	client *Client
	name   string
	url    *url.URL
	ttl    time.Duration
	cancel context.CancelFunc
	beats  chan struct{} // closed when there are no more

	mu   sync.Mutex
	path string // of the log
	at   int64  // what the server has of it
	lost bool
	over bool
}

// hold begins with the heartbeats.
func (c *Client) hold(ctx context.Context, name string, u *url.URL, ttl float64) *Lease {
	l := &Lease{client: c, name: name, url: u, ttl: max(ofSeconds(ttl), time.Millisecond), beats: make(chan struct{})}
	var beating context.Context
	beating, l.cancel = context.WithCancel(ctx)
	go l.run(beating)
	return l
}

// Follow has the others see what the file at path grows by.
func (l *Lease) Follow(path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.path, l.at = path, 0
}

func (l *Lease) run(ctx context.Context) {
	defer close(l.beats)
	every := l.ttl / beatsPerTTL
	ticker := time.NewTicker(min(logEvery, every))
	defer ticker.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		at, chunk := l.news()
		if len(chunk) == 0 && time.Since(last) < every-min(logEvery, every)/2 {
			continue
		}
		last = time.Now()
		if l.beat(ctx, at, chunk) {
			return
		}
	}
}

// news reads what the server does not have of the log; of more than one chunk the end.
func (l *Lease) news() (at int64, chunk []byte) {
	l.mu.Lock()
	path, at := l.path, l.at
	l.mu.Unlock()
	if path == "" {
		return at, nil
	}
	f, err := os.Open(path)
	if err != nil { // not there yet
		return at, nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() <= at {
		return at, nil
	}
	at = max(at, info.Size()-maxChunk)
	chunk = make([]byte, info.Size()-at)
	n, err := f.ReadAt(chunk, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return at, nil
	}
	return at, chunk[:n]
}

// beat sends a heartbeat, and tells whether the lease is lost. One that does not arrive the next makes up for.
func (l *Lease) beat(ctx context.Context, at int64, chunk []byte) (lost bool) {
	ctx, cancel := context.WithTimeoutCause(ctx, max(l.ttl/beatsPerTTL, time.Second), errStalled)
	defer cancel()
	u := *l.url
	u.RawQuery = "at=" + strconv.FormatInt(at, 10)
	_, _, err := l.client.call(ctx, http.MethodPut, &u, chunk, "application/octet-stream", maxAnswer)
	var status *StatusError
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.at = at + int64(len(chunk))
	case errors.As(err, &status) && status.Code == http.StatusGone:
		l.lost = true
		l.client.log.Info("the lease of a build was lost, after a silence", "build", l.name)
	default:
		l.client.log.Debug("a heartbeat of a build did not arrive", "build", l.name, "error", err)
	}
	return l.lost
}

// Done says that the build was uploaded.
func (l *Lease) Done(ctx context.Context) error { return l.end(ctx, nil) }

// Fail says that the build failed, and would on any machine. The server remembers the message
// and the log's end for some minutes, and tells whoever asks.
func (l *Lease) Fail(ctx context.Context, message string) error {
	return l.end(ctx, url.Values{"failed": {message[:min(len(message), maxText)]}})
}

// GiveUp says that somebody else should build it: it was interrupted, or failed for what this
// machine is or lacks, or was not uploaded.
func (l *Lease) GiveUp(ctx context.Context) error { return l.end(ctx, url.Values{"abandoned": {"1"}}) }

// end ends the lease, also where ctx is done already.
func (l *Lease) end(ctx context.Context, how url.Values) error {
	l.mu.Lock()
	over := l.over
	l.over = true
	l.mu.Unlock()
	l.cancel()
	<-l.beats
	l.mu.Lock()
	lost := l.lost
	l.mu.Unlock()
	if over || lost {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), releaseTimeout, errStalled)
	defer cancel()
	if how.Has("failed") {
		if at, chunk := l.news(); len(chunk) > 0 {
			l.beat(ctx, at, chunk)
		}
	}
	u := *l.url
	u.RawQuery = how.Encode()
	for try := 1; ; try++ {
		_, _, err := l.client.call(ctx, http.MethodDelete, &u, nil, "", maxAnswer)
		if err == nil || try == releaseTries || !passing(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(betweenNoNews):
		}
	}
}
