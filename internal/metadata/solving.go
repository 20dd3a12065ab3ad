package metadata

import (
	"slices"
	"strings"
)

// solving are the headers that count for a solver.
var solving = []string{"metadata-version", "name", "version", "dynamic", "requires-dist", "requires-python", "provides-extra"}

// forSolving gives the name of such a header in lower case, "" for another.
func forSolving(name string) string {
	if i := slices.IndexFunc(solving, func(s string) bool { return len(s) == len(name) && strings.EqualFold(s, name) }); i >= 0 {
		return solving[i]
	}
	return ""
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
			keep = forSolving(line[:colon]) != ""
		} else if line[0] == 'F' {
			keep = false
		}
		if keep {
			kept = append(kept, line...)
		}
	}
	return kept
}

// ParseForSolving is [Parse] that gives nothing but what counts for a solver: MetadataVersion, RawName, Name, Version,
// RequiresPython, RequiresDist, ProvidesExtra and Dynamic.
func ParseForSolving(b []byte) (*Metadata, error) { return parse(b, forSolving) }
