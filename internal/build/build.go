// Package build turns sources into wheels, each in an environment of its own
// (PEP 517, 518 and 660).
//
// A build gets a fresh folder: the source unpacked or copied into it, a
// virtual environment with what the source requires to build, an empty home
// and a temporary folder. All of it is deleted when the build ends, however it
// ends; the wheel and the log are what stays. Each hook of the backend runs in
// a new process with the source as its working directory, and with the
// environment variables that Variables lists, no others: no credentials, no
// caches, no settings of installers. That is hygiene, and no sandbox: a
// build runs foreign code as the user who asked for it.
//
// A hook and its children are one process group (on Windows: one tree of
// processes), killed when the context ends, and when the hook ends before its children.
//
// Limits: 64 MiB of log, 4 MiB of pyproject.toml, 16 MiB of a hook's answer,
// 16 builds nested (a needs b to build, b needs c ...).
package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"curdling/internal/dist"
	"curdling/internal/metadata"
	"curdling/internal/python"
	"curdling/internal/requirement"
	"curdling/internal/version"
	"curdling/internal/wheel"
)

// Provision puts what a build requires into the given environment, which has
// nothing in it at first. It may build in turn, and must hand ctx on then: the
// guard against cycles travels in it. It is called again with all of reqs and more
// where the backend asks for more.
type Provision func(ctx context.Context, reqs []requirement.Requirement, env *python.Interpreter) error

// Source is what to build.
type Source struct {
	Name    dist.Name       // "": not known
	Version version.Version // zero: not known
	// Archive is the path of a source distribution, or Dir that of an unpacked
	// one, which is copied and not modified (but for an editable build).
	// Virtual environments, .tox and .nox in Dir are not copied.
	Archive string
	Dir     string
	// Subdirectory of the source that holds the project, slash-separated; "": its top.
	Subdirectory string
	SHA256       string // of Archive, in lower-case hex; checked, unless it is ""
	// Prepared goes on where Metadata of the same source ended, which is used up by that; nil: the build begins anew.
	Prepared *Prepared
}

// String is "docopt 0.6.2", or as much as is known.
func (s Source) String() string {
	if s.Name == "" {
		return s.Archive + s.Dir
	}
	return strings.TrimSuffix(string(s.Name)+" "+s.Version.String(), " ")
}

// Builder builds. It has no state: any number of builds may run at once.
type Builder struct {
	Python    *python.Interpreter // the interpreter that the wheels are for; a virtual environment's will do
	Provision Provision           // nil: no isolation, hooks run with Python and what is installed there
	Temp      string              // parent of the folders of builds; "": the system's
	LogDir    string              // keeps one log per build; "": logs go with the build's folder
	// Offline has hooks run without a network, with a loopback of their own; where the system does not allow
	// that, the build fails. Provision has the network.
	Offline bool
	// ConfigSettings are handed to the backend's hooks.
	ConfigSettings map[string][]string
	// Environ is what the environment variables are taken from; nil: os.Environ().
	Environ []string
	// Pass names more variables that builds may see. "USE_*" stands for all that begin so.
	Pass []string
	// Follow is given the path of a build's log, which grows while it is built. nil: nobody is.
	Follow func(log string)
	// Progress is told of each step that begins: "unpacking", "installing build
	// requirements", "preparing metadata", "building wheel". nil: nobody is.
	Progress func(src Source, step string)
}

// Result is a wheel that was built.
type Result struct {
	Path          string // of the wheel
	Wheel         *wheel.Wheel
	SHA256        string                    // of the wheel, in lower-case hex
	Size          int64                     // bytes
	LogPath       string                    // "" without LogDir
	Seconds       float64                   // of work on it
	Backend       string                    // "setuptools.build_meta"
	BuildRequires []requirement.Requirement // what pyproject.toml and the backend asked for and counts here
}

// Wheel builds the source and puts the wheel into outDir, where it appears
// whole or not at all. An error is an *Error, or about the chain of builds.
func (b *Builder) Wheel(ctx context.Context, src Source, outDir string) (*Result, error) {
	return b.build(ctx, src, outDir, "wheel")
}

