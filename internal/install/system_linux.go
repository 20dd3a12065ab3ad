package install

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strings"
	"unsafe"

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
	path  string
	fd    int
	paths []byte // of the last file that was linked from here, to be used again
}

func openRoot(path string) (*root, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &root{path: path, fd: fd}, nil
}

func (r *root) close() { _ = unix.Close(r.fd) }

// at gives a folder as the *at calls want it; what does not lie below the root stays as it is.
func (r *root) at(path string) (fd int, rel string) {
	rest, ok := strings.CutPrefix(path, r.path)
	switch {
	case ok && rest == "":
		return r.fd, "."
	case ok && len(rest) > 1 && rest[0] == '/':
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

// add adds the place's path to b, as the kernel reads it.
func (r *root) add(b []byte, p place) (fd int, _ []byte) {
	fd, dir := r.at(p.dir)
	if dir != "." {
		b = append(append(b, dir...), '/')
	}
	return fd, append(append(b, p.name...), 0)
}

// hardLink is os.Link of files that may lie below the two roots. It allocates nothing, as it is done for each of thousands
// of files: unix.Linkat would copy both paths.
func hardLink(fromRoot *root, from place, toRoot *root, to place) error {
	fromFD, b := fromRoot.add(fromRoot.paths[:0], from)
	second := len(b)
	toFD, b := toRoot.add(b, to)
	fromRoot.paths = b
	errno := unix.EINVAL
	if bytes.Count(b, []byte{0}) == 2 { // the ends of the two
		errno = unix.EINTR
	}
	for errno == unix.EINTR {
		_, _, errno = unix.Syscall6(unix.SYS_LINKAT, uintptr(fromFD), uintptr(unsafe.Pointer(&b[0])), uintptr(toFD), uintptr(unsafe.Pointer(&b[second])), 0, 0)
	}
	if errno != 0 {
		return &os.LinkError{Op: "link", Old: from.path(), New: to.path(), Err: errno}
	}
	return nil
}
