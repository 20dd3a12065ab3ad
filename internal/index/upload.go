package index

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
)

// Upload puts the file at path into the cache server whose root is base, which
// may hold credentials. It is created unless the server held the same bytes
// already. A refusal is a *StatusError with the server's words.
func (c *Client) Upload(ctx context.Context, base, path string) (created bool, err error) {
	root, err := c.root(base)
	if err != nil {
		return false, err
	}
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	u := root.JoinPath("p", filepath.Base(path))
	body := func() io.ReadCloser { return io.NopCloser(io.NewSectionReader(f, 0, info.Size())) }
	build := func() (*http.Request, error) {
		r := get(u, http.Header{"Expect": {"100-continue"}, "Content-Type": {"application/octet-stream"}})
		r.Method, r.ContentLength, r.Body = http.MethodPut, info.Size(), body()
		r.GetBody = func() (io.ReadCloser, error) { return body(), nil }
		return r, nil
	}
	err = c.do(ctx, build, func(resp *http.Response) error {
		created = resp.StatusCode == http.StatusCreated
		return nil
	})
	return created, err
}
