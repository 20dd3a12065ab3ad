package index

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"strings"

	"curdling/internal/dist"
)

// goodProgress is what a broken download must have brought, in bytes, to be
// given all its attempts again.
const goodProgress = 1 << 20

// HashError says that a file is not the one that the index promised.
type HashError struct{ Filename, URL, Got, Want string } // Got and Want are sha256

func (e *HashError) Error() string {
	return fmt.Sprintf("%s: sha256 of %s is %s, the index says %s", e.Filename, e.URL, e.Got, e.Want)
}

// Sink is what a download is written to; an *os.File is one. A sink that is an
// Announcer too is told how many bytes there will be.
type Sink interface {
	io.Writer
	io.Seeker
	Truncate(size int64) error
}

// Announcer is told, before the first byte of each attempt, how many bytes the
// whole file has; -1 is not known. An error ends the download.
type Announcer interface {
	Announce(size int64) error
}

// Download writes the file f to w from w's start, whatever stood there, and
// gives its sha256 in hex. A download that breaks is resumed where it broke,
// or, where the server cannot do that, begun again by Seek and Truncate to 0.
// Another hash or size than f's is an error; unknown ones are not checked.
// progress, if not nil, is told how many bytes are there; after a restart they
// can be fewer than before. On an error w holds rubbish. A file: URL is copied.
func (c *Client) Download(ctx context.Context, f dist.File, w Sink, progress func(int64)) (string, error) {
	if progress == nil {
		progress = func(int64) {}
	}
	d := &download{file: f, w: w, sum: sha256.New(), progress: progress}
	path, local, err := localFile(f)
	if !local && err == nil {
		d.url, err = fileURL(f)
	}
	if err != nil {
		return "", err
	}
	if err := d.restart(); err != nil {
		return "", err
	}
	if local {
		err = d.copyLocal(ctx, path)
	} else {
		err = c.receiveFile(ctx, d)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", f.Filename, err)
	}
	got := hex.EncodeToString(d.sum.Sum(nil))
	if f.SHA256 != "" && got != f.SHA256 {
		return "", &HashError{f.Filename, Redact(f.URL), got, f.SHA256}
	}
	return got, nil
}

// receiveFile downloads in as many attempts as it takes.
func (c *Client) receiveFile(ctx context.Context, d *download) error {
	most := int64(0)
	for attempt := 0; ; attempt++ {
		err := c.once(ctx, d.request, d.receive)
		if err == nil {
			return nil
		}
		if d.have >= most+goodProgress {
			most, attempt = d.have, 0
		}
		if !c.again(ctx, attempt, err) {
			return err
		}
	}
}

// download is a file on its way.
type download struct {
	file      dist.File
	url       *url.URL
	w         Sink
	sum       hash.Hash // of what is there
	have      int64     // bytes that are there
	validator string    // for If-Range; "" where the server gave none
	progress  func(int64)
}

func (d *download) restart() error {
	if _, err := d.w.Seek(0, io.SeekStart); err != nil {
		return err
	}
	d.have = 0
	d.sum.Reset()
	d.progress(0)
	return d.w.Truncate(0)
}

func (d *download) request() (*http.Request, error) {
	h := http.Header{"Accept-Encoding": {"identity"}}
	if d.have > 0 {
		h.Set("Range", fmt.Sprintf("bytes=%d-", d.have))
		if d.validator != "" {
			h.Set("If-Range", d.validator)
		}
	}
	return get(d.url, h), nil
}

// receive takes the whole file, or the rest of it.
func (d *download) receive(resp *http.Response) error {
	total := resp.ContentLength // -1: not known
	switch resp.StatusCode {
	case http.StatusOK:
		if d.have > 0 {
			if err := d.restart(); err != nil {
				return refuse(err)
			}
		}
	case http.StatusPartialContent:
		r, err := parseContentRange(resp.Header.Get("Content-Range"))
		if err != nil {
			return refuse(err)
		}
		if d.have == 0 || r.first != d.have || r.last != r.size-1 {
			return refusef("asked for what follows byte %d, got %d to %d of %d", d.have, r.first, r.last, r.size)
		}
		total = r.size
	default:
		return refusef("unexpected answer %d", resp.StatusCode)
	}
	if d.file.Size > 0 && total >= 0 && total != d.file.Size {
		return refusef("%d bytes, the index says %d", total, d.file.Size)
	}
	if a, ok := d.w.(Announcer); ok {
		size := total
		if size < 0 && d.file.Size > 0 {
			size = d.file.Size
		}
		if err := a.Announce(size); err != nil {
			return refuse(err)
		}
	}
	d.validator = validatorOf(resp.Header)
	if err := d.copy(resp.Body); err != nil {
		return err
	}
	if d.have < max(total, d.file.Size) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// validatorOf gives what If-Range may hold: a strong ETag, or the time of the last change.
func validatorOf(h http.Header) string {
	if etag := h.Get("ETag"); strings.HasPrefix(etag, `"`) {
		return etag
	}
	return h.Get("Last-Modified")
}

func (d *download) copy(r io.Reader) error {
	limit := int64(MaxFile)
	if d.file.Size > 0 {
		limit = d.file.Size
	}
	buffer := make([]byte, 128<<10)
	for {
		n, err := r.Read(buffer)
		if d.have+int64(n) > limit {
			return refusef("more than %d bytes", limit)
		}
		if _, err := d.w.Write(buffer[:n]); err != nil {
			return refuse(err)
		}
		d.sum.Write(buffer[:n])
		d.have += int64(n)
		d.progress(d.have)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
