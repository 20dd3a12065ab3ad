package auth

import (
	"crypto/subtle"
	"errors"
	"regexp"
	"strings"

	htpasswd "github.com/tg123/go-htpasswd"
	"golang.org/x/crypto/bcrypt"
)

// hash tells whether a password is the one that it was made of, in a time that
// does not depend on how nearly it is.
type hash func(password string) bool

// The shapes of the hashes. They are checked in full before a library sees them.
var (
	bcryptShape = regexp.MustCompile(`^\$2[aby]\$[0-3][0-9]\$[./0-9A-Za-z]{53}$`)
	shaShape    = regexp.MustCompile(`^\$(5\$(rounds=[1-9][0-9]{3,8}\$)?[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{43}|6\$(rounds=[1-9][0-9]{3,8}\$)?[./0-9A-Za-z]{1,16}\$[./0-9A-Za-z]{86})$`)
	md5Shape    = regexp.MustCompile(`^\$(apr1|1)\$[./0-9A-Za-z]{1,8}\$[./0-9A-Za-z]{22}$`)
	sha1Shape   = regexp.MustCompile(`^\{SHA\}[+/0-9A-Za-z]{27}=$`)
	desShape    = regexp.MustCompile(`^[./0-9A-Za-z]{13}$`)
)

// parseHash finds the scheme of a hash. Its errors never show the hash.
func parseHash(s string) (hash, error) {
	switch {
	case bcryptShape.MatchString(s):
		encoded := []byte(s)
		if _, err := bcrypt.Cost(encoded); err != nil {
			return nil, errors.New("malformed bcrypt hash")
		}
		return func(password string) bool { return bcrypt.CompareHashAndPassword(encoded, []byte(password)) == nil }, nil
	case shaShape.MatchString(s):
		return library(htpasswd.AcceptCryptSha, s)
	case md5Shape.MatchString(s):
		return library(htpasswd.AcceptMd5, s)
	case sha1Shape.MatchString(s):
		return library(htpasswd.AcceptSha, s)
	case desShape.MatchString(s):
		return func(password string) bool {
			return subtle.ConstantTimeCompare([]byte(desCrypt(password, s[:2])), []byte(s)) == 1
		}, nil
	case strings.HasPrefix(s, "$") || strings.HasPrefix(s, "{"):
		return nil, errors.New("malformed hash or unknown scheme; bcrypt (htpasswd -B), SHA-512 crypt ($6$), SHA-256 crypt ($5$), apr1, {SHA} and DES crypt are known")
	}
	return nil, errors.New("not a hash; plain text is never accepted, hash the password with: htpasswd -B")
}

func library(accept htpasswd.PasswdParser, s string) (hash, error) {
	encoded, err := accept(s)
	if err != nil || encoded == nil {
		return nil, errors.New("malformed hash")
	}
	return encoded.MatchesPassword, nil
}
