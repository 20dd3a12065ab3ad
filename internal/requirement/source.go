package requirement

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"

	"curdling/internal/dist"
	"curdling/internal/lazyregexp"
	"curdling/internal/marker"
)

// Kind tells where a requirement is to be had.
type Kind uint8

// The kinds of sources. None of them says that something is there.
const (
	Named      Kind = iota // an index has it, by its name
	LocalFile              // a wheel or a source distribution on this machine
	Directory              // a project's folder on this machine
	Archive                // a wheel or a source distribution at a URL
	Repository             // a version control system has it
)

// Source is where a requirement is to be had.
type Source struct {
	Kind         Kind
	Path         string // LocalFile and Directory: in the system's form; a relative one begins at the current folder
	URL          string // Archive and Repository: without fragment, "git+" and revision; may hold credentials
	VCS          string // Repository: "git", "hg", "svn" or "bzr"
	Revision     string // Repository: a branch, tag or commit; "" where none is named
	Subdirectory string // where the project lies in it: slash-separated and never outside; "" is its top
	Hash         string // of the URL's fragment: "sha256:..."; sha512, sha384, sha224, sha1 and md5 also
}

// What URLs begin with; the schemes of repositories are pip's.
var (
	repositoryURL = lazyregexp.New(`^(?i)(git\+(?:https?|ssh|git|file)|hg\+(?:https?|ssh|static-http|file)|` +
		`svn\+(?:https?|ssh|svn|file)|bzr\+(?:https?|ssh|sftp|ftp|lp|file)):`)
	archiveURL    = lazyregexp.New(`^(?i)https?:`)
	fileURL       = lazyregexp.New(`^(?i)file:`)
	bareVCS       = lazyregexp.New(`^(?i)(git|hg|svn|bzr):`)
	otherURL      = lazyregexp.New(`^[a-zA-Z][a-zA-Z0-9+.-]+:/|^(?:git|hg|svn|bzr)\+`) // two letters at least: not a drive
	archiveEnding = lazyregexp.New(`(?i).\.(?:whl|zip|tar|tar\.gz|tgz|tar\.bz2|tbz|tar\.xz|txz|tar\.lz|tlz|tar\.lzma)$`)
)

func isURL(s string) bool {
	return repositoryURL.MatchString(s) || archiveURL.MatchString(s) || fileURL.MatchString(s)
}

// ParseArgument reads what pip takes for a requirement on the command line, and
// in a requirements file (Where is left empty):
//
//	flask[async]>=3 ; python_version >= "3.9"    PEP 508
//	flask @ URL                                  its URL may be a path, too
//	flask-3.0-py3-none-any.whl, ./a.zip[extra]   what ends as an archive does
//	../flask, .[test]                            folders: what holds a separator or begins with "."
//	https://example.com/a.zip#egg=flask
//	file:///home/me/flask
//	git+https://example.com/flask.git@main#egg=flask&subdirectory=src
//
// each with a marker behind ";". editable is -e: a folder (its name alone will
// do) or a repository whose project is named. What a path is, and that it is
// there, is for the caller to find out: only the spelling is judged.
//
// Name is "" where only the source itself knows it; it is known from "NAME @",
// from "#egg=" and from a wheel's file name. Unlike pip, "#egg=" may have
// extras (as for uv), percent escapes in "#subdirectory=" are decoded, a
// subdirectory must not leave its source, URLs are held against RFC 3986 and
// digests against their length, and hosts, users and revisions that begin with
// "-" are refused.
func ParseArgument(s string, editable bool) (Line, error) {
	if len(s) > maxLength {
		return Line{}, fmt.Errorf("requirement of %d bytes: longer than %d", len(s), maxLength)
	}
	line, err := parseLine(s, editable)
	if err != nil {
		return Line{}, fmt.Errorf("requirement %.200q: %w", hidePassword(s), err)
	}
	return line, nil
}

