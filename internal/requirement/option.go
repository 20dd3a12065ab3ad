package requirement

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"curdling/internal/dist"
)

// option is an option of a requirements file by its long name, with its value.
type option struct{ name, value string }

// shortOptions maps the short spellings to the long ones.
var shortOptions = map[string]string{
	"-r": "--requirement", "-c": "--constraint", "-i": "--index-url",
	"-e": "--editable", "-f": "--find-links", "-C": "--config-settings",
}

// longOptions tells of each option whether a value belongs to it.
var longOptions = map[string]bool{
	"--requirement": true, "--constraint": true, "--editable": true,
	"--index-url": true, "--pypi-url": true, "--extra-index-url": true, "--find-links": true, "--no-index": false,
	"--no-binary": true, "--only-binary": true, "--prefer-binary": false,
	"--pre": false, "--all-releases": true, "--only-final": true,
	"--require-hashes": false, "--no-require-hashes": false, "--hash": true,
	"--trusted-host": true, "--use-feature": true, "--config-settings": true,
}

// findOption gives the long name of an option that is spelled short, long, or
// long and cut off where that is clear.
func findOption(spelling string) (string, error) {
	if long, ok := shortOptions[spelling]; ok {
		return long, nil
	}
	if _, ok := longOptions[spelling]; ok {
		return spelling, nil
	}
	var found []string
	for long := range maps.Keys(longOptions) {
		if len(spelling) > len("--") && strings.HasPrefix(long, spelling) {
			found = append(found, long)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		slices.Sort(found)
		return "", fmt.Errorf("option %s may be %s", spelling, strings.Join(found, " or "))
	case spelling == "--global-option", spelling == "--install-option", spelling == "--build-option":
		return "", fmt.Errorf("option %s is no more, as setup.py is not run; what the build backend is to know goes with --config-settings KEY=VALUE", spelling)
	}
	return "", fmt.Errorf("option %s is not supported in a requirements file", spelling)
}

// parseOptions reads "--name=value", "--name value", "-n value" and "-nvalue".
func parseOptions(words []string) ([]option, error) {
	var options []option
	for i := 0; i < len(words); i++ {
		spelling, value, hasValue := strings.Cut(words[i], "=")
		if short := words[i]; len(short) > 2 && short[0] == '-' && short[1] != '-' {
			spelling, value, hasValue = short[:2], short[2:], true
		}
		if len(spelling) < 2 || spelling[0] != '-' {
			return nil, fmt.Errorf("%q behind an option: give each option and each requirement its own line", hidePassword(words[i]))
		}
		name, err := findOption(spelling)
		if err != nil {
			return nil, err
		}
		switch takesValue := longOptions[name]; {
		case !takesValue && hasValue:
			return nil, fmt.Errorf("option %s takes no value", name)
		case takesValue && !hasValue:
			if i++; i == len(words) {
				return nil, fmt.Errorf("option %s needs a value", name)
			}
			value = words[i]
		}
		options = append(options, option{name, value})
	}
	return options, nil
}

// option takes in an option that stands for the whole file.
func (r *reader) option(at place, o option) error {
	f := &r.file
	switch o.name {
	case "--requirement", "--constraint":
		location, err := join(at.path, o.value)
		if err != nil {
			return fmt.Errorf("option %s: %w", o.name, err)
		}
		return r.read(location, at.constraint || o.name == "--constraint")
	case "--index-url", "--pypi-url":
		f.IndexURL = o.value
	case "--extra-index-url":
		f.ExtraIndexURLs = append(f.ExtraIndexURLs, o.value)
	case "--find-links":
		f.FindLinks = append(f.FindLinks, findLinks(at.path, o.value))
	case "--no-index":
		f.NoIndex = true
	case "--no-binary":
		return f.NoBinary.Add(o.value, &f.OnlyBinary)
	case "--only-binary":
		return f.OnlyBinary.Add(o.value, &f.NoBinary)
	case "--pre":
		f.Pre = true
	case "--all-releases":
		return f.AllReleases.Add(o.value, &f.OnlyFinal)
	case "--only-final":
		return f.OnlyFinal.Add(o.value, &f.AllReleases)
	case "--require-hashes":
		f.RequireHashes = true
	case "--no-require-hashes":
		f.NoRequireHashes = true
	case "--trusted-host":
		f.TrustedHosts = append(f.TrustedHosts, o.value)
	case "--prefer-binary":
		r.ignore(at, "--prefer-binary: the newest version is taken; --only-binary NAME asks for wheels alone")
	case "--use-feature":
		r.ignore(at, fmt.Sprintf("--use-feature %.50s: pip's own", o.value))
	default: // --hash, --config-settings, --editable
		return fmt.Errorf("option %s: no requirement stands in front of it", o.name)
	}
	return nil
}

func (r *reader) ignore(at place, why string) {
	r.file.Ignored = append(r.file.Ignored, fmt.Sprintf("%v: %s", at, why))
}

// findLinks gives a --find-links as pip understands it: a path that is there
// beside the file is meant so, and every other relative to the current folder.
func findLinks(file, value string) string {
	if isURL(value) || isURL(file) || filepath.IsAbs(value) {
		return value
	}
	beside := filepath.Join(filepath.Dir(file), value)
	if _, err := os.Stat(beside); err == nil {
		return beside
	}
	return value
}

// Names selects projects: all, or those of a list. The zero value selects none.
type Names struct {
	All bool
	Of  map[dist.Name]bool // may be nil
}

// Add takes in the value of an option such as --no-binary, as pip does: names
// with commas between them, ":all:", or ":none:", which takes back what is
// selected. What is added here is taken out of the opposite selection. A name
// of a list goes before the All of the opposite.
func (n *Names) Add(value string, opposite *Names) error {
	words := strings.Split(value, ",")
	for i := range words {
		words[i] = strings.TrimSpace(words[i])
	}
	lastNone := len(words) - 1
	for lastNone >= 0 && words[lastNone] != ":none:" {
		lastNone--
	}
	all := false // stands in value
	for i, word := range words {
		switch {
		case word == ":all:":
			all, *n, *opposite = true, Names{All: true}, Names{}
		case word == ":none:":
			*n = Names{}
		case all && i > lastNone: // :all: covers it
		default:
			name, err := dist.ParseName(word)
			if err != nil {
				return err
			}
			if n.Of == nil {
				n.Of = map[dist.Name]bool{}
			}
			n.Of[name] = true
			delete(opposite.Of, name)
		}
	}
	return nil
}

// splitOptions cuts a line before its first word that begins with "-". The
// requirement in front is not split into words: markers have quotes of their own.
func splitOptions(line string) (requirement, options string) {
	if strings.HasPrefix(line, "-") {
		return "", line
	}
	if i := strings.Index(line, " -"); i >= 0 {
		return strings.TrimSpace(line[:i]), line[i+1:]
	}
	return line, ""
}

// cutMarker cuts "; marker" out of options: "-e ./dir ; marker --config-settings a=b".
func cutMarker(options string) (rest, marker string) {
	before, after, found := strings.Cut(options, " ;")
	if _, err := split(before); !found || err != nil { // within quotes
		return options, ""
	}
	marker, after = splitOptions(strings.TrimSpace(after))
	return before + " " + after, marker
}

// split splits options into words as a POSIX shell does.
func split(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord := false
	for s != "" {
		c := s[0]
		s = s[1:]
		switch c {
		case ' ', '\t':
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
			continue
		case '\'':
			text, rest, ok := strings.Cut(s, `'`)
			if !ok {
				return nil, errors.New("a quote does not end")
			}
			word.WriteString(text)
			s = rest
		case '"':
			var err error
			if s, err = doubleQuoted(s, &word); err != nil {
				return nil, err
			}
		case '\\':
			if s == "" {
				return nil, errors.New("a backslash ends the line")
			}
			word.WriteByte(s[0])
			s = s[1:]
		default:
			word.WriteByte(c)
		}
		inWord = true
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// doubleQuoted writes to word what stands before the closing quote, and gives the rest.
func doubleQuoted(s string, word *strings.Builder) (rest string, err error) {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return s[i+1:], nil
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
		}
		word.WriteByte(s[i])
	}
	return "", errors.New("a quote does not end")
}
