package vcs

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"curdling/internal/lazyregexp"
)

var git = system{
	title:   "Git",
	schemes: "http https ssh git file",
	commit:  gitCommit,
	prepare: gitPrepare, resolve: gitResolve, fetch: gitFetch,
}

var gitCommit = lazyregexp.New(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// credentialHelper answers git, which runs it by sh, with the credentials in
// the variables.
const credentialHelper = `!f() { test "$1" = get && printf 'username=%s\npassword=%s\n' "$CURDLING_USER" "$CURDLING_PASSWORD"; }; f`

func gitPrepare(j *job) error {
	set := func(settings ...string) {
		for _, setting := range settings {
			j.global = append(j.global, "-c", setting)
		}
	}
	set("core.hooksPath=/dev/null", "init.templateDir=", // neither hooks nor
		"gc.auto=0", "maintenance.auto=false", "core.fsmonitor=false") // what runs on behind our back
	j.env = append(j.env, "GIT_TERMINAL_PROMPT=0", "GCM_INTERACTIVE=never", "GIT_CEILING_DIRECTORIES="+filepath.Dir(j.work))
	j.allow("http", "https", "ssh", "git", "file")
	switch {
	case j.hasPassword:
		// The empty one drops the user's helpers, so that none of them stores these.
		set("credential."+j.base()+".helper=", "credential."+j.base()+".helper="+credentialHelper)
	case j.user != "": // maybe a helper of the user's knows the password
		n, _ := strconv.Atoi(os.Getenv("GIT_CONFIG_COUNT"))
		i := strconv.Itoa(n)
		j.env = append(j.env, "GIT_CONFIG_COUNT="+strconv.Itoa(n+1),
			"GIT_CONFIG_KEY_"+i+"=credential."+j.base()+".username", "GIT_CONFIG_VALUE_"+i+"="+j.user)
	}
	return nil
}

// allow lets git use these transports, where the user does.
func (j *job) allow(protocols ...string) {
	if theirs, ok := os.LookupEnv("GIT_ALLOW_PROTOCOL"); ok {
		protocols = slices.DeleteFunc(protocols, func(p string) bool { return !slices.Contains(strings.Split(theirs, ":"), p) })
	}
	j.env = append(j.env, "GIT_ALLOW_PROTOCOL="+strings.Join(protocols, ":"))
}

// fullCommit gives git's revision in lower case if it is a commit in full.
func fullCommit(revision string) (string, bool) {
	revision = strings.ToLower(revision)
	return revision, gitCommit.MatchString(revision)
}

func gitResolve(ctx context.Context, j *job) (string, error) {
	revision := j.source.Revision
	if commit, ok := fullCommit(revision); ok {
		return commit, nil
	}
	names := []string{"refs/heads/" + revision, "refs/tags/" + revision + "^{}", "refs/tags/" + revision}
	switch {
	case revision == "" || revision == "HEAD":
		names = []string{"HEAD"}
	case strings.HasPrefix(revision, "refs/"):
		names = append(names, revision+"^{}", revision)
	}
	out, err := j.run(ctx, slices.Concat([]string{"ls-remote", "-q", "--", j.url}, names)...)
	if err != nil {
		return "", err
	}
	refs := parseRefs(out)
	for _, name := range names {
		if commit := refs[name]; commit != "" {
			return commit, nil
		}
	}
	if revision == "" {
		return "", errEmpty
	}
	return "", nil
}

// parseRefs reads what git ls-remote prints: commits by the name of their ref,
// that of a tag's object and "^{}" for the commit that the tag is of.
func parseRefs(out string) map[string]string {
	refs := map[string]string{}
	for line := range strings.Lines(out) {
		if commit, name, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "\t"); ok {
			refs[name] = commit
		}
	}
	return refs
}

func gitFetch(ctx context.Context, j *job) (string, error) {
	_, err := j.run(ctx, "clone", "-q", "--no-checkout", "--filter=blob:none", "--origin=origin", "--", j.url, j.tree)
	if err != nil {
		return "", err
	}
	j.dir = j.tree
	commit, branch, err := gitFind(ctx, j)
	if err != nil {
		return "", err
	}
	switch {
	case j.source.Revision == "":
		_, err = j.run(ctx, "reset", "-q", "--hard")
	case branch != "":
		_, err = j.run(ctx, "checkout", "-q", "-B", branch, "--track", "refs/remotes/origin/"+branch)
	default:
		_, err = j.run(ctx, "checkout", "-q", "--detach", commit, "--")
	}
	if err != nil {
		return "", err
	}
	if _, err := os.Lstat(filepath.Join(j.tree, ".gitmodules")); err != nil {
		return commit, nil
	}
	if j.scheme != "file" {
		j.allow("http", "https", "ssh", "git")
	}
	_, err = j.run(ctx, "submodule", "-q", "update", "--init", "--recursive")
	return commit, err
}

// gitFind finds the commit of the revision in a fresh clone, and the branch if
// it is one's name.
func gitFind(ctx context.Context, j *job) (commit, branch string, err error) {
	commitOf := func(revision string) (string, error) {
		return j.run(ctx, "rev-parse", "-q", "--verify", revision+"^{commit}")
	}
	has := func(ref string) bool {
		_, err := j.run(ctx, "show-ref", "-q", "--verify", ref)
		return err == nil
	}
	revision := j.source.Revision
	full, isFull := fullCommit(revision)
	switch {
	case revision == "" || revision == "HEAD":
		if commit, err = commitOf("HEAD"); err != nil && ctx.Err() == nil {
			err = errEmpty
		}
		return commit, "", err
	case isFull:
		revision = full
	case has("refs/remotes/origin/" + revision):
		commit, err = commitOf("refs/remotes/origin/" + revision)
		return commit, revision, err
	case has("refs/tags/" + revision):
		commit, err = commitOf("refs/tags/" + revision)
		return commit, "", err
	}
	if commit, err = commitOf(revision); err == nil || ctx.Err() != nil {
		return commit, "", err
	}
	if !isFull && !strings.HasPrefix(revision, "refs/") {
		return "", "", j.noRevision()
	}
	if _, err = j.run(ctx, "fetch", "-q", "--", "origin", revision); err == nil {
		commit, err = commitOf("FETCH_HEAD")
	}
	return commit, "", err
}
