package requirement

import (
	"encoding/json"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/dist"
	"curdling/internal/vectortest"
)

// TestVectors holds requirements against what packaging makes of them,
// arguments and files against what pip does, and dependency groups against
// dependency-groups (testdata/vectors.py, which tells the form of the lines).
func TestVectors(t *testing.T) {
	t.Setenv("VECTOR", "1.0")
	counts := map[string]int{}
	for line := range vectortest.Lines(t, "requirement") {
		var vector []any
		if err := json.Unmarshal(line, &vector); err != nil {
			t.Fatal(err)
		}
		what, input, want := vector[0].(string), vector[1], vector[2]
		counts[what]++
		var got any
		var err error
		switch what {
		case "parse":
			got, err = parseVector(input.(string))
		case "argument":
			got, err = argumentVector(input.([]any))
		case "file":
			got, err = fileVector(input.(map[string]any))
		case "group":
			got, err = groupVector(input.([]any))
		}
		if err != nil {
			got = nil
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s %q: %v (-theirs +ours):\n%s", what, input, err, diff)
		}
	}
	if counts["parse"] < 2000 || counts["argument"] < 2000 || counts["file"] < 1000 || counts["group"] < 500 {
		t.Errorf("too few vectors: %v", counts)
	}
}

// list makes of strings what JSON makes of them.
func list[S ~string](texts []S) any {
	values := make([]any, len(texts))
	for i, text := range texts {
		values[i] = string(text)
	}
	return values
}

func parseVector(text string) (any, error) {
	r, err := Parse(text)
	return []any{string(r.Name), list(r.Extras), r.Specifiers.String(), r.URL, r.Marker.String(), r.String()}, err
}

func argumentVector(input []any) (any, error) {
	line, err := ParseArgument(input[0].(string), input[1].(bool))
	return sourceVector(line), err
}

func sourceVector(l Line) any {
	s := l.Source
	place := s.URL
	if s.Path != "" {
		place = filepath.ToSlash(filepath.Clean(s.Path))
	}
	kind := map[Kind]string{Named: "named", LocalFile: "file", Directory: "folder", Archive: "archive", Repository: "repository"}[s.Kind]
	return []any{string(l.Name), list(l.Extras), l.Specifiers.String(), l.Marker.String(), kind, place, s.VCS, s.Revision, s.Subdirectory, s.Hash}
}

func fileVector(files map[string]any) (any, error) {
	file, err := ReadFile("a.txt", func(path string) (io.ReadCloser, error) {
		text, ok := files[filepath.ToSlash(path)].(string)
		if !ok {
			return nil, fs.ErrNotExist
		}
		var b strings.Builder // of a byte for each character
		for _, c := range text {
			b.WriteByte(byte(c))
		}
		return io.NopCloser(strings.NewReader(b.String())), nil
	})
	flags := []string{}
	for name, set := range map[string]bool{"no_index": file.NoIndex, "pre": file.Pre, "require_hashes": file.RequireHashes, "no_require_hashes": file.NoRequireHashes} {
		if set {
			flags = append(flags, name)
		}
	}
	slices.Sort(flags)
	return []any{lineVectors(file.Requirements), lineVectors(file.Constraints), map[string]any{
		"index": file.IndexURL, "extra": list(file.ExtraIndexURLs), "links": list(file.FindLinks), "hosts": list(file.TrustedHosts),
		"flags": list(flags), "ignored": float64(len(file.Ignored)),
		"no-binary": namesVector(file.NoBinary), "only-binary": namesVector(file.OnlyBinary),
		"all-releases": namesVector(file.AllReleases), "only-final": namesVector(file.OnlyFinal),
	}}, err
}

func namesVector(n Names) any {
	names := slices.Collect(maps.Keys(n.Of))
	if n.All {
		names = append(names, dist.Name(":all:"))
	}
	slices.Sort(names)
	return list(names)
}

func lineVectors(lines []Line) any {
	vectors := []any{}
	for _, l := range lines {
		settings := map[string]any{}
		for key, values := range l.ConfigSettings {
			settings[key] = list(values)
		}
		vectors = append(vectors, []any{sourceVector(l), l.Editable, list(l.Hashes), settings, filepath.ToSlash(l.Where)})
	}
	return vectors
}

func groupVector(input []any) (any, error) {
	p, err := ParsePyproject([]byte(input[0].(string)), "pyproject.toml")
	if err != nil {
		return nil, err
	}
	lines, err := p.Group(input[1].(string))
	printed := []any{}
	for _, l := range lines {
		printed = append(printed, l.String())
	}
	return printed, err
}
