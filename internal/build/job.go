package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"curdling/internal/metadata"
	"curdling/internal/python"
	"curdling/internal/requirement"
	"curdling/internal/sdist"
	"curdling/internal/tag"
	"curdling/internal/wheel"
)

const maxMetadata = 16 << 20 // bytes

// job is one build under way.
type job struct {
	*Builder
	src   Source
	kind  string // "wheel" or "editable": the family of hooks
	began time.Time
	// worked is how long it was at work before; kept says that it will be again, and so is not to be closed.
	worked time.Duration
	kept   bool
	step   string // what it is at, for errors

	work     string // the folder that is deleted in the end
	log      *buildLog
	logPath  string // "": the log is deleted too
	tree     string // the project, where the hooks run
	system   buildSystem
	env      *python.Interpreter
	requires []requirement.Requirement
	info     any // path of the .dist-info that the backend prepared, nil: it did not
}

// at begins a step that users see.
func (j *job) at(step string) {
	j.step = step
	if j.Progress != nil {
		j.Progress(j.src, step)
	}
}

// prepare does all that comes before the first hook that builds.
func (j *job) prepare(ctx context.Context) (err error) {
	j.at("unpacking")
	if err := j.unpack(ctx); err != nil {
		return err
	}
	j.step = "reading pyproject.toml"
	if j.system, err = readBuildSystem(j.tree); err != nil {
		return err
	}
	j.at("installing build requirements")
	for _, dir := range []string{"home", "tmp"} {
		if err := os.Mkdir(filepath.Join(j.work, dir), 0o777); err != nil {
			return err
		}
	}
	if j.Provision == nil {
		j.env = j.Python
		return nil
	}
	if j.env, err = newEnv(filepath.Join(j.work, "env"), j.Python); err != nil {
		return err
	}
	if err := j.provision(ctx, j.system.requires); err != nil {
		return err
	}
	var more []string
	err = j.hook(ctx, "get_requires_for_build_"+j.kind, &more, j.settings())
	if errors.Is(err, errNoHook) {
		return nil
	}
	if err != nil {
		return err
	}
	reqs, err := parseRequires(more)
	if err != nil {
		return fmt.Errorf("the backend asks for something that is no requirement: %w", err)
	}
	j.step = "installing build requirements"
	return j.provision(ctx, reqs)
}

// provision installs what of reqs counts here and was not asked for before.
func (j *job) provision(ctx context.Context, reqs []requirement.Requirement) error {
	had := len(j.requires)
	for _, r := range reqs {
		holds, err := r.Marker.Holds(j.env.Markers, "")
		if err != nil {
			return fmt.Errorf("%s: %w", r, err)
		}
		same := func(s requirement.Requirement) bool { return s.String() == r.String() && s.URL == r.URL }
		if holds && !slices.ContainsFunc(j.requires, same) {
			j.requires = append(j.requires, r)
			fmt.Fprintf(j.log, "requires %s\n", r)
		}
	}
	if len(j.requires) == had {
		return nil
	}
	return j.Provision(ctx, slices.Clone(j.requires), j.env)
}

// unpack lays the source out and finds the project in it.
func (j *job) unpack(ctx context.Context) (err error) {
	switch {
	case j.kind == "editable" && j.src.Archive != "":
		err = errors.New("an editable build needs a folder, not an archive")
	case j.src.Archive != "":
		j.tree, err = j.unpackArchive(ctx)
	case j.src.Dir == "":
		err = errors.New("the source has neither an archive nor a folder")
	case j.kind == "editable":
		j.tree, err = filepath.Abs(j.src.Dir)
	default:
		j.tree = filepath.Join(j.work, "source")
		err = copyTree(ctx, j.src.Dir, j.tree, j.work)
	}
	if err != nil || j.src.Subdirectory == "" {
		return err
	}
	j.tree, err = inside(j.tree, j.src.Subdirectory)
	return err
}

func (j *job) unpackArchive(ctx context.Context) (string, error) {
	f, err := os.Open(j.src.Archive)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if j.src.SHA256 != "" {
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return "", err
		}
		if sum := hex.EncodeToString(h.Sum(nil)); sum != j.src.SHA256 {
			return "", fmt.Errorf("%s has the sha256 %s, expected %s", j.src.Archive, sum, j.src.SHA256)
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return "", err
		}
	}
	return sdist.Unpack(ctx, f, filepath.Base(j.src.Archive), filepath.Join(j.work, "source"))
}

