package curds

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"curdling/internal/store"
)

// Build tells which wheel was built from a source. It is kept as JSON.
type Build struct {
	Source   string    `json:"source"`   // sha256 of the source, see package record
	Key      string    `json:"key"`      // what else decides the result, see package record
	Wheel    string    `json:"wheel"`    // sha256 of the wheel, which File knows
	Filename string    `json:"filename"` // of the wheel
	Seconds  float64   `json:"seconds"`  // that the build took
	Time     time.Time `json:"time"`     // when it ended, UTC
	// Record is the build's, in the bytes in which it travels; nil where there is none.
	Record []byte `json:"record,omitempty"`
	// Server is the cache server that the build came from, without credentials; "": this machine made it.
	Server string `json:"server,omitempty"`
	// Signature is the signed note of the record with which it came; nil: none is known.
	Signature []byte `json:"signature,omitempty"`
}

func (c *Curds) buildPath(source, key string) string {
	if !store.IsSHA256(source) {
		return ""
	}
	return filepath.Join(c.dir, "builds", source, filepath.Base(key)+".json")
}

// Builds gives the wheels that were built from the source with that hash under
// that key, the newest first, whatever an index says today of the source.
func (c *Curds) Builds(source, key string) (found []Build) {
	if !store.IsSHA256(source) {
		return nil
	}
	for _, b := range c.buildsIn(source) {
		if b.Source == source && b.Key == key {
			found = append(found, b)
		}
	}
	slices.SortStableFunc(found, func(a, b Build) int { return b.Time.Compare(a.Time) })
	return found
}

// AllBuilds gives every build that is remembered, in no order.
func (c *Curds) AllBuilds() (found []Build) {
	sources, _ := os.ReadDir(filepath.Join(c.dir, "builds")) // what cannot be read is not remembered
	for _, s := range sources {
		found = append(found, c.buildsIn(s.Name())...)
	}
	return found
}

// buildsIn gives what was built of one source.
func (c *Curds) buildsIn(source string) (found []Build) {
	dir := filepath.Join(c.dir, "builds", source)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if b, ok := c.build(filepath.Join(dir, e.Name())); ok {
			found = append(found, b)
		}
	}
	return found
}

// olderMark stands between a key and the wheel's hash in the name of a build that is not the last one under its key.
const olderMark = "-was-"

// build reads one whose wheel is held.
func (c *Curds) build(path string) (b Build, ok bool) {
	raw, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(raw, &b) != nil {
		return Build{}, false
	}
	_, ok = c.File(b.Wheel)
	return b, ok
}

// AddBuild remembers a build whose wheel was Imported, besides those under the same key that gave another wheel.
func (c *Curds) AddBuild(b Build) error {
	raw, err := json.MarshalIndent(b, "", "\t")
	if err != nil {
		return err
	}
	path := c.buildPath(b.Source, b.Key)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if old, ok := c.build(path); ok && old.Wheel != b.Wheel {
		aside := strings.TrimSuffix(path, ".json") + olderMark + old.Wheel[:16] + ".json"
		if err := os.Rename(path, aside); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return writeAtomic(path, raw)
}
