// Package wheel opens, verifies and unpacks wheels (PEP 427, 491, 376).
//
// A wheel is taken for hostile until Open has looked at it. What Open accepts is:
//
//   - One zip archive and nothing else: no byte before the first member, between
//     members, or after the end record; no comment; local headers that say what
//     the central directory says. Members are stored or deflated, not encrypted,
//     files or folders by mode, never links or devices. zip64 is read, and says
//     nothing else than the headers where these say something themselves.
//   - Names are relative paths in UTF-8, parted by slashes, without backslashes,
//     controls, drive letters, and empty, "." and ".." segments. No two are
//     equal, or equal but for case and Unicode normalisation (NFC), and no file
//     stands where another member needs a folder.
//   - One .dist-info folder, and at most one .data folder, in lower case and named
//     like the file; below .data only purelib, platlib, headers, scripts and data.
//   - METADATA that parses and names the file's project and version, and no other
//     one besides; WHEEL with a Wheel-Version of 1.x.
//   - RECORD that lists every file with a hash (sha256, sha384 or sha512) and no
//     hashed file besides. RECORD itself and its signatures are exempt; a row
//     without a hash that names no file is passed over. The hashes are checked
//     by Unpack, which reads every byte.
//   - Scripts with plain names, none of them an interpreter's (python, python3.11).
//
// A wheel may have at most the sizes that the constants below state. Beyond
// BombSize bytes, it may not unpack to more than MaxRatio times its own size.
package wheel

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/text/unicode/norm"

	"curdling/internal/dist"
	"curdling/internal/metadata"
	"curdling/internal/version"
)

// The limits, in bytes where nothing else is said.
const (
	MaxArchive int64 = 16 << 30  // the wheel
	MaxFile    int64 = 16 << 30  // one file, unpacked
	MaxTotal   int64 = 32 << 30  // all files, unpacked
	BombSize   int64 = 256 << 20 // all files, unpacked, for which any ratio is allowed
	MaxRatio         = 100       // unpacked bytes for one of the archive, beyond BombSize

	MaxMembers     = 200_000  // members of the archive
	MaxDirectory   = 64 << 20 // the central directory
	MaxPath        = 1024     // a path
	MaxSegment     = 255      // a segment of a path
	MaxMetadata    = 16 << 20 // METADATA, WHEEL, entry_points.txt, each
	MaxRecord      = 64 << 20 // RECORD
	MaxEntryPoints = 10_000   // scripts of one kind
)

// Wheel is an opened and verified wheel.
type Wheel struct {
	File           dist.File // from its file name
	Metadata       *metadata.Metadata
	MetadataError  error // why Metadata lacks a requirement, a *metadata.FieldError; nil: it lacks none
	RawMetadata    []byte
	RootIsPurelib  bool
	DistInfo       string // "flask-3.0.dist-info", as it stands in the archive
	DataDir        string // "flask-3.0.data", "" where there is none
	ConsoleScripts []EntryPoint
	GUIScripts     []EntryPoint

	r      io.ReaderAt
	files  []file
	record string // RECORD
}

// A file is a member to unpack, and what RECORD says of it.
type file struct {
	*member
	record recordRow
}

// Open verifies a wheel without unpacking it: file name, central directory,
// paths, sizes, METADATA's name and version, WHEEL, RECORD. It does not inflate the members
// except those of .dist-info that it reads. An error names the file and the cause.
func Open(r io.ReaderAt, size int64, filename string) (*Wheel, error) {
	w, err := open(r, size, filename)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filename, err)
	}
	return w, nil
}

func open(r io.ReaderAt, size int64, filename string) (*Wheel, error) {
	w := &Wheel{r: r}
	a, err := w.openArchive(r, size, filename)
	if err != nil {
		return nil, err
	}
	if err := checkLocals(r, a.members, a.directory); err != nil {
		return nil, err
	}
	return w, w.check(a, size)
}

// check verifies what is in an archive of size bytes, in whatever form.
func (w *Wheel) check(a *archive, size int64) error {
	if err := a.checkNames(); err != nil {
		return err
	}
	if err := a.checkTotal(size); err != nil {
		return err
	}
	for _, step := range []func(*archive) error{w.readMetadata, w.readWheel, w.readEntryPoints, w.checkData, w.readRecord} {
		if err := step(a); err != nil {
			return err
		}
	}
	return nil
}

// openArchive reads the file name and the central directory, and finds .dist-info.
func (w *Wheel) openArchive(r io.ReaderAt, size int64, filename string) (*archive, error) {
	if err := w.named(filename); err != nil {
		return nil, err
	}
	a := &archive{content: func(m *member, limit int64) ([]byte, error) { return m.read(r, limit) }}
	var err error
	if a.members, a.directory, err = readDirectory(r, size); err != nil {
		return nil, err
	}
	return a, w.findFolders(a)
}

