package curd

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"curdling/internal/dist"
	"curdling/internal/metadata"
	"curdling/internal/requirement"
	"curdling/internal/tag"
)

// Check tells what does not fit together, in pip's words and order: what is
// required and missing, what is there in a wrong version, what does not support
// this platform. Beyond pip's, it follows extras that an installed distribution
// requires of another one, holds Requires-Python against the interpreter, and
// tells of what is installed twice in one folder. Metadata that cannot be read
// is warned of, and makes ok false too.
func (e *Environment) Check() (problems []string, ok bool) {
	c := checker{Environment: e, there: map[dist.Name]*checked{}, seen: map[extraOf]bool{}}
	ok = true
	for _, d := range e.Distributions {
		m, err := d.Metadata()
		var field *metadata.FieldError
		if errors.As(err, &field) && field.Field == "Requires-Python" {
			err = nil // pip does without it
		}
		if err != nil || d.Version.IsZero() {
			e.warn("the requirements of %s cannot be told: %v", d.RawName, cmp.Or(err, errInvalidVersion))
			ok = false
		}
		c.there[d.Name] = &checked{Distribution: d, metadata: m}
	}
	for _, d := range e.Distributions {
		c.require(extraOf{project: d.Name})
	}
	problems = slices.Concat(sorted(c.missing), sorted(c.wrong), c.unsupported(), c.tooNew(), e.repeated())
	return problems, ok && len(problems) == 0
}

var errInvalidVersion = errors.New("its version is none of PEP 440")

type checked struct {
	Distribution
	metadata *metadata.Metadata // nil: cannot be read
}

// extraOf is an extra of a project, "" for what it requires in any case.
type extraOf struct{ project, extra dist.Name }

func (x extraOf) String() string {
	if x.extra == "" {
		return string(x.project)
	}
	return fmt.Sprintf("%s[%s]", x.project, x.extra)
}

type checker struct {
	*Environment
	there          map[dist.Name]*checked
	seen           map[extraOf]bool
	missing, wrong []string
}

// require looks at what a project, or one of its extras, requires.
func (c *checker) require(of extraOf) {
	d := c.there[of.project]
	if c.seen[of] || d.metadata == nil {
		return
	}
	c.seen[of] = true
	for _, r := range d.metadata.RequiresDist {
		if !c.applies(r, of.extra) {
			continue
		}
		has := c.there[r.Name]
		switch {
		case has == nil:
			c.missing = append(c.missing, fmt.Sprintf("%s %s requires %s, which is not installed.", of, d.Version, r.Name))
			continue
		case !r.Specifiers.Contains(has.Version):
			c.wrong = append(c.wrong, fmt.Sprintf("%s %s has requirement %s, but you have %s %s.", of, d.Version, r, r.Name, has.Version))
		}
		for _, extra := range r.Extras {
			c.require(extraOf{r.Name, extra})
		}
	}
}

// applies tells whether a requirement holds here for the extra, and not without any.
func (c *checker) applies(r requirement.Requirement, extra dist.Name) bool {
	always, err := r.Marker.Holds(c.Python.Markers, "")
	if err != nil || extra == "" {
		return always && err == nil
	}
	holds, err := r.Marker.Holds(c.Python.Markers, string(extra))
	return holds && !always && err == nil
}

func sorted(lines []string) []string {
	slices.Sort(lines)
	return slices.Compact(lines)
}

// unsupported finds wheels of another Python or platform.
func (c *checker) unsupported() (problems []string) {
	supported := tag.Rank(tag.Supported(c.Python.Target))
	for _, d := range c.Distributions {
		w, err := d.Wheel()
		if !d.Own || d.InStandardLibrary() || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if !slices.ContainsFunc(w.Tags, func(s string) bool {
			tags, err := tag.Parse(s)
			_, ok := supported.Best(tags)
			return err == nil && ok
		}) {
			problems = append(problems, fmt.Sprintf("%s %s is not supported on this platform", d.RawName, d.Version))
		}
	}
	return problems
}

// tooNew finds what requires another version of Python.
func (c *checker) tooNew() (problems []string) {
	for _, d := range c.Distributions {
		if m := c.there[d.Name].metadata; m != nil && !m.RequiresPython.Contains(c.Python.Version) {
			problems = append(problems, fmt.Sprintf("%s %s requires Python %s, but you have Python %s.", d.Name, d.Version, m.RequiresPython, c.Python.Version))
		}
	}
	return problems
}

// repeated finds what is there twice. An .egg-info beside a .dist-info, as Debian has them, does no harm.
func (e *Environment) repeated() (problems []string) {
	for _, d := range e.Repeated {
		if strings.HasSuffix(d.DistInfo, ".dist-info") {
			problems = append(problems, fmt.Sprintf("%s is installed twice in one folder: %s is one of them.", d.Name, d.DistInfo))
		}
	}
	return problems
}
