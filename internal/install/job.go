package install

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"curdling/internal/curds"
	"curdling/internal/dist"
	"curdling/internal/smallfile"
	"curdling/internal/wheel"
)

// A job is one wheel's part of a transaction.
type job struct {
	item    Item
	m       *wheel.Manifest
	lib     string // Purelib or Platlib, as the interpreter names it
	dests   map[string]*dest
	puts    []put
	folders []*folder // to make, parents first
	staged  string    // where .dist-info is prepared
	info    *folder   // what it becomes
}

// A dest is where one folder of a wheel goes.
type dest struct {
	order  int // of the files in it, among those for the same place: the last one stays
	folder *folder
	row    string // what comes before a file's name in RECORD: "flask/", "../../../bin/"
	staged bool   // part of .dist-info
}

const (
	orderRoot = iota
	orderData
	orderScript
	orderGenerated
)

// A put is one file to install.
type put struct {
	job  *job
	dest *dest
	name string
	// file is what is linked from the tree, bytecode what is linked from its
	// folder. Where both are nil, content is written.
	file       *wheel.ManifestFile
	bytecode   *curds.BytecodeFile
	source     *put      // of bytecode
	modTime    time.Time // that the installed file must have; zero: it does not matter
	content    []byte
	executable bool
	dropped    bool // another wheel's file takes its place
}

const maxScript = 64 << 20 // bytes of a script that is rewritten

// newJob finds out where everything of an item goes.
func (t *transaction) newJob(n int, item Item) (*job, error) {
	m := &item.Tree.Manifest
	j := &job{item: item, m: m, lib: t.env.Python.Platlib, dests: map[string]*dest{}}
	if m.RootIsPurelib {
		j.lib = t.env.Python.Purelib
	}
	if name, err := dist.ParseName(m.Name); err != nil || string(name) != m.Name {
		return nil, fmt.Errorf("wrong name %q", m.Name)
	}
	if strings.Contains(m.DistInfo, "/") || !filepath.IsLocal(m.DistInfo) || !strings.HasSuffix(m.DistInfo, ".dist-info") {
		return nil, fmt.Errorf("wrong folder %q", m.DistInfo)
	}
	j.staged = filepath.Join(t.base.path, journalDir, "new", strconv.Itoa(n))
	var err error
	if j.info, err = t.site.folder(filepath.Join(j.lib, m.DistInfo)); err != nil {
		return nil, err
	}
	if j.info.exists {
		return nil, fmt.Errorf("%s is in the way and belongs to nothing that is installed: move it away", j.info.path)
	}
	for _, folder := range append([]string{""}, m.Folders...) {
		d, err := t.destination(j, folder)
		if err != nil {
			return nil, err
		}
		j.dests[folder] = d
	}
	if err := t.addFiles(j); err != nil {
		return nil, err
	}
	j.info.maker = j
	if err := t.addScripts(j); err != nil {
		return nil, err
	}
	return j, t.addBytecode(j)
}

// destination tells where a folder of the wheel goes; nil: nowhere, for .data itself.
func (t *transaction) destination(j *job, path string) (*dest, error) {
	top, rest, _ := strings.Cut(path, "/")
	switch {
	case top == j.m.DistInfo:
		f := &folder{path: filepath.Join(j.staged, filepath.FromSlash(rest)), maker: j, device: t.base.device}
		j.folders = append(j.folders, f)
		return &dest{folder: f, row: path + "/", staged: true}, nil
	case top != j.m.DataDir || path == "":
		return t.scheme(j, j.lib, path, orderRoot)
	case rest == "":
		return nil, nil
	}
	key, rest, _ := strings.Cut(rest, "/")
	p := t.env.Python
	switch key {
	case "purelib":
		return t.scheme(j, p.Purelib, rest, orderData)
	case "platlib":
		return t.scheme(j, p.Platlib, rest, orderData)
	case "data":
		return t.scheme(j, p.Data, rest, orderData)
	case "headers":
		return t.scheme(j, filepath.Join(p.Include, j.m.Name), rest, orderData)
	case "scripts":
		return t.scheme(j, p.Scripts, rest, orderScript)
	}
	return nil, fmt.Errorf("%s: the wheel format knows no %q", path, key)
}

