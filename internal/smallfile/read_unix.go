//go:build unix

package smallfile

import (
	"errors"
	"syscall"
)

func read(b []byte, path string, limit int64) ([]byte, error) {
	var fd int
	err := retry(func() (err error) {
		fd, err = syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0) // a FIFO does not hold it up
		return err
	})
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	var st syscall.Stat_t
	if err := retry(func() error { return syscall.Fstat(fd, &st) }); err != nil {
		return nil, err
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return nil, errors.New("is no regular file")
	}
	if st.Size > limit {
		return nil, tooLong(limit)
	}
	if size := st.Size + 1; int64(cap(b)) >= size { // the byte too many shows the end in the same call
		b = b[:size]
	} else {
		b = make([]byte, size)
	}
	for n := 0; ; {
		var got int
		err := retry(func() (err error) { got, err = syscall.Read(fd, b[n:]); return err })
		if err != nil {
			return nil, err
		}
		if n += got; got == 0 || n < len(b) && int64(n) >= st.Size {
			return b[:n], nil
		}
		if n == len(b) { // it grew
			if int64(n) > limit {
				return nil, tooLong(limit)
			}
			b = append(b, make([]byte, n)...)
		}
	}
}

// retry repeats what a signal interrupted.
func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
