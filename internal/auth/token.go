package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/big"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"curdling/internal/livefile"
	"curdling/internal/scope"
)

// A token is curd_ and 57 digits and letters: an ID of 8, which may be known, a
// secret of 256 bits in 43, and a CRC-32 of all before it in 6, so that a scanner
// for secrets can tell a token from what looks like one.
const (
	tokenPrefix  = "curd_"
	idDigits     = 8
	secretDigits = 43 // 62^43 > 2^256
	sumDigits    = 6  // 62^6 > 2^32
	tokenLength  = len(tokenPrefix) + idDigits + secretDigits + sumDigits
	// tokenUser is the user that twine, uv and poetry send along with a token.
	tokenUser = "__token__"
)

// Scope is what a token is good for: its rights. The scope of trust that it is bound to is [Token.In].
type Scope string

// The rights.
const (
	ScopeRead   Scope = "read"
	ScopeUpload Scope = "upload" // and read
)

// Token is what is known of a token; the token itself is not.
type Token struct {
	ID       string    `json:"id"`
	User     string    `json:"user"`
	Scope    Scope     `json:"scope"`
	Projects []string  `json:"projects,omitempty"` // globs (path.Match) of the projects that it may upload; none: all
	SHA256   string    `json:"sha256"`             // of the token, in hex
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires,omitzero"` // zero: never
	// In is the scope of trust that the token is bound to, as [scope.Check] allows; "" is scope.Main.
	In string `json:"in,omitempty"`
}

// Expired tells whether the token's time is over.
func (t *Token) Expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

// tokenFile is the file of tokens.
type tokenFile struct {
	Version int     `json:"version"` // 1; 2 where a token is bound to a scope, which programs that know only 1 would not heed
	Tokens  []Token `json:"tokens"`
}

// ErrNoToken says that there is no token with that ID.
var ErrNoToken = errors.New("there is no such token")

// ReadTokens gives the tokens that are kept there, oldest first. Where nothing is the error wraps fs.ErrNotExist.
func ReadTokens(ctx context.Context, kept livefile.Document) ([]Token, error) {
	content, _, err := kept.Read(ctx, "")
	if err != nil {
		return nil, err
	}
	return parseTokens(content, kept.String())
}

func parseTokens(b []byte, name string) ([]Token, error) {
	var file tokenFile
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s: larger than %d MiB", name, maxFile>>20)
	}
	if err := json.Unmarshal(b, &file); err != nil {
		return nil, fmt.Errorf("%s is no file of tokens: %w", name, err)
	}
	if file.Version != 1 && file.Version != 2 {
		return nil, fmt.Errorf("%s is of version %d, and this program knows versions 1 and 2", name, file.Version)
	}
	ids := make(map[string]bool)
	for i := range file.Tokens {
		t := &file.Tokens[i]
		sum, err := hex.DecodeString(t.SHA256)
		switch {
		case len(t.ID) != idDigits || !alphanumeric(t.ID) || ids[t.ID]:
			err = errors.New("the ID is malformed or comes twice")
		case err != nil || len(sum) != sha256.Size:
			err = errors.New("no usable sha256")
		default:
			err = t.check()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: token %q: %w", name, t.ID[:min(len(t.ID), idDigits)], err)
		}
		ids[t.ID] = true
	}
	return file.Tokens, nil
}

// check looks at what a person says of a token.
func (t *Token) check() error {
	if t.Scope != ScopeRead && t.Scope != ScopeUpload {
		return fmt.Errorf("%q is no right of a token: it may %s or %s", string(t.Scope), ScopeRead, ScopeUpload)
	}
	if t.In != "" {
		if err := scope.Check(t.In); err != nil {
			return err
		}
	}
	if t.Scope == ScopeRead && len(t.Projects) > 0 {
		return errors.New("a token that may read reads all projects; name projects for one that may upload")
	}
	for _, glob := range t.Projects {
		if _, err := path.Match(glob, ""); err != nil || glob == "" {
			return fmt.Errorf("%q is no glob of projects; write one like acme-*", glob)
		}
	}
	return checkUser(t.User)
}

