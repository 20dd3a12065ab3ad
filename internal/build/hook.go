package build

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"curdling/internal/process"
)

//go:embed hook.py
var hookScript []byte

const maxAnswer = 16 << 20 // bytes

var errNoHook = errors.New("the backend has no such hook")

// hookError tells that a hook ran and failed, so that the log's end says why.
type hookError struct{ err error }

func (e *hookError) Error() string { return e.err.Error() }
func (e *hookError) Unwrap() error { return e.err }

// hook calls the backend and stores what it returns in *value. The error wraps
// errNoHook where the backend has none of that name.
func (j *job) hook(ctx context.Context, name string, value any, args ...any) error {
	j.step = name
	folder := filepath.Join(j.work, "hook-"+name)
	if err := j.writeCall(folder, name, args); err != nil {
		return err
	}
	fmt.Fprintf(j.log, "\n== %s of %s\n", name, j.system.backend)
	j.log.tail = nil // an error shows what comes from here on
	if err := j.python(ctx, filepath.Join(folder, "hook.py"), folder); err != nil {
		var offline *process.OfflineError
		if errors.As(err, &offline) {
			return fmt.Errorf("it must be built offline, and was not built: %w", err)
		}
		return &hookError{err}
	}
	answer, err := readAnswer(filepath.Join(folder, "answer.json"))
	if err != nil {
		return &hookError{err}
	}
	switch {
	case answer.Import != "":
		return &hookError{fmt.Errorf("the build backend %q cannot be imported: %s", j.system.backend, answer.Import)}
	case answer.Missing:
		return fmt.Errorf("%w: %s", errNoHook, name)
	}
	if err := json.Unmarshal(answer.Value, value); err != nil {
		return &hookError{fmt.Errorf("the backend returned something else than it should: %.100q", answer.Value)}
	}
	return nil
}

func (j *job) writeCall(folder, name string, args []any) error {
	path := make([]string, len(j.system.backendPath))
	for i, p := range j.system.backendPath {
		path[i] = filepath.Join(j.tree, filepath.FromSlash(p))
	}
	call, err := json.Marshal(map[string]any{"backend": j.system.backend, "path": path, "hook": name, "args": args, "offline": j.Offline})
	if err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o777); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "hook.py"), hookScript, 0o666); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "call.json"), call, 0o666)
}

// answer is what hook.py writes.
type answer struct {
	Value   json.RawMessage
	Missing bool
	Import  string
}

func readAnswer(path string) (a answer, err error) {
	text, err := readFile(path, maxAnswer)
	if errors.Is(err, fs.ErrNotExist) {
		return a, errors.New("the build ended before its hook did")
	}
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	return a, err
}

// python runs the build environment's interpreter in the source, and ends whatever it leaves running.
func (j *job) python(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, j.env.Executable, append([]string{"-u"}, args...)...)
	cmd.Dir = j.tree
	cmd.Env = j.environ(j.env, filepath.Join(j.work, "home"), filepath.Join(j.work, "tmp"))
	cmd.Stdout, cmd.Stderr = j.log, j.log
	cmd.WaitDelay = time.Second // for the output of what it leaves running
	run := process.Run
	if j.Offline {
		run = process.RunOffline
	}
	err := run(cmd)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	return err
}

// settings is ConfigSettings as the hooks take them: a string, or a list where there are several.
func (b *Builder) settings() map[string]any {
	if len(b.ConfigSettings) == 0 {
		return nil
	}
	settings := make(map[string]any, len(b.ConfigSettings))
	for key, values := range b.ConfigSettings {
		if len(values) == 1 {
			settings[key] = values[0]
		} else {
			settings[key] = values
		}
	}
	return settings
}
