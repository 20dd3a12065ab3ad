package main

import (
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"curdling/internal/catalog"
	"curdling/internal/index"
	"curdling/internal/record"
	"curdling/internal/record/recordtest"
)

// TestServerKilledDuringBuild: 16 clients at two servers over one folder need one wheel, and one of the servers is killed and
// started again meanwhile: it is built once.
func TestServerKilledDuringBuild(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start := func(port string) *process {
		t.Helper()
		p, err := startServer(dir, os.Environ(), "-H", "127.0.0.1", "-p", port, "wheels")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.kill() })
		return p
	}
	killed := start("0")
	urls := []string{killed.url, start("0").url}
	at, err := url.Parse(killed.url)
	if err != nil {
		t.Fatal(err)
	}
	name, wheel, text := recordtest.Build(t, "slow", "3.11.1", "", nil)
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, wheel, 0o666); err != nil {
		t.Fatal(err)
	}
	build := index.Build{From: recordtest.Source, Key: record.Key(record.Decides{From: recordtest.Source}), Name: "slow 1.0", Wait: 2 * time.Minute}
	again := make(chan struct{})
	var waiting sync.WaitGroup // until each knows what it waits for
	waiting.Add(16)
	var builds, got atomic.Int64
	var clients sync.WaitGroup
	for i := range 16 {
		clients.Go(func() {
			c := index.NewClient(index.Options{})
			defer c.Close()
			waits := sync.OnceFunc(waiting.Done)
			defer waits()
			b := build
			b.Progress = func(index.BuildProgress) { waits() }
			claim, err := c.Claim(t.Context(), urls[i%2], b)
			switch {
			case err != nil:
				t.Errorf("client %d: %v", i, err)
			case claim.Lease != nil:
				builds.Add(1)
				waits()
				<-again
				if _, err := c.Upload(t.Context(), urls[i%2], path, index.Beside{Suffix: catalog.RecordSuffix, Content: text}); err != nil {
					t.Errorf("client %d: %v", i, err)
				}
				if err := claim.Lease.Done(t.Context()); err != nil {
					t.Errorf("client %d: %v", i, err)
				}
				got.Add(1)
			case len(claim.Files) == 1 && claim.Files[0].Filename == name:
				got.Add(1)
			default:
				t.Errorf("client %d: %+v", i, claim)
			}
		})
	}
	waiting.Wait()
	if err := killed.kill(); err != nil {
		t.Error(err)
	}
	start(at.Port())
	close(again)
	clients.Wait()
	if builds.Load() != 1 || got.Load() != 16 {
		t.Errorf("%d builds, %d clients have it; want 1 and 16", builds.Load(), got.Load())
	}
}
