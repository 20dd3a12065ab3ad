package metadata

import "strings"

// solving are the headers that count for a solver.
var solving = map[string]bool{
	"metadata-version": true, "name": true, "version": true, "dynamic": true,
	"requires-dist": true, "requires-python": true, "provides-extra": true,
}

// ForSolving gives the headers of the RFC 822 form that count for a solver, as they stand there. [Parse] reads in
// them what it reads in the whole, save for what is for people.
func ForSolving(b []byte) []byte {
	s, kept := string(b), make([]byte, 0, 1024)
	keep := false
	for pos := 0; pos < len(s); {
		line := firstLine(s[pos:])
		pos += len(line)
		if line[0] != ' ' && line[0] != '\t' && !strings.HasPrefix(line, "From ") {
			colon := strings.IndexByte(line, ':')
			if colon < 0 || !isFieldName(line[:colon]) {
				break
			}
			keep = solving[strings.ToLower(line[:colon])]
		} else if line[0] == 'F' {
			keep = false
		}
		if keep {
			kept = append(kept, line...)
		}
	}
	return kept
}
