package index

import (
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
)

// Upload puts the file at path into the cache server whose root is base, which
// may hold credentials. It is created unless the server held the same bytes
// already. What is beside the file goes with it. A
// refusal is a *StatusError with the server's words, also where it comes while
// the body is being sent.
func (c *Client) Upload(ctx context.Context, base, path string, beside ...Beside) (created bool, err error) {
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
	head, tail, contentType, err := frame(filepath.Base(path), beside)
	if err != nil {
		return false, err
	}
	u := root.JoinPath("p", filepath.Base(path))
	body := func() io.ReadCloser {
		return io.NopCloser(io.MultiReader(bytes.NewReader(head), io.NewSectionReader(f, 0, info.Size()), bytes.NewReader(tail)))
	}
	build := func() (*http.Request, error) { // no Expect: 100-continue, which costs a round trip; see heard
		r := get(u, http.Header{"Content-Type": {contentType}})
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

// Beside is a small file that lies beside a distribution file, under its name and a suffix. Without content it is left out.
type Beside struct {
	Suffix  string // ".build.json"
	Content []byte
}

// frame gives what stands before and after the file in the body: a form (RFC 7578) whose fields have the names of
// files, the file last; nothing where nothing lies beside it.
func frame(name string, beside []Beside) (head, tail []byte, contentType string, err error) {
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	for _, b := range beside {
		if len(b.Content) == 0 {
			continue
		}
		if err := w.WriteField(name+b.Suffix, string(b.Content)); err != nil {
			return nil, nil, "", err
		}
	}
	if form.Len() == 0 {
		return nil, nil, "application/octet-stream", nil
	}
	if _, err := w.CreateFormFile(name, name); err != nil {
		return nil, nil, "", err
	}
	n := form.Len()
	if err := w.Close(); err != nil {
		return nil, nil, "", err
	}
	return form.Bytes()[:n], form.Bytes()[n:], w.FormDataContentType(), nil
}
