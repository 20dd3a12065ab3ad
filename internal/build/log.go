package build

import (
	"fmt"
	"os"
)

const (
	maxLog   = 64 << 20 // bytes of a log's file
	keptTail = 64 << 10 // bytes of its end, kept at hand
)

// buildLog keeps the first maxLog bytes in a file, and the last ones at hand
// for the message of an error. Its writes never fail: a full disk must not
// stop a build that may yet be well.
type buildLog struct {
	file *os.File
	n    int64
	tail []byte
}

func (l *buildLog) Write(p []byte) (int, error) {
	if room := maxLog - l.n; room > 0 {
		_, _ = l.file.Write(p[:min(int64(len(p)), room)])
	}
	l.n += int64(len(p))
	if l.tail = append(l.tail, p...); len(l.tail) > 2*keptTail {
		l.tail = append(l.tail[:0], l.tail[len(l.tail)-keptTail:]...)
	}
	return len(p), nil
}

// Close ends the file; of a log that was too long it keeps the end too.
func (l *buildLog) Close() error {
	if l.n > maxLog {
		fmt.Fprintf(l.file, "\n[the log had %d bytes; its end:]\n%s", l.n, l.tail)
	}
	return l.file.Close()
}
