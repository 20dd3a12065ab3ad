package oidc

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/pelletier/go-toml/v2"

	"curdling/internal/scope"
)

const (
	maxRules   = 1 << 20 // bytes of the file
	maxPattern = 1000    // bytes
	maxValue   = 4 << 10 // bytes of a claim that a pattern may fit
	maxUser    = 255     // bytes
)

// issuer is one, with its rules.
type issuer struct {
	URL, host string
	audience  jwt.Audience
	rules     []*rule
}

// rule says what the jobs that it fits may do.
type rule struct {
	claims      []wanted // sorted
	scope, user template
	upload      bool
	projects    []string
}

// wanted is what a claim must be.
type wanted struct {
	claim    string
	patterns []*regexp.Regexp // one of them
}

// written is the file as it is written. What a rule wants of a claim is a string or an array of strings.
type written struct {
	Issuers []struct {
		URL      string `toml:"url"`
		Audience any    `toml:"audience"`
		Rules    []struct {
			Claims   map[string]any `toml:"claims"`
			Scope    string         `toml:"scope"`
			User     string         `toml:"user"`
			May      string         `toml:"may"`
			Projects []string       `toml:"projects"`
		} `toml:"rule"`
	} `toml:"issuer"`
}

// whose are the claims that say whose job it is, on the systems that are known.
var whose = []string{
	"sub", "repository", "repository_id", "repository_owner", "repository_owner_id",
	"project_path", "project_id", "namespace_path", "namespace_id", "workspaceUuid", "repositoryUuid",
}

func readRules(path string) (*Rules, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxRules+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	rules, err := parseRules(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rules, nil
}

func parseRules(b []byte) (*Rules, error) {
	if len(b) > maxRules {
		return nil, fmt.Errorf("larger than %d MiB", maxRules>>20)
	}
	var file written
	if err := toml.NewDecoder(bytes.NewReader(b)).DisallowUnknownFields().Decode(&file); err != nil {
		return nil, inLine(err)
	}
	if len(file.Issuers) == 0 {
		return nil, errors.New("no [[issuer]] is named: nobody would be let in")
	}
	all := new(Rules)
	for _, w := range file.Issuers {
		i := &issuer{URL: w.URL}
		if err := checkURL(w.URL); err != nil {
			return nil, err
		}
		if u, err := url.Parse(w.URL); err == nil {
			i.host = u.Host
		}
		if slices.ContainsFunc(all.issuers, func(other *issuer) bool { return other.URL == i.URL }) {
			return nil, fmt.Errorf("the issuer %s comes twice", i.URL)
		}
		audience, err := texts(w.Audience)
		if err != nil || slices.Contains(audience, "") {
			return nil, fmt.Errorf("issuer %s: audience is needed, a string or an array of them, like the address of this server: else tokens for others would be taken", i.URL)
		}
		i.audience = audience
		if len(w.Rules) == 0 {
			return nil, fmt.Errorf("issuer %s: it has no [[issuer.rule]]: nobody would be let in by it", i.URL)
		}
		for n, r := range w.Rules {
			one := &rule{projects: r.Projects}
			if err := one.read(r.Claims, r.Scope, r.User, r.May); err != nil {
				return nil, fmt.Errorf("issuer %s: rule %d: %w", i.URL, n+1, err)
			}
			i.rules = append(i.rules, one)
		}
		all.issuers = append(all.issuers, i)
	}
	return all, nil
}

// inLine has an error of the TOML parser name its line.
func inLine(err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		row, _ := strict.Errors[0].Position()
		return fmt.Errorf("line %d: there is no setting %s", row, strings.Join(strict.Errors[0].Key(), "."))
	}
	var decode *toml.DecodeError
	if errors.As(err, &decode) {
		row, _ := decode.Position()
		return fmt.Errorf("line %d: %w", row, err)
	}
	return err
}

