package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"curdling/internal/index"
)

// The forms of a page.
const (
	formJSON = iota
	formHTML // application/vnd.pypi.simple.v1+html
	formText // text/html, with the same bytes
	formBuilds
	forms
)

// The encodings of a body.
const (
	identity = iota
	gzipped
	zstandard
	encodings
)

var encodingNames = [encodings]string{"", "gzip", "zstd"}

// variant is an answer in one form and one encoding, with its headers as they are sent.
type variant struct {
	body   []byte
	etag   string
	common []field // of each answer, 304 too
	whole  []field // of an answer with a body
}

// field is a header; its value is shared by all answers and never changed.
type field struct {
	key   string
	value []string
}

// newVariant prepares a body. Where compressing it gains nothing it stays as it is.
func newVariant(body []byte, etag, contentType, cacheControl, vary string, encoding int) *variant {
	v := &variant{body: body, etag: `"` + etag + `"`}
	if encoding != identity {
		if packed := compress(body, encoding); len(packed) < len(body) {
			v.body = packed
			v.etag = `"` + etag + "-" + encodingNames[encoding] + `"`
			v.whole = append(v.whole, field{"Content-Encoding", []string{encodingNames[encoding]}})
		}
	}
	v.common = []field{{"Etag", []string{v.etag}}, {"Cache-Control", []string{cacheControl}}}
	if vary != "" {
		v.common = append(v.common, field{"Vary", []string{vary}})
	}
	v.whole = append(v.whole, field{"Content-Type", []string{contentType}}, field{"Content-Length", []string{strconv.Itoa(len(v.body))}})
	if strings.HasSuffix(contentType, "html") || strings.HasPrefix(contentType, "text/html") {
		v.whole = append(v.whole, field{"Content-Security-Policy", []string{contentPolicy}})
	}
	return v
}

// tagOf makes a validator of a body.
func tagOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:16])
}

// send writes the variant, or says that the client's is still right.
func (v *variant) send(w *response, r *http.Request) {
	w.setFields(v.common)
	if match := r.Header["If-None-Match"]; len(match) > 0 && matches(match[0], v.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.setFields(v.whole)
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(v.body) // the client is gone, or not
	}
}

var (
	gzipWriters = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}
	zstdWriter  = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	})
)

// compress gives body in an encoding, or as it is where that cannot be done.
func compress(body []byte, encoding int) []byte {
	switch encoding {
	case gzipped:
		var b bytes.Buffer
		z := gzipWriters.Get().(*gzip.Writer)
		defer gzipWriters.Put(z)
		z.Reset(&b)
		_, err := z.Write(body)
		if z.Close() == nil && err == nil {
			return b.Bytes()
		}
	case zstandard:
		if z, err := zstdWriter(); err == nil {
			return z.EncodeAll(body, make([]byte, 0, len(body)/4))
		}
	}
	return body
}

// choice is what a client's headers ask for.
type choice struct{ form, encoding int }

// wish is a client's Accept and Accept-Encoding. There are as many as there are kinds of clients, which is few.
type wish struct{ accept, encoding string }

// choices remembers what wishes came to, up to a number.
type choices struct {
	known atomic.Pointer[map[wish]choice]
	mu    sync.Mutex
}

const maxChoices = 100

// of gives the choice for a wish; ok is false where no form is acceptable.
func (c *choices) of(want wish) (choice, bool) {
	known := c.known.Load()
	if known != nil {
		if got, ok := (*known)[want]; ok {
			return got, got.form >= 0
		}
	}
	got := choice{form: -1, encoding: chooseEncoding(want.encoding)}
	switch index.Negotiate(want.accept) {
	case index.TypeJSON:
		got.form = formJSON
	case index.TypeBuilds:
		got.form = formBuilds
	case index.TypeHTML:
		got.form = formHTML
	case "text/html":
		got.form = formText
	}
	if len(want.accept)+len(want.encoding) < 500 {
		c.remember(want, got)
	}
	return got, got.form >= 0
}

func (c *choices) remember(want wish, got choice) {
	c.mu.Lock()
	defer c.mu.Unlock()
	again := make(map[wish]choice)
	if known := c.known.Load(); known != nil && len(*known) < maxChoices {
		for k, v := range *known {
			again[k] = v
		}
	}
	again[want] = got
	c.known.Store(&again)
}

// headerOf gives a header's value, several of it joined.
func headerOf(r *http.Request, key string) string {
	switch values := r.Header[key]; len(values) {
	case 0:
		return ""
	case 1:
		return values[0]
	default:
		return strings.Join(values, ",")
	}
}

// chooseEncoding reads an Accept-Encoding header (RFC 9110, 12.5.3): of equally
// wanted encodings zstd comes first, then gzip.
func chooseEncoding(header string) int {
	best, bestQuality := identity, 0.0
	for encoding := encodings - 1; encoding > identity; encoding-- {
		if q := encodingQuality(header, encodingNames[encoding]); q > bestQuality {
			best, bestQuality = encoding, q
		}
	}
	if q := encodingQuality(header, "identity"); q > bestQuality {
		return identity
	}
	return best
}

// encodingQuality is the weight of an encoding, 0 where it is not to be used or not named.
func encodingQuality(header, name string) float64 {
	quality, named := 0.0, false
	for item := range strings.SplitSeq(header, ",") {
		coding, parameters, _ := strings.Cut(item, ";")
		switch coding = strings.TrimSpace(coding); {
		case strings.EqualFold(coding, name), name == "gzip" && strings.EqualFold(coding, "x-gzip"):
			return index.Quality(parameters)
		case coding == "*" && !named:
			quality, named = index.Quality(parameters), true
		}
	}
	return quality
}
