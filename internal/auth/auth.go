// Package auth knows users, their passwords and tokens, and who may do what.
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
// Tokens come from a file of ours ([CreateToken]); they are kept as SHA-256, which
// is enough for 256 bits of chance. A token stands for its user, may do no more
// than that user may by name, and needs no password of his.
//
// Jobs of CI systems come with an ID token that their system signed; package oidc tells whom it stands for.
//
// Tokens and ID tokens may be bound to a scope of trust (package scope): then what they read and
// upload is that scope's. All others are in scope.Main.
//
// What is wrong is counted, and who is wrong too often has to wait (see limiter).
//
// Limits: a file has at most 16 MiB, a password at most 1024 bytes.
package auth

import (
	"errors"
	"fmt"
	"math"
	"time"

	"curdling/internal/oidc"
)

// Action is what somebody wants to do.
type Action uint8

// The actions.
const (
	Read   Action = iota + 1 // pages and files
	Upload                   // new files
)

// ErrUnauthenticated says that credentials are missing or wrong.
var ErrUnauthenticated = errors.New("a valid user name and password are needed, or a token")

// ForbiddenError says that somebody who is known may not do what he wants.
type ForbiddenError struct{ Reason string }

func (e *ForbiddenError) Error() string { return e.Reason }

// LimitedError says that there were too many wrong passwords.
type LimitedError struct{ Wait time.Duration }

// Seconds is how long to wait, rounded up; for Retry-After.
func (e *LimitedError) Seconds() int { return int(math.Ceil(e.Wait.Seconds())) }

func (e *LimitedError) Error() string {
	return fmt.Sprintf("too many wrong passwords or tokens came from this address or for this user; try again in %d s", e.Seconds())
}

// RepeatedError says that the same wrong credentials came again within a minute.
type RepeatedError struct{ err error } // wraps ErrUnauthenticated

func (e *RepeatedError) Error() string { return e.err.Error() }
func (e *RepeatedError) Unwrap() error { return e.err }

// Policy tells who may do what. The zero value lets everybody do everything; any
// field that is set closes the server to those that it does not name.
type Policy struct {
	Users  *Users  // who has a password; nil: nobody
	Tokens *Tokens // nil: there are none
	// CI tells whom ID tokens stand for; nil: no ID token is taken.
	CI *oidc.Issuers
	// Uploaders may upload, and nobody else may. Nil: all may who are not named by Readers.
	Uploaders *Names
	// Readers may read, and so may those who may upload; nobody else may. Nil: all may.
	Readers *Names
	// AnonymousRead lets everybody read; credentials that come along are looked at only for a scope to read.
	AnonymousRead bool
}
