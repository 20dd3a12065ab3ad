//go:build unix

package wheel

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// create makes a new file that is not executable. It takes one system call where os.OpenFile takes three: it need not be tried whether
// the file can be polled.
func create(path string) (io.WriteCloser, error) {
	for {
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o666)
		if err == nil {
			return newFile(fd), nil
		}
		if err != unix.EINTR {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// newFile is a file descriptor.
type newFile int

func (f newFile) Write(p []byte) (n int, err error) {
	for n < len(p) {
		m, err := unix.Write(int(f), p[n:min(len(p), n+1<<30)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return n, os.NewSyscallError("write", err)
		default:
			n += m
		}
	}
	return n, nil
}

func (f newFile) Close() error { return os.NewSyscallError("close", unix.Close(int(f))) }
