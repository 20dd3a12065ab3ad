// Command guard holds what hardly varies against committed bounds: allocations of benchmarks, requests and
// bytes of installations, system calls on files. Seconds vary too much for a check; these tell sooner.
//
//	guard -curd bin/curd -server bin/curd-server [-write]
//
// It ends with 1 where something is over its bound. -write sets the bounds anew, a tenth above what was measured.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const boundsFile = "bench/guard/bounds.txt"

// benchmarks are those whose allocations count, by package. Each runs a fixed number of times.
var benchmarks = map[string]string{
	"./internal/version":  "^Benchmark(Compare|SpecifiersContains)$",
	"./internal/marker":   "^BenchmarkHolds$",
	"./internal/metadata": "^BenchmarkParse$",
	"./internal/index":    "^BenchmarkParse$",
	"./internal/resolve":  "^BenchmarkSolve$/^(sudoku|tangle|7)",
	"./internal/wheel":    "^Benchmark(Unpack|UnmarshalManifest3000)$",
	"./internal/install":  "^Benchmark(Apply|List)$",
	"./internal/server":   "^Benchmark(ProjectPage|NotModified|SmallWheel)$",
	"./internal/auth":     "^BenchmarkAuthorizeRemembered$",
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "bench/guard:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	curd := flag.String("curd", "bin/curd", "the program")
	server := flag.String("server", "bin/curd-server", "the program")
	write := flag.Bool("write", false, "set the bounds anew")
	flag.Parse()
	measured := map[string]int64{}
	for _, pkg := range slices.Sorted(maps.Keys(benchmarks)) {
		if err := allocations(ctx, pkg, benchmarks[pkg], measured); err != nil {
			return err
		}
	}
	if err := installations(ctx, *curd, *server, measured); err != nil {
		return err
	}
	if *write {
		return writeBounds(measured)
	}
	return compare(measured)
}

var result = regexp.MustCompile(`(?m)^Benchmark(\S+?)(?:-\d+)?\s.*?(\d+) allocs/op`)

// allocations runs a package's benchmarks and takes what they allocate.
func allocations(ctx context.Context, pkg, pattern string, measured map[string]int64) error {
	out, err := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", pattern, "-benchmem", "-benchtime", "20x", pkg).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", pkg, err, out)
	}
	found := result.FindAllStringSubmatch(string(out), -1)
	if found == nil {
		return fmt.Errorf("%s: no benchmark matches %s\n%s", pkg, pattern, out)
	}
	for _, m := range found {
		n, err := strconv.ParseInt(m[2], 10, 64)
		if err != nil {
			return err
		}
		measured["allocations "+strings.TrimPrefix(pkg, "./internal/")+"."+m[1]] = n
	}
	return nil
}

func compare(measured map[string]int64) error {
	bounds, err := readBounds()
	if err != nil {
		return err
	}
	var over []string
	for _, name := range slices.Sorted(maps.Keys(measured)) {
		bound, known := bounds[name]
		verdict := ""
		switch {
		case !known:
			verdict = "has no bound"
			over = append(over, name)
		case measured[name] > bound:
			verdict = "OVER"
			over = append(over, name)
		}
		fmt.Fprintf(os.Stdout, "%10d %10d  %s %s\n", measured[name], bound, name, verdict)
	}
	for _, name := range slices.Sorted(maps.Keys(bounds)) {
		if _, ok := measured[name]; !ok {
			fmt.Fprintf(os.Stdout, "%10s %10d  %s was not measured\n", "", bounds[name], name)
		}
	}
	if over != nil {
		return fmt.Errorf("over the bounds of %s: %s\n"+
			"find what does more than before; where it is worth that, set the bounds anew with make bench-guard ARGS=-write",
			boundsFile, strings.Join(over, ", "))
	}
	return nil
}

func readBounds() (map[string]int64, error) {
	f, err := os.Open(boundsFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	bounds := map[string]int64{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		number, name, _ := strings.Cut(lines.Text(), " ")
		if bounds[name], err = strconv.ParseInt(number, 10, 64); err != nil {
			return nil, fmt.Errorf("%s: %w", boundsFile, err)
		}
	}
	return bounds, lines.Err()
}

// writeBounds keeps the bounds of what this machine cannot measure.
func writeBounds(measured map[string]int64) error {
	bounds, err := readBounds()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if bounds == nil {
		bounds = map[string]int64{}
	}
	for name, n := range measured {
		bounds[name] = n + (n+9)/10 // 0 stays 0
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(bounds)) {
		fmt.Fprintf(&b, "%d %s\n", bounds[name], name)
	}
	return os.WriteFile(boundsFile, []byte(b.String()), 0o644)
}
