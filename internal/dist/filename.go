package dist

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"curdling/internal/tag"
	"curdling/internal/version"
)

const maxBuildDigits = 18

// sdistEndings are those that pip takes for a source distribution's. The
// standard of today (PEP 625) is .tar.gz alone.
var sdistEndings = []string{
	".tar.gz", ".zip", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".txz",
	".tar.lzma", ".tar.lz", ".tlz", ".tar",
}

// BuildTag is a wheel's optional build tag, ordered by number, then suffix. No
// tag sorts before every tag.
type BuildTag struct {
	Number int
	Suffix string
	Set    bool // there is a build tag
}

// Compare orders build tags: -1, 0 or +1.
func (b BuildTag) Compare(c BuildTag) int {
	if b.Set != c.Set {
		if c.Set {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(b.Number, c.Number), cmp.Compare(b.Suffix, c.Suffix))
}

// String is "" where there is no build tag.
func (b BuildTag) String() string {
	if !b.Set {
		return ""
	}
	return strconv.Itoa(b.Number) + b.Suffix
}

func parseBuildTag(s string) (BuildTag, error) {
	suffix := strings.TrimLeft(s, "0123456789")
	digits := s[:len(s)-len(suffix)]
	n, err := strconv.Atoi(digits)
	if err != nil || len(digits) > maxBuildDigits {
		return BuildTag{}, fmt.Errorf("build tag %q: must begin with 1 to %d digits", s, maxBuildDigits)
	}
	return BuildTag{Number: n, Suffix: suffix, Set: true}, nil
}

// ParseFilename reads what a file's name says: Name, Version, Kind, Filename,
// Build and Tags are set. It knows wheels (.whl) and source distributions
// (.tar.gz, .zip, and the other archives that pip takes: .tgz, .tar, and tar
// with bzip2, xz and lzma). Everything else is an error: eggs, installers,
// signatures.
//
// hint, where it is not "", is the project that the file is expected to belong
// to: a file of another project is an error, and in old sdist names hint
// settles where name and version part. "foo-bar-1.0-2.tar.gz" is 1.0.post2 of
// foo-bar to who expects foo-bar, and 2 of foo-bar-1-0 to who expects nothing.
func ParseFilename(filename string, hint Name) (File, error) {
	f, err := parseFilename(filename, hint)
	if err != nil {
		return File{}, fmt.Errorf("file name %q: %w", filename[:min(len(filename), maxName)], err)
	}
	f.Filename = filename
	return f, nil
}

func parseFilename(filename string, hint Name) (File, error) {
	if len(filename) > maxName {
		return File{}, fmt.Errorf("longer than %d bytes", maxName)
	}
	for i := range len(filename) {
		if c := filename[i]; !isAlnum(c) && strings.IndexByte("-_.+!", c) < 0 {
			return File{}, fmt.Errorf("must not contain %q", c)
		}
	}
	stem, ending := splitEnding(filename)
	switch {
	case ending == ".whl":
		return parseWheel(stem, hint)
	case slices.Contains(sdistEndings, ending):
		return parseSdist(stem, hint)
	}
	return File{}, errors.New("neither a wheel (.whl) nor a source distribution (.tar.gz, .zip)")
}

// splitEnding cuts a file name before its last dot, or before ".tar" in front of that.
func splitEnding(filename string) (stem, ending string) {
	cut := max(0, strings.LastIndexByte(filename, '.'))
	if tar := cut - len(".tar"); tar >= 0 && strings.EqualFold(filename[tar:cut], ".tar") {
		cut = tar
	}
	return filename[:cut], filename[cut:]
}

func parseWheel(stem string, hint Name) (File, error) {
	parts := strings.Split(stem, "-")
	if len(parts) != 5 && len(parts) != 6 {
		return File{}, errors.New("must be name-version[-build]-python-abi-platform.whl")
	}
	f := File{Kind: Wheel}
	var err error
	if strings.Contains(parts[0], "__") {
		return File{}, nameError(parts[0])
	}
	if f.Name, err = ParseName(parts[0]); err != nil {
		return File{}, err
	}
	if hint != "" && f.Name != hint {
		return File{}, fmt.Errorf("belongs to %s, not to %s", f.Name, hint)
	}
	if f.Version, err = version.Parse(parts[1]); err != nil {
		return File{}, err
	}
	if len(parts) == 6 {
		if f.Build, err = parseBuildTag(parts[2]); err != nil {
			return File{}, err
		}
	}
	f.Tags, err = tag.Parse(strings.Join(parts[len(parts)-3:], "-"))
	return f, err
}

func parseSdist(stem string, hint Name) (File, error) {
	dash := strings.LastIndexByte(stem, '-')
	if hint != "" {
		dash = nameEnd(stem, hint)
	}
	if dash < 0 {
		return File{}, fmt.Errorf("must be %s-version", cmp.Or(hint, "name"))
	}
	f := File{Kind: Sdist}
	var err error
	if f.Name, err = ParseName(stem[:dash]); err != nil {
		return File{}, err
	}
	f.Version, err = version.Parse(stem[dash+1:])
	return f, err
}

// nameEnd gives the first dash of stem before which stands the name, or -1.
func nameEnd(stem string, name Name) int {
	for i := range len(stem) {
		if stem[i] != '-' {
			continue
		}
		if n, err := ParseName(stem[:i]); err == nil && n == name {
			return i
		}
	}
	return -1
}

// WheelFilename builds a wheel's file name (PEP 427, with the sorted compressed
// tag sets of PEP 425). Such a set is a product: the name stands for every
// combination of the tags' parts.
func WheelFilename(n Name, v version.Version, b BuildTag, tags []tag.Tag) string {
	parts := []string{escape(n), v.String()}
	if b.Set {
		parts = append(parts, b.String())
	}
	parts = append(parts,
		compress(tags, func(t tag.Tag) string { return t.Python }),
		compress(tags, func(t tag.Tag) string { return t.ABI }),
		compress(tags, func(t tag.Tag) string { return t.Platform }))
	return strings.Join(parts, "-") + ".whl"
}

func escape(n Name) string { return strings.ReplaceAll(string(n), "-", "_") }

func compress(tags []tag.Tag, part func(tag.Tag) string) string {
	set := make([]string, len(tags))
	for i, t := range tags {
		set[i] = part(t)
	}
	slices.Sort(set)
	return strings.Join(slices.Compact(set), ".")
}
