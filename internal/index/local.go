package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"curdling/internal/dist"
	"curdling/internal/requirement"
)

func isFileURL(s string) bool { return len(s) >= 5 && strings.EqualFold(s[:5], "file:") }

// urlOfPath gives the file: URL of an absolute path.
func urlOfPath(path string) *url.URL {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/x
	}
	return &url.URL{Scheme: "file", Path: path}
}

// pathOf gives the absolute path that a file: URL names.
func pathOf(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host != "" && !strings.EqualFold(u.Host, "localhost") || u.User != nil {
		return "", errors.New("a file: URL must be of the form file:///path, with %XX for special characters")
	}
	path, err := requirement.PathOfURL(raw)
	if err != nil {
		return "", err
	}
	return filepath.Abs(path)
}

// localFile gives the path of a file at a file: URL; ok is false at others.
func localFile(f dist.File) (path string, ok bool, err error) {
	if !isFileURL(f.URL) {
		return "", false, nil
	}
	if path, err = pathOf(f.URL); err != nil {
		return "", false, fmt.Errorf("%s: %w", f.Filename, err)
	}
	return path, true, nil
}

// openRegular opens a file that is one: nobody waits for a pipe.
func openRegular(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s: not a regular file", path)
	}
	f, err := os.Open(path)
	return f, info.Size(), err
}

// copyLocal takes the whole file from a path.
func (d *download) copyLocal(ctx context.Context, path string) error {
	f, size, err := openRegular(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if d.file.Size > 0 && size != d.file.Size {
		return fmt.Errorf("%s: %d bytes, %d were expected", path, size, d.file.Size)
	}
	return d.copy(readerFunc(func(p []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return f.Read(p)
	}))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// localMetadata reads METADATA out of a wheel on this machine.
func localMetadata(ctx context.Context, f dist.File, path string) ([]byte, error) {
	r, size, err := openRegular(path)
	if err == nil {
		defer r.Close()
		var text []byte
		if text, err = (&remoteZip{file: r, size: size}).wheelMetadata(ctx); err == nil {
			return text, nil
		}
	}
	return nil, fmt.Errorf("metadata of %s: %w", f.Filename, err)
}

// localPage reads a page of HTML at a path.
func localPage(path string) ([]byte, error) {
	f, _, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, MaxPage)
}

// readFile reads a file of at most limit bytes, which may be a pipe. Its errors name it.
func readFile(path string, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, limit)
}

func readAll(f *os.File, limit int) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(text) > limit {
		err = fmt.Errorf("%s: more than %d bytes", f.Name(), limit)
	}
	return text, err
}

// localProject reads a project's page from an index that is a folder.
func localProject(base string, name dist.Name) (*Project, error) {
	root, err := pathOf(base)
	if err != nil {
		return nil, fmt.Errorf("index %s: %w", Redact(base), err)
	}
	path := filepath.Join(root, string(name), "index.html")
	text, err := localPage(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, missing := os.Stat(root); missing != nil {
			return nil, fmt.Errorf("index %s: there is no such folder", Redact(base)) // not of the project alone
		}
	}
	if err != nil {
		return nil, err
	}
	p, err := ParseProject(text, "text/html", urlOfPath(path), name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}
