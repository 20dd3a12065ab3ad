package config

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Print prints a table of settings: key, value, origin.
func Print(w io.Writer, settings []Setting) error {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, s := range settings {
		if len(s.Values) == 0 {
			s.Values = []string{"-"}
		}
		for i, value := range s.Values {
			switch {
			case i > 0:
				s.Key, s.Origin = "", ""
			case s.Err != nil:
				s.Origin += ": " + s.Err.Error()
			}
			fmt.Fprintf(table, "%s\t%s\t%s\n", s.Key, value, s.Origin)
		}
	}
	table.Flush()
	for line := range strings.Lines(text.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// PrintJSON prints a list of objects, with key, values, origin and, where there is one, error.
func PrintJSON(w io.Writer, settings []Setting) error {
	type row struct {
		Key    string   `json:"key"`
		Values []string `json:"values"`
		Origin string   `json:"origin"`
		Error  string   `json:"error,omitempty"`
	}
	rows := make([]row, len(settings))
	for i, s := range settings {
		rows[i] = row{Key: s.Key, Values: append([]string{}, s.Values...), Origin: s.Origin}
		if s.Err != nil {
			rows[i].Error = s.Err.Error()
		}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(rows)
}