// texts reads a string or an array of strings, at least one.
func texts(value any) ([]string, error) {
	switch v := value.(type) {
	case string:
		return []string{v}, nil
	case []any:
		all := make([]string, 0, len(v))
		for _, item := range v {
			text, ok := item.(string)
			if !ok {
				return nil, fmt.Errorf("%v is no string", item)
			}
			all = append(all, text)
		}
		if len(all) > 0 {
			return all, nil
		}
	}
	return nil, errors.New("a string is needed, or an array of strings")
}

func (r *rule) read(claims map[string]any, inScope, user, may string) (err error) {
	pinned, captures := false, make(map[string]bool)
	for _, claim := range slices.Sorted(maps.Keys(claims)) {
		patterns, err := texts(claims[claim])
		if err != nil {
			return fmt.Errorf("claim %s: %w", claim, err)
		}
		w := wanted{claim: claim}
		certain := true
		for _, p := range patterns {
			compiled, literal, err := compile(p)
			if err != nil {
				return fmt.Errorf("claim %s: %w", claim, err)
			}
			certain = certain && literal != "" && !strings.HasSuffix(literal, ":")
			for _, name := range compiled.SubexpNames()[1:] {
				if captures[name] || len(patterns) > 1 {
					return fmt.Errorf("claim %s: {%s} would stand for several things: name it once, in one pattern", claim, name)
				}
				captures[name] = true
			}
			w.patterns = append(w.patterns, compiled)
		}
		pinned = pinned || certain && slices.Contains(whose, claim)
		r.claims = append(r.claims, w)
	}
	if !pinned {
		return fmt.Errorf("no claim says whose job it is: name one of %s that begins with text, like OWNER/*", strings.Join(whose, ", "))
	}
	if r.scope, err = parseTemplate(cmp.Or(inScope, scope.Main)); err != nil {
		return fmt.Errorf("scope: %w", err)
	}
	if len(r.scope.names) == 0 {
		err = scope.Check(r.scope.text)
	} else if strings.ContainsFunc(strings.Join(r.scope.between, ""), func(c rune) bool { return scope.Check(string([]rune{'a', c, 'a'})) != nil || c == '@' }) {
		err = fmt.Errorf("%q: of lower-case letters, digits and - _ . a name can be made", r.scope.text)
	}
	if err != nil {
		return fmt.Errorf("scope: %w", err)
	}
	if r.user, err = parseTemplate(user); err != nil {
		return fmt.Errorf("user: %w", err)
	}
	switch may {
	case "upload":
		r.upload = true
	case "", "read":
		if r.projects != nil {
			return errors.New("projects are for jobs that may upload: who reads reads all")
		}
	default:
		return fmt.Errorf("may = %.40q: a job may read or upload", may)
	}
	for i, glob := range r.projects {
		if _, err := path.Match(glob, ""); err != nil || glob == "" {
			return fmt.Errorf("%q is no glob of projects; write one like acme-*", glob)
		}
		r.projects[i] = strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(glob))
	}
	return nil
}

// captureName is a name that can stand in braces.
var captureName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// compile reads a pattern. literal is what it begins with.
func compile(pattern string) (compiled *regexp.Regexp, literal string, err error) {
	bad := func(why string) (*regexp.Regexp, string, error) {
		return nil, "", fmt.Errorf("the pattern %.80q: %s", pattern, why)
	}
	if pattern == "" || len(pattern) > maxPattern {
		return bad(fmt.Sprintf("it must have 1 to %d bytes", maxPattern))
	}
	literal = pattern
	if i := strings.IndexAny(pattern, "*{"); i >= 0 {
		literal = pattern[:i]
	}
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	seen := make(map[string]bool)
	for rest := pattern; rest != ""; {
		i := strings.IndexAny(rest, "*{}")
		if i < 0 {
			b.WriteString(regexp.QuoteMeta(rest))
			break
		}
		b.WriteString(regexp.QuoteMeta(rest[:i]))
		c := rest[i]
		rest = rest[i+1:]
		if c == '*' {
			b.WriteString(`[^/]*`)
			continue
		}
		name, behind, closed := strings.Cut(rest, "}")
		if c == '}' || !closed {
			return bad("a brace is alone; write {name}")
		}
		name, long := strings.CutSuffix(name, "...")
		switch {
		case !captureName.MatchString(name) || seen[name]:
			return bad("in braces stands a name of letters, digits and _, each once")
		case long && behind != "":
			return bad("{" + name + "...} stands at the end")
		case long:
			b.WriteString(`(?P<` + name + `>.+)`)
		default:
			b.WriteString(`(?P<` + name + `>[^/]+)`)
		}
		seen[name] = true
		rest = behind
	}
	b.WriteString(`\z`)
	compiled, err = regexp.Compile(b.String())
	return compiled, literal, err
}

