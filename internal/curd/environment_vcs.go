package curd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"curdling/internal/lazyregexp"
)

// A vcsProgram is a system that is asked by its own program, as pip asks it.
type vcsProgram struct {
	command, title string
	root           []string // asks for the repository's top folder; nil: it is where marker lies
	marker         string   // lies in a repository's top folder
	remote, commit func(context.Context, workingCopy) (string, error)
}

// vcsPrograms are asked in this order; of two that know a folder equally well, the later counts.
var vcsPrograms = []*vcsProgram{
	{command: "bzr", title: "Bazaar", marker: ".bzr", remote: bzrRemote, commit: bzrCommit},
	{command: "git", title: "Git", marker: ".git", root: []string{"rev-parse", "--show-toplevel"}, remote: gitRemote, commit: gitCommit},
	{command: "hg", title: "Mercurial", marker: ".hg", root: []string{"root"}, remote: hgRemote, commit: hgCommit},
	{command: "svn", title: "Subversion", marker: ".svn", remote: svnRemote, commit: svnCommit},
}

// A workingCopy is a project's folder under version control.
type workingCopy struct {
	*vcsProgram
	folder string // the project's
	top    string // the repository's
}

// remoteError tells that a repository was cloned from nowhere ("") or from what is no URL.
type remoteError struct{ url string }

func (e *remoteError) Error() string { return fmt.Sprintf("no remote repository at %q", e.url) }

// findWorkingCopy finds the innermost repository that holds the folder, nil where there is none.
func findWorkingCopy(ctx context.Context, folder string) *workingCopy {
	var best *workingCopy
	for _, v := range vcsPrograms {
		c := workingCopy{vcsProgram: v, folder: folder}
		c.top = upTo(folder, v.marker)
		if c.top == "" || c.top != folder && v.root == nil {
			continue
		}
		if c.top != folder {
			var err error
			if c.top, err = c.run(ctx, v.root...); err != nil {
				continue
			}
		}
		if best == nil || len(c.top) >= len(best.top) {
			best = &c
		}
	}
	return best
}

// run asks the program and gives what it printed, trimmed.
func (c workingCopy) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.command, args...)
	cmd.Dir = c.folder
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "GIT_DIR=") || strings.HasPrefix(v, "GIT_WORK_TREE=")
	})
	cmd.Env = append(cmd.Env, "HGPLAIN=1")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		said, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n")
		err = fmt.Errorf("%s %s: %w: %s", c.command, args[0], err, said)
	}
	return strings.TrimSpace(string(out)), err
}

// requirement gives "git+URL@commit#egg=name", with a subdirectory where the project lies in one.
func (c workingCopy) requirement(ctx context.Context, rawName string) (string, error) {
	remote, err := c.remote(ctx, c)
	if err != nil {
		return "", err
	}
	commit, err := c.commit(ctx, c)
	if err != nil {
		return "", err
	}
	if c.command == "git" || c.command == "svn" || !strings.HasPrefix(strings.ToLower(remote), c.command+":") {
		remote = c.command + "+" + remote
	}
	at := withoutSecrets(remote) + "@" + quotePath(commit) + "#egg=" + strings.ReplaceAll(rawName, "-", "_")
	if sub := c.subdirectory(ctx); sub != "" {
		at += "&subdirectory=" + sub
	}
	return at, nil
}

// subdirectory is the project's folder within the repository, "" for its top.
func (c workingCopy) subdirectory(ctx context.Context) string {
	if c.root == nil {
		return ""
	}
	top, err := c.run(ctx, c.root...)
	if err != nil {
		return ""
	}
	dir := projectRoot(c.folder)
	if dir == "" || realPath(dir) == realPath(top) {
		return ""
	}
	sub, err := filepath.Rel(realPath(top), realPath(dir))
	if err != nil {
		return ""
	}
	return sub
}

// projectRoot goes up to the folder that can be installed, "" where there is none.
func projectRoot(dir string) string { return upTo(dir, "pyproject.toml", "setup.py") }

