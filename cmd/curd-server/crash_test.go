//go:build unix

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"
)

// TestKilled: whatever instant a server dies at, each upload that it answered with
// success is there afterwards, and nothing is there that is not whole.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sent := newWheels()
	for round := range 20 {
		p, err := startServer(".", os.Environ(), "-H", "127.0.0.1", "-p", "0", dir)
		if err != nil {
			t.Fatal(err)
		}
		checkSwept(t, dir)
		sent.check(t, p.url)
		var clients sync.WaitGroup
		for client := range 4 {
			clients.Go(func() {
				for i := 0; sent.upload(t, p.url, fmt.Sprintf("p%d-%d-%d", round, client, i), 50_000); i++ {
				}
			})
		}
		time.Sleep(time.Duration(rand.IntN(150_000)) * time.Microsecond)
		if err := p.kill(); err != nil {
			t.Fatal(err)
		}
		clients.Wait()
	}
	p, err := startServer(".", os.Environ(), "-H", "127.0.0.1", "-p", "0", dir)
	if err != nil {
		t.Fatal(err)
	}
	checkSwept(t, dir)
	clear(sent.checked)
	sent.check(t, p.url)
	if err := p.stop(); err != nil {
		t.Errorf("stopped: %v\n%s", err, p.stderr)
	}
	held := sent.checkFolder(t, dir)
	t.Logf("%d uploads acknowledged, %d files held, %d sent", len(sent.acknowledged), held, len(sent.content))
	if len(sent.acknowledged) == 0 {
		t.Error("no upload came through")
	}
}