func parseLine(s string, editable bool) (line Line, err error) {
	s = strings.TrimLeftFunc(s, unicode.IsSpace)
	if editable && bareVCS.MatchString(s) {
		vcs, _, _ := strings.Cut(s, ":")
		s = vcs + "+" + s
	}
	separator := ";"
	if isURL(s) {
		separator = "; " // URLs may have semicolons
	}
	text, markerText, _ := strings.Cut(s, separator)
	text = strings.TrimSpace(text)
	line.Editable = editable
	switch {
	case isURL(text), otherURL.MatchString(text):
		line.URL = text
		err = line.reference()
	case isDirectReference(text):
		if line.Requirement, err = parse(text); err == nil {
			err = line.reference()
		}
	case (editable || looksLikePath(text)) && !strings.Contains(text, "://"):
		err = line.path(text)
	default:
		line.Requirement, err = parse(text)
	}
	if markerText = strings.TrimSpace(markerText); err == nil && markerText != "" {
		line.Marker, err = marker.Parse(markerText)
	}
	if err == nil && editable {
		err = line.checkEditable()
	}
	return line, err
}

// isDirectReference tells whether s begins as "name [extras] @".
func isDirectReference(s string) bool {
	name, rest := identifier(s)
	if rest = trim(rest); strings.HasPrefix(rest, "[") {
		_, rest, _ = strings.Cut(rest, "]")
	}
	return name != "" && strings.HasPrefix(trim(rest), "@")
}

// looksLikePath tells whether pip would take s for a path if it were there.
func looksLikePath(s string) bool {
	if i := strings.LastIndexByte(s, '['); i > 0 && strings.HasSuffix(s, "]") {
		s = strings.TrimSpace(s[:i])
	}
	return strings.ContainsAny(s, `/\`) || strings.HasPrefix(s, ".") || archiveEnding.MatchString(s)
}

// path makes the line one for a path, behind which extras may stand.
func (l *Line) path(text string) (err error) {
	if text, l.Extras, err = cutExtras(text); err != nil {
		return err
	}
	l.Source = localSource(text)
	return l.identify(fragment{})
}

// cutExtras cuts "[a,b]" off the end of a path.
func cutExtras(p string) (string, []dist.Name, error) {
	i := strings.LastIndexByte(p, '[')
	if i <= 0 || !strings.HasSuffix(p, "]") || i+2 == len(p) {
		return p, nil, nil
	}
	extras, rest, err := parseExtras(p[i:])
	if err == nil && rest != "" {
		err = errors.New(`nothing may follow the "]"`)
	}
	if err != nil {
		return "", nil, fmt.Errorf("the extras behind the path: %w", err)
	}
	if p = strings.TrimSpace(p[:i]); strings.HasSuffix(p, "]") {
		return "", nil, errors.New("two pairs of brackets; a path that ends in one needs to be a file: URL")
	}
	return p, extras, nil
}

// localSource gives the source at a path, by its spelling.
func localSource(p string) Source {
	if archiveEnding.MatchString(p) {
		return Source{Kind: LocalFile, Path: p}
	}
	return Source{Kind: Directory, Path: p}
}

// reference sets the line's source from its URL, which may be a path.
func (l *Line) reference() error {
	text, fragmentText, _ := strings.Cut(l.URL, "#")
	f, err := parseFragment(fragmentText)
	switch {
	case err != nil:
	case repositoryURL.MatchString(text):
		l.Source, err = repositorySource(text)
	case archiveURL.MatchString(text):
		l.Source = Source{Kind: Archive, URL: text}
		_, err = CheckURL(text)
	case fileURL.MatchString(text):
		l.Source, err = l.fileSource(text)
	case otherURL.MatchString(text), strings.Contains(text, "://"):
		err = errors.New("this kind of URL is not supported; " +
			"https://, file:// and git+https://, git+ssh://git@HOST/PATH and the like are")
	default:
		l.Source = localSource(l.URL) // where a number sign is like any other character
		f = fragment{}
	}
	if err != nil {
		return err
	}
	l.Source.Subdirectory, l.Source.Hash = f.subdirectory, f.hash
	return l.identify(f)
}

// identify sees that what came from outside is safe to hand on, and names the
// project where the line did not: after a wheel's file name, else after "#egg=".
func (l *Line) identify(f fragment) error {
	text := l.URL + l.Source.Path + l.Source.Revision
	switch {
	case strings.ContainsFunc(text, unicode.IsControl) || !utf8.ValidString(text):
		return errors.New("contains control characters or is not UTF-8")
	case l.Source.Path == "" && (l.Source.Kind == LocalFile || l.Source.Kind == Directory):
		return errors.New("the path is empty")
	case l.Name != "":
		return nil
	}
	l.Name = f.name
	if len(l.Extras) == 0 {
		l.Extras = f.extras
	}
	if name := l.Source.filename(); strings.HasSuffix(name, ".whl") {
		wheel, err := dist.ParseFilename(name, "")
		l.Name = wheel.Name
		return err
	}
	return nil
}

// filename gives the last segment of where an archive lies, "" for other sources.
func (s Source) filename() string {
	switch s.Kind {
	case LocalFile:
		return path.Base(filepath.ToSlash(s.Path))
	case Archive:
		if u, err := url.Parse(s.URL); err == nil {
			return path.Base(u.Path)
		}
	}
	return ""
}

func (l *Line) checkEditable() error {
	switch {
	case l.Source.Kind != Directory && l.Source.Kind != Repository:
		return errors.New("-e needs a folder or a repository (git+https://...)")
	case l.Source.Kind == Repository && l.Name == "":
		return errors.New(`-e of a repository needs its project's name: write "NAME @ URL"`)
	}
	return nil
}

