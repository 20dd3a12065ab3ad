package lock

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"
	"unicode"

	"github.com/pelletier/go-toml/v2"

	"curdling/internal/dist"
	"curdling/internal/lazyregexp"
	"curdling/internal/marker"
	"curdling/internal/requirement"
	"curdling/internal/version"
)

// Parse reads a lock file. An error names what is wrong by its place:
// "packages[3] (numpy): wheels[0]: hashes: ...".
func Parse(b []byte) (*Lock, error) {
	if len(b) > maxSize {
		return nil, fmt.Errorf("lock file: longer than %d bytes", maxSize)
	}
	file, err := requirement.ParseTOML(b)
	if err != nil {
		return nil, fmt.Errorf("lock file: %w", err)
	}
	l := parseLock(table{values: file, err: &err})
	if err != nil {
		return nil, fmt.Errorf("lock file: %w", err)
	}
	return l, nil
}

var (
	firstVersion = version.MustParse("1")
	nextVersion  = version.MustParse("2")
)

func parseLock(t table) *Lock {
	l := &Lock{Version: required(t, "lock-version", version.Parse)}
	if *t.err == nil && (l.Version.Compare(firstVersion) < 0 || l.Version.Compare(nextVersion) >= 0) {
		t.fail("lock-version", fmt.Errorf("%s is not known; lock again, or with a newer version of this program", l.Version))
		return nil
	}
	l.Environments = list(t, "environments", parseMarker)
	l.RequiresPython = optional(t, "requires-python", version.ParseSpecifiers)
	l.Extras = list(t, "extras", normalName)
	l.DependencyGroups = list(t, "dependency-groups", anyText)
	l.DefaultGroups = list(t, "default-groups", anyText)
	l.CreatedBy = required(t, "created-by", anyText)
	l.Tool, _ = get[map[string]any](t, "tool")
	if _, ok := t.values["packages"]; !ok {
		t.fail("packages", errMissing)
	}
	for _, p := range t.tables("packages", maxPackages) {
		l.Packages = append(l.Packages, parsePackage(p))
		if *t.err != nil {
			return nil
		}
	}
	return l
}

func parsePackage(t table) Package {
	p := Package{Name: required(t, "name", normalName)}
	if t.at += fmt.Sprintf(" (%s)", p.Name); *t.err != nil {
		return p
	}
	p.Version = optional(t, "version", version.Parse)
	p.Marker = optional(t, "marker", parseMarker)
	p.RequiresPython = optional(t, "requires-python", version.ParseSpecifiers)
	p.Dependencies = t.plainTables("dependencies")
	if v, ok := t.table("vcs"); ok {
		p.VCS = parseVCS(v)
	}
	if d, ok := t.table("directory"); ok {
		p.Directory = parseDirectory(d)
	}
	if a, ok := t.table("archive"); ok {
		p.Archive = parseFile(a)
		p.Archive.Subdirectory = optional(a, "subdirectory", requirement.CleanSubdirectory)
	}
	p.Index = optional(t, "index", checkFileURL)
	if s, ok := t.table("sdist"); ok {
		p.Sdist = parseFile(s)
		p.Sdist.Name = optional(s, "name", anyText)
		p.check(s, *p.Sdist, dist.Sdist)
	}
	for _, w := range t.tables("wheels", maxWheels) {
		f := parseFile(w)
		f.Name = optional(w, "name", anyText)
		p.check(w, *f, dist.Wheel)
		p.Wheels = append(p.Wheels, *f)
	}
	p.AttestationIdentities = t.plainTables("attestation-identities")
	for _, identity := range p.AttestationIdentities {
		if kind, _ := identity["kind"].(string); kind == "" {
			t.fail("attestation-identities", errors.New(`each must have a "kind"`))
		}
	}
	p.Tool, _ = get[map[string]any](t, "tool")
	if err := p.checkSources(); err != nil {
		t.fail("", err)
	}
	return p
}

// checkSources sees that it is clear where the package comes from.
func (p *Package) checkSources() error {
	direct := 0
	for _, set := range []bool{p.VCS != nil, p.Directory != nil, p.Archive != nil} {
		if set {
			direct++
		}
	}
	switch indexed := p.Sdist != nil || len(p.Wheels) > 0; {
	case indexed && direct > 0:
		return errors.New("must not have vcs, directory or archive beside wheels and sdist")
	case !indexed && direct != 1:
		return errors.New("must have wheels or sdist, or exactly one of vcs, directory and archive")
	}
	return nil
}

