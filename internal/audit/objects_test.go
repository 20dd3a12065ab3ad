package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"curdling/internal/store/storetest"
)

// kept gives the entries of all objects, in the order of their keys.
func kept(t *testing.T, raw *storetest.Memory) (entries []Entry) {
	t.Helper()
	for _, key := range raw.Keys() {
		r, _, err := raw.Open(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil || len(text) > maxObject || !bytes.HasSuffix(text, []byte("\n")) {
			t.Errorf("%s: %d bytes, %v", key, len(text), err)
		}
		for line := range bytes.Lines(text) {
			var e Entry
			if err := json.Unmarshal(line, &e); err != nil {
				t.Errorf("%s: %q: %v", key, line, err)
			}
			entries = append(entries, e)
		}
	}
	return entries
}

// TestShare: each line of each server is in the store once, seconds after it was written, whatever fails.
func TestShare(t *testing.T) {
	t.Parallel()
	for _, faults := range []storetest.Faults{{}, {Delay: time.Second, Fail: .2, Lose: .2, Late: .2, Twice: .1}} {
		t.Run(fmt.Sprintf("%+v", faults), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				raw := storetest.NewMemory(0, 0)
				var servers sync.WaitGroup
				file := filepath.Join(t.TempDir(), "audit.jsonl")
				var want []string
				for i := range 3 {
					faults.Seed = uint64(i)
					l := New("")
					if i == 0 {
						l = New(file)
					}
					l.Share(raw.Link(faults), fmt.Sprint("server", i))
					ctx, cancel := context.WithCancel(t.Context())
					var running sync.WaitGroup
					running.Go(func() { l.Run(ctx, slog.New(slog.DiscardHandler)) })
					for n := range 100 {
						want = append(want, fmt.Sprintf("%d-%03d", i, n))
					}
					servers.Go(func() {
						for n := range 100 {
							if err := l.Write(Entry{Action: "upload", File: fmt.Sprintf("%d-%03d", i, n)}); err != nil {
								t.Error(err)
							}
							time.Sleep(time.Duration(n) * 10 * time.Millisecond)
						}
						cancel()
						running.Wait()
						for l.Close() != nil { // as it may be under faults
						}
					})
				}
				time.Sleep(2*flushEvery + 2*time.Second)
				if faults.Fail == 0 && len(raw.Keys()) < 3 {
					t.Errorf("after seconds there are %v", raw.Keys())
				}
				servers.Wait()
				time.Sleep(10 * time.Minute) // for what is late
				var got []string
				for _, e := range kept(t, raw) {
					got = append(got, e.File)
				}
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("%d lines, want %d", len(got), len(want))
				}
				if n := len(read(t, file)); n != 100 {
					t.Errorf("%d lines in the file beside", n)
				}
				if n := len(raw.Keys()); n > 3*100/2 {
					t.Errorf("%d objects", n)
				}
			})
		})
	}
}

// TestShareBounds: much is written at once, and while the store takes nothing so much waits and no more.
func TestShareBounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		raw := storetest.NewMemory(0, 0)
		l := New("")
		l.Share(raw.Link(storetest.Faults{Fail: 1}), "a")
		e := Entry{Action: "upload", Detail: strings.Repeat("x", 1000)}
		n := 0
		for ; l.Write(e) == nil; n++ {
			if n > maxWaiting/1000 {
				t.Fatal("there is no bound")
			}
		}
		if l.Ready() == nil || l.Close() == nil {
			t.Error("nothing is said of it")
		}
		l.objects.store = raw
		if err := l.Close(); err != nil || l.Ready() != nil {
			t.Error(err, l.Ready())
		}
		if got := len(kept(t, raw)); got != n {
			t.Errorf("%d lines, want %d", got, n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go l.Run(ctx, slog.New(slog.DiscardHandler))
		before := len(raw.Keys())
		for range flushAt/1000 + 1 {
			if err := l.Write(e); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(raw.Keys()) == before {
			t.Error("much waits for the clock")
		}
	})
}
