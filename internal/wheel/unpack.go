package wheel

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Tree is an unpacked wheel on disk: its manifest tells every file, so that nobody need walk it.
type Tree struct {
	Dir      string
	Manifest Manifest
}

// Unpack inflates the wheel into dir (which must be empty or missing), checking every file
// against RECORD on the way; on an error dir is removed. Files are inflated in
// parallel, large ones first. They get the modes that the umask leaves of 0666,
// and of 0777 with all executable bits where the archive has one. Nothing is
// synced to disk: a Tree is a copy of what can be unpacked again.
func (w *Wheel) Unpack(ctx context.Context, dir string) (Tree, error) {
	tree := Tree{Dir: dir, Manifest: w.manifest()}
	if err := makeEmpty(dir); err != nil {
		return Tree{}, fmt.Errorf("%s: %w", w.File.Filename, err)
	}
	err := w.unpack(ctx, tree)
	if err != nil {
		return Tree{}, errors.Join(fmt.Errorf("%s: %w", w.File.Filename, err), os.RemoveAll(dir))
	}
	return tree, nil
}

func (w *Wheel) unpack(ctx context.Context, tree Tree) error {
	for _, folder := range tree.Manifest.Folders {
		if err := os.Mkdir(tree.path(folder), 0o777); err != nil {
			return err
		}
	}
	order := make([]int, len(w.files))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(w.files[j].size, w.files[i].size) })
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range min(runtime.GOMAXPROCS(0), len(order)) {
		group.Go(func() error {
			x := inflaters.Get().(*inflater)
			defer inflaters.Put(x)
			for {
				n := int(next.Add(1)) - 1
				if n >= len(order) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				f, entry := w.files[order[n]], &tree.Manifest.Files[order[n]]
				if err := writeFile(tree, entry, func(out io.Writer) error { return x.copy(out, w.r, f.member) }); err != nil {
					return fmt.Errorf("%s: %w", f.name, err)
				}
			}
		})
	}
	return group.Wait()
}

// manifest lists what Unpack will write. It sorts w.files as the list.
func (w *Wheel) manifest() Manifest {
	slices.SortFunc(w.files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	m := Manifest{
		Name: string(w.File.Name), Version: w.File.Version.String(),
		RootIsPurelib: w.RootIsPurelib, DistInfo: w.DistInfo, DataDir: w.DataDir,
		ConsoleScripts: w.ConsoleScripts, GUIScripts: w.GUIScripts,
		Files: make([]ManifestFile, len(w.files)),
	}
	for i, f := range w.files {
		m.Files[i] = ManifestFile{Path: f.name, Size: f.size, Executable: f.executable()}
		if digest, ok := strings.CutPrefix(f.record.hash, "sha256="); ok {
			m.Files[i].SHA256 = digest
		} else {
			m.Files[i].Hash = f.record.hash
		}
	}
	m.Folders = folders(m.Files)
	return m
}

// folders gives every folder of the files, sorted, so that each comes before what it holds.
func folders(files []ManifestFile) []string {
	seen := map[string]bool{}
	for _, f := range files {
		for p := parent(f.Path); p != "" && !seen[p]; p = parent(p) {
			seen[p] = true
		}
	}
	all := make([]string, 0, len(seen))
	for p := range seen {
		all = append(all, p)
	}
	slices.Sort(all)
	return all
}

// path is a slash-separated path of the tree as the system writes it.
func (t Tree) path(p string) string { return filepath.Join(t.Dir, filepath.FromSlash(p)) }

// writeFile makes one file of the tree from what write writes, holds it against
// the entry, and fills in what of the entry only the content tells.
func writeFile(t Tree, entry *ManifestFile, write func(io.Writer) error) (err error) {
	if !filepath.IsLocal(filepath.FromSlash(entry.Path)) {
		return errors.New("is not a path that this system can have")
	}
	f, err := createAs(t.path(entry.Path), entry.Executable)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	in := newInspector(f, entry)
	if err := write(in); err != nil {
		return err
	}
	return in.complete(t, entry)
}

// createAs makes a new file, which all may execute who may read it, or nobody.
func createAs(path string, executable bool) (io.WriteCloser, error) {
	if !executable {
		return create(path)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o777)
	if err == nil {
		if err = allExecutable(f); err != nil {
			f.Close()
		}
	}
	return f, err
}

// allExecutable sets the executable bits that the umask has taken away.
func allExecutable(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Mode()&0o111 == 0o111 || runtime.GOOS == "windows" {
		return err
	}
	return f.Chmod(info.Mode() | 0o111)
}

// shebang is how a script begins that the installer must point to its interpreter.
const shebang = "#!python"

// An inspector passes a file's content on, and learns from it what the manifest states.
type inspector struct {
	w      io.Writer
	head   []byte // the first bytes, as many as shebang has
	sha256 hash.Hash
	other  hash.Hash // what RECORD uses instead of sha256, or nil
}

func newInspector(w io.Writer, entry *ManifestFile) *inspector {
	return &inspector{w: w, sha256: sha256.New(), other: otherHash(entry.Hash)}
}

func (in *inspector) Write(p []byte) (int, error) {
	if missing := len(shebang) - len(in.head); missing > 0 {
		in.head = append(in.head, p[:min(missing, len(p))]...)
	}
	in.sha256.Write(p)
	if in.other != nil {
		in.other.Write(p)
	}
	return in.w.Write(p)
}

// check compares with RECORD's hash; where that is another one, it sets SHA256.
func (in *inspector) check(entry *ManifestFile) error {
	sum := encode(in.sha256)
	if in.other == nil {
		if sum != entry.SHA256 {
			return fmt.Errorf("has the hash sha256=%s, RECORD says sha256=%s", sum, entry.SHA256)
		}
		return nil
	}
	name, digest, _ := strings.Cut(entry.Hash, "=")
	if got := encode(in.other); got != digest {
		return fmt.Errorf("has the hash %s=%s, RECORD says %s", name, got, entry.Hash)
	}
	entry.SHA256 = sum
	return nil
}

// complete checks the entry, and fills in what of it only the content tells.
func (in *inspector) complete(t Tree, entry *ManifestFile) error {
	entry.Shebang = string(in.head) == shebang && t.Manifest.isScript(entry.Path)
	return in.check(entry)
}

func otherHash(hash string) hash.Hash {
	switch name, _, _ := strings.Cut(hash, "="); name {
	case "sha384":
		return sha512.New384()
	case "sha512":
		return sha512.New()
	}
	return nil
}

func encode(h hash.Hash) string { return base64.RawURLEncoding.EncodeToString(h.Sum(nil)) }

// makeEmpty makes dir, which may exist without content.
func makeEmpty(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("folder %s is not empty", dir)
	}
	return err
}