// scheme gives the destination below one of the interpreter's folders.
func (t *transaction) scheme(j *job, root, path string, order int) (*dest, error) {
	target := filepath.Clean(root)
	if path != "" {
		below := filepath.FromSlash(path)
		if !fs.ValidPath(path) || !filepath.IsLocal(below) {
			return nil, fmt.Errorf("%s: leads out of the environment", path)
		}
		target += string(filepath.Separator) + below
	}
	f, err := t.site.folder(target)
	if err != nil {
		return nil, err
	}
	if !t.site.owns(f) {
		return nil, fmt.Errorf("%s is a link that leads out of the environment, to %s", target, f.path)
	}
	if strings.HasSuffix(f.path, ".dist-info") && t.isSite(filepath.Dir(f.path)) {
		return nil, fmt.Errorf("%s: would become another distribution's .dist-info", target)
	}
	j.need(f)
	row := path + "/"
	if root != j.lib {
		rel, err := filepath.Rel(j.lib, target)
		if err != nil {
			return nil, err
		}
		row = filepath.ToSlash(rel) + "/"
	}
	if row == "/" || row == "./" {
		row = ""
	}
	return &dest{folder: f, row: row, order: order}, nil
}

// isSite tells whether path is where .dist-info folders lie.
func (t *transaction) isSite(path string) bool {
	for _, dir := range []string{t.env.Python.Purelib, t.env.Python.Platlib} {
		if f := t.site.byPath[filepath.Clean(dir)]; f != nil && f.path == path {
			return true
		}
	}
	return false
}

// need makes the job the maker of f, where it does not exist, and of its parents.
func (j *job) need(f *folder) {
	f.shared = f.shared || j.m.DataDir != ""
	switch {
	case f.exists || f.early:
	case f.maker == nil:
		j.need(f.parent)
		f.maker = j
		j.folders = append(j.folders, f)
	case f.maker != j:
		f.early, f.shared = true, true
		j.need(f.parent)
	}
}

// addFiles lists the wheel's files, in the order in which pip would write them.
func (t *transaction) addFiles(j *job) error {
	line := shebang(t.env.Python.Executable, runtime.GOOS)
	j.puts = make([]put, 0, len(j.m.Files)+len(j.m.ConsoleScripts)+len(j.m.GUIScripts)+8)
	folder, d := "", j.dests[""]
	for i := range j.m.Files {
		f := &j.m.Files[i]
		at := strings.LastIndexByte(f.Path, '/')
		if dir := f.Path[:max(at, 0)]; dir != folder {
			folder, d = dir, j.dests[dir]
		}
		name := f.Path[at+1:]
		switch {
		case d == nil:
			return fmt.Errorf("%s: its folder is not listed", f.Path)
		case d.staged && folder == j.m.DistInfo && isInstallersFile(name):
			continue
		case d.order == orderScript && isWrapper(name, j.m):
			continue
		}
		p := put{job: j, dest: d, name: name, file: f, executable: f.Executable}
		if f.Shebang && d.order == orderScript {
			script, err := smallfile.Read(filepath.Join(j.item.Tree.Dir, filepath.FromSlash(f.Path)), maxScript)
			if err != nil {
				return fmt.Errorf("rewriting %s: %w", f.Path, err)
			}
			p.file, p.content = nil, rewriteScript(script, line)
		}
		j.puts = append(j.puts, p)
	}
	if j.m.DataDir != "" {
		slices.SortStableFunc(j.puts, func(a, b put) int { return a.dest.order - b.dest.order })
	}
	return nil
}

// isInstallersFile tells whether the installer, and not the wheel, has the say about a file of .dist-info.
func isInstallersFile(name string) bool {
	switch name {
	case "INSTALLER", "REQUESTED", "direct_url.json", "RECORD", "RECORD.jws", "RECORD.p7s":
		return true
	}
	return false
}