// CreateToken makes a token as t says (User, Scope, Projects, Expires, In) and notes
// it where they are kept. secret is the token itself.
func CreateToken(ctx context.Context, kept livefile.Document, t Token) (secret string, created Token, err error) {
	t.Created = time.Now().UTC().Truncate(time.Second)
	t.Projects = slices.Clone(t.Projects)
	for i, glob := range t.Projects {
		t.Projects[i] = normalGlob(glob)
	}
	if t.In == scope.Main {
		t.In = ""
	}
	if err := t.check(); err != nil {
		return "", Token{}, err
	}
	err = changeTokens(ctx, kept, func(tokens []Token) ([]Token, error) {
		for t.ID == "" || slices.ContainsFunc(tokens, func(other Token) bool { return other.ID == t.ID }) {
			t.ID = randomDigits(idDigits)
		}
		secret = newToken(t.ID)
		sum := sha256.Sum256([]byte(secret))
		t.SHA256 = hex.EncodeToString(sum[:])
		return append(tokens, t), nil
	})
	return secret, t, err
}

// RevokeTokens takes tokens out of where they are kept and gives what they were, and how many
// are left. One that is not there is an error that wraps ErrNoToken, and then none is taken out.
func RevokeTokens(ctx context.Context, kept livefile.Document, ids ...string) (revoked []Token, left int, err error) {
	err = changeTokens(ctx, kept, func(tokens []Token) ([]Token, error) {
		revoked = nil
		for _, id := range ids {
			i := slices.IndexFunc(tokens, func(t Token) bool { return t.ID == id })
			if i < 0 {
				return nil, fmt.Errorf("%s: %q: %w", kept, id, ErrNoToken)
			}
			revoked = append(revoked, tokens[i])
			tokens = slices.Delete(tokens, i, i+1)
		}
		left = len(tokens)
		return tokens, nil
	})
	return revoked, left, err
}

func changeTokens(ctx context.Context, kept livefile.Document, edit func([]Token) ([]Token, error)) error {
	return kept.Change(ctx, func(old []byte) ([]byte, error) {
		var tokens []Token
		var err error
		if old != nil {
			if tokens, err = parseTokens(old, kept.String()); err != nil {
				return nil, err
			}
		}
		if tokens, err = edit(tokens); err != nil {
			return nil, err
		}
		if tokens == nil {
			tokens = []Token{}
		}
		file := tokenFile{Version: 1, Tokens: tokens}
		if slices.ContainsFunc(tokens, func(t Token) bool { return t.In != "" }) {
			file.Version = 2
		}
		b, err := json.MarshalIndent(file, "", "  ")
		return append(b, '\n'), err
	})
}

// newToken makes a token.
func newToken(id string) string {
	body := tokenPrefix + id + randomDigits(secretDigits)
	return body + checksum(body)
}

// parseToken tells whether s has the form of a token, and its ID.
func parseToken(s string) (id string, ok bool) {
	if len(s) != tokenLength || !strings.HasPrefix(s, tokenPrefix) || !alphanumeric(s[len(tokenPrefix):]) {
		return "", false
	}
	body := s[:tokenLength-sumDigits]
	if checksum(body) != s[len(body):] {
		return "", false
	}
	return body[len(tokenPrefix):][:idDigits], true
}

// randomDigits gives digits and letters, of which n hold n*log2(62) bits of chance.
func randomDigits(n int) string {
	limit := new(big.Int).Exp(big.NewInt(62), big.NewInt(int64(n)), nil)
	number, _ := rand.Int(rand.Reader, limit) // never fails
	return padded(number, n)
}

func checksum(body string) string {
	return padded(big.NewInt(int64(crc32.ChecksumIEEE([]byte(body)))), sumDigits)
}

func padded(number *big.Int, n int) string {
	digits := number.Text(62)
	return strings.Repeat("0", n-len(digits)) + digits
}

func alphanumeric(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// normalGlob writes a glob as the names that it is held against are written (PEP 503).
func normalGlob(glob string) string {
	return strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(glob))
}

// missing tells of a file that is not there.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
