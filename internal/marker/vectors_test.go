package marker

import (
	"encoding/json"
	"errors"
	"testing"

	"curdling/internal/vectortest"
)

// TestVectors holds markers against what packaging makes of them
// (testdata/vectors.py, which tells the form of the lines).
func TestVectors(t *testing.T) {
	t.Parallel()
	var environments []Environment
	markers, evaluations := 0, 0
	for line := range vectortest.Lines(t, "marker") {
		var v []json.RawMessage
		decode(t, line, &v)
		var kind string
		if decode(t, v[0], &kind); kind == "environment" {
			var e Environment
			decode(t, v[1], &e)
			environments = append(environments, e)
			continue
		}
		markers++
		m, ok := checkMarker(t, v[1], v[2])
		if !ok {
			continue
		}
		for _, evaluation := range v[3:] {
			evaluations++
			checkEvaluation(t, m, environments, evaluation)
		}
	}
	if markers < 3000 || evaluations < 5000 {
		t.Errorf("only %d markers and %d evaluations", markers, evaluations)
	}
}

func checkMarker(t *testing.T, rawText, rawWant json.RawMessage) (Marker, bool) {
	t.Helper()
	var text string
	var want *string
	decode(t, rawText, &text)
	decode(t, rawWant, &want)
	m, err := Parse(text)
	switch {
	case want == nil && err == nil:
		t.Errorf("Parse(%q) = %s; packaging refuses it", text, m)
	case want != nil && err != nil:
		t.Errorf("Parse: %v; packaging: %q", err, *want)
	case want != nil && m.String() != *want:
		t.Errorf("Parse(%q) prints as %q; packaging: %q", text, m, *want)
	}
	return m, want != nil && err == nil
}

func checkEvaluation(t *testing.T, m Marker, environments []Environment, evaluation json.RawMessage) {
	t.Helper()
	var e []json.RawMessage
	decode(t, evaluation, &e)
	var number int
	decode(t, e[0], &number)
	var holds bool
	var err error
	if len(e) == 3 {
		var extra string
		decode(t, e[1], &extra)
		holds, err = m.Holds(environments[number], extra)
	} else {
		var extras, groups []string
		decode(t, e[1], &extras)
		decode(t, e[2], &groups)
		holds, err = m.HoldsInLock(environments[number], extras, groups)
	}
	var got any = holds
	switch {
	case errors.Is(err, ErrUndefinedComparison):
		got = "comparison"
	case errors.Is(err, ErrUndefinedEnvironmentName):
		got = "name"
	case err != nil:
		got = err
	}
	var want any
	if decode(t, e[len(e)-1], &want); got != want {
		t.Errorf("%s: %v (%v); packaging: %s", m, got, err, evaluation)
	}
}

func decode(t *testing.T, b []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}
