// Package config finds what settings are where the command line says nothing:
// in environment variables, in curd.toml and pyproject.toml, and in pip's own
// configuration where it means the same. What it finds goes in by the flags of
// the command, so that a command knows of flags only.
//
// The sources, what counts most first:
//
//  1. CURD_* variables;
//  2. the project's file: curd.toml, else the table [tool.curd] of
//     pyproject.toml, in the working folder or the nearest one above that has
//     either;
//  3. the user's file, curd/curd.toml where the system keeps configuration;
//  4. the system's, /etc/curd.toml;
//  5. PIP_* variables, then pip's files in pip's order.
//
// CURD_CONFIG_FILE names a file in the place of 2 to 4. A setting of a nearer
// source replaces that of a farther one whole, a list too; an empty variable is
// none. Files may be hostile: a curd.toml has at most 128 KiB, a pyproject.toml
// 4 MiB, each of pip's files 1 MiB.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"curdling/internal/dist"
)

// Options is where to look. The zero value looks where the process is.
type Options struct {
	Getenv       func(string) string // nil: os.Getenv
	Dir          string              // the working folder, absolute; "": the process's
	Home         string              // the user's folder; "": the process's, if it has any
	Etc          string              // the system's configuration; "": /etc
	Command      string              // whose section of pip's files counts beside [global]; "" or no command of pip's: install
	DefaultIndex string              // goes before pip's extra indexes and explicit ones where no other is set; "": none
}

// Config is what was found. Load makes it.
type Config struct {
	o        Options
	settings map[string]setting // by name; what is nowhere set is not there
	named    map[string]named
	explicit map[string]bool
	sources  map[dist.Name]string
}

// Setting is a setting with where it comes from.
type Setting struct {
	Key    string   // its name in TOML files
	Flag   string   // "" where there is none
	Values []string // fit to be shown: passwords are ****; an explicit index ends in " (explicit)"
	Origin string   // a variable, FILE:LINE, several of them with ", " between, or "default"
	Err    error    // why it cannot be used; nil: it can
}

// value is one text of a setting.
type value struct {
	text  string
	shown string // "": as text
	err   error  // why text cannot be used

	origin string // "": that of the setting
}

type setting struct {
	values []value
	origin string
}

// named is an index with a name.
type named struct {
	value    // of the flag: NAME=URL
	explicit bool
}

// pin is the index that a package comes from.
type pin struct{ index, origin string }

// layer is what one source says.
type layer struct {
	settings map[string]setting
	named    map[string]named
	pins     map[dist.Name]pin // nil: it says nothing of them
}

// defaultOrigin is where comes from what nobody set.
const defaultOrigin = "default"

type loader struct{ Options }

// Load reads all sources. It fails where a file cannot be read or says what it
// cannot mean, and where a CURD_* variable cannot; what lacks a variable of
// its URL, or is wrong in pip's configuration, is an error where it is used.
func Load(o Options) (*Config, error) {
	l := &loader{o}
	l.complete()
	layers, err := l.layers()
	if err != nil {
		return nil, err
	}
	c := &Config{o: l.Options, settings: map[string]setting{}, named: map[string]named{}, explicit: map[string]bool{}, sources: map[dist.Name]string{}}
	var pins map[dist.Name]pin
	for i, layer := range layers {
		for name, s := range layer.settings {
			if _, nearer := c.settings[name]; !nearer {
				c.settings[name] = s
			}
		}
		for name, index := range layer.named {
			if _, nearer := c.named[name]; !nearer {
				c.named[name] = index
			}
			if _, told := c.explicit[name]; !told && i > 0 { // a variable cannot tell
				c.explicit[name] = index.explicit
			}
		}
		if pins == nil {
			pins = layer.pins
		}
	}
	return c, c.pin(pins)
}

// complete fills in what is not given.
func (l *loader) complete() {
	if l.Getenv == nil {
		l.Getenv = os.Getenv
	}
	if l.Dir == "" {
		l.Dir, _ = os.Getwd() // it is gone: there is no project
	}
	if l.Home == "" {
		l.Home, _ = os.UserHomeDir() // none: there are no files of the user's
	}
	if l.Etc == "" {
		l.Etc = "/etc"
	}
}

