package tag

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/vectortest"
)

// vector is one line of the vectors (testdata/vectors.py tells the form).
type vector struct {
	Target *Target
	Parse  string
	Tags   []string
}

func readVectors(t *testing.T) []vector {
	t.Helper()
	var vectors []vector
	for line := range vectortest.Lines(t, "tag") {
		vectors = append(vectors, decode[vector](t, line))
	}
	return vectors
}

func decode[T any](t *testing.T, data []byte) (value T) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

func spell(tags []Tag) []string {
	var list []string
	for _, tag := range tags {
		list = append(list, tag.String())
	}
	return list
}

// TestVectors holds the package against what Python's packaging said.
func TestVectors(t *testing.T) {
	t.Parallel()
	targets := 0
	for _, v := range readVectors(t) {
		if v.Target != nil {
			targets++
			if diff := cmp.Diff(v.Tags, spell(Supported(*v.Target))); diff != "" {
				t.Errorf("Supported(%+v): -packaging +curdling\n%s", *v.Target, diff)
			}
			continue
		}
		tags, err := Parse(v.Parse)
		if (err != nil) != (v.Tags == nil) {
			t.Errorf("Parse(%q): %v, packaging gives %q", v.Parse, err, v.Tags)
		}
		if diff := cmp.Diff(v.Tags, spell(tags)); diff != "" {
			t.Errorf("Parse(%q): -packaging +curdling\n%s", v.Parse, diff)
		}
	}
	if targets < 40 {
		t.Errorf("only %d targets", targets)
	}
}

// TestRunningPython holds Supported against the python3 on PATH: against its
// own packaging where that is new enough, else against the vectors.
func TestRunningPython(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip(err)
	}
	facts, err := exec.Command("python3", "testdata/probe.py").Output()
	if err != nil {
		t.Fatal(err)
	}
	target := decode[Target](t, facts)
	const ask = `
import json, packaging
assert tuple(map(int, packaging.__version__.split(".")[:2])) >= (26, 3)
from packaging.tags import sys_tags
print(json.dumps([str(t) for t in sys_tags()]))`
	if said, err := exec.Command("python3", "-c", ask).Output(); err == nil {
		if diff := cmp.Diff(decode[[]string](t, said), spell(Supported(target))); diff != "" {
			t.Errorf("-packaging +curdling\n%s", diff)
		}
		return
	}
	for _, v := range readVectors(t) {
		if v.Target != nil && cmp.Equal(*v.Target, target) {
			if diff := cmp.Diff(v.Tags, spell(Supported(target))); diff != "" {
				t.Errorf("-packaging +curdling\n%s", diff)
			}
			return
		}
	}
	t.Skip("the python3 on PATH has no packaging 26.3 or newer, and the vectors do not know it")
}
