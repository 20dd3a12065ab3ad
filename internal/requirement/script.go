package requirement

import (
	"errors"
	"fmt"
	"strings"

	"curdling/internal/lazyregexp"
)

// scriptBlock is a block of inline metadata, as PEP 723 writes it.
var scriptBlock = lazyregexp.New(`(?m)^# /// ([a-zA-Z0-9-]+)\n((?:#(?:| .*)\n)+)# ///$`)

// ReadScript gives the dependencies that a Python script states in its inline
// metadata (PEP 723). A script without any is an error. Limit: 4 MiB.
func ReadScript(path string) ([]Line, error) {
	b, err := readAtMost(path, maxPyproject+1)
	if err != nil {
		return nil, err
	}
	if len(b) > maxPyproject {
		return nil, fmt.Errorf("%s: longer than %d bytes", path, maxPyproject)
	}
	lines, err := parseScript(strings.ReplaceAll(string(b), "\r\n", "\n"), path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return lines, nil
}

func parseScript(text, path string) (lines []Line, err error) {
	var content string
	found := 0
	for _, block := range scriptBlock.FindAllStringSubmatch(text, -1) {
		if block[1] == "script" {
			content = block[2]
			found++
		}
	}
	switch {
	case found == 0:
		return nil, errors.New("has no inline metadata (PEP 723): a comment that begins with \"# /// script\" and ends with \"# ///\"")
	case found > 1:
		return nil, errors.New("has several blocks of inline metadata (PEP 723)")
	}
	var toml strings.Builder
	for line := range strings.Lines(content) {
		toml.WriteString(strings.TrimPrefix(strings.TrimPrefix(line, "#"), " "))
	}
	file, err := ParseTOML([]byte(toml.String()))
	if err != nil {
		return nil, err
	}
	if file["dependencies"] == nil {
		return nil, nil
	}
	texts, err := stringList(file["dependencies"])
	if err != nil {
		return nil, fmt.Errorf("dependencies: %w", err)
	}
	p := &Pyproject{path: path}
	for i, text := range texts {
		line, err := p.line(fmt.Sprintf("dependencies[%d]", i), text)
		if err != nil {
			return nil, fmt.Errorf("dependencies[%d]: %w", i, err)
		}
		lines = append(lines, line)
	}
	return lines, nil
}
