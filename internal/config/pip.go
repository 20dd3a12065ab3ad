package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"curdling/internal/requirement"
)

// found is what an option of pip's is set to.
type found struct {
	value, origin string
	order         int // when it was first set in its section
}

// pipConfig is what pip's files say: by section and name.
type pipConfig map[string]map[string]found

// pip reads pip's own configuration, as far as it means the same.
func (l *loader) pip() (layer, error) {
	config := pipConfig{}
	for _, path := range l.pipFiles() {
		if err := config.read(path); err != nil {
			return layer{}, err
		}
	}
	at := layer{settings: map[string]setting{}}
	for i := range keys {
		k := &keys[i]
		if k.pip == "" || k.content == projects {
			continue
		}
		given := l.nearestOfPip(config, k.pip)
		if s := l.meant(k, given); s.values != nil {
			at.settings[k.name] = s
		}
	}
	extra := l.nearestOfPip(config, "extra-index-url")
	if extra.value != "" {
		s, ok := at.settings["index"]
		if !ok && l.DefaultIndex != "" {
			s = setting{values: []value{{text: l.DefaultIndex, origin: defaultOrigin}}}
		}
		for _, word := range strings.FieldsFunc(extra.value, isSpace) {
			s.values = append(s.values, value{text: word, origin: extra.origin})
		}
		at.settings["index"] = s
	}
	l.opposites(config, at.settings, "no-binary", "only-binary")
	l.opposites(config, at.settings, "all-releases", "only-final")
	return at, nil
}

// meant makes of an option of pip's the setting of ours.
func (l *loader) meant(k *key, given found) setting {
	s := setting{origin: given.origin}
	if given.value == "" || k.choices != nil && !slices.Contains(k.choices, given.value) {
		return s // pip's keyring providers import and auto need pip
	}
	words := []string{given.value}
	if k.kind == list {
		words = strings.FieldsFunc(given.value, isSpace)
	}
	for _, word := range words {
		if rest, ok := strings.CutPrefix(word, "~/"); ok && k.content == place && l.Home != "" {
			word = filepath.Join(l.Home, rest)
		}
		if on, ok := pipBool(word); ok && k.kind == boolean {
			// What pip stores is whether builds are isolated: no_build_isolation=0 turns it off.
			word = fmt.Sprint(on != (k.pip == "no-build-isolation"))
		}
		s.values = append(s.values, value{text: word, origin: given.origin})
	}
	return s
}

// pipBool reads a truth value as pip does.
func pipBool(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "y", "t":
		return true, true
	case "n", "f":
		return false, true
	}
	return parseBool(s)
}

// nearestOfPip finds an option as pip does: in its variable, else in the
// command's section, else in [global]. An empty one is none.
func (l *loader) nearestOfPip(config pipConfig, name string) found {
	all := l.allOfPip(config, name)
	if len(all) == 0 {
		return found{}
	}
	return all[len(all)-1]
}

// allOfPip gives all that an option is set to, the farthest first.
func (l *loader) allOfPip(config pipConfig, name string) []found {
	var all []found
	names := []string{pipAliases[name], name}
	for _, section := range []string{"global", l.section()} {
		from := len(all)
		for _, n := range names {
			if f := config[section][n]; f.value != "" {
				all = append(all, f)
			}
		}
		slices.SortFunc(all[from:], func(a, b found) int { return a.order - b.order })
	}
	for _, n := range names {
		if v := l.Getenv(variable(n)); v != "" {
			all = append(all, found{value: v, origin: variable(n)})
		}
	}
	return all
}

// section is that of the command in pip's files.
func (l *loader) section() string {
	switch l.Command {
	case "check", "freeze", "list", "lock", "uninstall", "wheel":
		return l.Command
	}
	return "install"
}

