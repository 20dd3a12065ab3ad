package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"curdling/internal/curd"
)

// ui shows what a run is doing: bars on a terminal, plain lines elsewhere, and
// nothing but warnings where it is quiet.
type ui struct {
	mu     sync.Mutex
	w      io.Writer
	style  style
	quiet  bool
	bars   *mpb.Progress // nil: no terminal
	phases map[curd.Phase]*phaseBar
}

// phaseBar is one phase's bar. Its total grows while the phase learns what there is to do.
type phaseBar struct {
	bar         *mpb.Bar
	total, done int64
	things, in  int                    // begun; under way
	now         atomic.Pointer[string] // what is being worked on; the bar's own goroutine reads it
}

func newUI(w io.Writer, quiet bool) *ui {
	u := &ui{w: w, quiet: quiet, phases: map[curd.Phase]*phaseBar{}}
	if isTerminal(w) {
		u.style.colour = os.Getenv("NO_COLOR") == ""
		if !quiet && os.Getenv("TERM") != "dumb" {
			u.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(40), mpb.WithRefreshRate(80*time.Millisecond))
		}
	}
	return u
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// notify hears the events of a run.
func (u *ui) notify(e curd.Event) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case e.Kind == curd.Warning:
		u.say(u.style.yellow("warning: ") + e.Name)
	case e.Kind == curd.Decision:
		u.say(u.style.dim(e.Name))
	case u.quiet || e.Phase == curd.Asking: // too much to show
	case u.bars != nil:
		u.draw(e)
	default:
		u.line(e)
	}
}

func (u *ui) warn(text string) { u.notify(curd.Event{Kind: curd.Warning, Name: text}) }

// say prints a line, above the bars where there are any.
func (u *ui) say(line string) {
	w := u.w
	if u.bars != nil {
		w = u.bars
	}
	fmt.Fprintf(w, "curd: %s\n", line)
}

// line tells of the steps that take long; a line each.
func (u *ui) line(e curd.Event) {
	switch {
	case e.Kind == curd.Begin && e.Phase == curd.Fetching:
		what := e.Name
		if e.Bytes > 0 {
			what += " (" + size(e.Bytes) + ")"
		}
		u.say("fetching " + what)
	case e.Kind == curd.Begin && e.Phase == curd.Building:
		u.say("building " + e.Name)
	case e.Kind == curd.Plan && e.Phase == curd.Installing && e.Count > 0:
		u.say(fmt.Sprintf("installing %s", count(e.Count, "package")))
	case e.Kind == curd.End && e.Phase == curd.Uploading:
		u.say("uploaded " + e.Name)
	}
}

// size writes a number of bytes for people: "12.3 MiB", in powers of 1024.
func size(bytes int64) string {
	if bytes < 1024 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("% .1f", decor.SizeB1024(bytes))
}

// draw brings the bar of a phase up to date.
func (u *ui) draw(e curd.Event) {
	p := u.phases[e.Phase]
	if p == nil {
		p = &phaseBar{}
		p.bar = u.newBar(e.Phase, p)
		u.phases[e.Phase] = p
	}
	bytes := e.Phase == curd.Fetching
	switch e.Kind {
	case curd.Plan:
		p.total += int64(e.Count)
	case curd.Begin:
		p.things++
		p.in++
		p.now.Store(&e.Name)
		if bytes {
			p.total += e.Bytes
		} else if int64(p.things) > p.total {
			p.total = int64(p.things)
		}
	case curd.Progress:
		now := strings.TrimSpace(e.Name + "  " + e.Step)
		p.now.Store(&now)
		if bytes {
			p.done += e.Bytes
			p.total = max(p.total, p.done)
		}
	case curd.End:
		if p.in--; p.in == 0 {
			p.now.Store(nil)
		}
		if !bytes {
			p.done++
		}
	}
	p.bar.SetTotal(p.total, false)
	p.bar.SetCurrent(p.done)
}

func (u *ui) newBar(phase curd.Phase, p *phaseBar) *mpb.Bar {
	now := func(decor.Statistics) string {
		if s := p.now.Load(); s != nil {
			return *s
		}
		return ""
	}
	prepend := mpb.PrependDecorators(decor.Name(string(phase), decor.WC{W: 11, C: decor.DindentRight}))
	if phase == curd.Resolving {
		return u.bars.New(0, mpb.NopStyle(), prepend, mpb.AppendDecorators(decor.Any(now)))
	}
	counter := decor.CountersNoUnit("%d/%d", decor.WCSyncSpace)
	if phase == curd.Fetching {
		counter = decor.CountersKibiByte("% .1f/% .1f", decor.WCSyncSpace)
	}
	return u.bars.New(0, mpb.BarStyle(), prepend, mpb.AppendDecorators(counter, decor.Name("  "), decor.Any(now)))
}

// close ends the bars.
func (u *ui) close() {
	if u.bars == nil {
		return
	}
	u.mu.Lock()
	for _, p := range u.phases {
		p.bar.Abort(true)
	}
	bars := u.bars
	u.mu.Unlock()
	bars.Wait()
	u.mu.Lock()
	u.bars = nil
	u.mu.Unlock()
}

// style colours text for a terminal that wants it.
type style struct{ colour bool }

func (s style) paint(code, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) yellow(t string) string { return s.paint("33", t) }
func (s style) green(t string) string  { return s.paint("32", t) }
func (s style) dim(t string) string    { return s.paint("2", t) }

// count writes a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
