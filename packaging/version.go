package main

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
)

// untagged is the version that commits come after for as long as there is no tag.
const untagged = "v0.0"

var (
	described  = regexp.MustCompile(`^v(.+)-(\d+)-g([0-9a-f]+)(-dirty)?$`)
	lastNumber = regexp.MustCompile(`\d+$`)
)

// gitVersion is the version of the checkout.
func gitVersion(ctx context.Context) (string, error) {
	if text, err := output(ctx, "git", "describe", "--tags", "--long", "--dirty", "--match", "v[0-9]*"); err == nil {
		return pep440(text)
	}
	count, err := output(ctx, "git", "rev-list", "--count", "HEAD")
	if err != nil {
		return "", err
	}
	commit, err := output(ctx, "git", "describe", "--always", "--dirty", "--exclude", "*")
	if err != nil {
		return "", err
	}
	return pep440(untagged + "-" + count + "-g" + commit)
}

// pep440 turns what `git describe --long` says into a version. What is tagged
// has its tag's. What comes after it is a development version of the next one,
// with the commit as local version: an index for everybody, which takes
// no local versions, thus gets none but tagged ones.
func pep440(description string) (string, error) {
	m := described.FindStringSubmatch(description)
	if m == nil {
		return "", fmt.Errorf("git describes this as %s, which is no version", description)
	}
	tag, distance, commit, dirty := m[1], m[2], m[3], m[4] != ""
	if distance == "0" && !dirty {
		return tag, nil
	}
	next := lastNumber.ReplaceAllStringFunc(tag, func(n string) string {
		i, _ := strconv.Atoi(n) // digits; one too long gives a version that is wrong, not one that is harmful
		return strconv.Itoa(i + 1)
	})
	v := next + ".dev" + distance + "+g" + commit
	if dirty {
		v += ".dirty"
	}
	return v, nil
}