// opposites makes settings of ours of two options of pip's that select projects.
// Unlike all others they add up, from [global] on, each taking out of the other what it names.
func (l *loader) opposites(config pipConfig, settings map[string]setting, a, b string) {
	names, values, origins := map[string]*requirement.Names{a: {}, b: {}}, map[string][]value{}, map[string][]string{}
	add := func(name string, f found) {
		if f.value == "" {
			return
		}
		opposite := map[string]string{a: b, b: a}[name]
		var err error
		if len(f.value) > maxText {
			err = errTooLong
		} else {
			err = names[name].Add(f.value, names[opposite])
		}
		if err != nil {
			values[name] = append(values[name], value{text: f.value, err: err, origin: f.origin})
		}
		origins[name] = append(origins[name], f.origin)
	}
	for _, section := range []string{"global", l.section()} {
		first, second := a, b
		if config[section][b].order < config[section][a].order {
			first, second = b, a
		}
		add(first, config[section][first])
		add(second, config[section][second])
	}
	variables := []string{a, b}
	if strings.Contains(l.Getenv(variable(b)), ":all:") {
		slices.Reverse(variables) // what names projects is meant as the exception
	}
	for _, name := range variables {
		add(name, found{value: l.Getenv(variable(name)), origin: variable(name)})
	}
	for _, name := range []string{a, b} {
		if names[name].All {
			values[name] = append(values[name], value{text: ":all:"})
		}
		for _, project := range slices.Sorted(maps.Keys(names[name].Of)) {
			values[name] = append(values[name], value{text: string(project)})
		}
		if origins[name] != nil {
			settings[name] = setting{values: values[name], origin: join(origins[name])}
		}
	}
}

// read takes in a file of pip's, which goes before those read already. One that
// cannot be opened is none, as it is to pip.
func (c pipConfig) read(path string) error {
	b, err := readAll(path, maxPip)
	if err != nil && !errors.Is(err, errTooLong) {
		return nil
	} else if err != nil {
		return err
	}
	entries, err := parseINI(path, b)
	if err != nil {
		return err
	}
	for _, e := range entries {
		section := c[e.section]
		if section == nil {
			section = map[string]found{}
			c[e.section] = section
		}
		f, ok := section[e.name]
		if !ok {
			f.order = len(section)
		}
		f.value, f.origin = e.value, fmt.Sprintf("%s:%d", path, e.line)
		section[e.name] = f
	}
	return nil
}

// pipFiles lists the files that pip reads, the farthest first.
func (l *loader) pipFiles() []string {
	own := l.Getenv("PIP_CONFIG_FILE")
	if own == os.DevNull {
		return nil
	}
	name := "pip.conf"
	if runtime.GOOS == "windows" {
		name = "pip.ini"
	}
	paths := l.pipSystemFolders()
	if _, err := os.Stat(own); own == "" || err != nil { // else there is none of the user's
		paths = append(paths, l.pipUserFolders()...)
	}
	paths = append(paths, l.virtualenv())
	for i, dir := range paths {
		if dir != "" {
			paths[i] = filepath.Join(dir, name)
		}
	}
	paths = append(paths, own)
	var once []string
	for _, path := range paths {
		if path != "" && !slices.Contains(once, path) {
			once = append(once, path)
		}
	}
	return once
}

func (l *loader) pipSystemFolders() []string {
	var folders []string
	switch runtime.GOOS {
	case "windows":
		return []string{filepath.Join(l.Getenv("ProgramData"), "pip")}
	case "darwin":
		return []string{"/Library/Application Support/pip"}
	}
	for dir := range strings.SplitSeq(l.Getenv("XDG_CONFIG_DIRS"), ":") {
		if dir = strings.TrimFunc(dir, isSpace); filepath.IsAbs(dir) {
			folders = append(folders, filepath.Join(dir, "pip"))
		}
	}
	if folders == nil {
		folders = []string{filepath.Join(l.Etc, "xdg", "pip")}
	}
	return append(folders, l.Etc)
}

func (l *loader) pipUserFolders() []string {
	if l.Home == "" {
		return nil
	}
	old, dir := filepath.Join(l.Home, ".pip"), l.userConfig()
	switch runtime.GOOS {
	case "windows":
		old = filepath.Join(l.Home, "pip")
	case "darwin":
		if _, err := os.Stat(filepath.Join(dir, "pip")); err != nil {
			dir = filepath.Join(l.Home, ".config")
		}
	}
	return []string{old, filepath.Join(dir, "pip")}
}

// virtualenv is the environment that is likely installed into, which may have a file of pip's.
func (l *loader) virtualenv() string {
	if dir := l.Getenv("VIRTUAL_ENV"); dir != "" || l.Dir == "" {
		return dir
	}
	return filepath.Join(l.Dir, ".venv")
}
