package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/pflag"

	"curdling/internal/requirement"
)

// Layers are what says how the flags of a program stand beside its command line:
// variables, and below them a TOML file whose keys are the flags' names. Each flag
// is a setting. One that may be repeated (a [pflag.SliceValue]) takes an array
// in the file; in a variable its values are parted by newlines where there are
// any, else by commas. A nearer source replaces a list whole. The file is the one
// that the flag or the variable of "config" names; it may be hostile, and has at
// most 128 KiB.
type Layers struct {
	Program string   // in messages: curd-server
	Prefix  string   // of the variables: CURD_SERVER_; then the flag's name in capitals, with _ for -
	Environ []string // as os.Environ has it; of two with one name the last counts
	File    string   // "" is none; it may be hostile, and has at most 128 KiB
}

// configFlag names the configuration file itself.
const configFlag = "config"

// visitSettings leaves out the flags that only the command line can have.
func visitSettings(flags *pflag.FlagSet, visit func(*pflag.Flag)) {
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Name != "help" && flag.Name != "version" {
			visit(flag)
		}
	})
}

// flagSetting is what a layer says of one flag.
type flagSetting struct {
	values []string
	origin string
}

// Apply gives the flags of a command that are not on its command line what the
// layers say. all are the flags of the program: what sets none of these is an
// error, and what sets one that the command lacks is passed over. It tells
// where each flag that was set so has its value from.
func (l Layers) Apply(command, all *pflag.FlagSet) (origins map[string]string, err error) {
	environment, err := l.environment(all)
	if err != nil {
		return nil, err
	}
	path := ""
	if s, ok := environment[configFlag]; ok {
		path = s.values[0]
	}
	if flag := command.Lookup(configFlag); flag != nil && flag.Changed {
		path = flag.Value.String()
	}
	found, err := l.file(path, all)
	if err != nil {
		return nil, err
	}
	maps.Copy(found, environment)
	origins = make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		s, flag := found[name], command.Lookup(name)
		if flag == nil || flag.Changed {
			continue
		}
		if err := s.set(flag); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", s.origin, name, err)
		}
		origins[name] = s.origin
	}
	return origins, nil
}

// Show gives every flag with its value, in the order of their names. Passwords in URLs are masked.
func (l Layers) Show(flags *pflag.FlagSet, origins map[string]string) []Setting {
	var all []Setting
	visitSettings(flags, func(flag *pflag.Flag) {
		s := Setting{Key: flag.Name, Flag: flag.Name, Values: []string{flag.Value.String()}, Origin: defaultOrigin}
		if slice, ok := flag.Value.(pflag.SliceValue); ok {
			s.Values = slice.GetSlice()
		} else if s.Values[0] == "" {
			s.Values = nil
		}
		if flag.Changed {
			s.Origin = "command line"
		} else if origin := origins[flag.Name]; origin != "" {
			s.Origin = origin
		}
		for i, text := range s.Values {
			s.Values[i] = new(key).show(value{text: text})
		}
		all = append(all, s)
	})
	return all
}

// set gives a flag its value; Changed goes on to tell what is on the command line.
func (s flagSetting) set(flag *pflag.Flag) error {
	if slice, ok := flag.Value.(pflag.SliceValue); ok {
		return slice.Replace(s.values)
	}
	if len(s.values) != 1 {
		return errors.New("takes one value, not a list")
	}
	return flag.Value.Set(s.values[0])
}

