package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"curdling/internal/lazyregexp"
)

var duration = lazyregexp.New(`^(?i)P?T?\s*(\d{1,6})\s*(h|hours?|d|days?|w|weeks?)$`)

// ParseCutoff reads the value of --exclude-newer: a day of UTC, which counts to its end, a time of RFC 3339, or how long before now.
func ParseCutoff(s string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t.AddDate(0, 0, 1).Add(-time.Nanosecond), nil
	}
	m := duration.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return time.Time{}, fmt.Errorf("--exclude-newer %q: write a day (2026-11-01), a time (2026-11-01T12:00:00Z) or a span (12h, 7d, 2w)", s)
	}
	n, _ := strconv.Atoi(m[1]) // at most six digits
	unit := map[byte]time.Duration{'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[strings.ToLower(m[2])[0]]
	return now.Add(-time.Duration(n) * unit), nil
}