// addScripts lists what is made for the entry points and in .dist-info. RECORD
// itself is made last, when the job runs.
func (t *transaction) addScripts(j *job) error {
	points := slices.Concat(consoleScripts(j.m.ConsoleScripts, t.env.Python), j.m.GUIScripts)
	if len(points) > 0 {
		if runtime.GOOS == "windows" {
			return errors.New("has entry points, and their scripts cannot be made on Windows yet")
		}
		d, err := t.scheme(j, t.env.Python.Scripts, "", orderGenerated)
		if err != nil {
			return err
		}
		line := shebang(t.env.Python.Executable, runtime.GOOS)
		for i, e := range points {
			again := func(o wheel.EntryPoint) bool { return o.Name == e.Name }
			if slices.ContainsFunc(points[i+1:], again) {
				continue
			}
			j.puts = append(j.puts, put{job: j, dest: d, name: e.Name, content: entryScript(line, e, t.env.Python.Version), executable: true})
		}
	}
	info := j.dests[j.m.DistInfo]
	if info == nil {
		return fmt.Errorf("%s is not listed", j.m.DistInfo)
	}
	j.puts = append(j.puts, put{job: j, dest: info, name: "INSTALLER", content: []byte("curd\n")})
	if j.item.DirectURL != nil {
		j.puts = append(j.puts, put{job: j, dest: info, name: "direct_url.json", content: j.item.DirectURL})
	}
	if j.item.Requested {
		j.puts = append(j.puts, put{job: j, dest: info, name: "REQUESTED", content: []byte{}})
	}
	return nil
}

// check compares the job's files with what is there and with the other jobs' files.
func (t *transaction) check(j *job) error {
	for i := range j.puts {
		p := &j.puts[i]
		f := p.dest.folder
		if p.dest.staged || !f.exists && !f.shared {
			continue
		}
		path := filepath.Join(f.path, p.name)
		if err := t.checkReserved(f, path, p.name); err != nil {
			return err
		}
		if below := t.site.byReal[path]; below != nil && below.maker != nil {
			return fmt.Errorf("%s is a file, and a folder that %s needs", path, below.maker.m.Name)
		}
		if f.names == nil {
			f.names = map[string]*put{}
		}
		if other := f.names[p.name]; other != nil {
			other.dropped = true
			if other.job != j && !p.same(other) {
				t.options.Warn(fmt.Sprintf("%s and %s both install %s, with different contents: that of %s stays",
					other.job.m.Name, j.m.Name, path, j.m.Name))
			}
		}
		f.names[p.name] = p
		if err := t.clear(f, p.name); err != nil {
			return err
		}
	}
	return nil
}

// checkReserved refuses to replace what makes the environment one.
func (t *transaction) checkReserved(f *folder, path, name string) error {
	p := t.env.Python
	scripts, prefix := t.site.byPath[filepath.Clean(p.Scripts)], t.site.byPath[filepath.Clean(p.Data)]
	switch {
	case f == scripts && wheel.IsInterpreter(name), path == p.Executable:
		return fmt.Errorf("%s: is the environment's interpreter", path)
	case f == prefix && name == "pyvenv.cfg":
		return fmt.Errorf("%s: is the environment's configuration", path)
	case f == t.base && strings.HasPrefix(name, ".curdling"), name == lockName:
		return fmt.Errorf("%s: is the installer's own", path)
	}
	return nil
}

// clear moves what is there out of the way. A folder may only be replaced by a
// file when all that is in it is to be removed.
func (t *transaction) clear(f *folder, name string) error {
	path := filepath.Join(f.path, name)
	kind, there, err := f.entry(name)
	if err != nil {
		return err
	}
	if !there || t.site.moved[path] {
		if !there && f.exists {
			t.journal.Files = append(t.journal.Files, path)
		}
		return nil
	}
	if kind.IsDir() {
		err = filepath.WalkDir(path, func(below string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !t.site.moved[below] {
				err = fmt.Errorf("%s is a folder, with files that belong to nothing that is removed, where a file is to be", path)
			}
			return err
		})
	}
	t.site.moved[path] = true
	return err
}

// same tells whether two puts write the same.
func (p *put) same(q *put) bool {
	if p.bytecode != nil && q.bytecode != nil {
		return true // or the sources are not, which is said of them
	}
	if p.file == nil || q.file == nil {
		return p.file == nil && q.file == nil && bytes.Equal(p.content, q.content) && p.executable == q.executable
	}
	return p.file.SHA256 == q.file.SHA256 && p.executable == q.executable
}
