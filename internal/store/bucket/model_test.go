package bucket

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"curdling/internal/store/storetest"
)

// plan is what some clients do at once, on servers over one bucket.
type plan struct {
	faults  storetest.Faults // of each server, with a seed of its own
	page    int
	servers int
	rounds  [][][]action // by client
}

// action is one request of a client to a server.
type action struct {
	op      string
	server  int
	file    string
	content string
	cut     time.Duration // the server dies then, as far as this request goes; zero is never
}

// event is what became of an action.
type event struct {
	action
	began, ended time.Duration
	err          error
	saw          string           // the content that was shown; of a list: nothing
	listed       map[string]int64 // sizes
}

func (e *event) String() string {
	return fmt.Sprintf("%9v %9v server %d %s %s %q cut %v: saw %q %v %v", e.began, e.ended, e.server, e.op, e.file, e.content, e.cut, e.saw, e.listed, e.err)
}

var (
	modelFiles    = []string{"a-1-py3-none-any.whl", "A-1.tar.gz"}
	modelContents = []string{"one", "two", "three"}
)

const modelAge = time.Hour // of what a sweep removes; no request is under way for so long

func sum(content string) string {
	h := sha256.Sum256([]byte(content))
	return hex.EncodeToString(h[:])
}

func drawPlan(t *rapid.T) plan {
	share := rapid.SampledFrom([]float64{0, 0, 0.05, 0.2})
	p := plan{
		faults: storetest.Faults{
			Seed: rapid.Uint64().Draw(t, "seed"), Delay: rapid.SampledFrom([]time.Duration{5, 50, 300}).Draw(t, "delay") * time.Millisecond,
			Fail: share.Draw(t, "fail"), Lose: share.Draw(t, "lose"), Late: share.Draw(t, "late"), Twice: share.Draw(t, "twice"),
		},
		page: rapid.IntRange(1, 4).Draw(t, "page"), servers: rapid.IntRange(1, 3).Draw(t, "servers"),
	}
	ops := []string{"create", "create", "create", "open", "list", "list", "stat", "note", "remove", "sweep", "restart"}
	if rapid.Bool().Draw(t, "nothing is removed") {
		ops = slices.DeleteFunc(ops, func(op string) bool { return op == "remove" })
	}
	files := modelFiles[:rapid.IntRange(1, len(modelFiles)).Draw(t, "files")]
	one := rapid.Custom(func(t *rapid.T) action {
		a := action{
			op: rapid.SampledFrom(ops).Draw(t, "op"), server: rapid.IntRange(0, p.servers-1).Draw(t, "server"),
			file: rapid.SampledFrom(files).Draw(t, "file"), content: rapid.SampledFrom(modelContents).Draw(t, "content"),
		}
		if rapid.IntRange(0, 4).Draw(t, "dies") == 0 {
			a.cut = time.Duration(rapid.IntRange(1, 50).Draw(t, "tenths")) * p.faults.Delay / 10
		}
		return a
	})
	p.rounds = rapid.SliceOfN(rapid.SliceOfN(rapid.SliceOfN(one, 1, 10), 1, 4), 1, 3).Draw(t, "rounds")
	return p
}

// fleet carries out a plan.
type fleet struct {
	plan
	memory *storetest.Memory
	temp   string
	start  time.Time

	mu     sync.Mutex
	stores []*Store
	events []*event
}

// TestModel: whatever fails, comes late or dies, what was acknowledged is shown by everybody with just its bytes, and
// nothing else is ever shown.
func TestModel(t *testing.T) {
	temp := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt)
		if wrong := p.run(t, temp); wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

// TestFound carries out the plans that found faults.
func TestFound(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		fault string
		plan  plan
	}{
		{"a claim came twice, the look at it failed, and who made it was refused", plan{
			storetest.Faults{Seed: 0x8c6c35b, Delay: 300 * ms, Lose: 0.2, Late: 0.2, Twice: 0.2}, 1, 2,
			[][][]action{{{{op: "create", server: 1, file: modelFiles[0], content: "one"}}}},
		}},
		{"with one place for all attempts, two that sent the same were both told that they made it", plan{
			storetest.Faults{Delay: 5 * ms}, 1, 1,
			[][][]action{{{{op: "create", file: modelFiles[0], content: "one"}, {op: "create", file: modelFiles[0], content: "one"}}}},
		}},
		{"what was removed elsewhere, and came back, was not looked for again", plan{
			storetest.Faults{Seed: 2, Delay: 5 * ms}, 1, 2,
			[][][]action{{{
				{op: "create", server: 0, file: modelFiles[0], content: "three"}, {op: "stat", server: 0, file: modelFiles[0]},
				{op: "remove", server: 1, file: modelFiles[0]}, {op: "create", server: 1, file: modelFiles[0], content: "one"},
				{op: "open", server: 0, file: modelFiles[0]},
			}}},
		}},
	} {
		if wrong := test.plan.run(t, t.TempDir()); wrong != "" {
			t.Errorf("%s: %s", test.fault, wrong)
		}
	}
}

