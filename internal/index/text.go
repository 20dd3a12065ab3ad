package index

import (
	"context"
	"fmt"
	"net/url"
)

// Text gets a text of at most limit bytes, such as a requirements file, from an
// http or https URL, whose credentials are for its origin.
func (c *Client) Text(ctx context.Context, at string, limit int) ([]byte, error) {
	u, err := url.Parse(at)
	if err != nil || !isWeb(u) {
		return nil, fmt.Errorf("%q is not a URL of the form https://host/path", Redact(at))
	}
	c.identify(u)
	e, err := c.cached(ctx, u, "text/plain, */*;q=0.1", limit)
	if err != nil {
		return nil, err
	}
	return e.body, nil
}

// Login remembers the credentials of a file's URL, if it has any, for its origin.
func (c *Client) Login(at string) {
	if u, err := url.Parse(at); err == nil && isWeb(u) && u.User != nil {
		c.identify(u)
	}
}
