package index

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
)

// Upload puts the file at path into the cache server whose root is base, which
// may hold credentials. It is created unless the server held the same bytes
// already. What lies beside the file under one of the suffixes goes with it. A
// refusal is a *StatusError with the server's words.
func (c *Client) Upload(ctx context.Context, base, path string, suffixes ...string) (created bool, err error) {
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
	head, tail, contentType, err := frame(path, suffixes)
	if err != nil {
		return false, err
	}
	u := root.JoinPath("p", filepath.Base(path))
	body := func() io.ReadCloser {
		return io.NopCloser(io.MultiReader(bytes.NewReader(head), io.NewSectionReader(f, 0, info.Size()), bytes.NewReader(tail)))
	}
	build := func() (*http.Request, error) {
		r := get(u, http.Header{"Expect": {"100-continue"}, "Content-Type": {contentType}})
		r.Method, r.ContentLength, r.Body = http.MethodPut, int64(len(head))+info.Size()+int64(len(tail)), body()
		r.GetBody = func() (io.ReadCloser, error) { return body(), nil }
		return r, nil
	}
	err = c.do(ctx, build, func(resp *http.Response) error {
		created = resp.StatusCode == http.StatusCreated
		return nil
	})
	return created, err
}

// frame gives what stands before and after the file in the body: a form (RFC 7578) whose fields have the names of
// files, the file last; nothing where nothing lies beside it.
func frame(path string, suffixes []string) (head, tail []byte, contentType string, err error) {
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	for _, suffix := range suffixes {
		beside, err := os.ReadFile(path + suffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = w.WriteField(filepath.Base(path)+suffix, string(beside))
		}
		if err != nil {
			return nil, nil, "", err
		}
	}
	if form.Len() == 0 {
		return nil, nil, "application/octet-stream", nil
	}
	name := filepath.Base(path)
	if _, err := w.CreateFormFile(name, name); err != nil {
		return nil, nil, "", err
	}
	n := form.Len()
	if err := w.Close(); err != nil {
		return nil, nil, "", err
	}
	return form.Bytes()[:n], form.Bytes()[n:], w.FormDataContentType(), nil
}