// check sees that a file's name is one, and of this package.
func (p *Package) check(t table, f File, kind dist.Kind) {
	if *t.err != nil {
		return
	}
	named, err := f.parseName(p.Name)
	switch {
	case err != nil:
	case named.Kind != kind:
		err = fmt.Errorf("%s is no %s", named.Filename, kind)
	case !p.Version.IsZero() && !named.Version.Equal(p.Version):
		err = fmt.Errorf("%s is not version %s", named.Filename, p.Version)
	}
	if err != nil {
		t.fail("", err)
	}
}

// parseName reads what the file's name says.
func (f File) parseName(project dist.Name) (dist.File, error) {
	name := f.Name
	if name == "" && f.Path != "" {
		name = f.Path[strings.LastIndexAny(f.Path, `/\`)+1:]
	} else if name == "" {
		u, err := url.Parse(f.URL)
		if err != nil {
			return dist.File{}, errors.New("url is not a URL")
		}
		name = path.Base(u.Path)
	}
	return dist.ParseFilename(name, project)
}

func parseVCS(t table) *VCS {
	v := &VCS{
		Type:              required(t, "type", anyText),
		Path:              optional(t, "path", checkPath),
		URL:               optional(t, "url", checkRepositoryURL),
		RequestedRevision: optional(t, "requested-revision", anyText),
		CommitID:          required(t, "commit-id", anyText),
		Subdirectory:      optional(t, "subdirectory", requirement.CleanSubdirectory),
	}
	t.needPlace(v.Path, v.URL)
	form, ok := commitForms[v.Type]
	if !ok {
		t.fail("type", fmt.Errorf("%.50q is not git, hg, svn or bzr", v.Type))
	} else if !form.MatchString(v.CommitID) {
		t.fail("commit-id", fmt.Errorf("%.100q is not a full commit of %s", v.CommitID, v.Type))
	}
	return v
}

// commitForms are what commits look like that do not change.
var commitForms = map[string]*lazyregexp.Regexp{
	"git": lazyregexp.New(`^([0-9a-f]{40}|[0-9a-f]{64})$`),
	"hg":  lazyregexp.New(`^[0-9a-f]{40}$`),
	"svn": lazyregexp.New(`^[0-9]+$`),
	"bzr": lazyregexp.New(`^[\pL\pN][\pL\pN._@:+-]*$`),
}

func parseDirectory(t table) *Directory {
	d := &Directory{
		Path:         required(t, "path", checkPath),
		Subdirectory: optional(t, "subdirectory", requirement.CleanSubdirectory),
	}
	d.Editable, _ = get[bool](t, "editable")
	return d
}

// parseFile reads what wheels, source distributions and archives have in common.
func parseFile(t table) *File {
	f := &File{
		URL:        optional(t, "url", checkFileURL),
		Path:       optional(t, "path", checkPath),
		UploadTime: t.time("upload-time"),
		Hashes:     map[string]string{},
	}
	t.needPlace(f.Path, f.URL)
	if f.Size, _ = get[int64](t, "size"); f.Size < 0 {
		t.fail("size", errors.New("must not be negative"))
	}
	hashes, ok := t.table("hashes")
	if !ok || len(hashes.values) == 0 {
		t.fail("hashes", errMissing)
		return f
	}
	for algorithm := range hashes.values {
		f.Hashes[algorithm] = required(hashes, algorithm, func(s string) (string, error) { return checkDigest(algorithm, s) })
	}
	return f
}

// digestSizes are the bytes of the digests of the algorithms that are checked.
var digestSizes = map[string]int{"sha256": 32, "sha384": 48, "sha512": 64}

func checkDigest(algorithm, digest string) (string, error) {
	b, err := hex.DecodeString(digest)
	if size := digestSizes[algorithm]; err != nil || len(b) == 0 || size > 0 && len(b) != size {
		return "", fmt.Errorf("%.150q is no digest of this algorithm in hexadecimal", digest)
	}
	return strings.ToLower(digest), nil
}

func anyText(s string) (string, error) { return s, nil }

// normalName reads a name that must be normalised already.
func normalName(s string) (dist.Name, error) {
	n, err := dist.ParseName(s)
	if err == nil && string(n) != s {
		err = fmt.Errorf("%q is not normalised: %s", s, n)
	}
	return n, err
}

func checkPath(s string) (string, error) {
	switch {
	case strings.ContainsFunc(s, unicode.IsControl):
		return "", errors.New("must not contain control characters")
	case strings.HasPrefix(s, "-"):
		return "", errors.New(`must not begin with "-"; write "./-"`)
	}
	return s, nil
}

var (
	fileSchemes       = map[string]bool{"http": true, "https": true, "file": true}
	repositorySchemes = map[string]bool{"http": true, "https": true, "file": true, "ssh": true, "git": true, "static-http": true,
		"svn": true, "svn+ssh": true, "bzr+ssh": true, "sftp": true, "ftp": true, "lp": true}
)

func checkFileURL(s string) (string, error)       { return checkURL(s, fileSchemes) }
func checkRepositoryURL(s string) (string, error) { return checkURL(s, repositorySchemes) }

func checkURL(s string, schemes map[string]bool) (string, error) {
	if s == "" {
		return "", nil
	}
	u, err := requirement.CheckURL(s)
	if err == nil && !schemes[u.Scheme] {
		err = fmt.Errorf("a URL of a kind that cannot be fetched here: %.50q", u.Scheme)
	}
	return s, err
}

// table is a TOML table on its way into a Lock. The first error stays; what is
// read after it does not count.
type table struct {
	values map[string]any
	at     string // its place: "packages[3] (numpy): sdist"
	err    *error
}

var errMissing = errors.New("is missing or empty")

func (t table) fail(key string, err error) {
	if *t.err == nil {
		*t.err = fmt.Errorf("%s%w", t.place(key, ": "), err)
	}
}

// place gives where a key stands, with what separates it from what follows.
func (t table) place(key, separator string) string {
	var parts []string
	for _, part := range []string{t.at, key} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return strings.Join(parts, ": ") + separator
}

// get gives a key's value; ok is whether it is there.
func get[T any](t table, key string) (v T, ok bool) {
	value, there := t.values[key]
	if v, ok = value.(T); there && !ok {
		t.fail(key, fmt.Errorf("must be %s", kind(v)))
	}
	return v, ok
}

func kind(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case bool:
		return "true or false"
	case int64:
		return "a whole number"
	case []any:
		return "a list"
	}
	return "a table"
}

func optional[T any](t table, key string, parse func(string) (T, error)) (v T) {
	text, ok := get[string](t, key)
	if !ok {
		return v
	}
	v, err := parse(text)
	if err != nil {
		t.fail(key, err)
	}
	return v
}

func required[T any](t table, key string, parse func(string) (T, error)) T {
	if _, ok := t.values[key]; !ok {
		t.fail(key, errMissing)
	}
	return optional(t, key, parse)
}

func list[T any](t table, key string, parse func(string) (T, error)) (all []T) {
	items, _ := get[[]any](t, key)
	for i, item := range items {
		place := fmt.Sprintf("%s[%d]", key, i)
		all = append(all, optional(table{map[string]any{place: item}, t.at, t.err}, place, parse))
	}
	return all
}

func (t table) table(key string) (table, bool) {
	values, ok := get[map[string]any](t, key)
	return table{values, t.place(key, ""), t.err}, ok
}

func (t table) tables(key string, most int) (all []table) {
	items, _ := get[[]any](t, key)
	if len(items) > most {
		t.fail(key, fmt.Errorf("are more than %d", most))
		return nil
	}
	for i, item := range items {
		place := fmt.Sprintf("%s[%d]", key, i)
		if inner, ok := (table{map[string]any{place: item}, t.at, t.err}).table(place); ok {
			all = append(all, inner)
		}
	}
	return all
}

// plainTables gives tables whose content is not ours to judge.
func (t table) plainTables(key string) (all []map[string]any) {
	for _, inner := range t.tables(key, maxPackages) {
		all = append(all, inner.values)
	}
	return all
}

// time reads a date with a time; one without an offset is UTC (PEP 751).
func (t table) time(key string) time.Time {
	switch value := t.values[key].(type) {
	case nil:
	case time.Time:
		return value.UTC()
	case toml.LocalDateTime:
		return value.AsTime(time.UTC)
	default:
		t.fail(key, errors.New("must be a date with a time"))
	}
	return time.Time{}
}

func (t table) needPlace(path, url string) {
	if path == "" && url == "" {
		t.fail("", errors.New("must have a path or a url"))
	}
}

// parseMarker refuses a marker whose strings have escapes that would be lost when it is written: nobody needs them.
func parseMarker(text string) (marker.Marker, error) {
	m, err := marker.Parse(text)
	if err != nil {
		return m, err
	}
	if again, err := marker.Parse(m.String()); err != nil || !again.Equal(m) {
		return m, fmt.Errorf("marker %.100q: escapes in strings are not supported", text)
	}
	return m, nil
}
