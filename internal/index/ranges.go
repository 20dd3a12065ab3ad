package index

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/klauspost/compress/flate"

	"curdling/internal/dist"
)

const (
	// firstTail is how much of a wheel's end is fetched at first: most often
	// the directory and .dist-info, which the standard wants last.
	firstTail = 48 << 10
	// maxDirectory bounds a central directory, in bytes: some 100,000 members.
	maxDirectory = 16 << 20
	// aheadOfDirectory is fetched with a directory that the first tail cut:
	// there METADATA is likely to be.
	aheadOfDirectory = 96 << 10
	// localHeader is what a local header takes besides names: 30 bytes; maxExtra
	// is what its extra field may take beyond the directory's.
	localHeader = 30
	maxExtra    = 4 << 10
)

// errZip is a zip archive that is not as plain as wheels are: the whole file is looked at then.
var errZip = errors.New("not a plain zip archive")

// rangedMetadata reads METADATA out of a wheel, in one to three requests.
func (c *Client) rangedMetadata(ctx context.Context, f dist.File, u *url.URL) ([]byte, error) {
	if _, none := c.rangeless.Load(origin(u)); none {
		return nil, ErrNoRanges
	}
	return (&remoteZip{c: c, url: u, size: f.Size}).wheelMetadata(ctx)
}

// wheelMetadata is metadata, where a lack of it is ErrNoRanges.
func (z *remoteZip) wheelMetadata(ctx context.Context) ([]byte, error) {
	text, err := z.metadata(ctx)
	if errors.Is(err, errZip) || err == nil && len(text) == 0 {
		return nil, fmt.Errorf("%w: %w", ErrNoRanges, errZip)
	}
	return text, err
}

// remoteZip is a zip archive behind a URL, or in a file, of which the end is here.
type remoteZip struct {
	c    *Client
	url  *url.URL
	file io.ReaderAt // where it is here, c and url do not count
	size int64       // of all; 0: not known yet
	etag string
	tail []byte
}

// begin is the offset of tail.
func (z *remoteZip) begin() int64 { return z.size - int64(len(z.tail)) }

func (z *remoteZip) metadata(ctx context.Context) ([]byte, error) {
	tail, err := z.fetch(ctx, -1, firstTail)
	if err != nil {
		return nil, err
	}
	z.tail = tail
	start, length, err := findDirectory(z.tail, z.size)
	if err != nil {
		return nil, err
	}
	if start < z.begin() {
		from := max(start-aheadOfDirectory, 0)
		more, err := z.fetch(ctx, from, z.begin()-from)
		if err != nil {
			return nil, err
		}
		z.tail = append(more, z.tail...)
	}
	at := start - z.begin()
	m, err := findMetadata(z.tail[at : at+length])
	if err != nil {
		return nil, err
	}
	room := min(m.room(), start-m.offset)
	if room < localHeader {
		return nil, errZip
	}
	if m.offset >= z.begin() {
		return m.extract(z.tail[m.offset-z.begin():])
	}
	part, err := z.fetch(ctx, m.offset, room)
	if err != nil {
		return nil, err
	}
	return m.extract(part)
}

// fetch gets n bytes from offset, or the last n bytes where offset is -1, and
// learns the archive's size.
func (z *remoteZip) fetch(ctx context.Context, offset, n int64) ([]byte, error) {
	if z.file != nil {
		if offset < 0 {
			offset = max(z.size-n, 0)
		}
		part := make([]byte, min(n, z.size-offset))
		_, err := z.file.ReadAt(part, offset)
		return part, err
	}
	asked := fmt.Sprintf("bytes=%d-%d", offset, offset+n-1)
	if offset < 0 {
		asked = fmt.Sprintf("bytes=-%d", n)
		if z.size > 0 {
			asked = fmt.Sprintf("bytes=%d-%d", max(z.size-n, 0), z.size-1)
		}
	}
	build := func() (*http.Request, error) {
		h := http.Header{"Range": {asked}, "Accept-Encoding": {"identity"}}
		if z.etag != "" {
			h.Set("If-Range", z.etag)
		}
		return get(z.url, h), nil
	}
	var part []byte
	err := z.c.do(ctx, build, func(resp *http.Response) (err error) {
		part, err = z.receive(resp, offset, n)
		return err
	})
	var status *StatusError
	if errors.As(err, &status) && (status.Code == http.StatusRequestedRangeNotSatisfiable || status.Code == http.StatusNotImplemented) {
		err = ErrNoRanges
	}
	if errors.Is(err, ErrNoRanges) {
		z.c.rangeless.Store(origin(z.url), true)
	}
	return part, err
}

