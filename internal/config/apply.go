package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/pflag"
)

// Apply gives the flags that are not on the command line their values. Flags
// that stay as they are declared are not touched, and Changed goes on to
// tell what is on the command line. The explicit indexes and those that
// Sources names are put beside the --index of a command line, too.
func (c *Config) Apply(flags *pflag.FlagSet) error {
	for i := range keys {
		k := &keys[i]
		flag := flags.Lookup(k.flag)
		if k.flag == "" || flag == nil {
			continue
		}
		var err error
		if slice, ok := flag.Value.(pflag.SliceValue); ok && k.kind == indexes {
			err = c.applyIndexes(k, flag, slice)
		} else if s, ok := c.settings[k.name]; ok && !flag.Changed {
			err = s.apply(k, flag)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) applyIndexes(k *key, flag *pflag.Flag, slice pflag.SliceValue) error {
	var given []string
	if flag.Changed {
		given = slice.GetSlice()
	}
	s, explicit := c.indexes(given)
	c.explicit = explicit
	var texts []string
	for _, v := range s.values {
		if !slices.Contains(given, v.text) { // what is given is the command's to check
			if err := s.usable(k, v); err != nil {
				return err
			}
		}
		texts = append(texts, v.text)
	}
	if texts == nil {
		return nil
	}
	return slice.Replace(texts)
}

// usable tells why a value cannot be used.
func (s *setting) usable(k *key, v value) error {
	err := v.err
	if err == nil {
		err = k.check(v.text)
	} else {
		err = fmt.Errorf("%s %.200s: %w", k.name, k.show(v), err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", cmp.Or(v.origin, s.origin), err)
	}
	return nil
}

// apply sets a flag.
func (s *setting) apply(k *key, flag *pflag.Flag) error {
	for _, v := range s.values {
		if err := s.usable(k, v); err != nil {
			return err
		}
		if err := flag.Value.Set(v.text); err != nil {
			return fmt.Errorf("%s: %s is %.200q: %w", s.origin, k.name, k.show(v), err)
		}
	}
	return nil
}

// indexes gives what --index is to be: those that are given or else set, and
// with them the explicit ones and those that packages are pinned to. It
// gives also the names of those that are asked for such packages only.
func (c *Config) indexes(given []string) (setting, map[string]bool) {
	var line []value
	for _, text := range given {
		line = append(line, value{text: text})
	}
	special := func(v value) bool {
		name, _ := CutIndex(v.text)
		return c.explicit[name]
	}
	set := c.settings["index"]
	s := setting{values: slices.DeleteFunc(slices.Clone(line), special)}
	if len(s.values) == 0 {
		s = setting{values: slices.DeleteFunc(slices.Clone(set.values), special), origin: set.origin}
	}
	there := map[string]bool{}
	for _, v := range s.values {
		name, _ := CutIndex(v.text)
		there[name] = true
	}
	explicit := maps.Clone(c.explicit)
	for _, name := range c.sources {
		explicit[name] = explicit[name] || !there[name]
	}
	var beside []value
	for _, name := range slices.Sorted(maps.Keys(explicit)) {
		if explicit[name] {
			v := c.named[name].value
			for _, nearer := range slices.Concat(set.values, line) {
				if n, _ := CutIndex(nearer.text); n == name {
					v = nearer
				}
			}
			beside = append(beside, v)
		}
	}
	if len(s.values) == 0 && len(beside) > 0 && c.o.DefaultIndex != "" {
		s.values = []value{{text: c.o.DefaultIndex, origin: defaultOrigin}}
	}
	s.values = append(s.values, beside...)
	return s, explicit
}