// named reads the file name.
func (w *Wheel) named(filename string) (err error) {
	if w.File, err = dist.ParseFilename(filename, ""); err == nil && w.File.Kind != dist.Wheel {
		err = errors.New("is no wheel by its name")
	}
	return err
}

// findFolders finds .dist-info and .data.
func (w *Wheel) findFolders(a *archive) (err error) {
	if w.DistInfo, err = a.topFolder(".dist-info", w.File); err != nil {
		return err
	}
	if w.DistInfo == "" {
		return errors.New("has no .dist-info folder")
	}
	w.DataDir, err = a.topFolder(".data", w.File)
	return err
}

func (w *Wheel) readMetadata(a *archive) (err error) {
	if w.RawMetadata, err = a.read(w.DistInfo+"/METADATA", MaxMetadata); err != nil {
		return err
	}
	if w.Metadata, w.MetadataError = metadata.Parse(w.RawMetadata); w.Metadata == nil {
		return fmt.Errorf("METADATA: %w", w.MetadataError)
	}
	for _, key := range []string{"Name", "Version"} {
		if _, err := headerValue(string(w.RawMetadata), key); err != nil {
			return fmt.Errorf("METADATA: %w", err)
		}
	}
	if w.Metadata.Name != w.File.Name || w.Metadata.Version.Compare(w.File.Version) != 0 {
		return fmt.Errorf("METADATA is of %s %s", w.Metadata.Name, w.Metadata.Version)
	}
	return nil
}

func (w *Wheel) readWheel(a *archive) error {
	text, err := a.read(w.DistInfo+"/WHEEL", MaxMetadata)
	if err != nil {
		return err
	}
	v, err := headerValue(string(text), "Wheel-Version")
	if err != nil {
		return fmt.Errorf("WHEEL: %w", err)
	}
	if major, _, _ := strings.Cut(v, "."); major != "1" {
		return fmt.Errorf("Wheel-Version %q is not supported, only 1.x is", v)
	}
	pure, err := headerValue(string(text), "Root-Is-Purelib")
	if err != nil {
		return fmt.Errorf("WHEEL: %w", err)
	}
	w.RootIsPurelib = strings.EqualFold(pure, "true")
	return nil
}

// headerValue is the value of a header in the RFC 822 form, "" without one. Two
// different ones are an error: readers do not agree on which of them counts.
func headerValue(text, key string) (value string, err error) {
	found := false
	for line := range strings.Lines(text) {
		name, v, ok := strings.Cut(line, ":")
		if folded := line[0] == ' ' || line[0] == '\t'; !ok && !folded {
			break // the headers' end
		}
		if !strings.EqualFold(name, key) {
			continue
		}
		if v = strings.TrimSpace(v); found && v != value {
			return "", fmt.Errorf("says %s twice: %q and %q", key, value, v)
		}
		value, found = v, true
	}
	return value, nil
}

func (w *Wheel) readEntryPoints(a *archive) error {
	path := w.DistInfo + "/entry_points.txt"
	if a.byName[path] == nil {
		return nil
	}
	text, err := a.read(path, MaxMetadata)
	if err != nil {
		return err
	}
	w.ConsoleScripts, w.GUIScripts, err = parseEntryPoints(string(text))
	return err
}

// checkData refuses what .data folders have no rule for.
func (w *Wheel) checkData(a *archive) error {
	if w.DataDir == "" {
		return nil
	}
	for i := range a.members {
		m := &a.members[i]
		rest, ok := strings.CutPrefix(m.name, w.DataDir+"/")
		if !ok {
			continue
		}
		key, path, below := strings.Cut(rest, "/")
		switch key {
		case "purelib", "platlib", "headers", "scripts", "data":
		default:
			return fmt.Errorf("%s: the wheel format knows no %q in a .data folder", m.name, key)
		}
		if !m.folder && !below {
			return fmt.Errorf("%s: is a file where a folder belongs", m.name)
		}
		if key == "scripts" && IsInterpreter(path) {
			return fmt.Errorf("%s: a script must not be called like the interpreter", m.name)
		}
	}
	return nil
}

