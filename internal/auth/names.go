package auth

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"unicode"

	"curdling/internal/livefile"
)

// Names is a list of users. It knows nothing of their passwords.
type Names struct{ file *livefile.File[nameSet] }

type nameSet struct{ names map[string]bool }

// OpenNames makes a list of names. An item @FILE is the names in FILE, one a line
// (empty lines and lines that start with # are skipped), read again when it
// changes; log is told when it cannot be read then, and the list stays as it is.
func OpenNames(items []string, log *slog.Logger) (*Names, error) {
	var files []string
	fixed := make(map[string]bool)
	for _, item := range items {
		if path, ok := strings.CutPrefix(item, "@"); ok {
			files = append(files, path)
		} else if err := checkUser(item); err != nil {
			return nil, err
		} else {
			fixed[item] = true
		}
	}
	file, err := livefile.Open(log, "a list of users", func() (*nameSet, error) {
		set := &nameSet{make(map[string]bool)}
		for name := range fixed {
			set.names[name] = true
		}
		for _, path := range files {
			if err := set.read(path); err != nil {
				return nil, err
			}
		}
		return set, nil
	}, files...)
	if err != nil {
		return nil, err
	}
	return &Names{file}, nil
}

func (s *nameSet) read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil || len(b) > maxFile {
		return fmt.Errorf("%s: cannot be read, or larger than %d MiB: %w", path, maxFile>>20, err)
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		name := strings.TrimSpace(line)
		if name == "" || name[0] == '#' {
			continue
		}
		if err := checkUser(name); err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
		s.names[name] = true
	}
	return nil
}

// All gives the names, sorted.
func (n *Names) All() []string {
	var all []string
	for name := range n.file.Get().names {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// checkUser tells whether a user can have that name: it must be fit for HTTP Basic (RFC 7617).
func checkUser(name string) error {
	if name == "" || len(name) > 255 || strings.Contains(name, ":") || strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("%q is no name of a user: at most 255 bytes without colons and control characters", name[:min(len(name), 255)])
	}
	if name == tokenUser {
		return fmt.Errorf("%s is no name of a user: it stands for whose token it is", tokenUser)
	}
	return nil
}
