package record

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"curdling/internal/dist"
)

// Differences tells in sentences without an end what about a build is another than about an earlier one
// of the same project and version, the weightiest first: "setuptools 80.9.0 became 81.0.0".
func Differences(earlier, later *Record) (all []string) {
	became := func(what, a, b string) {
		switch {
		case a == b:
		case a == "":
			all = append(all, fmt.Sprintf("%s is %s now", what, b))
		case b == "":
			all = append(all, fmt.Sprintf("%s was %s", what, a))
		default:
			all = append(all, fmt.Sprintf("%s %s became %s", what, a, b))
		}
	}
	if earlier.From != later.From {
		became("the source", source(earlier.From), source(later.From))
	}
	became("Python", earlier.On.Tag, later.On.Tag)
	if earlier.On.Tag == later.On.Tag {
		became("Python", earlier.On.Python, later.On.Python)
	}
	became("the platform", earlier.On.Platform, later.On.Platform)
	for _, name := range keys(earlier.With.Variables, later.With.Variables) {
		became(name, earlier.With.Variables[name], later.With.Variables[name])
	}
	for _, name := range keys(earlier.With.Settings, later.With.Settings) {
		became("the setting "+name, strings.Join(earlier.With.Settings[name], " "), strings.Join(later.With.Settings[name], " "))
	}
	a, b := versions(earlier), versions(later)
	for _, name := range keys(a, b) {
		became(string(name), a[name], b[name])
	}
	became("the backend", earlier.With.Backend, later.With.Backend)
	became("the C library", earlier.On.Libc, later.On.Libc)
	became("the compiler", strings.Join(earlier.On.Compilers, ", "), strings.Join(later.On.Compilers, ", "))
	became("the instruction set", strings.Join(earlier.On.Flags, " "), strings.Join(later.On.Flags, " "))
	return all
}

// source names a source for people.
func source(f From) string {
	switch {
	case f.Commit != "":
		return fmt.Sprintf("%.12s", f.Commit)
	case f.Filename != "":
		return fmt.Sprintf("%s (sha256 %.12s)", f.Filename, f.SHA256)
	}
	return fmt.Sprintf("sha256 %.12s", f.SHA256)
}

func versions(r *Record) map[dist.Name]string {
	all := make(map[dist.Name]string)
	for _, d := range r.With.Requires {
		all[d.Name] = d.Version
	}
	return all
}

func keys[K ~string, V any](a, b map[K]V) []K {
	all := slices.Concat(slices.Collect(maps.Keys(a)), slices.Collect(maps.Keys(b)))
	slices.Sort(all)
	return slices.Compact(all)
}