// readRecord holds RECORD against the archive's files.
func (w *Wheel) readRecord(a *archive) error {
	path := w.DistInfo + "/RECORD"
	text, err := a.read(path, MaxRecord)
	if err != nil {
		return err
	}
	w.record = string(text)
	rows, err := parseRecord(w.record)
	if err != nil {
		return err
	}
	w.files = make([]file, 0, len(a.members))
	for i := range a.members {
		m := &a.members[i]
		if m.folder || m.name == path || m.name == path+".jws" || m.name == path+".p7s" {
			continue
		}
		row, ok := rows[m.name]
		switch {
		case !ok || row.hash == "":
			return fmt.Errorf("RECORD has no hash of %s", m.name)
		case row.size >= 0 && row.size != m.size:
			return fmt.Errorf("%s: %d bytes, RECORD says %d", m.name, m.size, row.size)
		}
		w.files = append(w.files, file{m, row})
	}
	for name, row := range rows {
		if m := a.byName[name]; row.hash != "" && (m == nil || m.folder) {
			return fmt.Errorf("RECORD lists %s, which is no file of the wheel", name)
		}
	}
	return nil
}

// An archive is the central directory of a wheel, or what takes its place.
type archive struct {
	members   []member
	directory directory // of a zip archive
	byName    map[string]*member
	content   func(m *member, limit int64) ([]byte, error) // at most limit bytes
}

// topFolder finds the folder at the top whose name ends so, "" where there is
// none. It must be the only one, also where case does not count (as it does not
// to Python's importlib.metadata), and belong to the file's project and version.
func (a *archive) topFolder(suffix string, f dist.File) (string, error) {
	found := ""
	for i := range a.members {
		top, _, below := strings.Cut(a.members[i].name, "/")
		if top == found || !hasSuffixFold(top, suffix) || !below && !a.members[i].folder {
			continue
		}
		if !strings.HasSuffix(top, suffix) {
			return "", fmt.Errorf("%s must end in %s, in lower case", top, suffix)
		}
		if found != "" {
			return "", fmt.Errorf("has two %s folders, %s and %s", suffix, found, top)
		}
		if !belongs(strings.TrimSuffix(top, suffix), f) {
			return "", fmt.Errorf("%s is not of %s %s", top, f.Name, f.Version)
		}
		found = top
	}
	return found, nil
}

func hasSuffixFold(s, suffix string) bool {
	return len(s) >= len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}

// belongs tells whether stem is f's name and version joined by a hyphen, in any
// spelling: the name may have hyphens left, the version underscores for hyphens.
func belongs(stem string, f dist.File) bool {
	for i := range len(stem) {
		if stem[i] != '-' {
			continue
		}
		n, err := dist.ParseName(stem[:i])
		if err != nil || n != f.Name {
			continue
		}
		for _, s := range []string{stem[i+1:], strings.ReplaceAll(stem[i+1:], "_", "-")} {
			if v, err := version.Parse(s); err == nil && v.Compare(f.Version) == 0 {
				return true
			}
		}
	}
	return false
}

// checkNames fills byName and refuses names that stand in one another's way.
func (a *archive) checkNames() error {
	a.byName = make(map[string]*member, len(a.members))
	folded := make(map[string]string, len(a.members)) // of files
	folders := map[string]bool{}
	for i := range a.members {
		m := &a.members[i]
		if a.byName[m.name] != nil {
			return fmt.Errorf("%s: is there twice", m.name)
		}
		a.byName[m.name] = m
		for p := parent(m.name); p != "" && !folders[p]; p = parent(p) {
			folders[p] = true
		}
		if m.folder {
			folders[m.name] = true
			continue
		}
		key := foldName(m.name)
		if other, ok := folded[key]; ok {
			return fmt.Errorf("%s and %s are one name where case or Unicode's forms do not count", other, m.name)
		}
		folded[key] = m.name
	}
	for p := range folders {
		if other, ok := folded[foldName(p)]; ok {
			return fmt.Errorf("%s is a file, and %s a folder", other, p)
		}
	}
	return nil
}

// foldName is equal for names that some file system takes for one.
func foldName(name string) string {
	if isASCII(name) {
		return strings.ToLower(name)
	}
	return norm.NFC.String(strings.ToLower(strings.ToUpper(norm.NFC.String(name))))
}

// checkTotal refuses archives that are far larger than they look.
func (a *archive) checkTotal(size int64) error {
	var total int64
	for i := range a.members {
		total += a.members[i].size
		if err := checkRatio(total, size); err != nil {
			return err
		}
	}
	return nil
}

// checkRatio refuses that total bytes, or more, are unpacked from an archive of size bytes.
func checkRatio(total, size int64) error {
	switch {
	case total > MaxTotal:
		return fmt.Errorf("more than %d bytes unpacked", MaxTotal)
	case total > BombSize && total/MaxRatio > size:
		return fmt.Errorf("%d bytes would unpack to %d and more, which is more than %d times as much", size, total, MaxRatio)
	}
	return nil
}

// read gives the content of the file of that name, at most limit bytes.
func (a *archive) read(name string, limit int64) ([]byte, error) {
	m := a.byName[name]
	if m == nil || m.folder {
		return nil, fmt.Errorf("has no %s", name)
	}
	return a.content(m, limit)
}
