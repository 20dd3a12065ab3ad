package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"curdling/internal/livefile"
	"curdling/internal/store"
)

// Where a server keeps tokens: a file in the folder that it serves, or, for all servers over one bucket, a key in that.
const (
	TokensFile = ".tokens.json"
	TokensKey  = "tokens.json"
)

const (
	// believed is how long tokens are good for that cannot be read again. Then nobody can tell who was revoked.
	believed     = 15 * time.Minute
	unknownRetry = 5 * time.Second
)

// Tokens are kept in a file, or where several servers read them, and are read again when they change.
//
// They close the server, whether there is one or none: a file that was
// there once and is gone, or cannot be read any more, opens nothing.
type Tokens struct {
	get func() *tokenTable
	run func(context.Context)
}

// tokenTable is one content of the file.
type tokenTable struct {
	closed bool // the file was there
	byID   map[string]*knownToken
	unsure error // not nil: nobody can tell which tokens there are
}

type knownToken struct {
	Token
	sum [sha256.Size]byte
}

// OpenTokens reads a file of tokens. It may be missing: then there are none until
// it comes, and where needed is false nobody needs one until then. When it changes
// later and cannot be read then, log is told and the tokens stay as they are.
func OpenTokens(path string, needed bool, log *slog.Logger) (*Tokens, error) {
	parse := tokenParser(path, needed, log)
	file, err := livefile.Open(log, "the file of tokens", func() (*tokenTable, error) {
		content, _, err := livefile.Path(path).Read(context.Background(), "")
		return parse(content, err)
	}, path)
	if err != nil {
		return nil, err
	}
	return &Tokens{get: file.Get}, nil
}

// OpenSharedTokens is OpenTokens for what several servers read from afar: a change is seen within seconds while [Tokens.Run] runs. When it
// cannot be asked for, the tokens that are known go on being good for a quarter of an hour, and none is from then
// on until it can be: the error is a *[store.UnavailableError].
func OpenSharedTokens(ctx context.Context, kept livefile.Document, needed bool, log *slog.Logger) (*Tokens, error) {
	followed, err := livefile.Follow(ctx, log, "the file of tokens", kept, tokenParser(kept.String(), needed, log))
	if err != nil {
		return nil, err
	}
	unsure := &tokenTable{closed: true, unsure: &store.UnavailableError{
		Err: fmt.Errorf("%s was not read for %v, so that nobody can tell which tokens are good", kept, believed), RetryAfter: unknownRetry}}
	return &Tokens{run: followed.Run, get: func() *tokenTable {
		table, age := followed.Get()
		if table.closed && age > believed {
			return unsure
		}
		return table
	}}, nil
}

// Run looks for changes of tokens that are far away, until ctx is done. Of those in a file it has nothing to do.
func (t *Tokens) Run(ctx context.Context) {
	if t.run != nil {
		t.run(ctx)
	}
}

// tokenParser makes tables of what is read, one after the other.
func tokenParser(name string, needed bool, log *slog.Logger) func(content []byte, err error) (*tokenTable, error) {
	var last *tokenTable
	return func(content []byte, err error) (*tokenTable, error) {
		var tokens []Token
		if err == nil {
			tokens, err = parseTokens(content, name)
		}
		switch {
		case missing(err) && last == nil:
			last = &tokenTable{closed: needed}
			return last, nil
		case err != nil && last != nil && !last.closed:
			log.Error("the file of tokens cannot be read: nobody can do anything until it can", "err", err)
			last = &tokenTable{closed: true}
			return last, nil
		case missing(err):
			return nil, errors.New(name + " is gone; start again without it, or create a token")
		case err != nil:
			return nil, err
		}
		last = newTokenTable(tokens)
		return last, nil
	}
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
