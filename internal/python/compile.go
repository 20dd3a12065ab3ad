package python

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

//go:embed compile.py
var compileScript string

// compileTimeout is how long one source may take.
const compileTimeout = time.Minute

// A Compiler makes bytecode with one interpreter, in as many processes as
// there are processors. A process starts when it is first needed and then
// compiles one source after the other. It is isolated as that of Inspect is,
// and besides from all site-packages: nothing foreign runs in it.
type Compiler struct {
	path string
	idle chan *compilation // nil stands for a process that is yet to be started
}

// NewCompiler starts nothing yet. Close ends what Compile has started.
func NewCompiler(i *Interpreter) *Compiler {
	c := &Compiler{path: i.Executable, idle: make(chan *compilation, runtime.GOMAXPROCS(0))}
	for range cap(c.idle) {
		c.idle <- nil
	}
	return c
}

// Compile makes the file target, and its folder, of a source. The bytecode has
// the source's size and time of modification in it, by which an import tells
// whether it still fits (PEP 552). name stands for the source's path until an
// import puts the true one in its place. ok is false where the source is no
// Python that this interpreter knows, crashes it, or takes longer than a
// minute: the interpreter would fare no better when it imports it. Any number
// of goroutines may call Compile.
func (c *Compiler) Compile(ctx context.Context, source, target, name string) (ok bool, err error) {
	line, err := json.Marshal([]string{source, target, name})
	if err != nil {
		return false, err
	}
	var p *compilation
	select {
	case p = <-c.idle:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { c.idle <- p }()
	for range 2 { // another may have killed the process: a source that does it does it twice
		if p == nil {
			if p, err = c.start(ctx); err != nil {
				return false, fmt.Errorf("compiling with %s: %w", c.path, err)
			}
		}
		answer, err := p.ask(ctx, string(line)+"\n")
		switch {
		case err != nil:
			p.end()
			if p = nil; ctx.Err() != nil {
				return false, ctx.Err()
			}
		case answer == "0" || answer == "1":
			return answer == "1", nil
		default:
			return false, fmt.Errorf("compiling %s: %s", name, answer)
		}
	}
	return false, nil
}

// Close ends the processes. No Compile may be under way or follow.
func (c *Compiler) Close() {
	for range cap(c.idle) {
		if p := <-c.idle; p != nil {
			p.end()
		}
	}
}

// A compilation is one process.
type compilation struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	errors bounded
}

func (c *Compiler) start(ctx context.Context) (*compilation, error) {
	// The process outlives ctx, which may be that of one file: ask ends it.
	p := &compilation{cmd: exec.Command(c.path, "-I", "-S", "-W", "ignore", "-c", compileScript)} //nolint:noctx // see above
	p.cmd.Stderr = &p.errors
	p.cmd.WaitDelay = time.Second
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.in, p.out = in, bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	answer, err := p.ask(ctx, "")
	if err == nil && answer != "ready" {
		err = errors.New("it does not answer: is it a Python?")
	}
	if err != nil {
		p.end()
		return nil, errors.Join(ctx.Err(), fmt.Errorf("%w %s", err, lastLine(string(p.errors))))
	}
	return p, nil
}

// ask sends a line, if there is one, and reads the answer. After an error the process is of no use.
func (p *compilation) ask(ctx context.Context, line string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, compileTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = p.cmd.Process.Kill() })
	_, err := io.WriteString(p.in, line)
	var answer []byte
	if err == nil {
		answer, err = p.out.ReadSlice('\n')
	}
	if !stop() { // it is killed, or will be
		err = ctx.Err()
	}
	return strings.TrimSpace(string(answer)), err
}

// end ends the process, which waits for a line or is of no use.
func (p *compilation) end() {
	_ = p.in.Close()
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // says that it was killed
}
