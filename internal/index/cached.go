package index

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// defaultLifetime is that of an answer which says nothing of its lifetime and
// could not be asked for again under a condition.
const defaultLifetime = 600 * time.Second

// entry is one answer in the cache (RFC 9111). It is kept as entryMagic, the length of
// its JSON as four bytes, big end first, the JSON, and the body.
type entry struct {
	URL          string // where the body came from, redirects followed; without query
	ContentType  string
	ETag         string
	LastModified string
	Stored       time.Time
	Lifetime     time.Duration // from Stored; 0 asks again each time
	Length       int           // of the body
	body         []byte
}

const entryMagic = "curdling page 1\n"

func (e *entry) encode() []byte {
	e.Length = len(e.body)
	head, err := json.Marshal(e)
	if err != nil {
		panic(err) // a struct of strings and numbers
	}
	b := make([]byte, 0, len(entryMagic)+4+len(head)+len(e.body))
	b = append(b, entryMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(head)))
	b = append(b, head...)
	return append(b, e.body...)
}

// decodeEntry gives nil for what encode did not write, whole.
func decodeEntry(b []byte) *entry {
	b, ok := bytes.CutPrefix(b, []byte(entryMagic))
	if !ok || len(b) < 4 {
		return nil
	}
	n, b := binary.BigEndian.Uint32(b), b[4:]
	if uint64(n) > uint64(len(b)) {
		return nil
	}
	e := &entry{body: b[n:]}
	if json.Unmarshal(b[:n], e) != nil || e.Length != len(e.body) {
		return nil
	}
	return e
}

// fresh tells whether the entry may be used unasked. One from the future may not.
func (e *entry) fresh(now time.Time) bool {
	age := now.Sub(e.Stored)
	return age >= 0 && age < e.Lifetime
}

// cached gets u, from the cache as far as RFC 9111 allows a private cache.
func (c *Client) cached(ctx context.Context, u *url.URL, accept string, limit int) (*entry, error) {
	key := c.pageKey(u)
	old := c.recall(key)
	if old != nil && (c.offline || !c.refresh && old.fresh(c.now())) {
		return old, nil
	}
	build := func() (*http.Request, error) {
		if now := c.pageKey(u); now != key { // the keyring told who we are
			key, old = now, c.recall(now)
		}
		h := http.Header{"Accept": {accept}, "Accept-Encoding": {"zstd, gzip"}}
		if old != nil && old.ETag != "" {
			h.Set("If-None-Match", old.ETag)
		} else if old != nil && old.LastModified != "" {
			h.Set("If-Modified-Since", old.LastModified)
		}
		return get(u, h), nil
	}
	var e *entry
	err := c.do(ctx, build, func(resp *http.Response) (err error) {
		e, err = c.receive(resp, key, old, limit)
		return err
	})
	return e, err
}

// receive makes an entry of an answer, and keeps it if it may.
func (c *Client) receive(resp *http.Response, key string, old *entry, limit int) (*entry, error) {
	now := c.now()
	if resp.StatusCode == http.StatusNotModified {
		if old == nil {
			return nil, refusef("304, but nothing was asked that could not have been modified")
		}
		return c.renew(resp.Header, key, *old, now), nil
	}
	if resp.StatusCode != http.StatusOK {
		return nil, refusef("unexpected answer %d", resp.StatusCode)
	}
	text, err := readBody(resp, limit)
	if err != nil {
		return nil, err
	}
	final := *resp.Request.URL
	final.User, final.RawQuery, final.Fragment = nil, "", ""
	e := &entry{
		URL:          final.String(),
		ContentType:  resp.Header.Get("Content-Type"),
		ETag:         resp.Header.Get("ETag"),
		LastModified: resp.Header.Get("Last-Modified"),
		Stored:       now,
		body:         text,
	}
	p := policyOf(resp.Header, now)
	if p.known {
		e.Lifetime = p.lifetime
	} else if e.ETag == "" && e.LastModified == "" {
		e.Lifetime = defaultLifetime
	}
	useful := e.Lifetime > 0 || e.ETag != "" || e.LastModified != ""
	if c.cache != nil && p.keep && useful {
		c.cache.Put(key, e.encode())
	}
	return e, nil
}

