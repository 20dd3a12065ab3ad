package tag

import (
	"strconv"
	"strings"
)

// Supported gives every tag that the target accepts, best first, as
// packaging.tags.sys_tags() does. Interpreters older than Python 3.3 are not known.
func Supported(t Target) []Tag {
	platforms := t.platforms()
	for i, p := range platforms {
		platforms[i] = strings.ToLower(p)
	}
	var tags []Tag
	add := func(python, abi string, platforms ...string) {
		python, abi = strings.ToLower(python), strings.ToLower(abi)
		for _, platform := range platforms {
			tags = append(tags, Tag{python, abi, platform})
		}
	}

	digits := nodot(t.Version[0], t.Version[1])
	named := digits
	if t.NoDot != "" {
		named = t.NoDot
	}
	alone := "" // the interpreter whose pure wheels are accepted besides py3's
	switch t.Implementation {
	case "cpython":
		alone = "cp" + named
		for _, abi := range t.cpythonABIs() {
			add("cp"+digits, abi, platforms...)
		}
		stable := t.stableABI()
		add("cp"+digits, stable, platforms...)
		add("cp"+digits, "none", platforms...)
		for minor := t.Version[1] - 1; minor > 1; minor-- {
			add("cp"+nodot(t.Version[0], minor), stable, platforms...)
		}
	default:
		name := shortName(t.Implementation)
		if name == "pp" {
			alone = "pp3"
		}
		for _, abi := range t.genericABIs() {
			add(name+named, abi, platforms...)
		}
	}

	pure := []string{"py" + digits, "py" + strconv.Itoa(t.Version[0])}
	for minor := t.Version[1] - 1; minor >= 0; minor-- {
		pure = append(pure, "py"+nodot(t.Version[0], minor))
	}
	for _, python := range pure {
		add(python, "none", platforms...)
	}
	if alone != "" {
		add(alone, "none", "any")
	}
	for _, python := range pure {
		add(python, "none", "any")
	}
	return tags
}

func nodot(major, minor int) string { return strconv.Itoa(major) + strconv.Itoa(minor) }

func shortName(implementation string) string {
	switch implementation {
	case "python":
		return "py"
	case "pypy":
		return "pp"
	case "ironpython":
		return "ip"
	case "jython":
		return "jy"
	}
	return implementation
}

func (t Target) before(major, minor int) bool {
	return t.Version[0] < major || t.Version[0] == major && t.Version[1] < minor
}

func (t Target) freeThreaded() bool { return t.FreeThreaded && !t.before(3, 13) }

func (t Target) stableABI() string {
	if t.freeThreaded() {
		return "abi3t"
	}
	return "abi3"
}

// cpythonABIs gives the ABIs of the very interpreter, best first.
func (t Target) cpythonABIs() []string {
	abi := "cp" + nodot(t.Version[0], t.Version[1])
	if t.freeThreaded() {
		abi += "t"
	}
	var abis []string
	if t.Debug {
		abis = append(abis, abi+"d")
	}
	switch {
	case !t.before(3, 8):
		return append(abis, abi) // a debug build loads normal modules too
	case t.Debug:
		abi += "d"
	}
	if !t.NoPymalloc {
		abi += "m"
	}
	return []string{abi}
}

// genericABIs gives the ABI that EXT_SUFFIX names, and "none".
func (t Target) genericABIs() []string {
	fields := strings.Split(t.ExtSuffix, ".")
	if len(fields) < 3 {
		return append(t.cpythonABIs(), "none")
	}
	abi := fields[1]
	words := strings.Split(abi, "-")
	switch {
	case strings.HasPrefix(abi, "cpython"):
		if len(words) > 1 {
			abi = "cp" + words[1]
		}
	case strings.HasPrefix(abi, "cp"):
		abi = words[0]
	case strings.HasPrefix(abi, "pypy"):
		abi = strings.Join(words[:min(2, len(words))], "-")
	case strings.HasPrefix(abi, "graalpy"):
		abi = strings.Join(words[:min(3, len(words))], "-")
	}
	if abi == "" || abi == "none" {
		return []string{"none"}
	}
	return []string{normalise(abi), "none"}
}

func normalise(s string) string {
	return strings.NewReplacer(".", "_", "-", "_", " ", "_").Replace(s)
}
