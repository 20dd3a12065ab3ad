package dist

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/vectortest"
)

// TestVectors holds names and file names against what packaging and pip make
// of them (testdata/vectors.py).
func TestVectors(t *testing.T) {
	t.Parallel()
	names, files := 0, 0
	for line := range vectortest.Lines(t, "dist") {
		var v []json.RawMessage
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatal(err)
		}
		switch text := decode[string](t, v[1]); decode[string](t, v[0]) {
		case "name":
			names++
			got, err := ParseName(text)
			if want := decode[*Name](t, v[2]); want == nil && err == nil || want != nil && got != *want {
				t.Errorf("ParseName(%q) = %q, %v; packaging: %s", text, got, err, v[2])
			}
		case "file":
			files++
			checkFile(t, text, decode[Name](t, v[2]), v[3])
		}
	}
	if names+files < 2000 {
		t.Errorf("only %d vectors", names+files)
	}
}

func checkFile(t *testing.T, filename string, hint Name, want json.RawMessage) {
	t.Helper()
	got := json.RawMessage("null")
	f, err := ParseFilename(filename, hint)
	if err == nil {
		answer := []any{f.Name, f.Version, nil, nil}
		if f.Build.Set {
			answer[2] = []any{f.Build.Number, f.Build.Suffix}
		}
		if f.Kind == Wheel {
			tags := make([]string, len(f.Tags))
			for i, tag := range f.Tags {
				tags[i] = tag.String()
			}
			slices.Sort(tags)
			answer[3] = tags
		}
		if got, err = json.Marshal(answer); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(decode[any](t, want), decode[any](t, got)); diff != "" {
		t.Errorf("ParseFilename(%q, %q): %v (-packaging +ours):\n%s", filename, hint, err, diff)
	}
}

func decode[T any](t *testing.T, b json.RawMessage) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
