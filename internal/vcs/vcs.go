// Package vcs fetches sources from repositories, by the programs that these
// belong to: git, hg, svn and bzr (which is Breezy's, too).
//
// The programs run without a terminal, so nobody is asked for anything: what
// their own configuration, an agent, netrc or a credential helper knows is used,
// and what stands in the URL. A password of the URL is never on a command line,
// in what is fetched, or in an error.
//
// What a repository holds is an attacker's: hooks are not run, git uses no
// transports but http, https, ssh, git and file, and a submodule of a repository
// on the network lies on the network. Only the surrounding variables that choose
// another repository or trace are hidden from the programs. Neither the size of
// a tree nor the links in it are judged here.
//
// Unlike pip, a full commit is never taken for the branch or tag of that name;
// passwords are refused where the URL's scheme cannot use them; a repository of
// hg is asked by names and commits, not by revsets; and where svn's URL has
// credentials, which svn would give to any server that asks, a tree with
// svn:externals is refused.
package vcs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"curdling/internal/lazyregexp"
	"curdling/internal/requirement"
)

// Checkout is a source tree at a commit.
type Checkout struct {
	Dir               string // the tree's top, with its .git or the like
	Commit            string // in full: git's 40 or 64 and hg's 40 hex digits, svn's and bzr's revision number
	RequestedRevision string // as the source names it; "" where it names none
}

// A system is a version control system.
type system struct {
	title   string
	schemes string // of its URLs
	commit  *lazyregexp.Regexp
	prepare func(*job) error // sets options; runs nothing
	resolve func(context.Context, *job) (string, error)
	fetch   func(context.Context, *job) (string, error)
}

var systems = map[string]*system{"git": &git, "hg": &hg, "svn": &svn, "bzr": &bzr}

// Resolve gives the full commit that a source's revision names now, and does
// not fetch the tree. A full commit (for svn: a number) names itself, unasked.
// "" tells that only a checkout knows, as of an abbreviated commit of git.
func Resolve(ctx context.Context, s requirement.Source) (commit string, err error) {
	defer func() { err = named(s, err) }()
	j, err := open(s, "")
	if err != nil {
		return "", err
	}
	defer j.close()
	commit, err = j.resolve(ctx, j)
	if commit == "" || err != nil {
		return "", err
	}
	return j.checked(commit)
}

// Fetch puts the source's tree, with its submodules, into dir: a new folder in one that
// exists. Its .git holds the whole history, of which git gets files when they
// are needed. An error leaves nothing behind (fs.ErrExist: dir is taken); of a
// run that was killed a folder may stay next to dir: dir's name and ".tmp".
func Fetch(ctx context.Context, s requirement.Source, dir string) (_ Checkout, err error) {
	defer func() { err = named(s, err) }()
	if dir, err = filepath.Abs(dir); err != nil {
		return Checkout{}, err
	}
	if _, err := os.Lstat(dir); err == nil {
		return Checkout{}, &fs.PathError{Op: "fetch into", Path: dir, Err: fs.ErrExist}
	}
	j, err := open(s, dir)
	if err != nil {
		return Checkout{}, err
	}
	defer j.close()
	commit, err := j.fetch(ctx, j)
	if err == nil {
		commit, err = j.checked(commit)
	}
	if err == nil {
		err = os.Rename(j.tree, dir)
	}
	if err != nil {
		return Checkout{}, err
	}
	return Checkout{Dir: dir, Commit: commit, RequestedRevision: s.Revision}, nil
}

// checked sees that what a program printed is a commit.
func (j *job) checked(commit string) (string, error) {
	if !j.commit.MatchString(commit) {
		return "", fmt.Errorf("%s says %.80q where a commit should be", j.title, commit)
	}
	return commit, nil
}

// fromVariables matches credentials that are none, but names of variables (PEP 610).
var fromVariables = lazyregexp.New(`^\$\{[A-Za-z0-9-_]+\}(:\$\{[A-Za-z0-9-_]+\})?$`)

// IsPublic tells whether what stands for the user in a URL, and perhaps a password, is no secret: the user "git", and
// names of variables (PEP 610).
func IsPublic(who string) bool { return who == "git" || fromVariables.MatchString(who) }

// PublicURL is what direct_url.json says of a repository (PEP 610): its URL
// without credentials, except the user "git" and names of variables, as pip does.
func PublicURL(s requirement.Source) string {
	scheme, who, rest := CutUser(s.URL)
	if who == "" || IsPublic(who) {
		return s.URL
	}
	return scheme + rest
}

// CutUser gives what stands before, as and behind the user of a URL: "https://", "user:password", "host/path"; who is "" where
// there is none. It keeps the spelling, which net/url would not.
func CutUser(raw string) (scheme, who, rest string) {
	start := strings.Index(raw, "://")
	if start < 0 {
		return raw, "", ""
	}
	start += len("://")
	end := len(raw)
	if i := strings.IndexAny(raw[start:], "/?#"); i >= 0 {
		end = start + i
	}
	at := strings.LastIndexByte(raw[start:end], '@')
	if at < 0 {
		return raw[:start], "", raw[start:]
	}
	return raw[:start], raw[start : start+at], raw[start+at+1:]
}

// named puts the repository and revision before an error, fit to be shown.
func named(s requirement.Source, err error) error {
	if err == nil {
		return nil
	}
	text, _, _ := strings.Cut(PublicURL(s), "?")
	text = s.VCS + "+" + text
	if s.Revision != "" {
		text += "@" + s.Revision
	}
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
	return fmt.Errorf("%.300s: %w", text, err)
}

var errEmpty = errors.New("the repository has no commit to take by itself: name a branch, tag or commit behind \"@\"")

func (j *job) noRevision() error {
	return fmt.Errorf("the repository has no branch, tag or commit %.100q", j.source.Revision)
}
