// Package auth knows users, their passwords, and who may do what.
//
// Users come from an htpasswd file: lines of NAME:HASH, where what follows a
// second colon or white space is ignored, and empty lines and lines that start
// with # are skipped. The hash decides its scheme:
//
//	$2a$ $2b$ $2y$   bcrypt (htpasswd -B), the one to choose
//	$5$ $6$          SHA-256 and SHA-512 crypt, with or without rounds=
//	$apr1$ $1$       MD5 crypt, Apache's and the original (htpasswd -m)
//	{SHA}            SHA-1, without salt (htpasswd -s)
//	13 characters    DES crypt (htpasswd -d), which looks at 8 characters only
//
// Plain text is no scheme. A line that cannot be used, a name that comes twice
// and a file without users are errors that name the line and never show the hash.
//
// Limits: a file has at most 16 MiB, a password at most 1024 bytes.
package auth

import "errors"

// Action is what somebody wants to do.
type Action uint8

// The actions.
const (
	Read   Action = iota + 1 // pages and files
	Upload                   // new files
)

// ErrUnauthenticated says that credentials are missing or wrong.
var ErrUnauthenticated = errors.New("a valid user name and password are needed")

// Policy tells who may do what. The zero value lets everybody do everything.
type Policy struct {
	// Users may read and upload, and nobody else may do either. Nil: everybody may.
	Users *Users
}

// Authorize tells whether somebody with these credentials may do what action
// says: nil or ErrUnauthenticated. Empty credentials are nobody's.
func (p Policy) Authorize(user, password string, _ Action) error {
	if p.Users == nil || p.Users.Check(user, password) {
		return nil
	}
	return ErrUnauthenticated
}
