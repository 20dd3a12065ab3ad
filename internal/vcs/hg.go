package vcs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"curdling/internal/lazyregexp"
)

var hg = system{
	title:   "Mercurial",
	schemes: "http https ssh static-http file",
	commit:  hgCommit,
	prepare: hgPrepare, resolve: hgResolve, fetch: hgFetch,
}

var hgCommit = lazyregexp.New(`^[0-9a-f]{40}$`)

func hgPrepare(j *job) error {
	j.env = append(j.env, "HGPLAIN=+strictflags")
	if j.scheme == "file" {
		j.env = append(j.env, "HGRCSKIPREPO=1") // it would run that repository's hooks
	}
	return nil
}

// hgInit makes an empty repository, whose settings are the one place for a
// password that others cannot read, and turns the user's hooks off.
func hgInit(ctx context.Context, j *job) error {
	if _, err := j.run(ctx, "init", "--", j.tree); err != nil {
		return err
	}
	j.dir = j.tree
	hooks, err := j.run(ctx, "config", "-T", "{name}\n", "hooks")
	var failed *programError
	if err != nil && !errors.As(err, &failed) { // which it does where there are none
		return err
	}
	for name := range strings.Lines(hooks) {
		j.global = append(j.global, "--config", strings.TrimSpace(name)+"=")
	}
	settings := "[paths]\ndefault = " + j.url + "\n"
	if j.user != "" || j.hasPassword {
		settings += fmt.Sprintf("[auth]\ncurd.prefix = %s\ncurd.username = $CURDLING_USER\n", strings.TrimPrefix(j.url, "static-"))
	}
	if j.hasPassword {
		settings += "curd.password = " + j.password + "\n"
	}
	return os.WriteFile(filepath.Join(j.tree, ".hg", "hgrc"), []byte(settings), 0o600)
}

// hgIdentify asks the repository for the commit that a revision names.
func hgIdentify(ctx context.Context, j *job, revision string) (string, error) {
	return j.run(ctx, "identify", "-T", "{id}", "-r", revision, "--", j.url)
}

func hgResolve(ctx context.Context, j *job) (string, error) {
	revision := strings.ToLower(j.source.Revision)
	if hgCommit.MatchString(revision) {
		return revision, nil
	}
	if err := hgInit(ctx, j); err != nil {
		return "", err
	}
	if revision != "" {
		return hgIdentify(ctx, j, j.source.Revision)
	}
	commit, err := hgIdentify(ctx, j, "default")
	if err != nil && ctx.Err() == nil { // perhaps there is no such branch
		_, err = hgIdentify(ctx, j, "tip")
	}
	return commit, err
}

func hgFetch(ctx context.Context, j *job) (string, error) {
	if err := hgInit(ctx, j); err != nil {
		return "", err
	}
	update := []string{"update", "-q"}
	if j.source.Revision != "" { // asked there, as bookmarks do not come along
		commit, err := hgIdentify(ctx, j, j.source.Revision)
		if err != nil {
			return "", err
		}
		update = append(update, "-r", commit)
	}
	if _, err := j.run(ctx, "pull", "-q", "--", j.url); err != nil {
		return "", err
	}
	if _, err := j.run(ctx, update...); err != nil {
		return "", err
	}
	commit, err := j.run(ctx, "log", "-r", ".", "-T", "{node}")
	if err == nil && strings.Trim(commit, "0") == "" {
		err = errEmpty
	}
	if err != nil {
		return "", err
	}
	return commit, os.WriteFile(filepath.Join(j.tree, ".hg", "hgrc"), []byte("[paths]\ndefault = "+j.url+"\n"), 0o600)
}
