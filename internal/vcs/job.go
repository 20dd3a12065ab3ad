package vcs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"curdling/internal/lazyregexp"
	"curdling/internal/process"
	"curdling/internal/requirement"
)

const (
	maxOutput = 1 << 20  // bytes of what a program answers
	keptTail  = 64 << 10 // bytes of the end of what it says beside
)

// A job is one question to a repository or one fetch from it.
type job struct {
	*system
	address
	source  requirement.Source
	hide    *strings.Replacer
	work    string   // a folder of its own, and
	tree    string   // the one in it for what is fetched
	dir     string   // where the program runs
	program string   // "git"
	global  []string // options for every run
	env     []string
	stdin   string
}

// open begins a job, in a folder next to dir ("": among the temporary ones).
func open(s requirement.Source, dir string) (*job, error) {
	j := &job{system: systems[s.VCS], source: s, program: s.VCS}
	if s.Kind != requirement.Repository || j.system == nil {
		return nil, errors.New("not a repository of git, hg, svn or bzr")
	}
	var err error
	if j.address, err = locate(s, j.schemes); err != nil {
		return nil, err
	}
	j.hide = j.secrets(s)
	parent, name := "", "curd-vcs"
	if dir != "" {
		parent, name = filepath.Split(dir)
	}
	if j.work, err = os.MkdirTemp(parent, name+".tmp*"); err != nil {
		return nil, err
	}
	j.tree, j.dir = filepath.Join(j.work, "tree"), j.work
	j.env = environ("CURDLING_USER="+j.user, "CURDLING_PASSWORD="+j.password)
	if err := j.prepare(j); err != nil {
		j.close()
		return nil, err
	}
	return j, nil
}

func (j *job) close() { _ = os.RemoveAll(j.work) }

// hidden matches variables that choose another repository, ask somebody, trace
// or translate; of git's and hg's own, all but what shown matches.
var (
	hidden = lazyregexp.New(`^(GIT_|HG|SSH_ASKPASS|DISPLAY=|WAYLAND_DISPLAY=|LC_|LANGUAGE=|CURDLING_)`)
	shown  = lazyregexp.New(`^(GIT_(ASKPASS|EXEC_PATH|SSH|SSH_\w+|SSL_\w+|PROXY_\w+|HTTP_\w+|LFS_\w+|CONFIG_(NO)?SYSTEM|` +
		`CONFIG_GLOBAL|CONFIG_COUNT|CONFIG_(KEY|VALUE)_\d+)|HGRCPATH)=`)
)

// environ gives the variables of a program.
func environ(more ...string) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return hidden.MatchString(v) && !shown.MatchString(v) })
	// UTF-8, as svn cannot write other names of files without it.
	env = append(env, "LC_ALL=C.UTF-8", "SSH_ASKPASS_REQUIRE=never")
	return append(env, more...)
}

// run runs the program, and gives what it printed, trimmed.
func (j *job) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, j.program, slices.Concat(j.global, args)...)
	cmd.Dir, cmd.Env = j.dir, append(slices.Clip(j.env), "PWD="+j.dir)
	var out answer
	var said tail
	cmd.Stdout, cmd.Stderr = &out, &said
	if j.stdin != "" {
		cmd.Stdin = strings.NewReader(j.stdin)
	}
	cmd.WaitDelay = time.Second // for the output of what it leaves running
	err := process.Run(cmd)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("%s is not installed, or not in PATH: install %s", j.program, j.title)
	case out.err != nil:
		err = out.err // and not that nobody read on
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return strings.TrimSpace(string(out.text)), nil
	}
	return "", &programError{program: j.program, step: args[0], err: err, lines: j.lastLines(said)}
}

// programError tells how a program failed.
type programError struct {
	program, step string
	err           error
	lines         []string // what it said last, without secrets
}

func (e *programError) Unwrap() error { return e.err }

func (e *programError) Error() string {
	text := fmt.Sprintf("%s %s failed (%v)", e.program, e.step, e.err)
	if len(e.lines) > 0 {
		text += "; it said:\n  " + strings.Join(e.lines, "\n  ")
	}
	return text + "\nhint: see that " + e.program + " can read this repository without asking for a password"
}

var errTooLong = fmt.Errorf("an answer of more than %d bytes", maxOutput)

// answer is what a program prints; more than maxOutput is an error.
type answer struct {
	text []byte
	err  error
}

func (a *answer) Write(p []byte) (int, error) {
	if len(a.text)+len(p) > maxOutput {
		a.err = errTooLong
		return 0, a.err
	}
	a.text = append(a.text, p...)
	return len(p), nil
}

// tail is the end of what a program says.
type tail struct {
	text []byte
	cut  bool
}

func (t *tail) Write(p []byte) (int, error) {
	if t.text = append(t.text, p...); len(t.text) > 2*keptTail {
		t.text, t.cut = append(t.text[:0], t.text[len(t.text)-keptTail:]...), true
	}
	return len(p), nil
}

// userInURL matches credentials in what programs print.
var userInURL = lazyregexp.New(`://[^/@\s'"]*@`)

// lastLines gives the last lines of what a program said, without secrets and
// fit for a terminal. A line whose beginning was dropped could begin within a
// secret: it is dropped too.
func (j *job) lastLines(t tail) []string {
	text := process.Plain(t.text)
	if t.cut {
		_, text, _ = strings.Cut(text, "\n")
	}
	text = userInURL.ReplaceAllStringFunc(j.hide.Replace(text), func(user string) string {
		if user == "://git@" {
			return user
		}
		return "://****@"
	})
	return process.LastLines(text)
}
