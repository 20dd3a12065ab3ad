package wheel

import (
	"encoding/base64"
	"encoding/csv"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A recordRow is what RECORD says of one path.
type recordRow struct {
	hash string // "sha256=...", "" where none is stated
	size int64  // -1 where none is stated
}

// digestLength are the hash algorithms that RECORD may use, by the digest's bytes.
var digestLength = map[string]int{"sha256": 32, "sha384": 48, "sha512": 64}

// parseRecord reads a RECORD file. A path that stands there twice with
// different words is an error.
func parseRecord(text string) (map[string]recordRow, error) {
	rows := make(map[string]recordRow, strings.Count(text, "\n")+1)
	for n, rest := 1, text; rest != ""; n++ {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			continue
		}
		path, row, err := parseRow(line)
		if err != nil {
			return nil, fmt.Errorf("RECORD:%d: %w", n, err)
		}
		if known, ok := rows[path]; ok && known != row {
			return nil, fmt.Errorf("RECORD:%d: %s is listed twice with different hashes or sizes", n, path)
		}
		rows[path] = row
		if len(rows) > MaxMembers {
			return nil, fmt.Errorf("RECORD has more than %d rows", MaxMembers)
		}
	}
	return rows, nil
}

func parseRow(line string) (path string, row recordRow, err error) {
	fields, err := splitRow(line)
	if err != nil {
		return "", row, err
	}
	path, row.hash, row.size = fields[0], fields[1], -1
	if row.hash != "" {
		if err := checkHash(row.hash); err != nil {
			return "", row, fmt.Errorf("%s: %w", path, err)
		}
	}
	if fields[2] != "" {
		if row.size, err = strconv.ParseInt(fields[2], 10, 64); err != nil || row.size < 0 {
			return "", row, fmt.Errorf("%s: wrong size %q", path, fields[2])
		}
	}
	return path, row, nil
}

// splitRow parts a line of CSV (RFC 4180) into three fields.
func splitRow(line string) (fields [3]string, err error) {
	if strings.Contains(line, `"`) {
		r := csv.NewReader(strings.NewReader(line))
		parts, err := r.Read()
		if err != nil || len(parts) > len(fields) {
			return fields, errors.New("not a row of path, hash and size")
		}
		copy(fields[:], parts)
		return fields, nil
	}
	path, rest, _ := strings.Cut(line, ",")
	hash, size, _ := strings.Cut(rest, ",")
	if strings.Contains(size, ",") {
		return fields, errors.New("more than three fields")
	}
	return [3]string{path, hash, size}, nil
}

// checkHash refuses other algorithms than digestLength's and digests that are
// not urlsafe base64 without padding of the right length.
func checkHash(hash string) error {
	name, digest, _ := strings.Cut(hash, "=")
	want, ok := digestLength[name]
	if !ok {
		return fmt.Errorf("hash algorithm %q is not one of sha256, sha384, sha512", name)
	}
	got, err := base64.RawURLEncoding.Strict().DecodeString(digest)
	if err != nil || len(got) != want {
		return fmt.Errorf("%q is not a %s digest in urlsafe base64 without padding", digest, name)
	}
	return nil
}

// RecordPaths gives the paths that a RECORD lists, in its order and as they
// stand there: of an installed distribution they may lead upwards.
func RecordPaths(text string) ([]string, error) {
	paths := make([]string, 0, strings.Count(text, "\n")+1)
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		fields, err := splitRow(line)
		if err != nil {
			return nil, fmt.Errorf("RECORD:%d: %w", len(paths)+1, err)
		}
		paths = append(paths, fields[0])
	}
	return paths, nil
}
