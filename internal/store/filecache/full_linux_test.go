package filecache

import (
	"strings"
	"testing"
	"time"

	"curdling/internal/store/storetest"
)

// TestFullDisk: on a disk that is smaller than the cache may be, files are had all the same, and the newest are kept. It
// mounts a small file system, which needs root: make stress-server.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	storetest.SmallDisk(t, dir)
	c := newCache(t, dir, 1<<30)
	defer c.Close()
	var all []*object
	for i := range 10 {
		all = append(all, newObject(200_000+i))
		check(t, c, all[i])
	}
	state, works := c.State()
	if works || !strings.HasPrefix(state, "full disk") {
		t.Error(state, works)
	}
	if s := c.Stats(); s.Fetched < 4 || s.Bypassed == 0 || s.Evicted == 0 || s.Evicted > 3 {
		t.Errorf("%+v", s)
	}
	c.mu.Lock()
	c.resume = time.Now()
	c.mu.Unlock()
	if check(t, c, all[9]); !check(t, c, all[9]) {
		t.Error("not kept, though others went for it")
	}
	if state, works := c.State(); !works {
		t.Error(state)
	}
}
