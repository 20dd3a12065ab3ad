package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// The keyring program (Options.Keyring) is asked as pip and uv ask it: after a
// 401, at first for the URL of the index, then for its host and port,
//
//	keyring get SERVICE USER             where the URL names a user
//	keyring --mode creds get SERVICE     where it does not
//
// and once for each index, and each host that is none. Credentials with a
// password in the URL are not doubted. The program's standard input is closed.
// What it complains of is logged; where it fails otherwise than by knowing
// nothing, it is not asked again.
const (
	keyringTime  = time.Minute // for an answer: it may have to wait for its user
	maxKeyring   = 64 << 10    // bytes that it may say
	maxComplaint = 4 << 10     // bytes of its complaints that are logged
	maxServices  = 32          // of which it is asked: redirects could lead to any number of hosts
)

// relogin tells, of a request that was answered 401, whether we now have other
// credentials for its URL.
func (c *Client) relogin(ctx context.Context, r *http.Request) bool {
	c.mu.Lock()
	a, program := c.accountAt(r.URL), c.keyring
	c.mu.Unlock()
	if program == "" || a.hasPassword {
		return false
	}
	_, err := share(ctx, c, "keyring "+a.key(), func() (login, error) { return c.askKeyring(ctx, program, a) })
	if err != nil {
		return false
	}
	again := &http.Request{URL: r.URL, Header: http.Header{}}
	c.authorize(again)
	return again.Header.Get("Authorization") != r.Header.Get("Authorization")
}

// askKeyring gives what the keyring says of an account, the zero login where it
// knows nothing, and remembers it.
func (c *Client) askKeyring(ctx context.Context, program string, a account) (login, error) {
	c.mu.Lock()
	l, asked := c.logins[a.key()]
	asked = asked || len(c.logins) >= maxServices || c.keyring == ""
	c.mu.Unlock()
	if asked {
		return l, nil
	}
	var err error
	for _, service := range []string{a.base.String(), a.base.Host} {
		l, err = c.runKeyring(ctx, program, service, a.login.user)
		if err != nil || l != (login{}) {
			break
		}
	}
	if ctx.Err() != nil {
		return login{}, context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.log.Warn("the keyring is left out", "error", err)
		c.keyring = ""
	}
	c.logins[a.key()] = l
	return l, nil
}

// runKeyring asks for one service. No error and the zero login: it knows nothing.
func (c *Client) runKeyring(ctx context.Context, program, service, user string) (login, error) {
	if strings.HasPrefix(service, "-") || strings.HasPrefix(user, "-") {
		return login{}, nil // would be taken for options
	}
	args := []string{"--mode", "creds", "get", service}
	if user != "" {
		args = []string{"get", service, user}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.keyringTime, fmt.Errorf("%s: no answer within %v", program, c.keyringTime))
	defer cancel()
	var said answer
	complaint := complaint{log: c.log}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "PYTHONIOENCODING=utf-8")
	cmd.Stdout, cmd.Stderr = &said, &complaint
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return login{}, context.Cause(ctx)
	case said.tooLong:
		return login{}, fmt.Errorf("%s: an answer of more than %d bytes", program, maxKeyring)
	case errors.As(err, &exit) && strings.Contains(complaint.text.String(), "unrecognized arguments"):
		return login{}, fmt.Errorf("%s: it wants to be told a user; write https://USER@HOST/... or use keyring 25.2.1 or newer", program)
	case errors.As(err, &exit):
		return login{}, nil
	case err != nil:
		return login{}, err
	}
	return parseLogin(said.text.String(), user)
}

// parseLogin reads a password, or where no user is given a user's name and a password, one to a line.
func parseLogin(text, user string) (login, error) {
	text = strings.TrimRight(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	l := login{user: user, password: text}
	if user == "" {
		l.user, l.password, _ = strings.Cut(text, "\n")
	}
	switch {
	case strings.ContainsAny(l.password, "\n\x00"):
		return login{}, errors.New("keyring: the answer has too many lines")
	case l.password == "":
		return login{}, nil
	}
	return l, nil
}

// answer takes what the keyring says, as far as it may.
type answer struct {
	text    bytes.Buffer
	tooLong bool
}

func (a *answer) Write(p []byte) (int, error) {
	if a.text.Len()+len(p) > maxKeyring {
		a.tooLong = true
		return 0, errors.New("too long")
	}
	return a.text.Write(p)
}

// complaint logs what the keyring complains of while it runs: it may be what
// its user has to do.
type complaint struct {
	log  *slog.Logger
	text bytes.Buffer
}

func (c *complaint) Write(p []byte) (int, error) {
	if n := min(len(p), maxComplaint-c.text.Len()); n > 0 {
		c.text.Write(p[:n])
		c.log.Warn("the keyring says: " + strings.TrimSpace(printable(string(p[:n]))))
	}
	return len(p), nil
}
