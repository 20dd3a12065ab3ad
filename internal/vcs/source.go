package vcs

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"curdling/internal/lazyregexp"
	"curdling/internal/requirement"
)

// What may be in front of a host, and what may be one: other characters could
// change what a setting for that host says.
var (
	withPassword = []string{"http", "https", "static-http", "ftp", "svn"}
	withUser     = []string{"ssh", "svn+ssh", "bzr+ssh", "sftp"}
	hostForm     = lazyregexp.New(`^(?:[\pL\pN_][\pL\pN._-]*|\[[0-9a-fA-F:.]+\])(?::[0-9]+)?$`)
)

// address is where a repository is, and who asks.
type address struct {
	url                string // a user is in it for ssh alone
	scheme, host, port string
	user, password     string
	hasPassword        bool // which may be ""
}

// locate takes a source's URL apart, and refuses what a program could
// misunderstand.
func locate(s requirement.Source, schemes string) (address, error) {
	u, err := requirement.CheckURL(s.URL)
	if err != nil {
		return address{}, err
	}
	a := address{url: s.URL, scheme: u.Scheme, host: u.Hostname(), port: u.Port()}
	switch {
	case strings.HasPrefix(s.Revision, "-"):
		return a, errors.New(`a revision must not begin with "-"`)
	case strings.ContainsFunc(s.URL+s.Revision, unicode.IsControl):
		return a, errors.New("the URL or the revision contains control characters")
	case strings.Contains(s.URL, "#"):
		return a, errors.New("the URL of a repository must not have a fragment (#)")
	case !slices.Contains(strings.Fields(schemes), u.Scheme):
		return a, fmt.Errorf("%s has no URLs that begin with %.50q; it has %s", s.VCS, u.Scheme+":", strings.ReplaceAll(schemes, " ", ", "))
	case u.Scheme == "file":
		a.url, err = fileURL(s.URL)
		return a, err
	case u.Scheme == "lp":
		return a, nil
	case u.Opaque != "" || !hostForm.MatchString(u.Host):
		return a, errors.New("the URL's host is none; write https://HOST/PATH or the like")
	}
	return a, a.takeUser(u)
}

// takeUser moves the credentials out of the URL.
func (a *address) takeUser(u *url.URL) error {
	if u.User == nil {
		return nil
	}
	password, hasPassword := u.User.Password()
	switch {
	case slices.Contains(withUser, a.scheme) && !hasPassword:
		return nil
	case slices.Contains(withUser, a.scheme):
		return errors.New("ssh takes no password from a URL: use a key, and leave the password out")
	case !slices.Contains(withPassword, a.scheme):
		return fmt.Errorf("a URL that begins with %q has no user", a.scheme+":")
	case strings.ContainsFunc(u.User.Username()+password, unicode.IsControl):
		return errors.New("user and password of a URL must not have control characters")
	}
	scheme, _, rest := CutUser(a.url)
	a.url = scheme + rest
	a.user, a.password, a.hasPassword = u.User.Username(), password, hasPassword
	return nil
}

// fileURL gives the one spelling of a file: URL that every program reads.
func fileURL(text string) (string, error) {
	p, err := requirement.PathOfURL(text)
	if err != nil {
		return "", err
	}
	if !filepath.IsAbs(p) {
		return "", errors.New("a repository's file: URL needs an absolute path, as in file:///path")
	}
	p = filepath.ToSlash(filepath.Clean(p))
	if !strings.HasPrefix(p, "/") {
		p = "/" + p // C:/x
	}
	return (&url.URL{Scheme: "file", Path: p}).String(), nil
}

// base gives scheme and host of the URL.
func (a address) base() string {
	scheme, _, rest := CutUser(a.url)
	host, _, _ := strings.Cut(rest, "/")
	host, _, _ = strings.Cut(host, "?")
	return scheme + host
}

// secrets gives what hides the credentials of the source's URL in a text, however
// they are written. A user may be a token, but hardly a short one, which would
// be found in too many words.
func (a address) secrets(s requirement.Source) *strings.Replacer {
	_, who, rest := CutUser(s.URL)
	_, query, _ := strings.Cut(rest, "?")
	words := []string{query}
	if a.user != "" || a.hasPassword {
		user, password, _ := strings.Cut(who, ":")
		words = append(words, base64.StdEncoding.EncodeToString([]byte(a.user+":"+a.password)), password, a.password)
		if len(a.user) >= 8 {
			words = append(words, user, a.user)
		}
	}
	var pairs []string
	for _, word := range words {
		for _, form := range []string{word, url.PathEscape(word), url.QueryEscape(word)} {
			if form != "" {
				pairs = append(pairs, form, "****")
			}
		}
	}
	return strings.NewReplacer(pairs...)
}
