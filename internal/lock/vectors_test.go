package lock

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/marker"
	"curdling/internal/requirement"
	"curdling/internal/tag"
	"curdling/internal/vectortest"
	"curdling/internal/version"
)

// TestVectors holds lock files and what is chosen from them against what
// packaging does (testdata/vectors.py, which tells the form of the lines), and
// reads again what is written of each.
func TestVectors(t *testing.T) {
	count := 0
	for line := range vectortest.Lines(t, "lock") {
		count++
		var text string
		var target vectorTarget
		var want any
		if err := json.Unmarshal(line, &[]any{&text, &target, &want}); err != nil {
			t.Fatal(err)
		}
		got, err := lockVector(t, text, target)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%+v: %v (-packaging +ours):\n%s\n%s", target, err, diff, text)
		}
	}
	if count < 2000 {
		t.Errorf("only %d vectors", count)
	}
}

type vectorTarget struct {
	Python               string
	Environment          marker.Environment
	Tags, Extras, Groups []string
}

func lockVector(t *testing.T, text string, target vectorTarget) (any, error) {
	l, err := Parse([]byte(text))
	if err != nil {
		return nil, err
	}
	checkRoundTrip(t, l)
	packages := []any{}
	for _, p := range l.Packages {
		packages = append(packages, []any{string(p.Name), p.Version.String(), p.Marker.String(), p.RequiresPython.String()})
	}
	var tags []tag.Tag
	for _, text := range target.Tags {
		some, err := tag.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		tags = append(tags, some...)
	}
	chosen, err := l.Select(Target{
		Environment: target.Environment, Python: version.MustParse(target.Python), Tags: tag.Rank(tags),
		Extras: target.Extras, Groups: target.Groups,
	})
	if err != nil {
		return []any{packages, nil}, err
	}
	result := []any{}
	for _, c := range chosen {
		result = append(result, chosenVector(c))
	}
	return []any{packages, result}, nil
}

func chosenVector(c Chosen) any {
	kind := c.File.Kind.String()
	switch {
	case c.Source.Kind == requirement.Repository:
		kind = "vcs"
	case c.Source.Kind == requirement.Directory:
		kind = "directory"
	case c.Package.Archive != nil:
		kind = "archive"
	}
	return []any{string(c.Package.Name), kind, c.File.Filename, c.Source.Subdirectory, c.Editable}
}
