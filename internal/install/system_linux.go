package install

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// clone makes a file that shares its blocks with from (ioctl_ficlone(2)).
func clone(from, to string, perm fs.FileMode) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	return create(to, perm, func(dst *os.File) error {
		return unix.IoctlFileClone(int(dst.Fd()), int(src.Fd()))
	})
}

// A root is a folder in which much is made or linked. The kernel finds that by the root's handle, and
// does not walk the whole path for each of thousands of files.
type root struct {
	path string
	fd   int
}

func openRoot(path string) (*root, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &root{path, fd}, nil
}

func (r *root) close() { _ = unix.Close(r.fd) }

// at gives a path as the *at calls want it; what does not lie below the root stays as it is.
func (r *root) at(path string) (fd int, rel string) {
	if rest, ok := strings.CutPrefix(path, r.path); ok && len(rest) > 1 && rest[0] == '/' {
		return r.fd, rest[1:]
	}
	return unix.AT_FDCWD, path
}

// mkdir is os.Mkdir of a folder that may lie below the root.
func (r *root) mkdir(path string, perm fs.FileMode) error {
	fd, rel := r.at(path)
	for {
		err := unix.Mkdirat(fd, rel, uint32(perm))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			err = &os.PathError{Op: "mkdir", Path: path, Err: err}
		}
		return err
	}
}

// hardLink is os.Link of files that may lie below the two roots.
func hardLink(fromRoot *root, from string, toRoot *root, to string) error {
	fromFD, fromRel := fromRoot.at(from)
	toFD, toRel := toRoot.at(to)
	for {
		err := unix.Linkat(fromFD, fromRel, toFD, toRel, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			err = &os.LinkError{Op: "link", Old: from, New: to, Err: err}
		}
		return err
	}
}
