package requirement

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"

	"curdling/internal/lazyregexp"
)

// marks are the byte order marks. That of UTF-16 begins that of UTF-32, which goes first.
var marks = []struct {
	mark     string
	encoding encoding.Encoding // nil: UTF-8
}{
	{"\xef\xbb\xbf", nil},
	{"\xff\xfe\x00\x00", utf32.UTF32(utf32.LittleEndian, utf32.IgnoreBOM)},
	{"\x00\x00\xfe\xff", utf32.UTF32(utf32.BigEndian, utf32.IgnoreBOM)},
	{"\xff\xfe", unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)},
	{"\xfe\xff", unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)},
}

// coding is how PEP 263 declares an encoding, in a comment of the first two lines.
var coding = lazyregexp.New(`coding[:=]\s*([-\w.]+)`)

// decode gives the text of a file: in the encoding of its byte order mark, else
// the declared one, else UTF-8, else Latin-1, which any bytes are.
func decode(b []byte) (string, error) {
	for _, m := range marks {
		if rest, ok := bytes.CutPrefix(b, []byte(m.mark)); ok {
			return convert(rest, m.encoding)
		}
	}
	for i, line := range bytes.SplitN(b, []byte("\n"), 3) {
		if declared := coding.FindSubmatch(line); i < 2 && declared != nil && line[0] == '#' {
			name := string(declared[1])
			e, err := encodingNamed(name)
			if err != nil {
				return "", err
			}
			text, err := convert(b, e)
			if err != nil {
				return "", fmt.Errorf("declares its encoding as %.50s and %w", name, err)
			}
			return text, nil
		}
	}
	if utf8.Valid(b) {
		return string(b), nil
	}
	return convert(b, charmap.ISO8859_1)
}

// encodingNamed gives the encoding that Python calls by this name, nil for UTF-8.
func encodingNamed(name string) (encoding.Encoding, error) {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	switch strings.ReplaceAll(name, "-", "") {
	case "utf8", "u8", "utf8sig", "ascii", "usascii": // ASCII: what else is in it harms nobody
		return nil, nil
	case "latin1", "latin", "l1", "iso88591", "iso8859":
		return charmap.ISO8859_1, nil
	}
	e, err := htmlindex.Get(name)
	if err != nil {
		return nil, fmt.Errorf("declares the encoding %.50q, which is not known; save it as UTF-8", name)
	}
	return e, nil
}

// convert decodes b, all of which must be text in e; nil is UTF-8.
func convert(b []byte, e encoding.Encoding) (string, error) {
	if e == nil {
		if !utf8.Valid(b) {
			return "", errors.New("is not UTF-8; save it as UTF-8")
		}
		return string(b), nil
	}
	text, err := e.NewDecoder().Bytes(b)
	if err != nil || bytes.ContainsRune(text, utf8.RuneError) {
		return "", errors.New("is not text in its encoding; save it as UTF-8")
	}
	return string(text), nil
}
