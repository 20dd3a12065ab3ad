package sdist

import (
	"archive/tar"
	"archive/zip"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

type kind uint8

const (
	file kind = iota + 1
	folder
	symlink
	hardlink
)

func (k kind) String() string {
	return [...]string{"thing unknown", "file", "folder", "symbolic link", "hard link"}[k]
}

// entry is one member of an archive, its name and target found harmless by themselves.
type entry struct {
	name   string // clean, relative, slash-separated
	kind   kind
	target string // of a symbolic link: relative to its folder; of a hard link: a name
	exec   bool
	mtime  time.Time // zero: now
	body   io.Reader // of a file
}

// walk calls visit for each entry in the archive's order; visit may return
// fs.SkipAll to end it. Errors of visit are taken to be about the entry.
func walk(ctx context.Context, r io.Reader, filename string, visit func(*entry) error) error {
	lower := strings.ToLower(filename)
	ends := func(suffixes ...string) bool {
		for _, s := range suffixes {
			if strings.HasSuffix(lower, s) {
				return true
			}
		}
		return false
	}
	in := &counter{r: r, max: MaxArchive}
	var err error
	switch {
	case ends(".zip"):
		err = walkZip(ctx, r, visit)
	case ends(".tar.gz", ".tgz"):
		var z *gzip.Reader
		if z, err = gzip.NewReader(in); err == nil {
			err = walkTar(&budget{ctx: ctx, in: in.count}, z, visit)
		}
	case ends(".tar.bz2", ".tbz"):
		err = walkTar(&budget{ctx: ctx, in: in.count}, bzip2.NewReader(in), visit)
	case ends(".tar"):
		err = walkTar(&budget{ctx: ctx, in: in.count}, in, visit)
	default:
		err = errors.New("not a source archive that is supported (.tar.gz, .tgz, .tar.bz2, .tar, .zip); repack it as .tar.gz")
	}
	if err != nil && !errors.Is(err, fs.SkipAll) {
		return fmt.Errorf("%s: %w", filename, err)
	}
	return nil
}

func walkTar(b *budget, r io.Reader, visit func(*entry) error) error {
	whole := &bounded{r: r, budget: b}      // headers and all
	bodies := &budget{ctx: b.ctx, in: b.in} // the holes of sparse files too
	t := tar.NewReader(whole)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return drain(whole)
		}
		if err != nil {
			return err
		}
		if err := checkPax(h); err != nil {
			return fmt.Errorf("%q: %w", h.Name, err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		e, err := tarEntry(h)
		if err == nil && e.name != "." {
			e.body = &bounded{r: t, budget: bodies}
			err = visit(e)
		}
		if err != nil {
			return fmt.Errorf("%q: %w", h.Name, err)
		}
	}
}

// checkPax refuses what readers of tar archives do not agree about: a pax header
// for all entries that names or measures them, which some heed, and a size in a
// pax header, by which some do not find the next entry. No archive needs them
// that is within the limits.
func checkPax(h *tar.Header) error {
	refused := []string{"size"}
	if h.Typeflag == tar.TypeXGlobalHeader {
		refused = []string{"size", "path", "linkpath"}
	}
	for _, key := range refused {
		if _, there := h.PAXRecords[key]; there {
			return fmt.Errorf("has a %s in a pax header, which readers do not agree about; repack it without", key)
		}
	}
	return nil
}

// drain reads to the end, so that the compression's checksum is compared.
// Bytes that follow a whole gzip are ignored, as everybody does.
func drain(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	if errors.Is(err, gzip.ErrHeader) {
		return nil
	}
	return err
}

func tarEntry(h *tar.Header) (e *entry, err error) {
	e = &entry{exec: h.Mode&0o111 != 0, mtime: h.ModTime}
	if e.name, err = cleanName(h.Name); err != nil {
		return nil, err
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		e.kind = file
	case tar.TypeDir:
		e.kind = folder
	case tar.TypeSymlink:
		e.kind = symlink
		e.target, err = cleanTarget(e.name, h.Linkname)
	case tar.TypeLink:
		e.kind = hardlink
		if e.target, err = cleanName(h.Linkname); err != nil {
			err = fmt.Errorf("the hard link's target %q %w", h.Linkname, err)
		}
	default:
		err = fmt.Errorf("is a device, a fifo or something unknown (type %q)", h.Typeflag)
	}
	return e, err
}

func walkZip(ctx context.Context, r io.Reader, visit func(*entry) error) error {
	at, size, closeIt, err := readerAt(r)
	if err != nil {
		return err
	}
	defer closeIt()
	// A directory of 16 MiB has room for MaxEntries, and bounds what the reader remembers.
	limited := &limitedAt{r: at, left: 16 << 20}
	z, err := zip.NewReader(limited, size)
	if err != nil {
		return err
	}
	limited.left = -1
	b := &budget{ctx: ctx, in: func() int64 { return size }}
	for _, f := range z.File {
		if err := visitZip(f, b, visit); err != nil {
			return fmt.Errorf("%q: %w", f.Name, err)
		}
	}
	return nil
}

func visitZip(f *zip.File, b *budget, visit func(*entry) error) error {
	name, err := cleanName(f.Name)
	if err != nil || name == "." {
		return err
	}
	if strings.HasSuffix(f.Name, "/") {
		return visit(&entry{name: name, kind: folder})
	}
	if f.Flags&1 != 0 {
		return errors.New("is encrypted")
	}
	body, err := f.Open()
	if err != nil {
		return err
	}
	defer body.Close()
	const regular, format = 0o100000, 0o170000
	mode := f.ExternalAttrs >> 16
	return visit(&entry{
		name: name,
		kind: file,
		exec: mode&format == regular && mode&0o111 != 0,
		body: &bounded{r: body, budget: b},
	})
}

// cleanName checks an entry's name and takes "./" and doubled slashes out of it.
func cleanName(raw string) (string, error) {
	if err := checkPath(raw); err != nil {
		return "", err
	}
	for segment := range strings.SplitSeq(raw, "/") {
		switch {
		case segment == "..":
			return "", errors.New("has a \"..\" in its name")
		case len(segment) > maxSegment:
			return "", fmt.Errorf("a part of its name is longer than %d bytes", maxSegment)
		}
	}
	name := path.Clean(raw)
	if _, err := filepath.Localize(name); err != nil {
		return "", errors.New("is no name that this system allows")
	}
	return name, nil
}

// cleanTarget gives the target of the symbolic link name without a ".." except
// at its start, so that it leads where it seems to, whatever other links there are.
func cleanTarget(name, raw string) (string, error) {
	if err := checkPath(raw); err != nil {
		return "", fmt.Errorf("the link's target %q %w", raw, err)
	}
	target := path.Clean(raw)
	if !filepath.IsLocal(path.Join(path.Dir(name), target)) {
		return "", fmt.Errorf("is a link to %q, outside of the archive", raw)
	}
	return target, nil
}

func checkPath(raw string) error {
	switch {
	case raw == "":
		return errors.New("has no name")
	case len(raw) > maxName:
		return fmt.Errorf("is longer than %d bytes", maxName)
	case strings.ContainsAny(raw, "\\\x00"):
		return errors.New("has a backslash or NUL in its name")
	case raw[0] == '/', len(raw) > 1 && raw[1] == ':':
		return errors.New("is an absolute path")
	}
	return nil
}

// budget bounds what may come out of an archive.
type budget struct {
	ctx context.Context
	in  func() int64 // bytes of the archive read so far
	out int64
}

// bounded is a reader that spends from a budget.
type bounded struct {
	r      io.Reader
	budget *budget
}

func (b *bounded) Read(p []byte) (int, error) {
	if err := b.budget.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.r.Read(p)
	b.budget.out += int64(n)
	if out := b.budget.out; out > MaxUnpacked {
		return 0, fmt.Errorf("the archive unpacks to more than %d bytes", MaxUnpacked)
	} else if out > ratioFree && (out-ratioFree)/maxRatio > b.budget.in() {
		return 0, fmt.Errorf("the archive unpacks to more than %d times its size", maxRatio)
	}
	return n, err
}

// counter counts the bytes that come through it, and allows max of them.
type counter struct {
	r      io.Reader
	n, max int64
}

func (c *counter) count() int64 { return c.n }

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.n += int64(n); c.n > c.max {
		return 0, fmt.Errorf("the archive is larger than %d bytes", c.max)
	}
	return n, err
}

