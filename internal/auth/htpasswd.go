package auth

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

const maxFile = 16 << 20

// readHashes reads an htpasswd file. An error starts with NAME:LINE.
func readHashes(r io.Reader, name string) (map[string]hash, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d MiB", name, maxFile>>20)
	}
	hashes, lines := make(map[string]hash), make(map[string]int)
	n := 0
	for line := range bytes.Lines(b) {
		n++
		text := strings.TrimSpace(string(line))
		if text == "" || text[0] == '#' {
			continue
		}
		user, h, err := parseLine(text)
		if first, ok := lines[user]; err == nil && ok {
			err = fmt.Errorf("user %q stands already in line %d: remove one of the two", user, first)
		}
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		hashes[user], lines[user] = h, n
	}
	if len(hashes) == 0 {
		return nil, fmt.Errorf("%s: no user in it; add one with: htpasswd -B %s NAME", name, name)
	}
	return hashes, nil
}

func parseLine(text string) (user string, h hash, err error) {
	user, rest, ok := strings.Cut(text, ":")
	if !ok {
		return "", nil, errors.New("no colon between name and hash")
	}
	if user == "" || strings.ContainsFunc(user, unicode.IsControl) {
		return "", nil, errors.New("no usable name before the colon")
	}
	if end := strings.IndexFunc(rest, func(r rune) bool { return r == ':' || unicode.IsSpace(r) }); end >= 0 {
		rest = rest[:end]
	}
	if h, err = parseHash(rest); err != nil {
		return "", nil, fmt.Errorf("user %q: %w", user, err)
	}
	return user, h, nil
}