// Editable builds an editable wheel (PEP 660) of src.Dir, in place: the wheel
// refers to it, and the backend may leave files of its own there.
func (b *Builder) Editable(ctx context.Context, src Source, outDir string) (*Result, error) {
	return b.build(ctx, src, outDir, "editable")
}

func (b *Builder) build(ctx context.Context, src Source, outDir, kind string) (r *Result, err error) {
	err = b.run(ctx, src, kind, func(ctx context.Context, j *job) error {
		r, err = j.build(ctx, outDir)
		return err
	})
	return r, err
}

// Prepared is what a backend said of a wheel that it will build, and what is ready to build it.
type Prepared struct {
	Metadata *metadata.Metadata
	Text     []byte // Metadata as it was written; nil where the backend cannot tell
	// Built is the wheel that was built since the backend cannot tell; else nil.
	Built *Result

	job *job // nil: nothing is left of it
}

// Close deletes what a build would go on with. It is well on nil, and where nothing is left.
func (p *Prepared) Close() {
	if j := p.takeJob(); j != nil {
		j.close()
	}
}

func (p *Prepared) takeJob() (j *job) {
	if p != nil {
		j, p.job = p.job, nil
	}
	return j
}

// Metadata asks the backend what the wheel's metadata will be. The build may go on from there, with what is
// returned as the source's Prepared; who does not want it must Close that. Where the
// backend cannot tell, the wheel is built for it, and lies in outDir. With a *metadata.FieldError comes what could be read.
func (b *Builder) Metadata(ctx context.Context, src Source, outDir string) (*Prepared, error) {
	p := &Prepared{}
	err := b.run(ctx, src, "wheel", func(ctx context.Context, j *job) (err error) {
		p.Metadata, p.Text, err = j.prepareMetadata(ctx)
		switch {
		case err != nil:
			return err
		case p.Metadata != nil:
			j.kept, p.job = true, j
			j.worked += time.Since(j.began)
			return nil
		}
		if p.Built, err = j.build(ctx, outDir); err != nil {
			return err
		}
		p.Metadata = p.Built.Wheel.Metadata
		return nil
	})
	return p, err
}

// run makes the source ready to build, and does action.
func (b *Builder) run(ctx context.Context, src Source, kind string, action func(context.Context, *job) error) (err error) {
	defer src.Prepared.Close()
	ctx, err = Enter(ctx, src)
	if err != nil {
		return err
	}
	j := src.Prepared.takeJob()
	begun := j != nil
	if !begun {
		j = &job{src: src, kind: kind}
	}
	j.Builder, j.kept, j.began = b, false, time.Now()
	defer func() {
		if !j.kept {
			j.close()
		}
		if err != nil {
			err = j.fail(ctx, err)
		}
	}()
	if begun {
		j.follow()
		return action(ctx, j)
	}
	if err := j.open(); err != nil {
		return err
	}
	if err := j.prepare(ctx); err != nil {
		return err
	}
	return action(ctx, j)
}

// open makes the build's folder and its log.
func (j *job) open() (err error) {
	j.step = "making the build folder"
	if j.Temp != "" {
		if err := os.MkdirAll(j.Temp, 0o777); err != nil {
			return err
		}
	}
	if j.work, err = os.MkdirTemp(j.Temp, "build-*"); err != nil {
		return err
	}
	if j.work, err = filepath.Abs(j.work); err != nil {
		return err
	}
	logDir := j.work
	if j.LogDir != "" {
		logDir = j.LogDir
		if err := os.MkdirAll(logDir, 0o777); err != nil {
			return err
		}
	}
	name := "source"
	if j.src.Name != "" {
		name = strings.ReplaceAll(j.src.String(), " ", "-")
	}
	f, err := os.CreateTemp(logDir, name+"-*.log")
	if err != nil {
		return err
	}
	j.log = &buildLog{file: f}
	if j.LogDir != "" {
		j.logPath = f.Name()
		j.follow()
	}
	fmt.Fprintf(j.log, "building %s\n", j.src)
	return nil
}

// follow tells who follows the log.
func (j *job) follow() {
	if j.logPath != "" && j.Follow != nil {
		j.Follow(j.logPath)
	}
}

// close deletes what the build leaves behind. It is well on a job that was never opened.
func (j *job) close() {
	if j.log != nil {
		j.log.Close()
	}
	if j.work != "" {
		removeAll(j.work)
	}
}
