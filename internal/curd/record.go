package curd

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"curdling/internal/build"
	"curdling/internal/curds"
	"curdling/internal/dist"
	"curdling/internal/fit"
	"curdling/internal/lazyregexp"
	"curdling/internal/python"
	"curdling/internal/record"
	"curdling/internal/version"
)

// newRecord tells of a build all but the name of the wheel, and gives it its identity.
func newRecord(r *recipe, result *build.Result, used *used, needs fit.Needs) (*record.Record, error) {
	platform, libc, _ := record.PlatformOf(r.python.Target)
	flags, err := processorFlags(result.LogPath)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(used.distributions, func(a, b record.Distribution) int { return cmp.Compare(a.Name, b.Name) })
	rec := &record.Record{
		Key:  r.key(),
		From: r.from,
		With: record.With{Backend: result.Backend, Requires: used.distributions, Settings: r.settings, Variables: publicVariables(r.variables)},
		On: record.On{
			Python: r.python.Version.String(), Tag: record.TagOf(r.python.Target), Platform: platform, Libc: libc,
			Compilers: needs.Compilers(), Flags: flags,
		},
		Needs: record.Needs{Needs: needs.Merged()},
		Cost:  record.Cost{Seconds: result.Seconds, Bytes: used.bytes, Built: time.Now().UTC().Truncate(time.Millisecond)},
	}
	rec.From.SHA256 = r.source
	if rec.Native() && !needs.IsZero() {
		rec.Needs.CPU = fit.Processor()
	}
	return rec, rec.Identify()
}

// publicVariables takes credentials out of URLs in values.
func publicVariables(variables map[string]string) map[string]string {
	public := make(map[string]string, len(variables))
	for name, value := range variables {
		public[name] = userinfo.ReplaceAllString(value, "://")
	}
	return public
}

var userinfo = lazyregexp.New(`://[^/\s@]*@`)

// processorFlag is an argument of a compiler that chooses the instruction set of all that it compiles.
var processorFlag = lazyregexp.New(`(?:^|[\s"'])(?:-C\s*)?(-m(?:arch|cpu)=[\w.+-]+|target-cpu=[\w.+-]+|/arch:\w+)`)

// maxFlags is how many different ones a record holds.
const maxFlags = 16

