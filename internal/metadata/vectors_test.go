package metadata

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/vectortest"
)

// TestVectors holds metadata against what packaging makes of it
// (testdata/vectors.py, which tells the form of the lines).
func TestVectors(t *testing.T) {
	t.Parallel()
	count := 0
	for line := range vectortest.Lines(t, "metadata") {
		count++
		var want []any
		if err := json.Unmarshal(line, &want); err != nil {
			t.Fatal(err)
		}
		var text []byte // the runes are bytes in Latin-1
		for _, r := range want[0].(string) {
			text = append(text, byte(r))
		}
		m, err := Parse(text)
		got := []any{nil}
		if m != nil {
			got = []any{fields(m, want[1]), wrongField(err)}
		}
		if diff := cmp.Diff(want[1:], got); diff != "" {
			t.Errorf("%q: %v (-packaging +ours):\n%s", text, err, diff)
		}
	}
	if count < 1000 {
		t.Errorf("only %d vectors", count)
	}
}

// fields gives the fields of m that want holds.
func fields(m *Metadata, want any) map[string]any {
	list := func(n int, at func(int) string) any {
		values := []any{}
		for i := range n {
			values = append(values, at(i))
		}
		return values
	}
	got := map[string]any{
		"Name": string(m.Name), "Version": m.Version.String(), "RequiresPython": m.RequiresPython.String(),
		"MetadataVersion": m.MetadataVersion, "Summary": m.Summary,
		"RequiresDist":  list(len(m.RequiresDist), func(i int) string { return m.RequiresDist[i].String() }),
		"ProvidesExtra": list(len(m.ProvidesExtra), func(i int) string { return string(m.ProvidesExtra[i]) }),
		"Dynamic":       list(len(m.Dynamic), func(i int) string { return m.Dynamic[i] }),
		"Classifiers":   list(len(m.Classifiers), func(i int) string { return m.Classifiers[i] }),
	}
	if want, ok := want.(map[string]any); ok && want["Description"] != nil {
		got["Description"] = m.Description
	}
	return got
}

func wrongField(err error) any {
	var field *FieldError
	if errors.As(err, &field) {
		return field.Field
	}
	return nil
}