// run carries out a plan, the same way each time, and tells what is wrong; "" is nothing.
func (p plan) run(t *testing.T, temp string) (wrong string) {
	synctest.Test(t, func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, p.faults.Seed)
		f := &fleet{plan: p, memory: storetest.NewMemory(p.page, time.Second), temp: temp, start: time.Now()}
		for i := range p.servers {
			f.stores = append(f.stores, f.server(i))
		}
		for _, round := range p.rounds {
			var clients sync.WaitGroup
			for i, actions := range round {
				clients.Go(func() {
					time.Sleep(time.Duration(i+1) * 7 * time.Microsecond)
					for _, a := range actions {
						f.do(t.Context(), a)
					}
				})
			}
			clients.Wait()
			time.Sleep(2 * modelAge) // what is late has come, and what is rubbish is old
		}
		if wrong = f.check(t.Context()); wrong != "" {
			var log strings.Builder
			for _, e := range f.events {
				fmt.Fprintln(&log, e)
			}
			wrong += "\n" + log.String() + strings.Join(f.memory.Keys(), "\n")
		}
	})
	return wrong
}

func (f *fleet) server(i int) *Store {
	faults := f.faults
	faults.Seed += uint64(i)
	return New(f.memory.Link(faults), Options{Temp: f.temp, Known: 4})
}

func (f *fleet) do(ctx context.Context, a action) {
	f.mu.Lock()
	s := f.stores[a.server]
	if a.op == "restart" {
		f.stores[a.server] = f.server(a.server)
	}
	e := &event{action: a, began: time.Since(f.start)}
	f.events = append(f.events, e)
	f.mu.Unlock()
	if a.cut > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.cut)
		defer cancel()
	}
	e.saw, e.listed, e.err = a.do(ctx, s)
	e.ended = time.Since(f.start)
}

func (a action) do(ctx context.Context, s *Store) (saw string, listed map[string]int64, err error) {
	switch a.op {
	case "create":
		err = s.CreateNoted(ctx, a.file, sum(a.content), []byte("of "+a.content), strings.NewReader(a.content), int64(len(a.content)))
	case "remove":
		err = s.Remove(ctx, a.file)
	case "sweep":
		_, err = sweep(ctx, s, modelAge)
	case "open":
		saw, err = show(ctx, s, a.file)
	case "stat":
		_, err = s.Stat(ctx, a.file)
	case "note":
		var note []byte
		note, _, err = s.Note(ctx, a.file)
		saw = strings.TrimPrefix(string(note), "of ")
	case "list":
		listed, err = listGroup(ctx, s, a.file)
	}
	return saw, listed, err
}

