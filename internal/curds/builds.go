package curds

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"
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
}

func (c *Curds) buildPath(source, key string) string {
	if !validSHA256(source) {
		return ""
	}
	return filepath.Join(c.dir, "builds", source, filepath.Base(key)+".json")
}

// Build finds the wheel that was built from the source with that hash under
// that key, whatever an index says today of the source.
func (c *Curds) Build(source, key string) (Build, bool) {
	var b Build
	raw, err := os.ReadFile(c.buildPath(source, key))
	if err != nil || json.Unmarshal(raw, &b) != nil || b.Source != source || b.Key != key {
		return Build{}, false
	}
	_, held := c.File(b.Wheel)
	return b, held
}

// AddBuild remembers a build whose wheel was Imported.
func (c *Curds) AddBuild(b Build) error {
	raw, err := json.MarshalIndent(b, "", "\t")
	if err != nil {
		return err
	}
	path := c.buildPath(b.Source, b.Key)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return writeAtomic(path, raw)
}
