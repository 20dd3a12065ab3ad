package curd

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode"

	"curdling/internal/curds"
	"curdling/internal/dist"
	"curdling/internal/install"
	"curdling/internal/lazyregexp"
	"curdling/internal/python"
)

// Environment is a Python environment as it is, for those who only read it.
//
// What counts is what its interpreter finds without PYTHONPATH and without the
// user's site-packages: the environment's own folders for packages, those of
// the Python that it was made from where it may see them, and what .pth and
// .egg-link files in these name.
type Environment struct {
	Python *python.Interpreter
	// Distributions are ordered by name. Of a project that is there several times it is the one that Python imports.
	Distributions []Distribution
	// Repeated are further ones of the same project in the same folder, which is an accident.
	Repeated []Distribution

	warn func(format string, args ...any)
}

// Distribution is one installed distribution.
type Distribution struct {
	install.Installed
	RawName    string             // as its metadata spells it: "Flask-SQLAlchemy"
	RawVersion string             // likewise
	DirectURL  *install.DirectURL // nil: it came from an index
	Editable   bool
	Project    string // the folder of an editable one, "" where it is none
	Own        bool   // not in a Python that the environment was made from
}

// OpenEnvironment asks the interpreter of Options.Python, and lists what is installed.
func OpenEnvironment(ctx context.Context, o Options) (*Environment, error) {
	env, err := findPython(ctx, o.Python, o.memory())
	if err != nil {
		return nil, err
	}
	e := &Environment{Python: env.Python, warn: o.warn}
	return e, e.list()
}

func (o Options) warn(format string, args ...any) {
	o.notify(Event{Kind: Warning, Name: fmt.Sprintf(format, args...)})
}

// findPython finds the environment and asks its interpreter. The own cache only saves time.
func findPython(ctx context.Context, choice string, memory python.Memory) (install.Env, error) {
	path, err := python.Find(choice, ".", os.Getenv)
	if err != nil {
		return install.Env{}, err
	}
	py, err := python.Inspect(ctx, path, memory)
	return install.Env{Python: py}, err
}

// memory is where answers of interpreters are remembered; nil where the own cache has no place.
func (o Options) memory() python.Memory {
	if o.Home != "" {
		if own, err := curds.Open(o.Home); err == nil {
			return own.Memory("python")
		}
	}
	return nil
}

func (e *Environment) list() error {
	search := &siteSearch{own: realPath(e.Python.Prefix), seen: map[string]bool{}, links: map[string]bool{}}
	for _, dir := range siteFolders(e.Python) {
		search.site(dir)
	}
	found := map[dist.Name]string{} // folder of the first
	for _, dir := range search.folders {
		all, err := install.List(install.Env{Python: &python.Interpreter{Purelib: dir.path}})
		if err != nil {
			return err
		}
		for _, i := range all {
			d := describeInstalled(i)
			d.Own = dir.own || e.Python.Prefix == e.Python.BasePrefix
			if d.Project == "" && d.DirectURL == nil && search.linked(d.RawName) {
				d.Project, d.Editable = dir.path, true
			}
			switch first, ok := found[d.Name]; {
			case !ok:
				found[d.Name] = dir.path
				e.Distributions = append(e.Distributions, d)
			case first == dir.path:
				e.Repeated = append(e.Repeated, d)
			}
		}
	}
	slices.SortFunc(e.Distributions, func(a, b Distribution) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return nil
}

// siteFolders gives the folders for packages on sys.path. What .pth files once
// added to it is left out: the interpreter's answer may be an old one.
func siteFolders(py *python.Interpreter) []string {
	dirs := []string{py.Purelib, py.Platlib}
	for _, dir := range py.SysPath {
		base := filepath.Base(dir)
		if (base == "site-packages" || base == "dist-packages") && (isBelow(dir, py.Prefix) || isBelow(dir, py.BasePrefix)) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

func isBelow(path, dir string) bool {
	return strings.HasPrefix(path, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator))
}

// realPath resolves links where it can.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}

// siteSearch collects folders that hold distributions, each once, in Python's order.
type siteSearch struct {
	own     string // the environment's prefix, links resolved
	folders []searchedFolder
	seen    map[string]bool // links resolved
	links   map[string]bool // names of .egg-link files
}

type searchedFolder struct {
	path string
	own  bool // holds what belongs to the environment
}

// add notes a folder, if it is one that was not seen before.
func (s *siteSearch) add(dir string, own bool) bool {
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() {
		return false
	}
	real := realPath(dir)
	if s.seen[real] {
		return false
	}
	s.seen[real] = true
	s.folders = append(s.folders, searchedFolder{dir, own || isBelow(real, s.own)})
	return true
}

// site adds a folder for packages, and those that its .egg-link and .pth files name.
func (s *siteSearch) site(dir string) {
	if !s.add(dir, false) {
		return
	}
	own := s.folders[len(s.folders)-1].own
	entries, err := os.ReadDir(dir) // in order, as Python reads .pth files
	if err != nil {
		return
	}
	for _, ending := range []string{".egg-link", ".pth"} {
		for _, entry := range entries {
			stem, ok := strings.CutSuffix(entry.Name(), ending)
			if !ok || strings.HasPrefix(stem, ".") {
				continue
			}
			lines := pathLines(filepath.Join(dir, entry.Name()))
			if ending == ".egg-link" {
				s.links[entry.Name()] = true
				lines = lines[:min(1, len(lines))]
			}
			for _, line := range lines {
				if !filepath.IsAbs(line) {
					line = filepath.Join(dir, line)
				}
				s.add(filepath.Clean(line), own && ending == ".egg-link")
			}
		}
	}
}

// maxSmallFile is how many bytes of a file of an environment are read.
const maxSmallFile = 1 << 20

// pathLines gives the lines of a .pth file that are paths, not comments or code.
func pathLines(file string) []string {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSmallFile))
	if err != nil {
		return nil
	}
	var paths []string
	for line := range strings.Lines(string(bytes.TrimPrefix(b, []byte("\ufeff")))) {
		line = strings.TrimSpace(line)
		if line != "" && line[0] != '#' && !strings.HasPrefix(line, "import ") && !strings.HasPrefix(line, "import\t") {
			paths = append(paths, line)
		}
	}
	return paths
}

