package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"curdling/internal/curd"
)

// tracePhases are the rows of a trace, from top to bottom.
var tracePhases = []curd.Phase{curd.Resolving, curd.Asking, curd.Fetching, curd.Building, curd.Unpacking, curd.Installing, curd.Uploading}

// A tracer writes what a run does as Chrome's trace events, an array of JSON objects. Each phase has
// as many rows (threads, to the viewer) as it did things at once.
type tracer struct {
	mu    sync.Mutex
	file  *os.File
	w     *bufio.Writer
	start time.Time
	open  map[curd.Phase][]span // by row; one without a name is free
}

type span struct {
	name  string
	begun time.Time
}

// traceEvent is one of phase X, complete, or of phase M, which names a row. Times are in microseconds.
type traceEvent struct {
	Name     string            `json:"name"`
	Category string            `json:"cat,omitempty"`
	Phase    string            `json:"ph"`
	Time     float64           `json:"ts"`
	Duration float64           `json:"dur"`
	Process  int               `json:"pid"`
	Thread   int               `json:"tid"`
	Args     map[string]string `json:"args,omitempty"`
}

// startTrace has the events of a run written to a file, until end is called. Without a path nothing is done.
func startTrace(path string, o *curd.Options) (end func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("--trace: %w", err)
	}
	t := &tracer{file: file, w: bufio.NewWriter(file), start: time.Now(), open: map[curd.Phase][]span{}}
	fmt.Fprint(t.w, "[")
	show := o.Notify
	o.Notify = func(e curd.Event) {
		t.notify(e)
		show(e)
	}
	return t.end, nil
}

func (t *tracer) notify(e curd.Event) {
	if e.Kind != curd.Begin && e.Kind != curd.End {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	name := e.Name
	if name == "" {
		name = string(e.Phase)
	}
	rows := t.open[e.Phase]
	if e.Kind == curd.Begin {
		free := slices.IndexFunc(rows, func(s span) bool { return s.name == "" })
		if free < 0 {
			free, rows = len(rows), append(rows, span{})
			t.open[e.Phase] = rows
			t.write(traceEvent{Name: "thread_name", Phase: "M", Thread: thread(e.Phase, free), Args: map[string]string{"name": string(e.Phase)}})
		}
		rows[free] = span{name, time.Now()}
		return
	}
	if row := slices.IndexFunc(rows, func(s span) bool { return s.name == name }); row >= 0 {
		t.span(e.Phase, row, rows[row])
		rows[row] = span{}
	}
}

func thread(phase curd.Phase, row int) int { return slices.Index(tracePhases, phase)*1000 + row }

func (t *tracer) span(phase curd.Phase, row int, s span) {
	t.write(traceEvent{
		Name: s.name, Category: string(phase), Phase: "X", Thread: thread(phase, row),
		Time: micros(s.begun.Sub(t.start)), Duration: micros(time.Since(s.begun)),
	})
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func (t *tracer) write(e traceEvent) {
	e.Process = 1
	line, _ := json.Marshal(e)
	fmt.Fprintf(t.w, "%s,\n", line)
}

// end writes the whole run as the last event.
func (t *tracer) end() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	line, _ := json.Marshal(traceEvent{Name: "curd install", Phase: "X", Duration: micros(time.Since(t.start)), Process: 1, Thread: -1})
	fmt.Fprintf(t.w, "%s]\n", line)
	if err := errors.Join(t.w.Flush(), t.file.Close()); err != nil {
		return fmt.Errorf("--trace: %w", err)
	}
	return nil
}
