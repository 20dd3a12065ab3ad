package index

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// account is what a base URL said of who we are.
type account struct {
	base        *url.URL // without credentials
	login       login
	named       bool // there is a user
	hasPassword bool
}

type login struct{ user, password string }

// key names the account in Client.logins.
func (a *account) key() string { return a.base.String() + "\n" + a.login.user }

func (c *Client) remember(a account) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, old := range c.accounts {
		if old.base.String() == a.base.String() {
			if a.named {
				c.accounts[i] = a
			}
			return
		}
	}
	c.accounts = append(c.accounts, a)
}

// accountAt gives what base URLs of u's origin say: of several the one whose
// path has most in common with u's, those that name a user before others. Where
// there is none it is the origin's root, without a user. c.mu must be held.
func (c *Client) accountAt(u *url.URL) account {
	best := account{base: &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/"}}
	length := -1
	for _, a := range c.accounts {
		if origin(a.base) != origin(u) || best.named && !a.named {
			continue
		}
		if n := common(a.base.Path, u.Path); n > length || a.named && !best.named {
			best, length = a, n
		}
	}
	return best
}

// account tells who we are at u: what a base URL said, else what the keyring
// said, else what Options.Credentials says.
func (c *Client) account(u *url.URL) (user, password string, ok bool) {
	c.mu.Lock()
	a := c.accountAt(u)
	l, found := c.logins[a.key()]
	c.mu.Unlock()
	switch {
	case a.hasPassword:
		return a.login.user, a.login.password, true
	case found && l != login{}:
		return l.user, l.password, true
	}
	if c.credentials != nil {
		user, password, ok = c.credentials(u)
	}
	if a.named && (!ok || user != a.login.user) {
		return a.login.user, "", true
	}
	return user, password, ok
}

// authorize sets the credentials for the request's own URL, and no others.
func (c *Client) authorize(r *http.Request) {
	r.URL.User = nil
	r.Header.Del("Authorization")
	if user, password, ok := c.account(r.URL); ok {
		r.SetBasicAuth(user, password)
	}
}

// common counts the bytes that two paths begin with in common.
func common(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// origin is scheme, host and port, the port always told.
func origin(u *url.URL) string {
	return strings.ToLower(u.Scheme + "://" + u.Hostname() + ":" + port(u))
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	case u.Scheme == "http":
		return "80"
	}
	return ""
}

// Netrc is what a netrc file says. The zero value says nothing.
type Netrc []machine

type machine struct {
	host           string // "" is the default entry
	user, password string
}

// maxNetrc bounds a netrc file, in bytes.
const maxNetrc = 1 << 20

// FindNetrc gives the path of the user's netrc file: $NETRC, else ~/.netrc or
// ~/_netrc where it exists, else "".
func FindNetrc(getenv func(string) string) string {
	if path := getenv("NETRC"); path != "" {
		return path
	}
	for _, home := range []string{getenv("HOME"), getenv("USERPROFILE")} {
		for _, name := range []string{".netrc", "_netrc"} {
			path := filepath.Join(home, name)
			if _, err := os.Stat(path); home != "" && err == nil {
				return path
			}
		}
	}
	return ""
}

// ReadNetrc reads a netrc file as curl does, whatever its mode. A file that is
// not there, as "" never is, says nothing.
func ReadNetrc(path string) (Netrc, error) {
	text, err := readFile(path, maxNetrc)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("netrc: %w", err)
	}
	return parseNetrc(string(text)), nil
}

// Lookup gives what the file says of a URL's host; the port does not count.
// The first entry of a host wins, and the default entry takes the rest.
func (n Netrc) Lookup(u *url.URL) (user, password string, ok bool) {
	for _, host := range []string{u.Hostname(), ""} {
		for _, m := range n {
			if strings.EqualFold(m.host, host) {
				return m.user, m.password, true
			}
		}
	}
	return "", "", false
}

// parseNetrc skips what it does not know, as every other reader of the format does.
func parseNetrc(text string) Netrc {
	var n Netrc
	words := netrcWords(text)
	for i := 0; i < len(words); i++ {
		keyword := words[i]
		if keyword == "default" {
			n = append(n, machine{})
			continue
		}
		if keyword != "machine" && keyword != "login" && keyword != "password" && keyword != "account" {
			continue
		}
		if i++; i == len(words) {
			break
		}
		last := len(n) - 1
		switch {
		case keyword == "machine" && words[i] != "":
			n = append(n, machine{host: words[i]})
		case last < 0:
		case keyword == "login":
			n[last].user = words[i]
		case keyword == "password":
			n[last].password = words[i]
		}
	}
	return n
}

// netrcWords splits a netrc file into words, leaving out comments (lines that
// begin with #: passwords may hold it) and macros (macdef, up to an empty line).
func netrcWords(text string) []string {
	var words []string
	macro := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		macro = macro && line != ""
		if macro || strings.HasPrefix(line, "#") {
			continue
		}
		for line != "" {
			var word string
			word, line = netrcWord(line)
			if macro = word == "macdef"; macro {
				break
			}
			words = append(words, word)
		}
	}
	return words
}

// netrcWord cuts the first word from a line that begins with one. A word may
// stand in double quotes, with a backslash before what is meant as it is.
func netrcWord(line string) (word, rest string) {
	if line[0] != '"' {
		end := strings.IndexAny(line+" ", " \t")
		return line[:end], strings.TrimLeft(line[end:], " \t")
	}
	var b strings.Builder
	i := 1
	for ; i < len(line) && line[i] != '"'; i++ {
		if line[i] == '\\' && i+1 < len(line) {
			i++
		}
		b.WriteByte(line[i])
	}
	return b.String(), strings.TrimLeft(line[min(i+1, len(line)):], " \t")
}
