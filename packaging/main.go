// Command packaging makes the files that Curdling is handed out as.
//
//	go run ./packaging version          the version, out of git's tags (PEP 440)
//	go run ./packaging wheels -o DIR    wheels of both programs, for all platforms
//	go run ./packaging release -o DIR   the wheels, archives, a bill of materials, checksums
//
// The same sources, Go toolchain, -version, -index and SOURCE_DATE_EPOCH make
// the same bytes, in any folder and on any machine. It is run in the module's root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"time"

	"curdling/internal/version"
)

// release is what one run makes.
type release struct {
	version string    // PEP 440, normalised
	index   string    // root of the index that is compiled in; "" compiles none in
	time    time.Time // of every file in every archive, UTC
	out     string    // the folder to write into
	built   string    // the folder of the compiled programs, one below it for each platform
	modules []module  // what the programs are linked from, sorted by path
	notices []byte    // their licences
}

// A platform is what programs are compiled for.
type platform struct {
	goos, goarch string
	name         string   // in the names of archives
	tags         []string // of wheels (PEP 425, 600, 656), sorted
}

// The programs are static, so that the one for linux runs on any libc. The
// oldest systems are those that Go supports, or that wheels have tags for.
var platforms = []platform{
	{"linux", "amd64", "linux-x86_64", []string{"manylinux2014_x86_64", "manylinux_2_17_x86_64", "musllinux_1_1_x86_64"}},
	{"linux", "arm64", "linux-arm64", []string{"manylinux2014_aarch64", "manylinux_2_17_aarch64", "musllinux_1_1_aarch64"}},
	{"darwin", "amd64", "macos-x86_64", []string{"macosx_12_0_x86_64"}},
	{"darwin", "arm64", "macos-arm64", []string{"macosx_12_0_arm64"}},
	{"windows", "amd64", "windows-x86_64", []string{"win_amd64"}},
	{"windows", "arm64", "windows-arm64", []string{"win_arm64"}},
}

// program gives the path of a compiled program, and its name on the platform.
func (r *release) program(p platform, name string) (path, onPlatform string) {
	if p.goos == "windows" {
		name += ".exe"
	}
	return filepath.Join(r.built, p.name, name), name
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "packaging:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) (err error) {
	if len(args) == 0 {
		return errors.New("one of version, wheels, release is needed")
	}
	var r release
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.StringVar(&r.version, "version", "", "the `VERSION`; else out of git's tags")
	flags.StringVar(&r.index, "index", "", "root `URL` of the default index that is compiled in")
	flags.StringVar(&r.out, "o", "", "`DIR` to write into")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if r.version == "" {
		if r.version, err = gitVersion(ctx); err != nil {
			return fmt.Errorf("%w; name one with -version", err)
		}
	}
	v, err := version.Parse(r.version)
	if err != nil {
		return err
	}
	r.version = v.String()
	steps := []func(context.Context) error{r.build, r.findModules, r.readNotices}
	switch args[0] {
	case "version":
		_, err := fmt.Fprintln(stdout, r.version)
		return err
	case "wheels":
		steps = append(steps, r.wheels)
	case "release":
		steps = append(steps, r.wheels, r.archives, r.billOfMaterials, r.checksums)
	default:
		return fmt.Errorf("%s is none of version, wheels, release", args[0])
	}
	switch {
	case r.out == "":
		return errors.New("-o DIR is needed")
	case r.index == "":
		return errors.New("-index URL is needed: curd would have no default index")
	}
	if r.time, err = sourceDate(ctx); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o777); err != nil {
		return err
	}
	if r.built, err = os.MkdirTemp("", "curdling-packaging-"); err != nil {
		return err
	}
	defer os.RemoveAll(r.built)
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sourceDate is SOURCE_DATE_EPOCH, else the last commit's time; not before 1980, where zip begins.
func sourceDate(ctx context.Context) (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		var err error
		if text, err = output(ctx, "git", "log", "-1", "--format=%ct"); err != nil {
			return time.Time{}, fmt.Errorf("%w; set SOURCE_DATE_EPOCH", err)
		}
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(max(seconds, time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC).Unix()), 0).UTC(), nil
}

// write writes a file that was made.
func (r *release) write(name string, content []byte) error {
	return os.WriteFile(filepath.Join(r.out, name), content, 0o644)
}
