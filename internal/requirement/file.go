package requirement

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"curdling/internal/lazyregexp"
)

const (
	maxFileSize = 16 << 20 // bytes of one requirements file
	maxFiles    = 1000     // that one file may include, directly or not
	maxLines    = 100_000  // requirements and constraints, in all of these
)

// File is what a requirements file asks for, nested -r and -c files included.
type File struct {
	Requirements []Line // to install
	Constraints  []Line // from -c FILE: each has a Name, and none has extras or is editable

	IndexURL       string   // of the last -i; "" where there is none; may hold credentials
	ExtraIndexURLs []string // of every --extra-index-url; may hold credentials
	NoIndex        bool     // --no-index, which empties the two above
	FindLinks      []string // of every -f: paths (those that are there beside their file are meant so), and URLs, which may hold credentials
	TrustedHosts   []string // of every --trusted-host: "host" or "host:port"

	NoBinary, OnlyBinary   Names
	AllReleases, OnlyFinal Names // whose prereleases are welcome, and whose are not
	Pre                    bool  // --pre

	// Where RequireHashes is set, or one of Requirements has hashes and
	// NoRequireHashes is not set, all that is installed must have one.
	RequireHashes, NoRequireHashes bool

	// Ignored are the options that were read and have no effect, each with its
	// place and the reason, to be shown as warnings.
	Ignored []string
}

// Line is what a requirements file or an argument asks for.
type Line struct {
	// Requirement has the Name, where that is known (ParseArgument), extras and
	// marker. URL is set where the line has a URL, with all its parts.
	Requirement
	Source   Source
	Editable bool     // -e: a Directory or a Repository
	Hashes   []string // "sha256:..." from --hash: sha256, sha384 or sha512, in lower case; any of them will do
	// ConfigSettings are those of --config-settings KEY=VALUE for the build
	// backend; a key may have several values, in their order.
	ConfigSettings map[string][]string
	Where          string // "requirements.txt:12"
}

// String prints the line without options behind it; passwords are shown as ****.
// ParseArgument reads it again, after "-e ".
func (l Line) String() string {
	text := l.Requirement.String()
	if l.Source.Kind != Named && (l.Name == "" || l.URL == "" || strings.ContainsFunc(l.URL, unicode.IsSpace) || strings.Contains(l.URL, ";")) {
		text = cmp.Or(hidePassword(l.URL), l.Source.Path) + Requirement{Extras: l.Extras, Marker: l.Marker}.String()
	}
	if l.Editable {
		return "-e " + text
	}
	return text
}

// ReadFile reads a requirements file in pip's format (that of pip 26.3) and the
// files it includes. path may be an http or https URL, a file: URL, or "-" for
// standard input. open opens what path and -r and -c name: a path relative to
// the current folder, a URL, or "-". A URL may hold credentials, which open's
// errors must not show.
//
// A line is a requirement (ParseArgument) with --hash and --config-settings
// behind it, or -e and what is editable, with --config-settings behind it, or
// options alone: those of File and
//
//	-r, --requirement FILE    -c, --constraint FILE
//
// FILE being relative to the file that names it; other paths are relative to
// the current folder, save for -f (File.FindLinks). Options may be cut off
// where that is clear. Comments, lines that a backslash continues, and
// ${VARIABLES} of the environment are as for pip: upper case, and one that is
// not set stays as it stands. The encoding is that of a byte order mark, else
// the declared one (PEP 263), else UTF-8, else Latin-1.
//
// Errors name file and line, and how the file came to be included. --prefer-binary
// and --use-feature have no effect (File.Ignored). Unlike pip:
//   - -r within a constraints file gives constraints (as for uv);
//   - --extra-index-url counts though an -i follows;
//   - all options of a line count, not the first file and the first -f alone;
//   - "-e PATH ; MARKER" heeds the marker (as for uv);
//   - what pip passes over in silence is an error: words and most options
//     behind an option or a requirement, --hash behind -e or nothing. The
//     four that fill Names are taken in wherever they stand, as by pip;
//   - a file that came by http or https includes no local one.
//
// Limits: 16 MiB a file, 1000 files, 100,000 requirements.
func ReadFile(path string, open func(string) (io.ReadCloser, error)) (File, error) {
	r := reader{open: open}
	if fileURL.MatchString(path) {
		var err error
		if path, err = PathOfURL(path); err != nil {
			return File{}, fmt.Errorf("requirements file: %w", err)
		}
	}
	if err := r.read(path, false); err != nil {
		return r.file, err
	}
	if r.file.NoIndex {
		r.file.IndexURL, r.file.ExtraIndexURLs = "", nil
	}
	if r.file.RequireHashes && r.file.NoRequireHashes {
		return r.file, fmt.Errorf("requirements file %s: --require-hashes and --no-require-hashes contradict each other", hidePassword(path))
	}
	return r.file, nil
}

