package mirror

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"curdling/internal/dist"
)

// maxClaims bounds the file of names, in bytes: a million names.
const maxClaims = 32 << 20

// claimsHead begins the file of names.
const claimsHead = "# Projects that are an upstream's: a name stands here once a file of it was fetched.\n" +
	"# What is uploaded of them is laid over the upstream's pages. A line that is taken out,\n" +
	"# while no server runs, makes the project private as long as a file of it is held.\n"

// ClaimsFile is the name of the text file in a folder that is served ([Config.Claims]). It says what cannot be found out again.
const ClaimsFile = ".curdling-upstream"

// owner is whose a name is.
type owner int

const (
	nobodys   owner = iota // it is private as long as something of it is held
	upstreams              // a file of it was fetched from an upstream
	house                  // a file of it was uploaded before one was fetched
)

// names know whose names are.
type names interface {
	// owner tells whose a name is. Where that cannot be known, and was not, there is an error.
	owner(ctx context.Context, name dist.Name) (owner, error)
	// known is owner for who asks nobody; ok is that it is known.
	known(name dist.Name) (o owner, ok bool)
	// take writes down that a name is the upstream's or the house's, for good, and gives whose it is: who was first has it.
	take(ctx context.Context, name dist.Name, by owner) (owner, error)
	close() error
}

// claims are names in a text file, one on each line.
// A line is on disk before it counts.
type claims struct {
	mu    sync.RWMutex
	names map[dist.Name]bool
	path  string // "" keeps them in memory alone
	f     *os.File
}

func openClaims(path string) (*claims, error) {
	c := &claims{names: make(map[dist.Name]bool), path: path}
	if path == "" {
		return c, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxClaims))
	if err != nil {
		return nil, err
	}
	c.read(string(text))
	return c, nil
}

// read takes whole lines that are names; a torn one and comments are passed over.
func (c *claims) read(text string) {
	for line := range strings.Lines(text) {
		whole := strings.HasSuffix(line, "\n")
		if name, err := dist.ParseName(strings.TrimSpace(line)); err == nil && whole {
			c.names[name] = true
		}
	}
}

func (c *claims) owner(_ context.Context, name dist.Name) (owner, error) {
	o, _ := c.known(name)
	return o, nil
}

func (c *claims) known(name dist.Name) (o owner, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.names[name] {
		return upstreams, true
	}
	return nobodys, true
}

// take has nothing to write down of what is the house's: that something is held says so.
func (c *claims) take(_ context.Context, name dist.Name, by owner) (owner, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.names[name]:
		return upstreams, nil
	case by != upstreams:
		return by, nil
	}
	if c.path != "" {
		if err := c.write(string(name) + "\n"); err != nil {
			return nobodys, err
		}
	}
	c.names[name] = true
	return upstreams, nil
}

func (c *claims) write(line string) (err error) {
	if c.f == nil {
		if c.f, err = os.OpenFile(c.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666); err != nil {
			c.f = nil
			return err
		}
		before, err := beforeFirst(c.f)
		if err != nil {
			return err
		}
		line = before + line
	}
	if _, err := c.f.WriteString(line); err != nil {
		return err
	}
	return c.f.Sync()
}

// beforeFirst gives what must stand before a line: the head of a new file, or an end that
// spoils the line that a crash tore.
func beforeFirst(f *os.File) (string, error) {
	fi, err := f.Stat()
	if err != nil || fi.Size() == 0 {
		return claimsHead, err
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, fi.Size()-1); err != nil || last[0] == '\n' {
		return "", err
	}
	return "#\n", nil
}

func (c *claims) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.f == nil {
		return nil
	}
	return c.f.Close()
}