// linked tells whether an .egg-link file, as `setup.py develop` made them, names the project.
func (s *siteSearch) linked(rawName string) bool {
	return s.links[rawName+".egg-link"] || s.links[unlinkable.ReplaceAllString(rawName, "-")+".egg-link"]
}

// unlinkable is what setuptools replaced by "-" in the names of .egg-link files.
var unlinkable = lazyregexp.New(`[^A-Za-z0-9.]+`)

// describeInstalled reads what the head of a distribution's metadata says.
func describeInstalled(i install.Installed) Distribution {
	d := Distribution{Installed: i, DirectURL: i.DirectURL()}
	// What can't be read is told by the folder's name.
	_ = headers(metadataFile(i.DistInfo), func(key, value string) bool {
		switch {
		case key == "name" && d.RawName == "":
			d.RawName = value
		case key == "version" && d.RawVersion == "":
			d.RawVersion = value
		}
		return d.RawName == "" || d.RawVersion == ""
	})
	if _, err := dist.ParseName(d.RawName); err != nil {
		d.RawName = folderName(i.DistInfo)
	}
	if d.RawVersion == "" || strings.ContainsFunc(d.RawVersion, unicode.IsControl) {
		d.RawVersion = i.Version.String()
	}
	if u := d.DirectURL; u != nil && u.Dir != nil && u.Dir.Editable {
		d.Editable = true
		d.Project = filePath(d.DirectURL.URL)
	}
	return d
}

// metadataFile gives the file with the core metadata of what lies at a .dist-info or .egg-info path.
func metadataFile(info string) string {
	switch stat, err := os.Stat(info); {
	case strings.HasSuffix(info, ".dist-info"):
		return filepath.Join(info, "METADATA")
	case err == nil && stat.Mode().IsRegular():
		return info
	}
	return filepath.Join(info, "PKG-INFO")
}

// headers reads the headers of a file, until the first empty line or until each says that it
// has enough. Keys are given in lower case; lines that continue a header are passed over.
func headers(file string, each func(key, value string) (more bool)) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReader(io.LimitReader(f, maxSmallFile))
	for {
		line, err := r.ReadString('\n')
		text := strings.TrimRight(line, "\r\n")
		key, value, ok := strings.Cut(text, ":")
		if ok && text[0] != ' ' && text[0] != '\t' && !each(strings.ToLower(key), strings.TrimSpace(value)) {
			return nil
		}
		if err == io.EOF || err == nil && text == "" {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// folderName gives the project's name as a .dist-info or .egg-info folder spells it.
func folderName(path string) string {
	stem, _, _ := strings.Cut(filepath.Base(path), "-")
	return strings.TrimSuffix(strings.TrimSuffix(stem, ".egg-info"), ".dist-info")
}

// filePath gives the path of a file URL, "" where it is none of this machine.
func filePath(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "file" || u.Host != "" && u.Host != "localhost" || u.Path == "" {
		return ""
	}
	path := u.Path
	if runtime.GOOS == "windows" {
		path = strings.TrimPrefix(path, "/") // file:///C:/project
	}
	return filepath.FromSlash(path)
}

// WheelFacts is what WHEEL of an installed distribution tells.
type WheelFacts struct {
	Build string   // the build tag, "" is none
	Tags  []string // as they stand there
}

// Wheel reads the WHEEL file; where there is none the error is fs.ErrNotExist.
func (d Distribution) Wheel() (w WheelFacts, err error) {
	err = headers(filepath.Join(d.DistInfo, "WHEEL"), func(key, value string) bool {
		switch {
		case key == "build" && w.Build == "":
			w.Build = value
		case key == "tag":
			w.Tags = append(w.Tags, value)
		}
		return true
	})
	if strings.HasSuffix(d.DistInfo, ".egg-info") {
		err = fs.ErrNotExist // such a thing may be a file
	}
	return w, err
}

// Spelled gives "Flask==3.0", as pip writes it: with "===" before a version that PEP 440 does not know.
func (d Distribution) Spelled() string {
	if d.Version.IsZero() {
		return d.RawName + "===" + d.RawVersion
	}
	return d.RawName + "==" + d.Version.String()
}