// processorFlags finds them in a build's log, sorted.
func processorFlags(log string) (flags []string, err error) {
	f, err := os.Open(log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewReaderSize(f, 64<<10)
	for {
		line, err := lines.ReadSlice('\n')
		for _, m := range processorFlag.FindAllSubmatch(line, -1) {
			if flag := string(m[1]); !slices.Contains(flags, flag) && (len(flags) < maxFlags || strings.HasSuffix(flag, "=native")) {
				flags = append(flags, flag)
			}
		}
		if errors.Is(err, io.EOF) {
			slices.Sort(flags)
			return flags, nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

// otherwise tells why a build was made under another key than this run's, "" where it was not.
func (s *source) otherwise(f dist.File) string {
	d := s.decided()
	d.From, d.Settings = f.BuiltFrom, s.settings(string(f.Name))
	if record.Key(d) == f.BuildKey {
		return ""
	}
	return "a build of it was made for another Python or system, or with other settings"
}

// recordOf gives the record of a build that a cache server lists, from there or from the own cache.
func (s *session) recordOf(ctx context.Context, f dist.File) (*record.Record, []byte, error) {
	for _, b := range s.own.Builds(f.BuiltFrom, f.BuildKey) {
		if b.Wheel == f.SHA256 && b.Filename == f.Filename {
			r, err := record.Parse(b.Record)
			return r, b.Record, err
		}
	}
	text, err := s.clientFor(f).ReadBeside(ctx, f, record.Suffix, record.MaxSize)
	if err != nil {
		return nil, nil, err
	}
	r, err := record.Parse(text)
	if err == nil {
		err = r.Of(f.Filename, f.SHA256)
	}
	if err == nil && (r.From.SHA256 != f.BuiltFrom || r.Key != f.BuildKey) {
		err = errors.New("it is of another source or key than the page says")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", f.Filename+record.Suffix, err)
	}
	return r, text, nil
}

// misfit tells why a build does not do here, "" where it does.
func (s *session) misfit(r *record.Record, py *python.Interpreter) string {
	for _, f := range r.Needs.Files {
		if lacks := s.host.Lacks(r.Needs.Needs, fit.Place{Arch: f.Machine, Python: py.Executable}); len(lacks) > 0 {
			return lacking(lacks[0])
		}
	}
	if r.Native() && len(r.Needs.Files) > 0 {
		here := fit.Processor()
		if missing := slices.DeleteFunc(slices.Clone(r.Needs.CPU), func(feature string) bool { return slices.Contains(here, feature) }); len(missing) > 0 || len(here) == 0 {
			return "it was built for the very processor of its builder (" + strings.Join(r.On.Flags, " ") + "), and this one is another"
		}
	}
	for _, w := range s.BuildConstraints {
		for _, d := range r.With.Requires {
			v, err := version.Parse(d.Version)
			if d.Name == w.Name && (err != nil || !w.Specifiers.Contains(v)) {
				return fmt.Sprintf("it was built with %s %s, and %s is asked for", d.Name, d.Version, w.Requirement)
			}
		}
	}
	return ""
}

// admitted is a build that a cache server lists.
type admitted struct {
	record          *record.Record
	text, signature []byte // of the record; the signature is nil where nobody asked for it
	why             string // it may not be used here; "" where it may
}

// admit sees, before it is fetched, whether a build that a cache server lists has a record and is by somebody who is
// trusted. An error is one of the cache server, or of ctx.
func (s *session) admit(ctx context.Context, f dist.File) (admitted, error) {
	return s.admissions.get(ctx, f.URL+" "+f.SHA256, func() (a admitted, err error) {
		a.record, a.text, err = s.recordOf(ctx, f)
		if err == nil {
			a.signature, a.why, err = s.trusted(ctx, f, a.record, a.text)
		}
		c := s.cacheOf(f)
		switch {
		case ctx.Err() != nil:
			return a, ctx.Err()
		case err != nil && lost(err) && !errors.Is(err, os.ErrNotExist):
			if c != nil {
				s.giveUp(c, err)
			}
			return a, fmt.Errorf("%w: %w", errCacheLost, err)
		case err != nil:
			a.why = "its record cannot be used: " + err.Error()
		}
		if a.why != "" && c != nil && s.verifies() {
			s.leaveOut(c, f, a.why)
		}
		return a, nil
	})
}

// barred leaves a wheel out that another machine built and that does not do here, and has the solve done again; a lock knows
// nothing else.
func (s *session) barred(f dist.File, why string) error {
	if s.Lock != nil {
		return fmt.Errorf("%s: %s", f.Filename, why)
	}
	s.log("build").Info("is left out", "wheel", f.Filename, "why", why)
	s.unfit.Store(f.URL, why)
	return fmt.Errorf("%w: %s does not fit", errAgain, f.Filename)
}

// checkBuild keeps the record of a build that a cache server lists and that may be used here.
func (s *source) checkBuild(ctx context.Context, p *prepared) error {
	f := p.choice.File
	if f.BuildKey == "" {
		return nil
	}
	a, err := s.admit(ctx, f)
	if err != nil {
		return err
	}
	why := a.why
	if why == "" {
		why = s.misfit(a.record, s.python)
	}
	if why != "" {
		return s.barred(f, why)
	}
	p.record, p.signed = a.text, a.signature
	p.saved.Builds, p.saved.Time = 1, a.record.Cost.Duration()
	return nil
}

// keepRecord notes a build that came from a cache server, so that the next run knows it.
func (s *source) keepRecord(p *prepared) error {
	f := p.choice.File
	if f.BuildKey == "" {
		return nil
	}
	same := func(b curds.Build) bool {
		return b.Wheel == p.file.sha256 && (b.Server == "" || p.signed == nil || bytes.Equal(b.Signature, p.signed))
	}
	server := f.URL // never "": this machine did not make it, and will not sign it
	if c := s.cacheOf(f); c != nil {
		server = c.shown
	}
	if slices.ContainsFunc(s.own.Builds(f.BuiltFrom, f.BuildKey), same) {
		return nil
	}
	return s.own.AddBuild(curds.Build{
		Source: f.BuiltFrom, Key: f.BuildKey, Wheel: p.file.sha256, Filename: f.Filename,
		Seconds: p.saved.Time.Seconds(), Time: time.Now().UTC().Truncate(time.Second), Record: p.record,
		Server: server, Signature: p.signed,
	})
}