// repositorySource reads "git+https://host/path@revision".
func repositorySource(text string) (Source, error) {
	vcs, text, _ := strings.Cut(text, "+")
	u, err := CheckURL(text)
	if err != nil {
		return Source{}, err
	}
	s := Source{Kind: Repository, VCS: strings.ToLower(vcs)}
	text, query, hasQuery := strings.Cut(text, "?")
	start := strings.IndexByte(text, ':') + 1
	if strings.HasPrefix(text[start:], "//") {
		start += len("//") + len(authority(text[start+len("//"):]))
	}
	if at := strings.LastIndexByte(text, '@'); at >= start {
		if s.Revision, err = url.PathUnescape(text[at+1:]); err != nil || s.Revision == "" || s.Revision[0] == '-' {
			return Source{}, errors.New(`the revision behind "@" is empty or wrong; leave out the "@", or name a branch, tag or commit`)
		}
		text = text[:at]
	}
	s.URL = u.Scheme + text[strings.IndexByte(text, ':'):]
	if hasQuery {
		s.URL += "?" + query
	}
	if u.Scheme == "ssh" && (s.VCS == "svn" || s.VCS == "bzr") {
		s.URL = s.VCS + "+" + s.URL // which is what these programs call it
	}
	return s, nil
}

var errSpace = errors.New("a URL must not contain spaces; write %20")

// CheckURL sees that a URL is one, and that no program can take it or its host
// for an option. Errors do not show it, as it may hold a password.
func CheckURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case strings.ContainsFunc(text, unicode.IsSpace):
		return nil, errSpace
	case err != nil || !utf8.ValidString(text):
		return nil, errors.New("not a URL: look at its port, and write special characters of a password as %XX")
	case strings.HasPrefix(u.Host, "-") || u.User != nil && strings.HasPrefix(u.User.Username(), "-"):
		return nil, errors.New(`neither host nor user of a URL may begin with "-"`)
	case u.Host == "" && u.Scheme != "file" && u.Scheme != "lp":
		return nil, errors.New("the URL names no host")
	case u.Scheme == "file" && u.Path == "" && u.Opaque == "":
		return nil, errors.New("the URL names no path")
	}
	return u, nil
}

