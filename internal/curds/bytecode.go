package curds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"curdling/internal/python"
	"curdling/internal/wheel"
)

// Bytecode is what interpreters of one kind made of a wheel's sources. The zero value is none.
type Bytecode struct {
	Dir   string // holds the files
	Files []BytecodeFile
}

// BytecodeFile is one source's bytecode. It fits a source of the same size and time of modification.
type BytecodeFile struct {
	Source  string    // as the manifest names it: "flask/app.py"
	Path    string    // in Dir, slash-separated: "flask/__pycache__/app.cpython-311.pyc"
	ModTime time.Time // of the source, in whole seconds
	sha256  string    // of the file, as RECORD writes it
}

// Compile makes the bytecode target of a source, as Compiler of package python does.
type Compile func(ctx context.Context, source, target, name string) (ok bool, err error)

// A bytecode folder holds files/ and list, a text: the form, the boot that wrote
// it (as in a tree's manifest), a line for each file, and a checksum of all that.
const bytecodeMagic = "curdling-bytecode 1"

// Bytecode gives the bytecode of a tree that Tree gave, for interpreters of
// py's kind, compiling what was not compiled yet. It is of the sources that
// Python can import: not of scripts, data and headers. A source that does not
// compile has none, nor has one whose bytecode the wheel itself brings. Two
// processes that want one bytecode compile it once.
func (c *Curds) Bytecode(ctx context.Context, t wheel.Tree, py *python.Interpreter, compile Compile) (Bytecode, error) {
	if py.CacheTag == "" {
		return Bytecode{}, nil
	}
	name := "bytecode-" + py.CacheTag + "-" + py.Magic
	dir := filepath.Join(filepath.Dir(t.Dir), name)
	if b, ok := c.readBytecode(dir, t, py.CacheTag); ok {
		return b, nil
	}
	unlock, err := c.Lock(ctx, name+" "+filepath.Base(filepath.Dir(dir)))
	if err != nil {
		return Bytecode{}, err
	}
	defer unlock()
	if b, ok := c.readBytecode(dir, t, py.CacheTag); ok {
		return b, nil
	}
	tmp, err := os.MkdirTemp(c.Temp(), "bytecode-")
	if err != nil {
		return Bytecode{}, c.failed(err)
	}
	defer os.RemoveAll(tmp)
	made := filepath.Join(tmp, "made")
	b, err := c.compile(ctx, t, made, sources(t.Manifest, py.CacheTag), compile)
	if err != nil {
		return Bytecode{}, err
	}
	if other, ok := c.readBytecode(dir, t, py.CacheTag); ok { // where there are no locks
		return other, nil
	}
	if err := os.Rename(dir, filepath.Join(tmp, "old")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Bytecode{}, c.failed(err)
	}
	b.Dir = filepath.Join(dir, "files")
	return b, c.place(made, dir)
}

// sources lists what is to be compiled.
func sources(m wheel.Manifest, tag string) []BytecodeFile {
	there := map[string]bool{}
	for _, f := range m.Files {
		if strings.HasSuffix(f.Path, ".pyc") {
			there[f.Path] = true
		}
	}
	var all []BytecodeFile
	for _, f := range m.Files {
		top, rest, _ := strings.Cut(f.Path, "/")
		key, _, _ := strings.Cut(rest, "/")
		if top == m.DistInfo || top == m.DataDir && key != "purelib" && key != "platlib" {
			continue
		}
		if path, ok := bytecodePath(f.Path, tag); ok && !there[path] {
			all = append(all, BytecodeFile{Source: f.Path, Path: path})
		}
	}
	return all
}

// bytecodePath is PEP 3147's name for the bytecode of a source; false where the file is none.
func bytecodePath(source, tag string) (path string, ok bool) {
	at := strings.LastIndexByte(source, '/') + 1
	stem, ok := strings.CutSuffix(source[at:], ".py")
	return source[:at] + "__pycache__/" + stem + "." + tag + ".pyc", ok && stem != ""
}

