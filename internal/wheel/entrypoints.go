package wheel

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"curdling/internal/lazyregexp"
)

// EntryPoint is one line of entry_points.txt: name = module:attr. Its parts
// are checked: Name is a plain file name that does not stand for an
// interpreter, Module and Attr are dotted identifiers.
type EntryPoint struct{ Name, Module, Attr string }

var (
	// Identifiers as Python's \w+ has them; extras are allowed and ignored.
	entryValue  = lazyregexp.New(`^([\pL\pN_]+(?:\.[\pL\pN_]+)*):([\pL\pN_]+(?:\.[\pL\pN_]+)*)\s*(?:\[[^\]]*\])?$`)
	interpreter = lazyregexp.New(`(?i)^(python|pypy)[0-9.]*[tdw]*(\.exe)?$`)
)

// IsInterpreter tells whether a file in the scripts folder of an environment
// would be taken for its interpreter: python, python3, python3.11, pypy3 ...
// Windows takes no notice of dots and spaces at a name's end.
func IsInterpreter(name string) bool { return interpreter.MatchString(strings.TrimRight(name, ". ")) }

// parseEntryPoints reads the two groups of entry_points.txt that make scripts,
// by the rules of Python's importlib.metadata: lines are trimmed, blank lines
// and those that begin with # do not count, the last of several equal names wins.
func parseEntryPoints(text string) (console, gui []EntryPoint, err error) {
	var group *[]EntryPoint
	for line := range strings.FieldsFuncSeq(text, isLineBreak) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[' && line[len(line)-1] == ']':
			switch strings.Trim(line, "[]") {
			case "console_scripts":
				group = &console
			case "gui_scripts":
				group = &gui
			default:
				group = nil
			}
		case group != nil:
			if *group, err = addEntryPoint(*group, line); err != nil {
				return nil, nil, err
			}
		}
	}
	return console, gui, nil
}

func addEntryPoint(group []EntryPoint, line string) ([]EntryPoint, error) {
	name, value, ok := strings.Cut(line, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok {
		return nil, fmt.Errorf("entry point %q is not of the form name = module:attr", line)
	}
	parts := entryValue.FindStringSubmatch(value)
	if parts == nil {
		return nil, fmt.Errorf("entry point %s = %q is not of the form module:attr", name, value)
	}
	e := EntryPoint{name, parts[1], parts[2]}
	if err := e.check(); err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(group, func(g EntryPoint) bool { return g.Name == name }); i >= 0 {
		group[i] = e
		return group, nil
	}
	if len(group) == MaxEntryPoints {
		return nil, fmt.Errorf("more than %d entry points", MaxEntryPoints)
	}
	return append(group, e), nil
}

// check tells why no script may be called like the entry point.
func (e EntryPoint) check() error {
	err := checkPath(e.Name)
	switch {
	case err != nil:
	case strings.Contains(e.Name, "/"):
		err = errors.New("a script's name is not a path")
	case e.Name[0] == '[' || strings.ContainsFunc(e.Name, unicode.IsSpace):
		err = errors.New("a script's name has no spaces and no bracket first")
	case IsInterpreter(e.Name):
		err = errors.New("a script must not be called like the interpreter")
	}
	if err != nil {
		return fmt.Errorf("entry point %q: %w", e.Name, err)
	}
	return nil
}

// isLineBreak tells where Python's str.splitlines parts.
func isLineBreak(r rune) bool {
	switch r {
	case '\n', '\r', '\v', '\f', 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029:
		return true
	}
	return false
}