// renew makes an entry young again after a 304. It is written back only where
// that makes a difference.
func (c *Client) renew(h http.Header, key string, e entry, now time.Time) *entry {
	if p := policyOf(h, now); p.known {
		e.Lifetime = p.lifetime
	}
	e.Stored = now
	e.ETag = cmp.Or(h.Get("ETag"), e.ETag)
	if c.cache != nil && e.Lifetime > 0 {
		c.cache.Put(key, e.encode())
	}
	return &e
}

// pageKey keeps apart what is shown to different users, what came unverified, and pages with builds.
// Passwords are not in it.
func (c *Client) pageKey(u *url.URL) string {
	user, _, _ := c.account(u)
	kind := ""
	if c.builds {
		kind = "builds "
	}
	return "pages/" + sum256(user+"\n"+c.doubt(u)+kind+u.String())
}

// doubt begins what stands in a key for an origin whose certificate nobody verifies:
// what came from there must not be found once somebody does.
func (c *Client) doubt(u *url.URL) string {
	if c.trusted.has(u) {
		return "unverified "
	}
	return ""
}

func (c *Client) recall(key string) *entry {
	if c.cache == nil {
		return nil
	}
	b, ok := c.cache.Get(key)
	if !ok {
		return nil
	}
	return decodeEntry(b)
}

// forget drops an entry that turned out to be unreadable.
func (c *Client) forget(u *url.URL) {
	if c.cache != nil {
		c.cache.Put(c.pageKey(u), nil)
	}
}

func sum256(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// policy is what headers say to a private cache.
type policy struct {
	keep     bool
	known    bool          // there is a word on the lifetime
	lifetime time.Duration // what is left of it
}

// policyOf reads Cache-Control, Expires, Age, Date and Vary (RFC 9111, 4.1 and 4.2). All that a
// response of ours may vary on, we always send alike, or it is in the key.
func policyOf(h http.Header, now time.Time) policy {
	p := policy{keep: strings.TrimSpace(h.Get("Vary")) != "*"}
	noCache := false
	for _, d := range strings.Split(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(d), "=")
		switch strings.ToLower(name) {
		case "no-store":
			p.keep = false
		case "no-cache":
			noCache = true
		case "max-age":
			if age := seconds(strings.Trim(value, `"`)); !p.known || age < p.lifetime {
				p.known, p.lifetime = true, age
			}
		}
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		date = now
	}
	if expires := h.Get("Expires"); expires != "" && !p.known {
		at, _ := http.ParseTime(expires) // what is no date has expired
		p.known, p.lifetime = true, at.Sub(date)
	}
	age := max(seconds(h.Get("Age")), now.Sub(date))
	p.lifetime = max(p.lifetime, age) - age // neither below zero nor over the edge
	if noCache {
		p.known, p.lifetime = true, 0
	}
	return p
}

// seconds reads delta-seconds; what is none is 0, and no more than a year counts.
func seconds(s string) time.Duration {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0
	}
	return time.Duration(min(n, 365*24*3600)) * time.Second
}

// readBody reads an answer's body, inflated, of at most limit bytes.
func readBody(resp *http.Response, limit int) ([]byte, error) {
	if resp.ContentLength > int64(limit) {
		return nil, refusef("%d bytes, more than %d", resp.ContentLength, limit)
	}
	hurry(resp)
	var r io.Reader = resp.Body
	var b bytes.Buffer
	switch coding := strings.ToLower(resp.Header.Get("Content-Encoding")); coding {
	case "", "identity":
		b.Grow(int(max(resp.ContentLength, 0)) + bytes.MinRead)
	case "gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		r = z
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	default:
		return nil, refusef("content encoding %.40q was not asked for", coding)
	}
	n, err := b.ReadFrom(io.LimitReader(r, int64(limit)+1))
	if err == nil && n > int64(limit) {
		err = refusef("more than %d bytes", limit)
	}
	return b.Bytes(), err
}
