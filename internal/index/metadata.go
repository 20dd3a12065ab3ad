package index

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"

	"curdling/internal/dist"
)

// Metadata fetches a wheel's METADATA without the wheel: the .metadata file
// where the index announces one (PEP 658), else by ranges out of the wheel
// itself, else the .metadata file even though nobody announced it. Where none
// of these can be had the error is ErrNoRanges, and the wheel must be
// downloaded. What was fetched for a file with a known hash is kept for ever.
// A wheel at a file: URL is read where it lies.
func (c *Client) Metadata(ctx context.Context, f dist.File) ([]byte, error) {
	if f.Kind != dist.Wheel {
		return nil, fmt.Errorf("%s: %w: not a wheel", f.Filename, ErrNoRanges)
	}
	if at, ok, err := localFile(f); ok || err != nil {
		if err != nil {
			return nil, err
		}
		return localMetadata(ctx, f, at)
	}
	if text, ok := c.planned.text(f.URL); ok {
		return []byte(text), nil
	}
	u, err := fileURL(f)
	if err != nil {
		return nil, err
	}
	// The folder is in the key, so that nobody can speak for another's file.
	key := "metadata/" + sum256(c.doubt(u)+origin(u)+path.Dir(u.Path)+"\n"+f.SHA256)
	if c.cache == nil || f.SHA256 == "" {
		key = ""
	}
	return share(ctx, c, "metadata "+f.URL+" "+f.SHA256, func() ([]byte, error) {
		if key != "" {
			if text, ok := c.cache.Get(key); ok && len(text) > 0 {
				return text, nil
			}
		}
		text, err := c.fetchMetadata(ctx, f, u)
		if err != nil {
			return nil, fmt.Errorf("metadata of %s: %w", f.Filename, err)
		}
		if key != "" {
			c.cache.Put(key, text)
		}
		return text, nil
	})
}

func (c *Client) fetchMetadata(ctx context.Context, f dist.File, u *url.URL) ([]byte, error) {
	if f.HasMetadata {
		text, err := c.metadataFile(ctx, f, u)
		if !isMissing(err) {
			return text, err
		}
	}
	text, noRanges := c.rangedMetadata(ctx, f, u)
	if !errors.Is(noRanges, ErrNoRanges) || f.HasMetadata {
		return text, noRanges
	}
	text, err := c.metadataFile(ctx, f, u)
	if isMissing(err) {
		return nil, noRanges
	}
	return text, err
}

// isMissing tells whether a .metadata file is not there after all. Some file
// hosts say "forbidden" of what does not exist.
func isMissing(err error) bool {
	var status *StatusError
	return errors.As(err, &status) && status.Code/100 == 4 && !passing(err)
}

func (c *Client) metadataFile(ctx context.Context, f dist.File, u *url.URL) ([]byte, error) {
	text, err := c.beside(ctx, u, ".metadata", MaxMetadata)
	if err != nil {
		return nil, err
	}
	if got := sum256(string(text)); f.MetadataSHA256 != "" && got != f.MetadataSHA256 {
		return nil, fmt.Errorf("%s.metadata: sha256 is %s, the index says %s", redact(u), got, f.MetadataSHA256)
	}
	return text, nil
}

// ReadBeside fetches what a server has beside a file, under its URL and a suffix, of at most limit bytes.
func (c *Client) ReadBeside(ctx context.Context, f dist.File, suffix string, limit int) ([]byte, error) {
	u, err := fileURL(f)
	if err != nil {
		return nil, err
	}
	return c.beside(ctx, u, suffix, limit)
}

func (c *Client) beside(ctx context.Context, u *url.URL, suffix string, limit int) (text []byte, err error) {
	beside := *u
	beside.Path, beside.RawPath = u.Path+suffix, ""
	if u.RawPath != "" {
		beside.RawPath = u.RawPath + suffix
	}
	build := func() (*http.Request, error) {
		return get(&beside, http.Header{"Accept-Encoding": {"zstd, gzip"}}), nil
	}
	err = c.do(ctx, build, func(resp *http.Response) (err error) {
		if resp.StatusCode != http.StatusOK {
			return refusef("unexpected answer %d", resp.StatusCode)
		}
		text, err = readBody(resp, limit)
		return err
	})
	return text, err
}

// fileURL reads a file's URL, which must be one that the client can fetch.
func fileURL(f dist.File) (*url.URL, error) {
	u, err := url.Parse(f.URL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("%s: %q is not an http or https URL with a host", f.Filename, Redact(f.URL))
	}
	u.User = nil
	return u, nil
}