// reader collects what a file and those it includes ask for.
type reader struct {
	open  func(string) (io.ReadCloser, error)
	file  File
	count int
	stack []string // the files being read, the innermost last
}

// place is where a line stands.
type place struct {
	path       string
	line       int
	constraint bool // the file was included by -c
}

func (p place) String() string { return fmt.Sprintf("%s:%d", hidePassword(p.path), p.line) }

func (r *reader) read(path string, constraint bool) error {
	if r.count++; r.count > maxFiles {
		return fmt.Errorf("more than %d requirements files include each other", maxFiles)
	}
	if slices.Contains(r.stack, path) {
		return fmt.Errorf("requirements file %s includes itself", hidePassword(path))
	}
	text, err := r.load(path)
	if err != nil {
		return fmt.Errorf("requirements file: %w", err)
	}
	r.stack = append(r.stack, path)
	for number, line := range logicalLines(text) {
		at := place{path, number, constraint}
		if err := r.line(at, expand(line)); err != nil {
			return fmt.Errorf("%v: %w", at, unexpanded(err, line))
		}
	}
	r.stack = r.stack[:len(r.stack)-1]
	return nil
}

func (r *reader) load(path string) (string, error) {
	f, err := r.open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFileSize+1))
	if err == nil && len(b) > maxFileSize {
		err = fmt.Errorf("longer than %d bytes", maxFileSize)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", hidePassword(path), err)
	}
	text, err := decode(b)
	if err != nil {
		return "", fmt.Errorf("%s %w", hidePassword(path), err)
	}
	return text, nil
}

// join gives the path or URL of a file that the file at base includes.
func join(base, ref string) (string, error) {
	switch {
	case ref == "-":
		return "", errors.New(`"-" is standard input on the command line alone`)
	case archiveURL.MatchString(ref):
		return ref, nil
	case archiveURL.MatchString(base):
		if fileURL.MatchString(ref) {
			return "", errors.New("a file that came from the network must not include a local one")
		}
		u, err := url.Parse(base)
		if err == nil {
			u, err = u.Parse(ref)
		}
		if err != nil {
			return "", fmt.Errorf("%.200q is not a URL", hidePassword(ref))
		}
		if u.Scheme != "http" && u.Scheme != "https" {
			return "", fmt.Errorf("%.200q: only http and https are possible", hidePassword(ref))
		}
		return u.String(), nil
	case fileURL.MatchString(ref):
		return PathOfURL(ref)
	case filepath.IsAbs(ref):
		return ref, nil
	}
	return filepath.Join(filepath.Dir(base), ref), nil
}

// space is that of Python's str.isspace, for a regular expression and for trimming.
const space = "\t\n\v\f\r\x1c-\x1f \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"

// comment is what a comment looks like: "#" alone would cut URLs with fragments.
var comment = lazyregexp.New(`(^|[` + space + `]+)#.*$`)

// newlines are what Python's str.splitlines splits at.
var newlines = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\v", "\n", "\f", "\n",
	"\x1c", "\n", "\x1d", "\n", "\x1e", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n")

