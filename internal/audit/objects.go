package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"curdling/internal/store"
)

const (
	flushEvery   = 5 * time.Second
	flushAt      = 64 << 10 // bytes of lines, or earlier
	flushTimeout = time.Minute
	lastTimeout  = 10 * time.Second // for what is left at the end
	maxObject    = 1 << 20          // bytes
	maxWaiting   = 8 << 20          // bytes of lines that the store did not take yet
)

// objects are lines that are on their way to a store.
type objects struct {
	store  store.Store
	server string
	many   chan struct{} // there is much to be written

	mu    sync.Mutex
	lines []byte

	turn    sync.Mutex // for whoever writes; guards:
	key     string     // of pending
	pending []byte     // may be there already
	n       int
}

// Share has lines kept in a store, too, below "audit/": [Log.Run] makes an object of those of a few seconds, and Close one of the last. A crash
// loses what was not written yet. server is another name for each run of a server.
func (l *Log) Share(in store.Store, server string) {
	l.objects = &objects{store: in, server: server, many: make(chan struct{}, 1), n: 1}
}

// Run writes lines to the store until ctx is done.
func (l *Log) Run(ctx context.Context, log *slog.Logger) {
	if l == nil || l.objects == nil {
		return
	}
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for told := false; ; {
		select {
		case <-ctx.Done():
			return // Close writes the rest
		case <-ticker.C:
		case <-l.objects.many:
		}
		bounded, cancel := context.WithTimeout(ctx, flushTimeout)
		err := l.objects.flush(bounded)
		cancel()
		if err != nil && !told && ctx.Err() == nil {
			log.Error("the audit log cannot be kept in the bucket now; its lines wait", "err", err)
		}
		told = err != nil
	}
}

// ready tells whether there is room for lines.
func (o *objects) ready() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.room()
}

func (o *objects) room() error {
	if len(o.lines) > maxWaiting {
		return fmt.Errorf("%d bytes of the audit log wait for the bucket to take them", len(o.lines))
	}
	return nil
}

func (o *objects) add(line []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.room(); err != nil {
		return err
	}
	if o.lines = append(o.lines, line...); len(o.lines) > flushAt {
		select {
		case o.many <- struct{}{}:
		default:
		}
	}
	return nil
}

// flush writes what there is.
func (o *objects) flush(ctx context.Context) error {
	o.turn.Lock()
	defer o.turn.Unlock()
	for {
		if o.pending == nil && !o.take() {
			return nil
		}
		err := o.store.Create(ctx, o.key, bytes.NewReader(o.pending), int64(len(o.pending)))
		if err != nil && !errors.Is(err, fs.ErrExist) { // nobody else has names like ours
			return err
		}
		o.pending = nil
	}
}

// take takes some lines for the next object.
func (o *objects) take() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.lines) == 0 {
		return false
	}
	end := len(o.lines)
	if end > maxObject {
		end = bytes.LastIndexByte(o.lines[:maxObject], '\n') + 1 // no line is that long
	}
	now := time.Now().UTC()
	o.key = fmt.Sprintf("audit/%s/%s-%s-%d.jsonl", now.Format(time.DateOnly), o.server, now.Format("150405Z"), o.n)
	o.pending, o.lines, o.n = o.lines[:end:end], o.lines[end:], o.n+1
	return true
}
