package sdist

import (
	"context"
	"io"
	"path"
	"strings"
)

// effort is what a byte of a file costs compilers, beside a byte of C, by the end of its name: as measured with
// common packages, whose crates are many and not in the archive.
var effort = map[string]int64{
	".c": 1, ".h": 1, ".f": 1, ".f90": 1, ".m": 1, ".go": 1, ".cc": 3, ".cpp": 3, ".cxx": 3, ".hpp": 3,
	".pyx": 20, ".rs": 20, "Cargo.lock": 1000,
}

// maxEffort is how many bytes of an archive, and of a file in it, Effort reads.
const maxEffort = 4 << 20

// Effort guesses how long compilers will be busy with an archive, in bytes of C, from the beginning of the archive, tests left out.
// It is 0 where nothing is to be compiled. filename decides the archive's form.
func Effort(r io.Reader, filename string) (total int64) {
	if !strings.HasSuffix(strings.ToLower(filename), ".zip") { // whose directory is at its end
		r = io.LimitReader(r, maxEffort)
	}
	// What cannot be read is the business of those who unpack it.
	_ = walk(context.Background(), r, filename, func(e *entry) error {
		base := path.Base(e.name)
		per := max(effort[strings.ToLower(path.Ext(base))], effort[base])
		if e.kind != file || per == 0 || strings.Contains("/"+e.name, "/test") {
			return nil
		}
		n, err := io.Copy(io.Discard, io.LimitReader(e.body, maxEffort))
		total += per * n
		return err
	})
	return total
}
