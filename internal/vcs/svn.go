package vcs

import (
	"context"
	"errors"

	"curdling/internal/lazyregexp"
)

var svn = system{
	title:   "Subversion",
	schemes: "http https svn svn+ssh file",
	commit:  svnCommit,
	prepare: svnPrepare, resolve: svnResolve, fetch: svnFetch,
}

var svnCommit = lazyregexp.New(`^(0|[1-9][0-9]*)$`)

func svnPrepare(j *job) error {
	j.global = []string{"--non-interactive", "--no-auth-cache"}
	if j.source.Revision == "" {
		j.source.Revision = "HEAD"
	}
	j.url += "@" // no other "@" of the URL names a revision
	if j.user != "" {
		j.global = append(j.global, "--username="+j.user)
	}
	if j.hasPassword {
		j.global, j.stdin = append(j.global, "--password-from-stdin"), j.password
	}
	return nil
}

func svnResolve(ctx context.Context, j *job) (string, error) {
	if svnCommit.MatchString(j.source.Revision) {
		return j.source.Revision, nil
	}
	return j.run(ctx, "info", "--show-item=revision", "-r", j.source.Revision, "--", j.url)
}

func svnFetch(ctx context.Context, j *job) (string, error) {
	args := []string{"checkout", "-q", "-r", j.source.Revision}
	strangers := j.user == "" && !j.hasPassword // those who may be asked
	if !strangers {
		args = append(args, "--ignore-externals")
	}
	if _, err := j.run(ctx, append(args, "--", j.url, "tree")...); err != nil {
		return "", err
	}
	j.global, j.stdin = []string{"--non-interactive"}, ""
	if !strangers {
		externals, err := j.run(ctx, "propget", "-R", "svn:externals", "tree")
		if err != nil {
			return "", err
		}
		if externals != "" {
			return "", errors.New("the tree has svn:externals, whose servers could ask for the URL's password: leave user and password out of the URL, and let svn remember them")
		}
	}
	return j.run(ctx, "info", "--show-item=revision", "tree")
}
