package mirror

import (
	"cmp"
	"time"
)

// Hasty has a mirror wait for others for seconds where it would wait for half a minute.
func Hasty(c Config) Config {
	c.waits = waits{patience: 100 * time.Millisecond, page: 3 * time.Second, file: 3 * time.Second, firstByte: 10 * time.Second, retries: 2}
	return c
}

// Calm has a mirror that is not hasty wait for minutes: a machine that has much else to do is no upstream that fails.
func Calm(c Config) Config {
	c.waits = cmp.Or(c.waits, waits{patience: 200 * time.Millisecond, page: 5 * time.Minute, file: 5 * time.Minute, firstByte: 5 * time.Minute, retries: 8})
	return c
}

// WithClock has a mirror ask another clock.
func WithClock(c Config, now func() time.Time) Config {
	c.now = now
	return c
}

// Candidates is candidates.
var Candidates = candidates

// Tail is how many bytes wait for the hash.
const Tail = tail
