package wheel

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// UnpackTarball is [Wheel.Unpack] for a wheel's tarball, which it reads from r while it unpacks: size is how many
// bytes it has, and filename the wheel's. The tree and its manifest are those that the wheel gives. What it verifies is
// what [Open] does, in RECORD's sizes and names too, and nothing that WriteTarball would not have written is taken. But it
// does not hash files, except those whose hash in RECORD is no sha256 and scripts: whoever calls it has a hash of r. After
// an error dir is removed.
func UnpackTarball(ctx context.Context, r io.Reader, size int64, filename, dir string) (Tree, error) {
	tree := Tree{Dir: dir}
	err := makeEmpty(dir)
	if err == nil {
		if tree.Manifest, err = untar(ctx, r, size, filename, dir); err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	if err != nil {
		return Tree{}, fmt.Errorf("%s: %w", filename+TarballSuffix, err)
	}
	return tree, nil
}

func untar(ctx context.Context, r io.Reader, size int64, filename, dir string) (Manifest, error) {
	var w Wheel
	if err := w.named(filename); err != nil {
		return Manifest{}, err
	}
	u := &unpacker{ctx: ctx, dir: dir, size: size, folders: map[string]bool{"": true}, kept: map[string]*bytes.Buffer{}}
	if err := u.read(r); err != nil {
		return Manifest{}, err
	}
	a := &archive{members: u.members, content: u.content}
	if err := w.findFolders(a); err != nil {
		return Manifest{}, err
	}
	if err := w.check(a, size); err != nil {
		return Manifest{}, err
	}
	if len(w.files)+1 != len(u.members) {
		return Manifest{}, errors.New("holds a signature of RECORD, which has no place in it")
	}
	m := w.manifest()
	for i := range m.Files {
		if f := &m.Files[i]; f.Hash != "" || m.isScript(f.Path) {
			if err := inspect(Tree{dir, m}, f); err != nil {
				return m, fmt.Errorf("%s: %w", f.Path, err)
			}
		}
	}
	return m, nil
}

// inspect holds a file of the tree against its entry, and fills in what of that only the content tells.
func inspect(t Tree, entry *ManifestFile) error {
	f, err := os.Open(t.path(entry.Path))
	if err != nil {
		return err
	}
	defer f.Close()
	in := newInspector(io.Discard, entry)
	if _, err := io.Copy(in, f); err != nil {
		return err
	}
	return in.complete(t, entry)
}

// decoders are for one window of MaxWindow at most, and work in the goroutine of who reads.
var decoders = sync.Pool{New: func() any {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(MaxWindow), zstd.IgnoreChecksum(true))
	if err != nil {
		panic(err) // the options are right
	}
	return z
}}

// An unpacker writes the files of a tar that is written to it. It understands what WriteTarball writes, and no more.
type unpacker struct {
	ctx     context.Context
	dir     string
	size    int64           // of the tarball
	total   int64           // of the files so far
	folders map[string]bool // that were made
	members []member
	kept    map[string]*bytes.Buffer // what must be read, by name
	info    string                   // .dist-info, once one of its files came

	header [tarBlock]byte
	filled int   // bytes of it
	left   int64 // bytes of the entry that are to come
	pad    int64 // and those that fill its last block
	zeros  int   // blocks of zeros; the second one is the end

	file io.WriteCloser // the entry's, nil: it is not written
	copy *bytes.Buffer  // of the entry, nil: there is none
	long *bytes.Buffer  // the pax header of the entry that follows, nil: it has none
}

const maxPax = 2 * MaxPath // bytes of a pax header

