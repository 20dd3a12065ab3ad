package version

import (
	"math/bits"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLength bounds the spelling of a version, as given and as normalised, in bytes.
const maxLength = 4096

// parts are the segments of a version. Numbers are decimal digits without
// leading zeros; an absent segment is "".
type parts struct {
	epoch   string // "0" where it is left out
	release string // "1.20.0"
	phase   string // "a", "b" or "rc"; set if pre is
	pre     string
	post    string
	dev     string
	local   string // "ubuntu.1"
}

// prerelease tells whether the version has a segment a, b, rc or dev.
func (p *parts) prerelease() bool { return p.pre != "" || p.dev != "" }

// read makes a version of s, which has no space around it.
func read(s string) (parts, Version, bool) {
	if len(s) > maxLength {
		return parts{}, Version{}, false
	}
	p, ok := scan(s)
	if !ok {
		return parts{}, Version{}, false
	}
	v := p.version()
	return p, v, len(v.text) <= maxLength
}

// scan takes a version apart.
func scan(s string) (parts, bool) {
	if !isASCII(s) {
		return parts{}, false
	}
	c := cursor{strings.ToLower(s)}
	c.word("v")
	p := parts{epoch: "0", release: c.list(isDigit, ".")}
	if p.release != "" && !strings.Contains(p.release, ".") && c.word("!") {
		p.epoch, p.release = p.release, c.list(isDigit, ".")
	}
	p.phase, p.pre = c.segment("alpha", "a", "beta", "b", "preview", "pre", "c", "rc")
	switch p.phase {
	case "alpha":
		p.phase = "a"
	case "beta":
		p.phase = "b"
	case "c", "pre", "preview":
		p.phase = "rc"
	}
	if len(c.rest) > 1 && c.rest[0] == '-' && isDigit(c.rest[1]) {
		c.separator()
		p.post = c.number()
	} else {
		_, p.post = c.segment("post", "rev", "r")
	}
	_, p.dev = c.segment("dev")
	if c.word("+") {
		if p.local = c.list(isAlphanumeric, separators); p.local == "" {
			return parts{}, false
		}
	}
	return p, p.release != "" && c.rest == ""
}

const separators = "._-"

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func isDigit(b byte) bool        { return '0' <= b && b <= '9' }
func isAlphanumeric(b byte) bool { return isDigit(b) || 'a' <= b && b <= 'z' }

// cursor reads a version from the front.
type cursor struct{ rest string }

func (c *cursor) word(w string) bool {
	rest, ok := strings.CutPrefix(c.rest, w)
	c.rest = rest
	return ok
}

// number reads digits; "" where there are none.
func (c *cursor) number() string {
	n := 0
	for n < len(c.rest) && isDigit(c.rest[n]) {
		n++
	}
	digits := c.rest[:n]
	c.rest = c.rest[n:]
	return trimZeros(digits)
}

// list reads words of the given bytes with one separator between, and
// gives it with dots and without leading zeros.
func (c *cursor) list(in func(byte) bool, between string) string {
	n := 0
	for n < len(c.rest) && (in(c.rest[n]) ||
		n > 0 && n+1 < len(c.rest) && strings.IndexByte(between, c.rest[n]) >= 0 && in(c.rest[n+1])) {
		n++
	}
	list := c.rest[:n]
	c.rest = c.rest[n:]
	if !irregular(list) {
		return list
	}
	words := strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(between, r) })
	for i, w := range words {
		if isNumber(w) {
			words[i] = trimZeros(w)
		}
	}
	return strings.Join(words, ".")
}

// irregular tells whether list may have other separators or leading zeros.
func irregular(list string) bool {
	for i := range len(list) {
		switch {
		case list[i] == '-', list[i] == '_':
			return true
		case list[i] == '0' && (i == 0 || list[i-1] == '.') && i+1 < len(list) && list[i+1] != '.':
			return true
		}
	}
	return false
}

// segment reads one of the words with its separators and its number, which is
// 0 where it is left out.
func (c *cursor) segment(words ...string) (word, number string) {
	if c.rest == "" {
		return "", ""
	}
	after := cursor{c.rest}
	after.separator()
	for _, w := range words {
		if after.word(w) {
			after.separator()
			number = after.number()
			if number == "" {
				number = "0"
			}
			*c = after
			return w, number
		}
	}
	return "", ""
}