func (z *remoteZip) receive(resp *http.Response, offset, n int64) ([]byte, error) {
	if resp.StatusCode != http.StatusPartialContent {
		return nil, refuse(ErrNoRanges) // without reading what comes
	}
	r, err := parseContentRange(resp.Header.Get("Content-Range"))
	if err != nil {
		return nil, refusef("%w: %w", ErrNoRanges, err)
	}
	wanted := offset
	if offset < 0 {
		wanted = max(r.size-n, 0)
	}
	if r.first != wanted || r.last-r.first >= n || z.size > 0 && r.size != z.size {
		return nil, refusef("%w: asked for %d bytes from %d of %d, got %d from %d of %d",
			ErrNoRanges, n, wanted, z.size, r.last-r.first+1, r.first, r.size)
	}
	hurry(resp)
	part := make([]byte, r.last-r.first+1)
	if _, err := io.ReadFull(resp.Body, part); err != nil {
		return nil, err
	}
	z.size = r.size
	if etag := resp.Header.Get("ETag"); strings.HasPrefix(etag, `"`) {
		z.etag = etag
	}
	return part, nil
}

// contentRange is "bytes first-last/size" (RFC 9110, 14.4).
type contentRange struct{ first, last, size int64 }

func parseContentRange(s string) (contentRange, error) {
	var r contentRange
	var rest string
	n, _ := fmt.Sscanf(s, "bytes %d-%d/%d%s", &r.first, &r.last, &r.size, &rest)
	if n != 3 || r.first < 0 || r.last < r.first || r.size <= r.last {
		return r, fmt.Errorf("Content-Range %.80q is not understood", s)
	}
	return r, nil
}

// findDirectory finds the central directory by the record at the end of a zip
// archive of size bytes, of which tail is the end. Archives of the zip64 form
// or in parts are errZip.
func findDirectory(tail []byte, size int64) (start, length int64, err error) {
	const end = 22
	at := bytes.LastIndex(tail, []byte("PK\x05\x06"))
	if at < 0 || len(tail)-at < end {
		return 0, 0, errZip
	}
	r := tail[at:]
	le := binary.LittleEndian
	disks, comment := le.Uint32(r[4:]), int(le.Uint16(r[20:]))
	length, start = int64(le.Uint32(r[12:])), int64(le.Uint32(r[16:]))
	place := size - int64(len(tail)) + int64(at)
	if disks != 0 || len(r) != end+comment || start+length != place || length > maxDirectory {
		return 0, 0, errZip
	}
	return start, length, nil
}

// member is one file of a zip archive, as the directory tells it.
type member struct {
	name                string
	method              uint16
	crc                 uint32
	compressed, size    int64
	offset              int64 // of its local header
	nameSize, extraSize int
}

// room bounds what the member takes in the archive, header included.
func (m *member) room() int64 {
	return localHeader + int64(m.nameSize+m.extraSize) + maxExtra + m.compressed
}

// findMetadata finds the one METADATA in a .dist-info folder at the top.
func findMetadata(directory []byte) (*member, error) {
	const header = 46
	var found *member
	le := binary.LittleEndian
	for len(directory) > 0 {
		d := directory
		if len(d) < header || string(d[:4]) != "PK\x01\x02" {
			return nil, errZip
		}
		names, extras, comments := int(le.Uint16(d[28:])), int(le.Uint16(d[30:])), int(le.Uint16(d[32:]))
		if len(d) < header+names+extras+comments {
			return nil, errZip
		}
		directory = d[header+names+extras+comments:]
		folder, isMetadata := bytes.CutSuffix(d[header:header+names], []byte(".dist-info/METADATA"))
		if !isMetadata || bytes.ContainsAny(folder, `/\`) {
			continue
		}
		encrypted := le.Uint16(d[8:])&1 != 0
		if found != nil || encrypted {
			return nil, errZip
		}
		found = &member{
			name: string(d[header : header+names]), method: le.Uint16(d[10:]), crc: le.Uint32(d[16:]),
			compressed: int64(le.Uint32(d[20:])), size: int64(le.Uint32(d[24:])), offset: int64(le.Uint32(d[42:])),
			nameSize: names, extraSize: extras,
		}
	}
	if found == nil || found.size > MaxMetadata || found.compressed > MaxMetadata {
		return nil, errZip
	}
	return found, nil
}

// extract inflates the member out of b, which begins with its local header.
func (m *member) extract(b []byte) ([]byte, error) {
	if len(b) < localHeader || string(b[:4]) != "PK\x03\x04" {
		return nil, errZip
	}
	le := binary.LittleEndian
	begin := int64(localHeader) + int64(le.Uint16(b[26:])) + int64(le.Uint16(b[28:]))
	if begin+m.compressed > int64(len(b)) {
		return nil, errZip
	}
	data := b[begin : begin+m.compressed]
	switch m.method {
	case 0:
	case 8:
		inflated, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(data)), m.size+1))
		if err != nil {
			return nil, errZip
		}
		data = inflated
	default:
		return nil, errZip
	}
	if int64(len(data)) != m.size || crc32.ChecksumIEEE(data) != m.crc {
		return nil, errZip
	}
	return bytes.Clone(data), nil
}
