package vcs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"curdling/internal/lazyregexp"
)

var bzr = system{
	title:   "Breezy",
	schemes: "http https bzr+ssh sftp ftp lp file",
	commit:  lazyregexp.New(`^[0-9]+(\.[0-9]+)*$`),
	prepare: bzrPrepare, resolve: bzrResolve, fetch: bzrFetch,
}

func bzrPrepare(j *job) error {
	if _, err := exec.LookPath("bzr"); err != nil {
		j.program = "brz"
	}
	if j.source.Revision == "" {
		j.source.Revision = "-1" // the last
	}
	j.env = append(j.env, "BRZ_LOG="+os.DevNull, "BZR_LOG="+os.DevNull)
	if j.user == "" && !j.hasPassword {
		return nil
	}
	user, err := bzrQuote(j.user)
	if err != nil {
		return err
	}
	password, err := bzrQuote(j.password)
	if err != nil {
		return err
	}
	// Breezy reads credentials from this file alone; the user's own settings are not read beside it.
	file := fmt.Sprintf("[curd]\nscheme = %s\nhost = %s\nuser = %s\n", j.scheme, j.host, user)
	if j.port != "" {
		file += "port = " + j.port + "\n"
	}
	if j.hasPassword {
		file += "password = " + password + "\n"
	}
	home := filepath.Join(j.work, "home")
	j.env = append(j.env, "BRZ_HOME="+home, "BZR_HOME="+home)
	if err := os.MkdirAll(filepath.Join(home, "breezy"), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(home, "breezy", "authentication.conf"), []byte(file), 0o600)
}

// bzrQuote quotes a value for Breezy's settings, which know no escapes. (Nor
// does their base64 work: in Breezy 3.3 it gives bytes that are no text.)
func bzrQuote(value string) (string, error) {
	for _, quote := range []string{`"`, `'`} {
		if !strings.Contains(value, quote) {
			return quote + value + quote, nil
		}
	}
	return "", errors.New("user and password of a URL for bzr must not have both kinds of quotation marks")
}

func bzrResolve(ctx context.Context, j *job) (string, error) {
	return j.run(ctx, "revno", "--revision="+j.source.Revision, "--", j.url)
}

func bzrFetch(ctx context.Context, j *job) (string, error) {
	_, err := j.run(ctx, "checkout", "--lightweight", "-q", "--revision="+j.source.Revision, "--", j.url, j.tree)
	if err != nil {
		return "", err
	}
	return j.run(ctx, "revno", "--tree", "--", j.tree)
}