// template is text with names in braces.
type template struct {
	text    string
	between []string // the text around the names: one more than these
	names   []string
}

func parseTemplate(text string) (template, error) {
	t := template{text: text}
	if len(text) > maxUser {
		return t, fmt.Errorf("more than %d bytes", maxUser)
	}
	for {
		before, rest, found := strings.Cut(text, "{")
		t.between = append(t.between, before)
		if strings.Contains(before, "}") {
			return t, fmt.Errorf("%q: a brace is alone; write {name}", t.text)
		}
		if !found {
			return t, nil
		}
		name, behind, closed := strings.Cut(rest, "}")
		if !closed || !captureName.MatchString(name) {
			return t, fmt.Errorf("%q: in braces stands the name of a claim, or of what a pattern has in braces", t.text)
		}
		t.names, text = append(t.names, name), behind
	}
}

// fill puts values in. missing is the name of one that the token does not have.
func (t *template) fill(captures map[string]string, c *claims) (text string, values []string, missing string) {
	var b strings.Builder
	b.WriteString(t.between[0])
	for i, name := range t.names {
		value, ok := captures[name]
		if !ok {
			value = c.text(name)
		}
		if value == "" || len(value) > maxValue {
			return "", nil, name
		}
		values = append(values, value)
		b.WriteString(value)
		b.WriteString(t.between[i+1])
	}
	return b.String(), values, ""
}

// judge tells why a rule does not fit a token, "" where it does: then who is what it says.
func (r *rule) judge(who *Identity, c *claims) (why string) {
	captures := make(map[string]string)
	for _, w := range r.claims {
		if why := w.judge(c, captures); why != "" {
			return why
		}
	}
	name, values, missing := r.scope.fill(captures, c)
	if missing == "" && len(values) > 0 {
		name = scope.For(r.scope.text, name, values...)
	}
	user := who.User
	if missing == "" && r.user.text != "" {
		user, _, missing = r.user.fill(captures, c)
	}
	switch {
	case missing != "":
		return "the token has no claim " + missing + " to name the scope or the user by"
	case len(user) > maxUser || strings.ContainsFunc(user, func(c rune) bool { return !unicode.IsPrint(c) }):
		return "the user's name that it gives is none"
	}
	who.User, who.Scope, who.Upload, who.Projects = user, name, r.upload, r.projects
	return ""
}

// judge tells why a claim is not what is wanted, "" where it is; what stood for names goes to captures.
func (w *wanted) judge(c *claims, captures map[string]string) (why string) {
	value := c.text(w.claim)
	if value == "" {
		return "the token has no claim " + w.claim
	}
	for _, p := range w.patterns {
		match := p.FindStringSubmatch(value)
		if match == nil || len(value) > maxValue {
			continue
		}
		for i, name := range p.SubexpNames() {
			if name != "" {
				captures[name] = match[i]
			}
		}
		return ""
	}
	return fmt.Sprintf("claim %s is %s", w.claim, shown(value))
}

// text gives a claim as patterns see it; "" where there is none, or it is no string, number, true or false.
func (c *claims) text(claim string) string {
	switch v := c.all[claim].(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 { // else it is not the number that was sent
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
	}
	return ""
}
