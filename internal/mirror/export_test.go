package mirror

import "time"

// Hasty has a mirror wait for others for a second where it would wait for half a minute.
func Hasty(c Config) Config {
	c.waits = waits{patience: 100 * time.Millisecond, page: time.Second, file: time.Second, firstByte: 3 * time.Second, retries: 2}
	return c
}

// SetNow sets the mirror's clock.
func (m *Mirror) SetNow(now func() time.Time) { m.now = now }

// Candidates is candidates.
var Candidates = candidates

// Tail is how many bytes wait for the hash.
const Tail = tail