// prepareMetadata asks the backend for the metadata; nil where it has no such hook.
func (j *job) prepareMetadata(ctx context.Context) (m *metadata.Metadata, text []byte, err error) {
	j.at("preparing metadata")
	dir := filepath.Join(j.work, "metadata")
	if err := os.Mkdir(dir, 0o777); err != nil {
		return nil, nil, err
	}
	var name string
	err = j.hook(ctx, "prepare_metadata_for_build_"+j.kind, &name, dir, j.settings())
	if errors.Is(err, errNoHook) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if err := checkAnswer(name, ".dist-info"); err != nil {
		return nil, nil, err
	}
	if text, err = readFile(filepath.Join(dir, name, "METADATA"), maxMetadata); err != nil {
		return nil, nil, fmt.Errorf("the backend prepared no metadata: %w", err)
	}
	if m, err = metadata.Parse(text); m == nil {
		return nil, nil, err
	}
	j.info = filepath.Join(dir, name)
	return m, text, errors.Join(err, j.checkIdentity(m))
}

// build calls the hook that builds, checks the wheel and puts it into outDir.
func (j *job) build(ctx context.Context, outDir string) (*Result, error) {
	j.at("building wheel")
	dir := filepath.Join(j.work, "wheel")
	if err := os.Mkdir(dir, 0o777); err != nil {
		return nil, err
	}
	var name string
	if err := j.hook(ctx, "build_"+j.kind, &name, dir, j.settings(), j.info); err != nil {
		return nil, err
	}
	j.step = checking
	if err := checkAnswer(name, ".whl"); err != nil {
		return nil, err
	}
	f, err := openFile(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("the backend built no wheel: %w", err)
	}
	defer f.Close()
	w, err := j.check(f, name)
	if err != nil {
		return nil, err
	}
	r := &Result{
		Path:          filepath.Join(outDir, name),
		Wheel:         w,
		LogPath:       j.logPath,
		Backend:       j.system.backend,
		BuildRequires: j.requires,
	}
	if r.SHA256, r.Size, err = publish(f, r.Path); err != nil {
		return nil, err
	}
	r.Seconds = (j.worked + time.Since(j.began)).Seconds()
	return r, nil
}

// checkAnswer sees that a hook's answer is the name of something in the folder it was given.
func checkAnswer(name, suffix string) error {
	if !strings.HasSuffix(name, suffix) || strings.ContainsAny(name, "/\\\x00") || len(name) > 255 {
		return fmt.Errorf("the backend returned %.100q, which is not the name of a %s", name, suffix)
	}
	return nil
}

// check opens the wheel and sees that it is what the source says, and for this Python.
func (j *job) check(f *os.File, name string) (*wheel.Wheel, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	w, err := wheel.Open(f, info.Size(), name)
	if err != nil {
		return nil, err
	}
	if err := j.checkIdentity(w.Metadata); err != nil {
		return nil, err
	}
	if _, ok := tag.Rank(tag.Supported(j.Python.Target)).Best(w.File.Tags); !ok {
		return nil, fmt.Errorf("%s is not for this Python (%s on %s %s)", name, j.Python.Version, j.Python.Target.OS, j.Python.Target.Arch)
	}
	return w, nil
}

// checkIdentity compares name and version, where the source's are known. A
// local label may come with the build ("1.0+cu121" of 1.0).
func (j *job) checkIdentity(m *metadata.Metadata) error {
	if want := j.src.Name; want != "" && m.Name != want {
		return fmt.Errorf("the metadata is of %q, not of %q", m.Name, want)
	}
	want, got := j.src.Version, m.Version
	if !want.IsZero() && want.Local() == "" {
		got = got.Public()
	}
	if !want.IsZero() && want.Compare(got) != 0 {
		return fmt.Errorf("the metadata says version %s, not %s", m.Version, want)
	}
	return nil
}

// publish copies f to path, where it appears whole and on disk or not at all.
func publish(f *os.File, path string) (sum string, size int64, err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", 0, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", 0, err
	}
	temp, err := os.CreateTemp(dir, ".build-*")
	if err != nil {
		return "", 0, err
	}
	defer os.Remove(temp.Name())
	h := sha256.New()
	size, err = io.Copy(io.MultiWriter(temp, h), f)
	err = errors.Join(err, temp.Chmod(0o644), temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	return hex.EncodeToString(h.Sum(nil)), size, err
}