// show reads a file.
func show(ctx context.Context, s *Store, file string) (string, error) {
	r, info, err := s.Open(ctx, file)
	if err != nil {
		return "", err
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err == nil && info.Size != int64(len(content)) {
		return fmt.Sprintf("%q, of which Open said %d", content, info.Size), nil
	}
	return string(content), err
}

// listGroup lists the group of a file.
func listGroup(ctx context.Context, s *Store, file string) (map[string]int64, error) {
	p, err := placeOf(file)
	if err != nil {
		return nil, err
	}
	listed := make(map[string]int64)
	for info, err := range s.ListGroup(ctx, p.group) {
		if err != nil {
			return nil, err
		}
		listed[info.Key] = info.Size
	}
	return listed, nil
}

// check holds what happened, and what is there in the end, against the contract.
func (f *fleet) check(ctx context.Context) string {
	for _, file := range modelFiles {
		if wrong := f.checkFile(ctx, file); wrong != "" {
			return file + ": " + wrong
		}
	}
	// In the end a sweep leaves nothing but what is held.
	s := New(f.memory, Options{Temp: f.temp})
	swept, err := sweep(ctx, s, modelAge)
	if err != nil {
		return "sweeping: " + err.Error()
	}
	held := 0
	for info, err := range s.List(ctx, "") {
		if err != nil {
			return "listing: " + err.Error()
		}
		if content, err := show(ctx, s, info.Key); err != nil || int64(len(content)) != info.Size {
			return fmt.Sprintf("%s is shown with %d bytes, and opened: %q, %v", info.Key, info.Size, content, err)
		}
		held++
	}
	if keys := f.memory.Keys(); len(keys) != 2*held+len(swept.Broken) {
		return fmt.Sprintf("%d files are held, %q broken, and left are %d objects", held, swept.Broken, len(keys))
	}
	for _, file := range swept.Broken { // a claim came late, after its bytes were given up
		if f.faults.Late == 0 || !slices.ContainsFunc(f.events, func(e *event) bool { return e.op == "remove" && e.file == file }) {
			return file + " is broken"
		}
	}
	return ""
}

// checkFile checks what happened to one file.
func (f *fleet) checkFile(ctx context.Context, file string) string {
	var creates, removes []*event
	for _, e := range f.events {
		if e.file == file && e.op == "create" {
			creates = append(creates, e)
		}
		if e.file == file && e.op == "remove" {
			removes = append(removes, e)
		}
	}
	end := &event{action: action{op: "end", file: file}, began: time.Since(f.start), ended: time.Since(f.start)}
	fresh := New(f.memory, Options{Temp: f.temp})
	end.saw, end.err = show(ctx, fresh, file)
	for _, e := range append(slices.Clone(f.events), end) {
		if e.op != "list" && e.file != file || e.op == "remove" || e.op == "sweep" || e.op == "restart" {
			continue
		}
		if e.op == "create" {
			if errors.Is(e.err, fs.ErrExist) && !slices.ContainsFunc(creates, func(c *event) bool { return c != e && c.mayHold() && c.began < e.ended }) {
				return fmt.Sprintf("refused, and nothing was there:\n%v", e)
			}
			continue
		}
		size, shown := e.listed[file]
		if e.op != "list" {
			shown = e.err == nil
		}
		if shown {
			if wrong := f.explained(e, size, creates, removes); wrong != "" {
				return fmt.Sprintf("%s:\n%v", wrong, e)
			}
			continue
		}
		if e.op == "list" && (e.err != nil || !sameGroup(e.file, file)) || e.err != nil && !errors.Is(e.err, fs.ErrNotExist) {
			continue // it may have failed
		}
		for _, c := range creates {
			removed := func(r *event) bool { return r.ended > c.began && r.began < e.ended }
			if c.err == nil && c.ended <= e.began && !slices.ContainsFunc(removes, removed) {
				return fmt.Sprintf("not shown, and acknowledged before:\n%v\n%v", c, e)
			}
		}
	}
	var acknowledged []*event
	for _, c := range creates {
		if c.err == nil {
			acknowledged = append(acknowledged, c)
		}
	}
	if len(acknowledged) > 1 && len(removes) == 0 {
		return fmt.Sprintf("acknowledged %d times", len(acknowledged))
	}
	return ""
}

// mayHold tells whether a create may have made what it was to make.
func (e *event) mayHold() bool { return !errors.Is(e.err, fs.ErrExist) }

func sameGroup(a, b string) bool {
	p, _ := placeOf(a)
	q, _ := placeOf(b)
	return p.group == q.group
}

// explained tells what is wrong with what an event shows of a file; "" is nothing.
func (f *fleet) explained(e *event, size int64, creates, removes []*event) string {
	may := func(c *event) bool {
		return c.mayHold() && c.began < e.ended &&
			(e.op == "stat" || e.op == "list" && int64(len(c.content)) == size || c.content == e.saw)
	}
	var source *event
	for _, c := range creates {
		if may(c) {
			source = c
		}
	}
	if source == nil {
		return "what is shown was never kept"
	}
	mayBeOld := slices.ContainsFunc(removes, func(r *event) bool { return r.began < e.ended && !f.knows(e, r) })
	for _, c := range creates { // what is there for good leaves no room for another
		if mayBeOld {
			break
		}
		if c.err == nil && c.ended <= e.began && !may(c) && !slices.ContainsFunc(removes, func(r *event) bool { return r.ended > c.began && r.began < e.ended }) {
			return "another content was acknowledged"
		}
	}
	for _, r := range removes {
		gone := r.err == nil && r.ended <= e.began && f.knows(e, r)
		for _, c := range creates {
			if c.mayHold() && (c.err != nil || c.ended > r.began) && c.began < e.ended {
				gone = false // it may have come back
			}
		}
		if gone {
			return fmt.Sprintf("it was removed: %v", r)
		}
	}
	return ""
}

// knows tells whether a server must know of a removal: it was here, or was seen in a listing, or is looked for.
func (f *fleet) knows(e, removal *event) bool {
	settled := removal.ended
	if removal.err != nil { // it may come late
		settled += 101 * f.faults.Delay
	}
	return e.op != "open" && e.op != "note" || e.server == removal.server && removal.err == nil || slices.ContainsFunc(f.events, func(l *event) bool {
		return l.op == "list" && l.err == nil && l.server == e.server && l.began >= settled && l.ended <= e.began
	})
}