// upTo gives the first of dir and the folders above it that holds one of the names, "" where none does.
func upTo(dir string, names ...string) string {
	for {
		for _, name := range names {
			if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
				return dir
			}
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

var (
	hasScheme = lazyregexp.New(`^[\pL\pN_]+://`)
	// scpForm is the short form of ssh URLs: git@host:path.
	scpForm = lazyregexp.New(`^([\pL\pN_]+@)?([^/:]+):([\pL\pN_][^:]*)$`)
)

func gitRemote(ctx context.Context, c workingCopy) (string, error) {
	out, err := c.run(ctx, "config", "--get-regexp", `remote\..*\.url`)
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) { // 1: no such line
		return "", err
	}
	var remote string
	for line := range strings.Lines(out) {
		key, at, _ := strings.Cut(strings.TrimSpace(line), " ")
		if remote == "" || key == "remote.origin.url" {
			remote = at
		}
	}
	if remote == "" {
		return "", &remoteError{}
	}
	if hasScheme.MatchString(remote) {
		return remote, nil
	}
	if _, err := os.Stat(remote); err == nil && filepath.IsAbs(remote) {
		return urlOfPath(remote), nil
	}
	if m := scpForm.FindStringSubmatch(remote); m != nil {
		return "ssh://" + m[1] + m[2] + "/" + m[3], nil
	}
	return "", &remoteError{remote}
}

func gitCommit(ctx context.Context, c workingCopy) (string, error) {
	return c.run(ctx, "rev-parse", "HEAD")
}

func hgRemote(ctx context.Context, c workingCopy) (string, error) {
	remote, err := c.run(ctx, "showconfig", "paths.default")
	if filepath.IsAbs(remote) {
		remote = urlOfPath(remote)
	}
	return remote, err
}

func hgCommit(ctx context.Context, c workingCopy) (string, error) {
	return c.run(ctx, "parents", "--template={node}")
}

var (
	svnURL      = lazyregexp.New(`<url>(.*)</url>`)
	svnRevision = lazyregexp.New(`\srevision="(\d+)"`)
)

func svnRemote(ctx context.Context, c workingCopy) (string, error) {
	dir := projectRoot(c.folder)
	if dir == "" {
		return "", &remoteError{}
	}
	out, err := c.run(ctx, "info", "--xml", dir)
	if m := svnURL.FindStringSubmatch(out); err == nil && m != nil {
		return m[1], nil
	}
	if err == nil || !errors.Is(err, exec.ErrNotFound) {
		err = &remoteError{}
	}
	return "", err
}

func svnCommit(ctx context.Context, c workingCopy) (string, error) {
	out, err := c.run(ctx, "info", "--xml", c.folder)
	newest := 0
	for _, m := range svnRevision.FindAllStringSubmatch(out, -1) {
		n, _ := strconv.Atoi(m[1])
		newest = max(newest, n)
	}
	return strconv.Itoa(newest), err
}

func bzrRemote(ctx context.Context, c workingCopy) (string, error) {
	out, err := c.run(ctx, "info")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		for _, label := range []string{"checkout of branch: ", "parent branch: "} {
			if remote, ok := strings.CutPrefix(line, label); ok && filepath.IsAbs(remote) {
				return urlOfPath(remote), nil
			} else if ok {
				return remote, nil
			}
		}
	}
	return "", &remoteError{}
}

func bzrCommit(ctx context.Context, c workingCopy) (string, error) {
	out, err := c.run(ctx, "revno")
	lines := strings.Split(out, "\n")
	return strings.TrimSpace(lines[len(lines)-1]), err
}

func urlOfPath(path string) string { return "file://" + quotePath(filepath.ToSlash(path)) }

// quotePath writes a path as Python's urllib.parse.quote does.
func quotePath(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		parts[i] = strings.ReplaceAll(url.QueryEscape(part), "+", "%20")
	}
	return strings.Join(parts, "/")
}