// readerAt gives random access to r: its own, or through a temporary file that closeIt removes.
func readerAt(r io.Reader) (at io.ReaderAt, size int64, closeIt func(), err error) {
	type random interface {
		io.ReaderAt
		io.Seeker
	}
	if f, ok := r.(random); ok {
		if size, err = f.Seek(0, io.SeekEnd); err != nil {
			return nil, 0, nil, err
		}
		if size > MaxArchive {
			return nil, 0, nil, fmt.Errorf("the archive is larger than %d bytes", MaxArchive)
		}
		return f, size, func() {}, nil
	}
	f, err := os.CreateTemp("", "sdist-*.zip")
	if err != nil {
		return nil, 0, nil, err
	}
	closeIt = func() {
		f.Close()
		os.Remove(f.Name())
	}
	if size, err = io.Copy(f, &counter{r: r, max: MaxArchive}); err != nil {
		closeIt()
		return nil, 0, nil, err
	}
	return f, size, closeIt, nil
}

// limitedAt allows so many bytes to be read; any number where left is negative.
type limitedAt struct {
	r    io.ReaderAt
	left int
}

func (l *limitedAt) ReadAt(p []byte, off int64) (int, error) {
	if l.left >= 0 {
		if l.left -= len(p); l.left < 0 {
			return 0, errors.New("the zip's directory is too large")
		}
	}
	return l.r.ReadAt(p, off)
}
