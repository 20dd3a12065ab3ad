package curd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"curdling/internal/dist"
	"curdling/internal/vcs"
)

// Freeze gives the lines of a requirements file that installs what is there, in
// pip's order and form. all adds what pip leaves out: itself and, below Python
// 3.12, setuptools, distribute and wheel.
//
// It differs from pip's in that no URL has a password in it.
func (e *Environment) Freeze(ctx context.Context, all bool) ([]string, error) {
	chosen := slices.DeleteFunc(slices.Clone(e.Distributions), func(d Distribution) bool {
		return d.InStandardLibrary() || !all && e.isTool(d.Name)
	})
	slices.SortStableFunc(chosen, func(a, b Distribution) int {
		return strings.Compare(strings.ToLower(a.RawName), strings.ToLower(b.RawName))
	})
	var lines []string
	for _, d := range chosen {
		of, err := e.freeze(ctx, d)
		if err != nil {
			return nil, err
		}
		lines = append(lines, of...)
	}
	return lines, nil
}

// InStandardLibrary tells of what a Python may have metadata for though nobody
// installed it; pip never lists it.
func (d Distribution) InStandardLibrary() bool {
	return slices.Contains([]dist.Name{"python", "wsgiref", "argparse"}, d.Name)
}

func (e *Environment) isTool(name dist.Name) bool {
	switch name {
	case "pip":
		return true
	case "setuptools", "distribute", "wheel":
		v := e.Python.Target.Version
		return v[0] == 3 && v[1] < 12
	}
	return false
}

// freeze gives one distribution's line, comments above it.
func (e *Environment) freeze(ctx context.Context, d Distribution) ([]string, error) {
	lines := []string{d.Spelled()}
	if d.Project != "" {
		lines = e.freezeEditable(ctx, d)
	} else if line := directReference(d); line != "" {
		lines = []string{line}
	}
	// A line break in a URL would make lines of its own in a requirements file.
	if slices.ContainsFunc(lines, func(line string) bool { return strings.ContainsFunc(line, unicode.IsControl) }) {
		e.warn("%s: where it came from is no URL and is left out", d.Spelled())
		lines = []string{d.Spelled()}
	}
	return lines, ctx.Err()
}

// freezeEditable names the repository that an editable project was checked out
// of, or else its folder, and in comments the reason.
func (e *Environment) freezeEditable(ctx context.Context, d Distribution) []string {
	here := "-e " + filepath.Clean(d.Project)
	c := findWorkingCopy(ctx, d.Project)
	if c == nil {
		return []string{fmt.Sprintf("# Editable install with no version control (%s)", d.Spelled()), here}
	}
	at, err := c.requirement(ctx, d.RawName)
	var remote *remoteError
	switch {
	case err == nil:
		return []string{"-e " + at}
	case errors.Is(err, exec.ErrNotFound):
		e.warn("%s: cannot tell which revision is installed: there is no command %q", d.Project, c.command)
		return []string{here}
	case !errors.As(err, &remote):
		e.warn("%s: cannot tell which revision is installed: %v", d.Project, err)
		return []string{"## !! Could not determine repository location", here}
	case remote.url == "":
		return []string{fmt.Sprintf("# Editable %s install with no remote (%s)", c.title, d.Spelled()), here}
	}
	return []string{
		fmt.Sprintf("# Editable %s install (%s) with either a deleted local remote or invalid URI:", c.title, d.Spelled()),
		fmt.Sprintf("# '%s'", withoutSecrets(remote.url)),
		here,
	}
}

// directReference gives "name @ URL" (PEP 440, 508, 610) for what came by a URL, "" for the rest.
func directReference(d Distribution) string {
	u := d.DirectURL
	if u == nil || u.VCS == nil && u.Archive == nil && u.Dir == nil {
		return ""
	}
	at := withoutSecrets(u.URL)
	var fragments []string
	if u.VCS != nil {
		at = u.VCS.VCS + "+" + at + "@" + u.VCS.CommitID
	} else if u.Archive != nil {
		if hash := archiveHash(d); hash != "" {
			fragments = append(fragments, hash)
		}
	}
	if u.Subdirectory != "" {
		fragments = append(fragments, "subdirectory="+u.Subdirectory)
	}
	if len(fragments) > 0 {
		at += "#" + strings.Join(fragments, "&")
	}
	return d.RawName + " @ " + at
}

// archiveHash gives "sha256=..." of an archive. Old tools wrote it under the key "hash" alone.
func archiveHash(d Distribution) string {
	if hashes := d.DirectURL.Archive.Hashes; len(hashes) > 0 {
		algorithm := slices.Min(slices.Collect(maps.Keys(hashes)))
		return algorithm + "=" + hashes[algorithm]
	}
	var old struct {
		Archive struct{ Hash string } `json:"archive_info"`
	}
	b, err := os.ReadFile(filepath.Join(d.DistInfo, "direct_url.json"))
	if err != nil || json.Unmarshal(b, &old) != nil || !strings.Contains(old.Archive.Hash, "=") {
		return ""
	}
	return old.Archive.Hash
}

// withoutSecrets takes credentials out of a URL, except what is no secret: the
// user git, the name alone of a user of ssh, names of variables.
func withoutSecrets(raw string) string {
	scheme, who, rest := vcs.CutUser(raw)
	user, _, _ := strings.Cut(who, ":")
	switch {
	case vcs.IsPublic(who):
		return raw
	case user != "" && strings.HasSuffix(scheme, "ssh://"):
		return scheme + user + "@" + rest
	}
	return scheme + rest
}
