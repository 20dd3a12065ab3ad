//go:build unix

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestMixedLoad: while clients upload and read, and somebody deletes files by hand,
// the server is killed again and again. Each upload that it answered with success is
// there afterwards, and right; no file was ever served whole that is not what was sent.
// CURDLING_STRESS_SERVER=60 has it go on for 60 seconds, with a kill each 5.
func TestMixedLoad(t *testing.T) {
	t.Parallel()
	rounds, life := 3, 300*time.Millisecond
	if seconds, err := strconv.Atoi(os.Getenv("CURDLING_STRESS_SERVER")); err == nil {
		rounds, life = max(1, seconds/5), 5*time.Second
	}
	dir := t.TempDir()
	load := mixedLoad{wheels: newWheels(), t: t, dir: dir}
	for round := range rounds {
		p, err := startServer(".", os.Environ(), "-H", "127.0.0.1", "-p", "0", dir)
		if err != nil {
			t.Fatal(err)
		}
		load.check(t, p.url)
		load.run(p, round, life)
	}
	p, err := startServer(".", os.Environ(), "-H", "127.0.0.1", "-p", "0", dir)
	if err != nil {
		t.Fatal(err)
	}
	checkSwept(t, dir)
	clear(load.checked)
	load.check(t, p.url)
	if err := p.stop(); err != nil {
		t.Errorf("stopped: %v\n%s", err, p.stderr)
	}
	held := load.checkFolder(t, dir)
	t.Logf("%d kills; %d uploads sent, %d acknowledged and not deleted, all there and right; %d deleted by hand; %d files read whole and right, %d cut off, %d not found; %d files held",
		rounds, len(load.content), len(load.acknowledged), load.deleted.Load(), load.read.Load(), load.cut.Load(), load.missed.Load(), held)
	if len(load.acknowledged) == 0 {
		t.Error("no upload came through")
	}
}

// mixedLoad are clients of a server, and somebody at work in its folder.
type mixedLoad struct {
	*wheels
	t   *testing.T
	dir string

	deleted, read, cut, missed atomic.Int64
}

// run has them at work until the server is killed.
func (l *mixedLoad) run(p *process, round int, life time.Duration) {
	var clients sync.WaitGroup
	before := l.uploads()
	for client := range 4 {
		clients.Go(func() {
			for i := 0; l.upload(l.t, p.url, fmt.Sprintf("m%d-%d-%d", round, client, i), 10_000); i++ {
			}
		})
		clients.Go(func() {
			for l.readOne(p.url) {
			}
		})
	}
	dead := make(chan struct{})
	clients.Go(func() {
		for {
			select {
			case <-dead:
				return
			case <-time.After(20 * time.Millisecond):
				l.deleteOne()
			}
		}
	})
	time.Sleep(life/2 + rand.N(life)/2)
	for deadline := time.Now().Add(time.Minute); l.uploads() <= before && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond) // a slow machine
	}
	if err := p.kill(); err != nil {
		l.t.Error(err)
	}
	close(dead)
	clients.Wait()
}

// uploads counts those that were acknowledged.
func (l *mixedLoad) uploads() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.acknowledged)) + l.deleted.Load()
}

// any gives a file that was sent, "" for none; acknowledged ones only where it is said.
func (l *mixedLoad) any(acknowledged bool) string {
	for filename := range l.content { // in no order
		if !acknowledged || l.acknowledged[filename] {
			return filename
		}
	}
	return ""
}

// readOne reads a file, and tells whether the server still lives.
func (l *mixedLoad) readOne(url string) bool {
	l.mu.Lock()
	filename := l.any(rand.IntN(10) > 0)
	want := l.content[filename]
	l.mu.Unlock()
	if filename == "" {
		filename = "none-1.0-py3-none-any.whl"
	}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url+"/p/"+filename, nil)
	if err != nil {
		l.t.Error(err)
		return false
	}
	status, body, err := do(r)
	switch {
	case err != nil && status == http.StatusOK:
		l.cut.Add(1)
	case err != nil:
	case status == http.StatusNotFound:
		l.missed.Add(1)
	case status != http.StatusOK:
		l.t.Errorf("%s: %d %s", filename, status, body)
	case hash([]byte(body)) != want:
		l.t.Errorf("%s was served whole with %d bytes that are not what was sent", filename, len(body))
	default:
		l.read.Add(1)
	}
	return err == nil
}

// deleteOne deletes a file by hand.
func (l *mixedLoad) deleteOne() {
	l.mu.Lock()
	filename := ""
	if len(l.acknowledged) > 5 {
		filename = l.any(true)
	}
	delete(l.acknowledged, filename)
	l.mu.Unlock()
	if filename == "" {
		return
	}
	if err := os.Remove(filepath.Join(l.dir, filename)); err != nil {
		l.t.Errorf("an acknowledged file cannot be deleted: %v", err)
	}
	l.deleted.Add(1)
}
