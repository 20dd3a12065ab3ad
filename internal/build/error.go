package build

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"curdling/internal/dist"
	"curdling/internal/process"
	"curdling/internal/version"
)

// Error tells which build failed, where, and how its log ended.
type Error struct {
	Name    dist.Name
	Version version.Version
	Source  string   // Name and Version, or the path where they are not known
	Step    string   // "unpacking", "build_wheel" ...
	Log     string   // path of the whole log; "" where none is kept
	Tail    []string // the log's last lines, where a hook failed
	Hints   []string // what may help
	Err     error
}

func (e *Error) Unwrap() error { return e.Err }

// Everywhere tells whether the source is at fault, or what was installed for the build, and not what
// this machine is short of, such as room on its disk.
func (e *Error) Everywhere() bool { return len(e.Tail) > 0 || e.Step == checking }

// checking is the step after the backend's work.
const checking = "checking the wheel"

func (e *Error) Error() string {
	var b strings.Builder
	if len(e.Tail) == 0 {
		fmt.Fprintf(&b, "%s: building the wheel failed in %s: %v", e.Source, e.Step, e.Err)
	} else {
		fmt.Fprintf(&b, "%s: building the wheel failed (%v) in %s; the end of its log:", e.Source, e.Err, e.Step)
		for _, line := range e.Tail {
			b.WriteString("\n  " + line)
		}
	}
	if e.Log != "" && len(e.Tail) > 0 {
		b.WriteString("\nthe whole log: " + e.Log)
	}
	for _, hint := range e.Hints {
		b.WriteString("\nhint: " + hint)
	}
	return b.String()
}

// fail makes an Error of err, which a step of the job gave.
func (j *job) fail(ctx context.Context, err error) error {
	e := &Error{Name: j.src.Name, Version: j.src.Version, Source: j.src.String(), Step: j.step, Log: j.logPath, Err: err}
	var hook *hookError
	switch {
	case ctx.Err() != nil:
		e.Err = ctx.Err()
	case errors.As(err, &hook):
		e.Err = hook.err
		e.Tail = process.LastLines(process.Plain(j.log.tail))
		e.Hints = hints(string(j.log.tail) + "\n" + hook.Error())
	}
	return e
}
