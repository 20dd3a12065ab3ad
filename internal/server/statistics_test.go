package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"curdling/internal/catalog"
	"curdling/internal/dist"
	"curdling/internal/store/storetest"
)

// TestSharedCounters: what is shown is what all servers counted, metrics are each server's own, and nothing is lost when one ends.
func TestSharedCounters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		raw := storetest.NewMemory(0, 0)
		start := func(name string) (c *Counters, end func()) {
			c = ShareCounters(raw, name, func() bool { return false }, slog.New(slog.DiscardHandler))
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { c.Keep(ctx); close(ended) }()
			return c, func() { cancel(); <-ended; c.Save() }
		}
		a, endA := start("a")
		b, endB := start("b")
		built := &catalog.File{File: dist.File{Name: "numpy", Size: 100}, Build: &catalog.Build{Time: time.Minute}}
		a.hits.Add(2)
		a.savings.add(built)
		b.misses.Add(1)
		b.savings.add(built)
		if got := a.Snapshot(); got != (Counts{Hits: 2}) {
			t.Errorf("at once: %+v", got)
		}
		time.Sleep(2 * time.Minute)
		a.Snapshot() // somebody looks
		time.Sleep(2 * time.Second)
		if got := a.Snapshot(); got != (Counts{Hits: 2, Misses: 1}) {
			t.Errorf("%+v", got)
		}
		if got := a.savings.of("numpy"); got != (Saved{2, 120, 200}) || a.savings.all() != got {
			t.Errorf("saved %+v", got)
		}
		metrics := make(chan prometheus.Metric, 10)
		a.savings.Collect(metrics)
		own := a.shared.Own().Saved
		if n := len(metrics); n != 3 || own.total() != (Saved{1, 60, 100}) {
			t.Errorf("%d metrics of %+v", n, own)
		}
		endA()
		b.bytes.Add(7)
		endB()
		c, endC := start("c")
		time.Sleep(time.Second)
		if diff := cmp.Diff(Counts{Hits: 2, Misses: 1, Bytes: 7}, c.Snapshot()); diff != "" {
			t.Error(diff)
		}
		endC()
	})
}

func FuzzStatistics(f *testing.F) {
	f.Add([]byte(`{"served":{"hits":1,"bytes":5},"saved":{"projects":{"a":{"builds":1,"seconds":2.5,"bytes":3}},"days":{"2026-01-31":{"builds":1}}}}`))
	f.Add([]byte(`{"served":{"hits":-1}}`))
	f.Add([]byte(`{"saved":{"projects":{"a":{"seconds":-1e308}}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var a statistics
		if json.Unmarshal(text, &a) != nil || a.check() != nil {
			return
		}
		sum, once := a.plus(a), a.Saved.total()
		if sum.Served.Hits != 2*a.Served.Hits || sum.Saved.total().Seconds < once.Seconds {
			t.Errorf("%+v and itself is %+v", a, sum)
		}
		if _, err := json.Marshal(sum); err != nil {
			t.Error(err)
		}
	})
}
