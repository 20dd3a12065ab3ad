package catalog

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// saveUses is how often uses are written, where there were any.
const saveUses = 10 * time.Minute

// uses is how often a file was opened, and when last. Uses are noted of files
// that may be evicted, and only in memory; now and then they are saved in the
// state as uses.tsv (name, count, Unix seconds), so that a crash loses some.
type uses struct {
	count atomic.Int64
	last  atomic.Int64 // Unix seconds
}

// used notes that a file is opened.
func (c *Catalog) used(filename string) {
	if c.far != nil {
		c.far.uses.note(filename, time.Now())
		return
	}
	c.mu.RLock()
	u := c.uses[filename]
	c.mu.RUnlock()
	if u != nil {
		u.count.Add(1)
		u.last.Store(time.Now().Unix())
		c.usesChanged.Store(true)
	}
}

func (c *Catalog) usesPath() string { return filepath.Join(c.state, "uses.tsv") }

// loadUses reads what is known from the last time; a line that cannot be used is passed over.
func (c *Catalog) loadUses() {
	if c.state == "" {
		return
	}
	text, err := os.ReadFile(c.usesPath())
	if err != nil {
		return // as good as empty
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for line := range strings.Lines(string(text)) {
		filename, count, last, ok := parseUses(line)
		if u := c.uses[filename]; ok && u != nil {
			u.count.Store(count)
			u.last.Store(last)
		}
	}
}

func parseUses(line string) (filename string, count, last int64, ok bool) {
	fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
	if len(fields) != 3 {
		return "", 0, 0, false
	}
	count, errCount := strconv.ParseInt(fields[1], 10, 64)
	last, errLast := strconv.ParseInt(fields[2], 10, 64)
	return fields[0], count, last, errCount == nil && errLast == nil && count > 0 && last > 0
}

// keepUses saves the uses if there were any since the last time.
func (c *Catalog) keepUses() {
	if c.state == "" || c.journal.guest || !c.usesChanged.Swap(false) {
		return
	}
	var b []byte
	c.mu.RLock()
	for filename, u := range c.uses {
		if n := u.count.Load(); n > 0 {
			b = fmt.Appendf(b, "%s\t%d\t%d\n", filename, n, u.last.Load())
		}
	}
	c.mu.RUnlock()
	if err := writeWhole(c.usesPath(), b); err != nil {
		c.log.Debug("uses cannot be kept", "err", err)
	}
}