// variable is the name of a flag's variable.
func (l Layers) variable(flag string) string {
	return l.Prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// environment reads the variables. One that names no flag, but nearly does, is an
// error; others may be anybody's: Kubernetes makes CURD_SERVER_SERVICE_HOST, and
// CURD_SERVER_PORT=tcp://..., for a service called curd-server.
func (l Layers) environment(all *pflag.FlagSet) (map[string]flagSetting, error) {
	flags := make(map[string]*pflag.Flag)
	visitSettings(all, func(flag *pflag.Flag) { flags[l.variable(flag.Name)] = flag })
	found := make(map[string]flagSetting)
	for _, assignment := range l.Environ {
		name, text, _ := strings.Cut(assignment, "=")
		flag := flags[name]
		switch {
		case !strings.HasPrefix(name, l.Prefix), strings.HasPrefix(text, "tcp://"), flag == nil && text == "":
			continue
		case flag == nil:
			if near := nearestOf(name, slices.Sorted(maps.Keys(flags))); near != "" {
				return nil, fmt.Errorf("%.100s: there is no such setting; did you mean %s?", name, near)
			}
			continue
		case text == "":
			delete(found, flag.Name)
			continue
		}
		s := flagSetting{values: []string{text}, origin: name}
		if _, ok := flag.Value.(pflag.SliceValue); ok {
			s.values = parts(text)
		}
		if on, ok := parseBool(text); ok && flag.Value.Type() == "bool" {
			s.values[0] = fmt.Sprint(on)
		}
		found[flag.Name] = s
	}
	return found, nil
}

// parts splits a variable that holds several values.
func parts(text string) (values []string) {
	separator := ","
	if strings.Contains(strings.TrimSpace(text), "\n") {
		separator = "\n"
	}
	for part := range strings.SplitSeq(text, separator) {
		if part = strings.TrimSpace(part); part != "" {
			values = append(values, part)
		}
	}
	return values
}

// file reads the file at path, "" for none.
func (l Layers) file(path string, all *pflag.FlagSet) (map[string]flagSetting, error) {
	found := make(map[string]flagSetting)
	if path == "" || path == os.DevNull {
		return found, nil
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	b, err := readAll(path, maxCurdTOML)
	if err != nil {
		return nil, err
	}
	settings, err := requirement.ParseTOML(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	flags := make(map[string]*pflag.Flag)
	visitSettings(all, func(flag *pflag.Flag) { flags[flag.Name] = flag })
	delete(flags, configFlag)
	f := file{path: path, lines: lineNumbers(b)}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		flag := flags[name]
		if flag == nil {
			return nil, f.errorf([]string{name}, "unknown key %.60q%s", name, l.hint(name, all))
		}
		values, err := fileValues(flag, settings[name])
		if err != nil {
			return nil, f.errorf([]string{name}, "%s %w", name, err)
		}
		found[name] = flagSetting{values, f.origin(name)}
	}
	return found, nil
}

// hint names the key that was likely meant.
func (l Layers) hint(name string, all *pflag.FlagSet) string {
	var names []string
	visitSettings(all, func(flag *pflag.Flag) { names = append(names, flag.Name) })
	if near := nearestOf(strings.ReplaceAll(strings.ToLower(name), "_", "-"), names); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	return "; the keys are the names of the flags, and '" + l.Program + " config' shows all of them"
}

// fileValues reads what a TOML file says of a flag.
func fileValues(flag *pflag.Flag, from any) ([]string, error) {
	items, list := from.([]any)
	_, repeated := flag.Value.(pflag.SliceValue)
	switch {
	case list && !repeated:
		return nil, errors.New("takes one value, not a list")
	case !list:
		items = []any{from}
	}
	values := []string{}
	for _, item := range items {
		text := fmt.Sprint(item)
		truth := false
		switch item := item.(type) {
		case bool:
			truth = true
		case string, int64, float64, toml.LocalDate, toml.LocalDateTime:
		case time.Time:
			text = item.Format(time.RFC3339Nano)
		default:
			return nil, errors.New("is neither a string nor a number, a boolean or a list of them")
		}
		switch wantTruth := flag.Value.Type() == "bool"; {
		case wantTruth && !truth:
			return nil, errors.New("is not a boolean; write true or false")
		case truth && !wantTruth:
			return nil, errors.New("is a boolean; write its value in quotes")
		}
		values = append(values, text)
	}
	return values, nil
}