// read takes the whole tar.
func (u *unpacker) read(r io.Reader) error {
	z := decoders.Get().(*zstd.Decoder)
	defer decoders.Put(z)
	err := z.Reset(r)
	if err == nil {
		_, err = z.WriteTo(u)
	}
	_ = z.Reset(nil) // lets go of r
	if u.file != nil {
		err = errors.Join(err, u.file.Close())
	}
	if err == nil && (u.zeros < 2 || u.filled > 0) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (u *unpacker) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		part := p[n:]
		switch {
		case u.left > 0:
			part = part[:min(u.left, int64(len(part)))]
			u.left -= int64(len(part))
			err = u.take(part)
		case u.pad > 0:
			part = part[:min(u.pad, int64(len(part)))]
			u.pad -= int64(len(part))
			if !isZero(part) {
				err = errors.New("hidden data between the files")
			}
		default:
			part = part[:copy(u.header[u.filled:], part)]
			if u.filled += len(part); u.filled == tarBlock {
				u.filled = 0
				err = u.begin()
			}
		}
		n += len(part)
	}
	return n, err
}

// take takes a part of an entry, which may be its end.
func (u *unpacker) take(part []byte) error {
	if u.copy != nil {
		u.copy.Write(part)
	}
	if u.file == nil {
		return nil
	}
	if _, err := u.file.Write(part); err != nil || u.left > 0 {
		return err
	}
	return u.close()
}

func (u *unpacker) close() error {
	err := u.file.Close()
	u.file = nil
	return err
}

// begin reads a header.
func (u *unpacker) begin() error {
	if err := u.ctx.Err(); err != nil {
		return err
	}
	if u.zeros > 0 || isZero(u.header[:]) {
		if u.zeros++; u.zeros > 2 || !isZero(u.header[:]) || u.long != nil {
			return errors.New("data follow its end")
		}
		return nil
	}
	h, err := parseTarHeader(&u.header)
	if err != nil {
		return fmt.Errorf("file %d: %w", len(u.members)+1, err)
	}
	u.left, u.pad, u.copy = h.size, -h.size&(tarBlock-1), nil
	if h.pax {
		if u.long != nil || h.size > maxPax {
			return errors.New("two pax headers for a file, or a large one")
		}
		u.long = new(bytes.Buffer)
		u.copy = u.long
		return nil
	}
	if u.long != nil {
		if h.name, err = parsePax(u.long.Bytes()); err != nil {
			return err
		}
		u.long = nil
	}
	if err := u.create(h); err != nil {
		return fmt.Errorf("%.*q: %w", MaxPath, h.name, err)
	}
	return nil
}

// create makes a file, or what is kept in its place.
func (u *unpacker) create(h tarHead) error {
	m := member{name: h.name, size: h.size, mode: typeFile | h.mode}
	if err := u.admit(&m); err != nil {
		return err
	}
	u.members = append(u.members, m)
	top, name, _ := strings.Cut(m.name, "/")
	if u.info == "" && strings.HasSuffix(top, ".dist-info") && name != "" {
		u.info = top
	}
	if top == u.info {
		if limit := readable[name]; limit > 0 {
			if m.size > limit {
				return fmt.Errorf("%d bytes, at most %d are allowed", m.size, limit)
			}
			u.copy = new(bytes.Buffer)
			u.kept[m.name] = u.copy
		}
		if name == record {
			return nil
		}
	}
	if err := u.makeFolder(parent(m.name)); err != nil {
		return err
	}
	var err error
	u.file, err = createAs(u.dir+string(filepath.Separator)+filepath.FromSlash(m.name), m.executable())
	if err != nil {
		u.file = nil
		return err
	}
	if m.size == 0 {
		return u.close()
	}
	return nil
}

const record = "RECORD"

// readable are the files of .dist-info that say what the wheel is, and how many bytes each may have.
var readable = map[string]int64{"METADATA": MaxMetadata, "WHEEL": MaxMetadata, "entry_points.txt": MaxMetadata, record: MaxRecord}

