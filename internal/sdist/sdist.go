// Package sdist opens and unpacks source distributions (PEP 625, PEP 643 and the older customs).
//
// The file's name decides the archive's form: .tar.gz, .tgz, .tar.bz2, .tar or
// .zip. Other compressions (.tar.xz, .tar.Z ...) are refused: no index accepts
// them any more (PEP 527).
//
// An archive is foreign. These are its limits, and each is an error that names the entry:
//
//   - MaxArchive bytes at most, MaxUnpacked bytes when unpacked, and beyond
//     the first 64 MiB not more than 200 times the compressed bytes;
//   - MaxEntries files, folders and links, the folders that are only implied included;
//   - names of at most 1,024 bytes, 255 each part, relative, with slashes; no "..",
//     backslash, NUL or drive letter anywhere;
//   - files, folders and links only: no device, fifo or socket. A symbolic link
//     must be relative and stay inside the archive's root, a hard link must
//     name a file that came before it, and nothing may lie beneath a link
//     (the "data" filter of PEP 706, a little stricter). Links in zips are
//     plain files that hold their target, as they are for pip;
//   - no pax header states a size, nor, for all entries, a name or a link's target:
//     readers of tar archives part ways over these;
//   - nothing is a file and a folder at once. Where a file comes twice, the later one counts.
//
// Of the mode only "somebody may execute it" is kept, under the process's umask; setuid
// bits and owners are dropped. Times are kept for tars (generated sources are
// compared by time), but none in the future.
package sdist

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"curdling/internal/metadata"
)

// The limits of an archive.
const (
	MaxArchive  int64 = 2 << 30 // bytes of the archive itself
	MaxUnpacked int64 = 4 << 30 // bytes of all files together
	MaxMetadata int64 = 4 << 20 // bytes of PKG-INFO
	MaxEntries        = 200_000

	maxRatio   = 200      // unpacked bytes for each byte of the archive,
	ratioFree  = 64 << 20 // not counting the first
	maxName    = 1024     // bytes of a name or a link's target,
	maxSegment = 255      // and of each part of a name
)

// Metadata reads PKG-INFO of the archive's top folder without unpacking it. filename decides the archive's form.
// It is nil, nil where the archive has none. With a *metadata.FieldError comes what could be read. It reads no further than PKG-INFO,
// and the archive need not be sound behind it. Of a zip it reads the directory
// and PKG-INFO only, if r is an io.ReaderAt and an io.Seeker.
func Metadata(r io.Reader, filename string) (*metadata.Metadata, error) {
	var top string
	var found []byte
	err := walk(context.Background(), r, filename, func(e *entry) error {
		first, rest, _ := strings.Cut(e.name, "/")
		if top == "" {
			top = first
		}
		if first != top || rest != "PKG-INFO" || e.kind != file {
			return nil
		}
		var err error
		if found, err = io.ReadAll(io.LimitReader(e.body, MaxMetadata+1)); err != nil {
			return err
		}
		if int64(len(found)) > MaxMetadata {
			return fmt.Errorf("is larger than %d bytes", MaxMetadata)
		}
		return fs.SkipAll
	})
	if err != nil || found == nil {
		return nil, err
	}
	m, err := metadata.Parse(found)
	if err != nil {
		err = fmt.Errorf("%s: %s/PKG-INFO: %w", filename, top, err)
	}
	return m, err
}

// Verify reads the whole archive as Unpack would and writes nothing.
func Verify(r io.Reader, filename string) error {
	t := newTree()
	err := walk(context.Background(), r, filename, func(e *entry) error {
		if err := t.add(e); err != nil || e.kind != file {
			return err
		}
		_, err := io.Copy(io.Discard, e.body)
		return err
	})
	if err != nil {
		return err
	}
	if _, err := t.top(); err != nil {
		return fmt.Errorf("%s: %w", filename, err)
	}
	return nil
}

// Unpack writes the archive into dir and gives the source's top folder: the
// only folder at the archive's root, else dir itself. dir must be empty or
// missing; after an error it is removed.
func Unpack(ctx context.Context, r io.Reader, filename, dir string) (root string, err error) {
	w, err := newWriter(dir)
	if err != nil {
		return "", fmt.Errorf("%s: %w", filename, err)
	}
	defer func() {
		w.root.Close()
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	t := newTree()
	err = walk(ctx, r, filename, func(e *entry) error {
		if err := t.add(e); err != nil {
			return err
		}
		return w.write(e)
	})
	if err != nil {
		return "", err
	}
	top, err := t.top()
	if err != nil {
		return "", fmt.Errorf("%s: %w", filename, err)
	}
	return filepath.Join(dir, filepath.FromSlash(top)), nil
}

// tree holds each entry against those before it.
type tree struct{ kinds map[string]kind }

func newTree() *tree { return &tree{kinds: make(map[string]kind)} }

// add takes an entry in, and the folders that its name implies.
func (t *tree) add(e *entry) error {
	for dir := path.Dir(e.name); dir != "."; dir = path.Dir(dir) {
		switch was := t.kinds[dir]; was {
		case 0:
			t.kinds[dir] = folder
			continue
		case folder:
		default:
			return fmt.Errorf("lies beneath %q, which is a %s", dir, was)
		}
		break // its own folders are known
	}
	was := t.kinds[e.name]
	if was != 0 && (was == folder) != (e.kind == folder) {
		return fmt.Errorf("is a %s and a %s at once", was, e.kind)
	}
	now := e.kind
	if e.kind == hardlink {
		if e.target == e.name || t.kinds[e.target] != file {
			return fmt.Errorf("is a hard link to %q, which is no file before it", e.target)
		}
		now = file
	}
	t.kinds[e.name] = now
	if len(t.kinds) > MaxEntries {
		return fmt.Errorf("is one too many: more than %d files and folders", MaxEntries)
	}
	return nil
}

// top is the only folder at the root, "." where there are several things.
func (t *tree) top() (string, error) {
	top := ""
	for name, k := range t.kinds {
		first, _, nested := strings.Cut(name, "/")
		if top != "" && first != top || !nested && k != folder {
			return ".", nil
		}
		top = first
	}
	if top == "" {
		return "", errors.New("the archive is empty")
	}
	return top, nil
}