// compile makes a bytecode folder.
func (c *Curds) compile(ctx context.Context, t wheel.Tree, dir string, files []BytecodeFile, compile Compile) (Bytecode, error) {
	b := Bytecode{Dir: filepath.Join(dir, "files")}
	if err := os.MkdirAll(b.Dir, 0o755); err != nil {
		return b, c.failed(err)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range files {
		group.Go(func() error { return files[i].compile(groupCtx, t.Dir, b.Dir, compile) })
	}
	if err := group.Wait(); err != nil {
		return b, fmt.Errorf("bytecode of %s %s: %w", t.Manifest.Name, t.Manifest.Version, c.full(err))
	}
	b.Files = slices.DeleteFunc(files, func(f BytecodeFile) bool { return f.sha256 == "" })
	if err := os.WriteFile(filepath.Join(dir, "list"), b.list(c.boot), 0o644); err != nil {
		return b, c.failed(err)
	}
	return b, nil
}

// compile compiles one source. The file stays without hash where that does not go.
func (f *BytecodeFile) compile(ctx context.Context, tree, dir string, compile Compile) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	source, target := filepath.Join(tree, filepath.FromSlash(f.Source)), filepath.Join(dir, filepath.FromSlash(f.Path))
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	f.ModTime = time.Unix(info.ModTime().Unix(), 0)
	ok, err := compile(ctx, source, target, f.Source)
	if ok {
		f.sha256, err = hashFile(target)
	}
	return err
}

func (b Bytecode) list(boot string) []byte {
	text := fmt.Appendf(nil, "%s\n%s\n", bytecodeMagic, boot)
	for _, f := range b.Files {
		text = fmt.Appendf(text, "%d %s %s\n", f.ModTime.Unix(), f.sha256, f.Path)
	}
	return fmt.Appendf(text, "crc32 %08x\n", crc32.ChecksumIEEE(text))
}

// parseBytecodeList reads what list wrote: the boot, and of the files all but Source.
func parseBytecodeList(text []byte) (boot string, files []BytecodeFile, err error) {
	end := bytes.LastIndex(text, []byte("\ncrc32 ")) + 1
	if string(text[end:]) != fmt.Sprintf("crc32 %08x\n", crc32.ChecksumIEEE(text[:end])) {
		return "", nil, errors.New("is damaged")
	}
	magic, rest, _ := strings.Cut(string(text[:end]), "\n")
	boot, rest, ok := strings.Cut(rest, "\n")
	if magic != bytecodeMagic || !ok {
		return "", nil, errors.New("is of another form")
	}
	files = make([]BytecodeFile, 0, strings.Count(rest, "\n"))
	for line := range strings.Lines(rest) {
		seconds, words, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		sum, path, _ := strings.Cut(words, " ")
		n, err := strconv.ParseInt(seconds, 10, 64)
		if err != nil || len(sum) != 43 || !filepath.IsLocal(filepath.FromSlash(path)) {
			return "", nil, fmt.Errorf("wrong line %q", line)
		}
		files = append(files, BytecodeFile{Path: path, ModTime: time.Unix(n, 0), sha256: sum})
	}
	return boot, files, nil
}

// readBytecode reads a bytecode folder; false where there is none that can be
// trusted and fits the tree's files as they are now.
func (c *Curds) readBytecode(dir string, t wheel.Tree, tag string) (b Bytecode, ok bool) {
	b, boot, err := openBytecode(dir)
	if err != nil {
		return b, false
	}
	from := map[string]string{} // by path
	for _, f := range sources(t.Manifest, tag) {
		from[f.Path] = f.Source
	}
	for i := range b.Files {
		f := &b.Files[i]
		f.Source = from[f.Path]
		info, err := os.Stat(filepath.Join(t.Dir, filepath.FromSlash(f.Source)))
		if f.Source == "" || err != nil || info.ModTime().Unix() != f.ModTime.Unix() {
			return b, false
		}
	}
	if boot != durable && boot != c.boot {
		if b.check() != nil {
			return b, false
		}
		_ = writeAtomic(filepath.Join(dir, "list"), b.list(durable))
	}
	return b, true
}

// openBytecode reads a bytecode folder's list.
func openBytecode(dir string) (b Bytecode, boot string, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "list"))
	if err != nil {
		return b, "", err
	}
	b.Dir = filepath.Join(dir, "files")
	boot, b.Files, err = parseBytecodeList(text)
	if err != nil {
		err = fmt.Errorf("%s: %w", filepath.Base(dir), err)
	}
	return b, boot, err
}

// check reads every file and tells whether each is what the list says.
func (b Bytecode) check() error {
	for _, f := range b.Files {
		sum, err := hashFile(filepath.Join(b.Dir, filepath.FromSlash(f.Path)))
		if err != nil {
			return err
		}
		if sum != f.sha256 {
			return fmt.Errorf("%s is not what was compiled any more", f.Path)
		}
	}
	return nil
}