// logicalLines gives the lines that say something, with the number of their
// first physical line: continued ones joined, without comments and the space around.
func logicalLines(text string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		var continued []string
		for i, line := range strings.Split(newlines.Replace(text)+"\n", "\n") {
			isComment := strings.HasPrefix(strings.TrimSpace(line), "#")
			if strings.HasSuffix(line, `\`) && !isComment {
				continued = append(continued, strings.Trim(line, `\`))
				continue
			}
			if isComment {
				line = " " + line // so that it does not grow onto what it follows
			}
			number := i + 1 - len(continued)
			line = strings.Join(append(continued, line), "")
			continued = nil
			line = strings.TrimSpace(comment.ReplaceAllString(line, ""))
			if line != "" && !yield(number, line) {
				return
			}
		}
	}
}

var variable = lazyregexp.New(`\$\{[A-Z0-9_]+\}`)

// expand replaces the variables of the environment that are set to something.
func expand(line string) string {
	return variable.ReplaceAllStringFunc(line, func(s string) string {
		return cmp.Or(os.Getenv(s[2:len(s)-1]), s)
	})
}

// unexpanded puts the variables of a line back into an error that quotes it: their values may be secret.
func unexpanded(err error, line string) error {
	text := err.Error()
	for _, name := range variable.FindAllString(line, -1) {
		value := os.Getenv(name[2 : len(name)-1])
		if value == "" {
			continue
		}
		quoted := strconv.Quote(value)
		text = strings.NewReplacer(value, name, quoted[1:len(quoted)-1], name, strings.ToLower(value), name).Replace(text)
	}
	if text == err.Error() {
		return err
	}
	return errors.New(text)
}

// line takes in one logical line: a requirement with options behind it, or options alone.
func (r *reader) line(at place, line string) error {
	text, optionText := splitOptions(line)
	optionText, marker := cutMarker(optionText)
	words, err := split(optionText)
	if err != nil {
		return err
	}
	options, err := parseOptions(words)
	if err != nil {
		return err
	}
	editable := slices.IndexFunc(options, func(o option) bool { return o.name == "--editable" })
	switch {
	case text == "" && editable >= 0:
		text = options[editable].value
		if marker != "" {
			text += " ; " + marker
		}
		return r.requirement(at, text, true, slices.Delete(options, editable, editable+1))
	case marker != "":
		return fmt.Errorf("the marker %.100q stands behind options; put it in front of them", marker)
	case text != "":
		return r.requirement(at, text, false, options)
	}
	for _, o := range options {
		if err := r.option(at, o); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) requirement(at place, text string, editable bool, options []option) error {
	line, err := ParseArgument(text, editable)
	if err != nil {
		return err
	}
	line.Where = at.String()
	for _, o := range options {
		if err := r.behind(at, &line, o); err != nil {
			return err
		}
	}
	switch {
	case len(r.file.Requirements)+len(r.file.Constraints) == maxLines:
		return fmt.Errorf("more than %d requirements", maxLines)
	case !at.constraint:
		r.file.Requirements = append(r.file.Requirements, line)
	case editable, line.Name == "", len(line.Extras) > 0:
		return fmt.Errorf("constraint %s: must have a name, and neither extras nor -e", line)
	default:
		r.file.Constraints = append(r.file.Constraints, line)
	}
	return nil
}

// behind takes in an option behind a requirement.
func (r *reader) behind(at place, line *Line, o option) error {
	switch o.name {
	case "--hash":
		if line.Editable {
			return errors.New("option --hash: what is editable has no hash")
		}
		hash, err := checkHash(o.value)
		line.Hashes = append(line.Hashes, hash)
		return err
	case "--config-settings":
		key, value, ok := strings.Cut(o.value, "=")
		if !ok {
			return errors.New("option --config-settings needs KEY=VALUE")
		}
		if line.ConfigSettings == nil {
			line.ConfigSettings = map[string][]string{}
		}
		line.ConfigSettings[key] = append(line.ConfigSettings[key], value)
		return nil
	case "--no-binary", "--only-binary", "--all-releases", "--only-final":
		return r.option(at, o)
	}
	return fmt.Errorf("option %s is not possible behind a requirement", o.name)
}

// checkHash reads "sha256:..." (or sha384, sha512) and gives it in lower case.
func checkHash(s string) (string, error) {
	s = strings.ToLower(s)
	algorithm, digest, _ := strings.Cut(s, ":")
	size := map[string]int{"sha256": 32, "sha384": 48, "sha512": 64}[algorithm]
	if b, err := hex.DecodeString(digest); err != nil || size == 0 || len(b) != size {
		return "", fmt.Errorf("--hash %q: must be sha256:, sha384: or sha512: and the digest in hexadecimal", s)
	}
	return s, nil
}
