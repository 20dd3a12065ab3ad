package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"log/slog"

	"curdling/internal/livefile"
)

// Tokens is a file of tokens, read again when it changes.
//
// The file closes the server, whether it holds tokens or none: a file that was
// there once and is gone, or cannot be read any more, opens nothing.
type Tokens struct{ file *livefile.File[tokenTable] }

// tokenTable is one content of the file.
type tokenTable struct {
	closed bool // the file was there
	byID   map[string]*knownToken
}

type knownToken struct {
	Token
	sum [sha256.Size]byte
}

// OpenTokens reads a file of tokens. It may be missing: then there are none until
// it comes, and where needed is false nobody needs one until then. When it changes
// later and cannot be read then, log is told and the tokens stay as they are.
func OpenTokens(path string, needed bool, log *slog.Logger) (*Tokens, error) {
	var last *tokenTable // only read calls follow one another
	file, err := livefile.Open(log, "the file of tokens", func() (*tokenTable, error) {
		tokens, err := ReadTokens(path)
		switch {
		case missing(err) && last == nil:
			last = &tokenTable{closed: needed}
			return last, nil
		case err != nil && last != nil && !last.closed:
			log.Error("the file of tokens cannot be read: nobody can do anything until it can", "err", err)
			last = &tokenTable{closed: true}
			return last, nil
		case missing(err):
			return nil, errors.New(path + " is gone; start again without it, or create a token")
		case err != nil:
			return nil, err
		}
		last = newTokenTable(tokens)
		return last, nil
	}, path)
	if err != nil {
		return nil, err
	}
	return &Tokens{file}, nil
}

func newTokenTable(tokens []Token) *tokenTable {
	table := &tokenTable{closed: true, byID: make(map[string]*knownToken)}
	for _, t := range tokens {
		k := &knownToken{Token: t}
		if _, err := hex.Decode(k.sum[:], []byte(t.SHA256)); err == nil { // parseTokens saw to it
			table.byID[t.ID] = k
		}
	}
	return table
}

// find gives the token that a secret is, or nil. An ID may be known; of the
// secret the time that this takes tells nothing.
func (t *tokenTable) find(id, secret string) *Token {
	sum := sha256.Sum256([]byte(secret))
	k := t.byID[id]
	if k == nil {
		k = &knownToken{sum: sha256.Sum256(sum[:])}
	}
	if subtle.ConstantTimeCompare(sum[:], k.sum[:]) != 1 {
		return nil
	}
	return &k.Token
}
