// Package scope names the scopes of trust of an index.
//
// [Main] is what everybody reads. Below it lie others, a pull request's say: who is bound
// to one reads Main and his own, and uploads into his own alone. No scope sees another's.
//
// A name is 1 to 64 bytes of lower-case letters, digits and - _ . @ between them, so that it is
// a safe name of a folder everywhere, and two names never are the same folder.
package scope

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// Main is the scope above all others. It is also written "".
const Main = "main"

// MaxName is the longest name, in bytes.
const MaxName = 64

// sumBytes are of the hash that tells altered names apart.
const sumBytes = 16

// Check tells what is wrong with a name.
func Check(name string) error {
	if len(name) == 0 || len(name) > MaxName || !plain(name[0]) || !plain(name[len(name)-1]) ||
		strings.Contains(name, "..") || strings.ContainsFunc(name, func(r rune) bool { return !strings.ContainsRune(letters, r) }) {
		return fmt.Errorf("%.80q is no name of a scope: write one like pr-123, of at most %d lower-case letters, digits and - _ . @ between them", name, MaxName)
	}
	return nil
}

const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_.@"

func plain(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }

// For names the scope that a template gives with values that others chose: text is the
// template with the values in it. Different values have different scopes, and none is
// [Main]: where text is no name as it is, or could be had from other values too, it is made one
// and ends with @ and a hash of them all. The template itself must hold no @.
func For(template, text string, values ...string) string {
	if len(values) == 1 && text != Main && Check(text) == nil && !strings.Contains(text, "@") {
		return text
	}
	h := sha256.New()
	for _, s := range append([]string{template}, values...) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	slug := strings.Map(func(r rune) rune {
		if r == '@' || r == '.' || !strings.ContainsRune(letters, r) {
			return '-'
		}
		return r
	}, strings.ToLower(text))
	slug = slug[:min(len(slug), MaxName-1-2*sumBytes)]
	if slug = strings.Trim(slug, "-_"); slug == "" {
		slug = "scope"
	}
	return slug + "@" + hex.EncodeToString(h.Sum(nil)[:sumBytes])
}
