package fit

import (
	"bytes"
	"debug/elf"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxComment   = 64 << 10 // bytes of a .comment section that are looked at
	maxCompilers = 16       // in one file
	maxSigned    = 200      // bytes of what a compiler says of itself
)

// compilers reads what compilers and linkers said of themselves in the section .comment: strings that end with a zero byte.
func compilers(e *elf.File) (said []string) {
	section := e.Section(".comment")
	if section == nil || section.Size > maxComment {
		return nil
	}
	text, err := section.Data()
	if err != nil {
		return nil
	}
	for line := range bytes.SplitSeq(text, []byte{0}) {
		s := strings.TrimSpace(string(line))
		if s == "" || len(s) > maxSigned || !utf8.ValidString(s) || len(said) == maxCompilers {
			continue
		}
		said = append(said, s)
	}
	return said
}

// Compilers gives what the compilers of the files said of themselves, sorted: "GCC: (Debian 12.2.0-14) 12.2.0".
// Many linkers sign beside them, and what was stripped is silent.
func (n Needs) Compilers() []string {
	var all []string
	for _, f := range n.Files {
		all = append(all, f.compilers...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Merged says the same in one file for each machine (and oldest macOS), without what only [Needs.Platforms] asks for: what
// one file needs, all are said to need. The path is the first file's.
func (n Needs) Merged() Needs {
	var merged Needs
	for _, f := range n.Files {
		i := slices.IndexFunc(merged.Files, func(m File) bool { return m.Machine == f.Machine && m.MacOS == f.MacOS })
		if i < 0 {
			merged.Files = append(merged.Files, File{
				Path: f.Path, Machine: f.Machine, Libraries: maps.Clone(f.Libraries), Search: f.Search, Level: f.Level, MacOS: f.MacOS,
			})
			continue
		}
		m := &merged.Files[i]
		for name, versions := range f.Libraries {
			all := slices.Concat(m.Libraries[name], versions)
			slices.Sort(all)
			m.Libraries[name] = slices.Compact(all)
		}
		for _, folder := range f.Search {
			if !slices.Contains(m.Search, folder) {
				m.Search = append(slices.Clip(m.Search), folder)
			}
		}
		m.Level = max(m.Level, f.Level)
	}
	return merged
}

// Processor gives the features of this processor as /proc/cpuinfo names them, sorted; nil where that is not told.
func Processor() []string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); name == "flags" || name == "Features" {
			features := strings.Fields(value)
			slices.Sort(features)
			return features
		}
	}
	return nil
}