// fileSource reads a file: URL, behind whose path extras may stand where the
// line has no name in front, which would have them.
func (l *Line) fileSource(text string) (_ Source, err error) {
	if l.Name == "" {
		behind := l.URL[len(text):]
		if text, l.Extras, err = cutExtras(text); err != nil {
			return Source{}, err
		}
		l.URL = text + behind
	}
	p, err := PathOfURL(text)
	return localSource(p), err
}

// PathOfURL gives the path that a file: URL names (RFC 8089), in the system's
// form; a relative one begins at the current folder, as for pip. text must begin
// with "file:", in any case.
func PathOfURL(text string) (string, error) {
	p := text[len("file:"):]
	if end := strings.IndexAny(p, "?#"); end >= 0 {
		p = p[:end]
	}
	if rest, ok := strings.CutPrefix(p, "//"); ok {
		host := authority(rest)
		if p = rest[len(host):]; host != "" && !strings.EqualFold(host, "localhost") {
			return "", fmt.Errorf("a file: URL of the host %.100q; copy the file to this machine", host)
		}
	}
	p, err := url.PathUnescape(p)
	if err != nil {
		return "", err
	}
	if runtime.GOOS == "windows" && len(p) > 2 && p[0] == '/' && p[2] == ':' {
		p = p[1:] // file:///C:/x
	}
	return filepath.FromSlash(p), nil
}

// authority cuts what stands between "//" and the path, query or fragment.
func authority(s string) string {
	if end := strings.IndexAny(s, "/?#"); end >= 0 {
		return s[:end]
	}
	return s
}

// fragment is what pip reads behind the number sign of a URL.
type fragment struct {
	name         dist.Name   // of egg=
	extras       []dist.Name // of egg=
	subdirectory string
	hash         string
}

// parseFragment reads "egg=name&subdirectory=path&sha256=digest"; of a key that
// repeats the first counts, and unknown ones say nothing.
func parseFragment(s string) (f fragment, err error) {
	if strings.ContainsFunc(s, unicode.IsSpace) {
		return f, errSpace
	}
	var egg, subdirectory bool // were read
	for field := range strings.SplitSeq(s, "&") {
		key, value, ok := strings.Cut(field, "=")
		size := hashSizes[key]
		switch {
		case !ok:
		case key == "egg" && !egg:
			egg = true
			f.name, f.extras, err = parseEgg(value)
		case key == "subdirectory" && !subdirectory:
			subdirectory = true
			if value, err = url.PathUnescape(value); err == nil {
				f.subdirectory, err = CleanSubdirectory(value)
			}
		case size > 0 && f.hash == "":
			f.hash = key + ":" + strings.ToLower(value)
			if digest, wrong := hex.DecodeString(value); wrong != nil || len(digest) != size {
				err = fmt.Errorf("must have %d hexadecimal digits", 2*size)
			}
		}
		if err != nil {
			return f, fmt.Errorf("#%.200s: %w", field, err)
		}
	}
	return f, nil
}

// parseEgg reads the name of a project, and extras.
func parseEgg(s string) (dist.Name, []dist.Name, error) {
	text, rest := identifier(s)
	name, err := dist.ParseName(text)
	if err != nil {
		return "", nil, err
	}
	extras, rest, err := parseExtras(rest)
	if err == nil && rest != "" {
		err = errors.New(`must be a project's name, with or without [extras]; what follows begins with "&"`)
	}
	return name, extras, err
}

// hashSizes are the bytes of the digests that a URL's fragment may name.
var hashSizes = map[string]int{"sha256": 32, "sha384": 48, "sha512": 64, "sha224": 28, "sha1": 20, "md5": 16}

// CleanSubdirectory gives the shortest spelling of a slash-separated path below
// a source, "" for its top. A path that leaves the source is an error.
func CleanSubdirectory(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	if strings.ContainsAny(s, `\:`) || strings.ContainsFunc(s, unicode.IsControl) || !filepath.IsLocal(filepath.FromSlash(s)) {
		return "", fmt.Errorf("subdirectory %.200q: must be a relative path below the source, with slashes", s)
	}
	if s = path.Clean(s); s == "." {
		return "", nil
	}
	return s, nil
}
