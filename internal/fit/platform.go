package fit

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
)

//go:embed policies.json
var policiesJSON []byte

// policies are described in policies.py, which makes them.
type policies struct {
	Levels        []int                                `json:"levels"`
	Versions      map[string]map[string]map[string]int `json:"versions"`  // architecture, family, version
	Libraries     map[string]int                       `json:"libraries"` // the oldest policy that allows it
	Private       map[string]map[string]int            `json:"private"`   // library, symbol: the last policy that forbids it
	MuslLibraries map[string][]string                  `json:"musl_libraries"`
}

var published = sync.OnceValue(func() (p policies) {
	if err := json.Unmarshal(policiesJSON, &p); err != nil {
		panic(err) // it is part of the program
	}
	return p
})

// legacy are the older names of policies.
var legacy = map[int]string{5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}

// Platforms gives the platform tag of the oldest published policy that all files keep to,
// "manylinux_2_17_x86_64", and its older name where it has one, or the reasons why there is none. Without
// machine code there is no platform to speak of, and no reason either. musl is the version
// of the libc that it was built with, "1.2", "" for glibc.
func (n Needs) Platforms(musl string) (platforms, why []string) {
	if n.IsZero() {
		return nil, nil
	}
	arch := n.Files[0].Machine
	oldest, known := oldestFor(arch)
	if !known {
		return nil, []string{fmt.Sprintf("%s: no policy is published for its machine", n.Files[0].Path)}
	}
	for _, f := range n.Files {
		say := func(format string, args ...any) { why = append(why, f.Path+": "+fmt.Sprintf(format, args...)) }
		switch {
		case f.Machine != arch:
			say("is for another machine than %s", n.Files[0].Path)
		case f.Level > 1:
			say("needs the instruction set x86-64-v%d", f.Level)
		case musl != "":
			f.muslPolicy(say)
		default:
			oldest = max(oldest, f.policy(say))
		}
	}
	switch {
	case len(why) > 0:
		return nil, why
	case musl != "":
		return []string{"musllinux_" + strings.ReplaceAll(musl, ".", "_") + "_" + arch}, nil
	}
	platforms = []string{fmt.Sprintf("manylinux_2_%d_%s", oldest, arch)}
	if name, ok := legacy[oldest]; ok {
		platforms = append(platforms, name+"_"+arch)
	}
	return platforms, nil
}

// oldestFor gives the oldest policy of an architecture.
func oldestFor(arch string) (oldest int, known bool) {
	for _, versions := range published().Versions[arch] {
		for _, n := range versions {
			if !known || n < oldest {
				oldest, known = n, true
			}
		}
	}
	return oldest, known
}

// policy gives the oldest policy that the file keeps to, and says what none allows.
func (f File) policy(say func(string, ...any)) (oldest int) {
	p := published()
	families := p.Versions[f.Machine]
	for _, library := range f.libraries() {
		n, ok := p.Libraries[library]
		if !ok {
			say("needs %s, which no policy allows", library)
			continue
		}
		oldest = max(oldest, n)
		for _, v := range f.Libraries[library] {
			family, number, _ := strings.Cut(v, "_")
			allowed, ok := families[family]
			if !ok {
				continue // no policy speaks of it
			}
			n, ok := allowed[number]
			if !ok {
				say("needs %s of %s, which no policy allows", v, library)
				continue
			}
			oldest = max(oldest, n)
		}
		for symbol, last := range p.Private[library] {
			if _, ok := f.unbound[symbol]; !ok {
				continue
			}
			next, ok := after(p.Levels, last)
			if !ok {
				say("needs %s, a private symbol of %s", symbol, library)
			}
			oldest = max(oldest, next)
		}
	}
	return oldest
}

func after(levels []int, last int) (next int, ok bool) {
	i := slices.IndexFunc(levels, func(n int) bool { return n > last })
	if i < 0 {
		return last, false
	}
	return levels[i], true
}

// muslPolicy says what PEP 656 does not allow.
func (f File) muslPolicy(say func(string, ...any)) {
	p := published()
	for _, library := range f.libraries() {
		private, ok := p.MuslLibraries[library]
		switch {
		case library == "libc.so", strings.HasPrefix(library, "libc.musl-"):
		case !ok:
			say("needs %s, which no policy allows", library)
		default:
			for _, symbol := range private {
				if _, ok := f.unbound[symbol]; ok {
					say("needs %s, a private symbol of %s", symbol, library)
				}
			}
		}
	}
}