// admit tells why a file cannot come next.
func (u *unpacker) admit(m *member) error {
	if err := checkPath(m.name); err != nil {
		return err
	}
	if !filepath.IsLocal(filepath.FromSlash(m.name)) {
		return errors.New("is not a path that this system can have")
	}
	if n := len(u.members); n > 0 {
		last := u.members[n-1].name
		if u.kept[u.info+"/"+record] != nil {
			return errors.New("comes after RECORD, which is to be the last")
		}
		if m.name <= last && m.name != u.info+"/"+record {
			return fmt.Errorf("comes after %q, which is not the order of the names", last)
		}
	}
	u.total += m.size
	switch {
	case len(u.members) == MaxMembers:
		return fmt.Errorf("more than %d files", MaxMembers)
	case m.size > MaxFile:
		return fmt.Errorf("%d bytes, at most %d are allowed", m.size, MaxFile)
	}
	return checkRatio(u.total, u.size)
}

func (u *unpacker) makeFolder(folder string) error {
	if u.folders[folder] {
		return nil
	}
	if err := u.makeFolder(parent(folder)); err != nil {
		return err
	}
	u.folders[folder] = true
	return os.Mkdir(filepath.Join(u.dir, filepath.FromSlash(folder)), 0o777)
}

// content gives a file that was kept.
func (u *unpacker) content(m *member, limit int64) ([]byte, error) {
	b := u.kept[m.name]
	if b == nil || m.size > limit {
		return nil, fmt.Errorf("%s: cannot be read", m.name)
	}
	return b.Bytes(), nil
}

// A tarHead is what a header of the tar says.
type tarHead struct {
	name string // "" of a pax header
	size int64
	mode uint32
	pax  bool
}

// parseTarHeader reads a ustar header of a regular file or a pax header.
func parseTarHeader(b *[tarBlock]byte) (h tarHead, err error) {
	const chksum, typeflag, linkname, magic, prefix = 148, 156, 157, 257, 345
	sum := int64(8 * ' ')
	for i, c := range b {
		if i < chksum || i >= typeflag {
			sum += int64(c)
		}
	}
	stated, errSum := octal(b[chksum:typeflag])
	size, errSize := octal(b[124:136])
	mode, errMode := octal(b[100:108])
	switch {
	case errSum != nil || errSize != nil || errMode != nil || stated != sum:
		return h, errors.New("its header is damaged")
	case string(b[magic:][:8]) != "ustar\x0000":
		return h, errors.New("its header is not ustar's")
	case b[typeflag] == tar.TypeXHeader:
		return tarHead{size: size, pax: true}, nil
	case b[typeflag] != tar.TypeReg || !isZero(b[linkname:magic]):
		return h, fmt.Errorf("is a link, folder, device or other special file (type %q)", b[typeflag])
	case mode != modeFile && mode != modeExec:
		return h, fmt.Errorf("has mode %o, which is none of %o and %o", mode, modeFile, modeExec)
	}
	h = tarHead{name: cString(b[:100]), size: size, mode: uint32(mode)}
	if p := cString(b[prefix:500]); p != "" {
		h.name = p + "/" + h.name
	}
	return h, nil
}

// parsePax reads the one record that a pax header may have: "LENGTH path=NAME\n".
func parsePax(b []byte) (name string, err error) {
	length, rest, _ := strings.Cut(string(b), " ")
	name, ok := strings.CutPrefix(rest, "path=")
	name, end := strings.CutSuffix(name, "\n")
	if n, err := strconv.Atoi(length); err != nil || n != len(b) || !ok || !end {
		return "", errors.New("a pax header that states something else than a path")
	}
	return name, nil
}

// octal reads a number of a header: digits up to a NUL or a space.
func octal(b []byte) (int64, error) {
	end := bytes.IndexAny(b, "\x00 ")
	n, err := strconv.ParseUint(string(b[:max(end, 0)]), 8, 63)
	return int64(n), err
}

func cString(b []byte) string {
	text, _, _ := bytes.Cut(b, []byte{0})
	return string(text)
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
