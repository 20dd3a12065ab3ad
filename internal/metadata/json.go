package metadata

import (
	"encoding/json"
	"strings"
)

// jsonFields are the fields of the JSON form, in its order; true: may repeat.
var jsonFields = []struct {
	name     string
	multiple bool
}{
	{"Metadata-Version", false}, {"Name", false}, {"Version", false}, {"Dynamic", true}, {"Platform", true},
	{"Supported-Platform", true}, {"Summary", false}, {"Description", false}, {"Description-Content-Type", false},
	{"Keywords", false}, {"Home-page", false}, {"Download-URL", false}, {"Author", false}, {"Author-email", false},
	{"Maintainer", false}, {"Maintainer-email", false}, {"License", false}, {"License-Expression", false},
	{"License-File", true}, {"Classifier", true}, {"Requires-Dist", true}, {"Requires-Python", false},
	{"Requires-External", true}, {"Project-URL", true}, {"Provides-Extra", true}, {"Provides-Dist", true}, {"Obsoletes-Dist", true},
}

// MarshalJSON writes the JSON form (PEP 566), with all fields that the text had,
// as pip's reports have it.
func (m *Metadata) MarshalJSON() ([]byte, error) {
	object := map[string]any{}
	for _, field := range jsonFields {
		values := m.headers.all(strings.ToLower(field.name))
		if len(values) == 0 {
			continue
		}
		key := strings.ReplaceAll(strings.ToLower(field.name), "-", "_")
		switch {
		case field.multiple:
			object[key] = values
		case key == "keywords" && strings.Contains(values[0], ","):
			var words []string
			for word := range strings.SplitSeq(values[0], ",") {
				words = append(words, strings.TrimSpace(word))
			}
			object[key] = words
		case key == "keywords":
			object[key] = append([]string{}, strings.Fields(values[0])...)
		default:
			object[key] = values[0]
		}
	}
	if m.Description != "" {
		object["description"] = m.Description
	}
	return json.Marshal(object)
}
