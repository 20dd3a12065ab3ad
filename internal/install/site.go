package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A site is what one Apply knows of the environment's folders. Each is read
// once; what lies below a folder that does not exist is known without asking.
type site struct {
	roots  []string           // where the environment's own folders are, links resolved
	bases  map[string]bool    // the same as the interpreter names them
	byPath map[string]*folder // by any path that was asked for
	byReal map[string]*folder // by folder.path
	moved  map[string]bool    // files and folders that will be out of the way, links resolved but for the last segment
}

// A folder of the environment, there or to be made.
type folder struct {
	path    string // links resolved
	parent  *folder
	exists  bool
	device  uint64                 // the file system's number, of the parent where the folder does not exist
	entries map[string]fs.FileMode // type bits of what is in it; nil before it was read

	maker  *job            // which job makes it; nil where none does
	early  bool            // several jobs need it: it is made before they start
	shared bool            // several folders of wheels lead here: names are compared
	names  map[string]*put // what is put here, where names are compared
}

func newSite(env Env) (*site, error) {
	s := &site{bases: map[string]bool{}, byPath: map[string]*folder{}, byReal: map[string]*folder{}, moved: map[string]bool{}}
	p := env.Python
	for _, dir := range []string{p.Purelib, p.Platlib, p.Scripts, p.Data, p.Include} {
		if dir != "" {
			s.bases[filepath.Clean(dir)] = true
		}
	}
	for dir := range s.bases {
		f, err := s.folder(dir)
		if err != nil {
			return nil, err
		}
		s.roots = append(s.roots, f.path)
	}
	return s, nil
}

// errNotFolder is a file, or a link to one, where a folder is needed.
var errNotFolder = errors.New("is a file where a folder is needed")

// folder finds a folder by its absolute, clean path.
func (s *site) folder(path string) (*folder, error) {
	if f := s.byPath[path]; f != nil {
		return f, nil
	}
	f, err := s.find(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if known := s.byReal[f.path]; known != nil {
		f = known
	} else {
		s.byReal[f.path] = f
	}
	s.byPath[path] = f
	return f, nil
}

func (s *site) find(path string) (*folder, error) {
	if at := strings.LastIndexByte(path, filepath.Separator); at > 0 {
		if parent := s.byPath[path[:at]]; parent != nil && !parent.exists {
			return &folder{path: parent.path + path[at:], parent: parent, device: parent.device}, nil
		}
	}
	up := filepath.Dir(path)
	if s.bases[path] || up == path || !s.below(path) {
		if f, err := resolve(path); err == nil || !errors.Is(err, fs.ErrNotExist) || up == path {
			return f, err
		}
	}
	parent, err := s.folder(up)
	if err != nil {
		return nil, err
	}
	f := &folder{path: filepath.Join(parent.path, filepath.Base(path)), parent: parent, device: parent.device}
	if s.moved[f.path] {
		return f, nil
	}
	kind, there, err := parent.entry(filepath.Base(path))
	switch {
	case err != nil:
		return nil, err
	case !there:
		return f, nil
	case kind.IsDir():
		return existing(f.path)
	case kind&fs.ModeSymlink != 0:
		return resolve(f.path)
	}
	return nil, errNotFolder
}

// resolve gives an existing folder, whose parent does not matter.
func resolve(path string) (*folder, error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	return existing(real)
}

func existing(real string) (*folder, error) {
	info, err := os.Stat(real)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, errNotFolder
	}
	return &folder{path: real, exists: true, device: deviceOf(info)}, nil
}

// below tells whether path lies in one of the folders that the interpreter names.
func (s *site) below(path string) bool {
	for base := range s.bases {
		if within(path, base) {
			return true
		}
	}
	return false
}

// owns tells whether the folder belongs to the environment, wherever links led.
func (s *site) owns(f *folder) bool {
	for _, root := range s.roots {
		if f.path == root || within(f.path, root) {
			return true
		}
	}
	return false
}

// within tells whether path lies below dir; both are clean.
func within(path, dir string) bool {
	return len(path) > len(dir) && strings.HasPrefix(path, dir) &&
		(path[len(dir)] == filepath.Separator || dir[len(dir)-1] == filepath.Separator)
}

// entry tells of what type the entry of that name is, if there is one.
func (f *folder) entry(name string) (kind fs.FileMode, there bool, err error) {
	if !f.exists {
		return 0, false, nil
	}
	if f.entries == nil {
		entries, err := os.ReadDir(f.path)
		if err != nil {
			return 0, false, err
		}
		f.entries = make(map[string]fs.FileMode, len(entries))
		for _, e := range entries {
			f.entries[e.Name()] = e.Type()
		}
	}
	kind, there = f.entries[name]
	return kind, there, nil
}