// layers reads the sources, the nearest first.
func (l *loader) layers() ([]layer, error) {
	environment, err := l.environment()
	if err != nil {
		return nil, err
	}
	layers := []layer{environment}
	files, err := l.files()
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		found, err := f.layer()
		if err != nil {
			return nil, err
		}
		layers = append(layers, found)
	}
	pip, err := l.pip()
	return append(layers, pip), err
}

// environment reads the CURD_* variables.
func (l *loader) environment() (layer, error) {
	found := layer{settings: map[string]setting{}, named: map[string]named{}}
	for i := range keys {
		k := &keys[i]
		text := l.Getenv(k.env)
		if k.env == "" || text == "" {
			continue
		}
		words := []string{text}
		if k.kind == list || k.kind == table || k.kind == indexes {
			words = strings.Fields(text)
		}
		s := setting{origin: k.env}
		for _, word := range words {
			if err := k.check(word); err != nil {
				return found, fmt.Errorf("%s: %w", k.env, err)
			}
			if on, ok := parseBool(word); ok && k.kind == boolean {
				word = fmt.Sprint(on)
			}
			v := value{text: word, origin: k.env}
			if name, _ := CutIndex(word); k.kind == indexes && name != "" {
				found.named[name] = named{value: v}
			}
			s.values = append(s.values, v)
		}
		found.settings[k.name] = s
	}
	return found, nil
}

// pin takes over which package comes from which index.
func (c *Config) pin(pins map[dist.Name]pin) error {
	for name, p := range pins {
		if _, ok := c.named[p.index]; !ok {
			return fmt.Errorf("%s: %s is to come from the index %q, which no [[index]] has as its name", p.origin, name, p.index)
		}
		c.sources[name] = p.index
	}
	return nil
}

// Sources tells which package comes from which index alone, by the index's name.
// After Apply each of them is among the values of --index.
func (c *Config) Sources() map[dist.Name]string { return c.sources }

// Explicit holds the names of indexes that are asked only for the packages that
// Sources pins to them; after Apply also of those that are there for Sources' sake alone.
func (c *Config) Explicit() map[string]bool { return c.explicit }

// CacheDir is the folder of the machine's own cache, ~/.curds where nothing is set.
func (c *Config) CacheDir() (string, error) {
	if s, ok := c.settings["cache-dir"]; ok {
		return s.values[0].text, s.values[0].err
	}
	if c.o.Home == "" {
		return "", errors.New("no place for the machine's own cache: there is no home folder; set CURD_CACHE to a folder")
	}
	return filepath.Join(c.o.Home, ".curds"), nil
}

// Settings gives every setting, in the order of the manual.
func (c *Config) Settings() []Setting {
	all := make([]Setting, len(keys))
	for i := range keys {
		k := &keys[i]
		s := c.settings[k.name]
		var explicit map[string]bool
		if k.kind == indexes {
			s, explicit = c.indexes(nil)
		}
		if dir, err := c.CacheDir(); k.name == "cache-dir" && s.values == nil && err == nil {
			s.values = []value{{text: dir}}
		}
		shown := Setting{Key: k.name, Flag: k.flag}
		var origins []string
		for _, v := range s.values {
			text := k.show(v)
			if name, _ := CutIndex(v.text); explicit[name] {
				text += " (explicit)"
			}
			shown.Values = append(shown.Values, text)
			shown.Err = cmp.Or(shown.Err, v.err)
			origins = append(origins, cmp.Or(v.origin, s.origin, defaultOrigin))
		}
		shown.Origin = cmp.Or(join(origins), s.origin, defaultOrigin)
		all[i] = shown
	}
	return all
}

// join lists origins, each once.
func join(origins []string) string {
	var unique []string
	for _, o := range origins {
		if !slices.Contains(unique, o) {
			unique = append(unique, o)
		}
	}
	return strings.Join(unique, ", ")
}

// show makes a value fit to be shown.
func (k *key) show(v value) string {
	shown := cmp.Or(v.shown, v.text)
	if isSecretKey(shown) {
		return "****"
	}
	if k.content == address || strings.Contains(shown, "://") {
		shown = Mask(shown)
	}
	if strings.ContainsFunc(shown, unicode.IsControl) { // a terminal might obey
		return fmt.Sprintf("%q", shown)
	}
	return shown
}
