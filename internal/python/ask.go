package python

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

const (
	timeout   = 30 * time.Second
	maxAnswer = 1 << 20 // bytes
)

//go:embed probe.py
var probe string

// answerMark stands before the probe's answer, behind whatever else the
// interpreter's start prints.
const answerMark = "\ncurdling:"

// ask runs the probe.
func ask(ctx context.Context, path string) (*Interpreter, error) {
	out, err := run(ctx, path, probe, "-I", "-")
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return nil, explain(ctx, path, err)
	}
	if err != nil {
		return nil, err
	}
	_, answer, ok := strings.Cut(out, answerMark)
	if !ok {
		return nil, errors.New("it runs but does not answer: is it a Python?")
	}
	answer, _, _ = strings.Cut(answer, "\n")
	return decode([]byte(answer))
}

// explain tells why the probe failed: Python 2 does not know -I.
func explain(ctx context.Context, path string, err error) error {
	text, askErr := askVersion(ctx, path)
	if v, ok := parseWanted(text); askErr == nil && ok && strings.HasPrefix(v.version, "2.") {
		_, err = decode(fmt.Appendf(nil, `{"version": %q}`, v.version))
	}
	return err
}

// askVersion runs an interpreter of any version, 2 too, and gives it in the form of wanted: "3.12.1".
func askVersion(ctx context.Context, path string) (string, error) {
	const script = `import sys; print("%s%d.%d.%d%s" % (("", "pypy")["__pypy__" in sys.builtin_module_names], ` +
		`sys.version_info[0], sys.version_info[1], sys.version_info[2], ("", "t")["t" in getattr(sys, "abiflags", "")]))`
	out, err := run(ctx, path, "", "-E", "-s", "-c", script)
	if err != nil {
		return "", err
	}
	if out = strings.TrimSpace(out); !wantedForm.MatchString(out) {
		return "", errors.New("it does not answer: is it a Python?")
	}
	return out, nil
}

// run runs the interpreter and gives what it printed.
func run(ctx context.Context, path, stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bounded
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second // for what it may have left running
	err := cmd.Run()
	switch exit := new(exec.ExitError); {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "", fmt.Errorf("did not answer within %v", timeout)
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.As(err, &exit):
		return "", fmt.Errorf("%w: %s", err, lastLine(string(stderr)))
	case err != nil:
		return "", err
	case len(stdout) >= maxAnswer:
		return "", fmt.Errorf("answered with more than %d bytes", maxAnswer)
	}
	return string(stdout), nil
}

// bounded keeps the first maxAnswer bytes that are written to it.
type bounded []byte

func (b *bounded) Write(p []byte) (int, error) {
	*b = append(*b, p[:min(len(p), maxAnswer-len(*b))]...)
	return len(p), nil
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