func (c *cursor) separator() {
	if c.rest != "" && strings.IndexByte(separators, c.rest[0]) >= 0 {
		c.rest = c.rest[1:]
	}
}

func isNumber(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}

func trimZeros(digits string) string {
	for len(digits) > 1 && digits[0] == '0' {
		digits = digits[1:]
	}
	return digits
}

// isSpace is Python's str.isspace for one character.
func isSpace(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f }

// appendText writes the normalised spelling.
func (p *parts) appendText(b []byte) []byte {
	if p.epoch != "0" {
		b = append(append(b, p.epoch...), '!')
	}
	b = append(b, p.release...)
	if p.pre != "" {
		b = append(append(b, p.phase...), p.pre...)
	}
	if p.post != "" {
		b = append(append(b, ".post"...), p.post...)
	}
	if p.dev != "" {
		b = append(append(b, ".dev"...), p.dev...)
	}
	if p.local != "" {
		b = append(append(b, '+'), p.local...)
	}
	return b
}

// The bytes of a key that stand for something other than a number. A number's
// first byte is firstNumber or more, so that a longer release sorts behind
// whatever follows a shorter one.
const (
	cutAlone    = 0x00 // behind a key: just above that version alone
	markDev     = 0x01
	markNone    = 0x02 // neither dev nor post
	markPost    = 0x03
	phaseA      = 0x02
	phaseB      = 0x03
	phaseRC     = 0x04
	phaseFinal  = 0x05
	cutRelease  = 0x06 // behind a release: above its final version and all its posts
	localText   = 0x01
	localNumber = 0x02
	localEnd    = 0x01
	firstNumber = 0x10
	longNumber  = 0xf0 // + count of bytes, big-endian
	hugeNumber  = 0xf9 // count of digits in two bytes, then the digits
)

// appendKey writes the version so that bytewise order is PEP 440's order:
// epoch, release without trailing zeros, pre, post and dev, local labels.
func (p *parts) appendKey(b []byte) []byte {
	b = p.appendRelease(b)
	switch {
	case p.phase == "a":
		b = appendNumber(append(b, phaseA), p.pre)
	case p.phase == "b":
		b = appendNumber(append(b, phaseB), p.pre)
	case p.phase == "rc":
		b = appendNumber(append(b, phaseRC), p.pre)
	case p.dev == "" || p.post != "":
		b = append(b, phaseFinal)
	}
	if p.post != "" {
		b = appendNumber(append(b, markPost), p.post)
	}
	if p.dev != "" {
		b = appendNumber(append(b, markDev), p.dev)
	} else {
		b = append(b, markNone)
	}
	if p.local == "" {
		return b
	}
	for label := range strings.SplitSeq(p.local, ".") {
		if isNumber(label) {
			b = appendNumber(append(b, localNumber), label)
		} else {
			b = append(append(append(b, localText), label...), localEnd)
		}
	}
	return b
}

func (p *parts) appendRelease(b []byte) []byte {
	b = appendNumber(b, p.epoch)
	end := len(b)
	for n := range strings.SplitSeq(p.release, ".") {
		b = appendNumber(b, n)
		if n != "0" {
			end = len(b)
		}
	}
	return b[:end]
}

// appendNumber writes a number of any size so that bytewise order is numeric
// order and no number is the beginning of another.
func appendNumber(b []byte, digits string) []byte {
	if len(digits) > 19 { // it may not fit in 64 bits
		b = append(b, hugeNumber, byte(len(digits)>>8), byte(len(digits)))
		return append(b, digits...)
	}
	var n uint64
	for i := range len(digits) {
		n = 10*n + uint64(digits[i]-'0')
	}
	if n < longNumber-firstNumber {
		return append(b, firstNumber+byte(n))
	}
	size := (bits.Len64(n) + 7) / 8
	b = append(b, longNumber+byte(size))
	for i := size - 1; i >= 0; i-- {
		b = append(b, byte(n>>(8*i)))
	}
	return b
}

// increment adds one to decimal digits.
func increment(digits string) string {
	b := []byte(digits)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < '9' {
			b[i]++
			return string(b)
		}
		b[i] = '0'
	}
	return "1" + string(b)
}
