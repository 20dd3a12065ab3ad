// Command catalog measures curd-server on folders of many tiny real wheels: how
// long it takes to start, what it needs of memory, how long a page and a search
// take, and how many uploads a second it keeps.
//
//	go run ./bench/catalog [-server bin/curd-server] [-dir DIR] [-uploads N] [WHEELS...]
//
// DIR is where the folders are made (and removed); its file system is what is measured.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"curdling/internal/wheel/wheeltest"
)

// perProject is how many versions each project has.
const perProject = 5

func main() {
	server := flag.String("server", "bin/curd-server", "the program that is measured")
	dir := flag.String("dir", os.TempDir(), "where the folders of wheels are made, and removed")
	uploads := flag.Int("uploads", 2000, "wheels of 20 kB to upload, one and 16 at once; 0 for none")
	flag.Parse()
	counts := flag.Args()
	if len(counts) == 0 {
		counts = []string{"2000", "20000", "200000"}
	}
	if err := run(*server, *dir, counts, *uploads); err != nil {
		fmt.Fprintln(os.Stderr, "catalog:", err)
		os.Exit(1)
	}
}

func run(server, dir string, counts []string, uploads int) error {
	fmt.Fprintf(os.Stdout, "%8s %12s %13s %9s %9s %10s %10s %12s %12s\n", "wheels", "first start", "second start", "idle MB", "loaded MB", "page p50", "page p99", "search p50", "search max")
	for _, count := range counts {
		if count == "0" {
			continue
		}
		n, err := strconv.Atoi(count)
		if err != nil {
			return err
		}
		if err := within(dir, func(folder string) error { return measure(server, folder, n) }); err != nil {
			return err
		}
	}
	if uploads == 0 {
		return nil
	}
	for _, at := range []int{1, 16} {
		err := within(dir, func(folder string) error {
			rate, err := uploadRate(server, folder, uploads, at)
			fmt.Fprintf(os.Stdout, "uploads of 20 kB, %d at once: %.0f wheels/s\n", at, rate)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// within gives f a new folder, and removes it.
func within(dir string, f func(folder string) error) error {
	folder, err := os.MkdirTemp(dir, "curdling-bench-")
	if err != nil {
		return err
	}
	return errors.Join(f(folder), os.RemoveAll(folder))
}

func project(i int) string { return fmt.Sprintf("bench-%05d", i) }

// fill makes n wheels.
func fill(folder string, n int) error {
	summaries := []string{"A framework for the web", "Tools to read tables", "Numbers, quickly", "Talks to databases", "Colours in the terminal"}
	tags := []string{"py3-none-any", "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", "cp312-cp312-macosx_11_0_arm64"}
	for i := range n {
		p := i / perProject
		w := wheeltest.Wheel{
			Name: project(p), Version: fmt.Sprintf("1.%d.0", i%perProject), Tag: tags[p%len(tags)],
			Summary: summaries[p%len(summaries)] + ", number " + strconv.Itoa(p), RequiresPython: ">=3.9",
		}
		if err := os.WriteFile(filepath.Join(folder, w.Filename()), wheeltest.Build(w), 0o666); err != nil {
			return err
		}
	}
	return nil
}

// measure prints a line of the table.
func measure(server, folder string, n int) error {
	if err := fill(folder, n); err != nil {
		return err
	}
	projects := (n + perProject - 1) / perProject
	first, err := start(server, folder)
	if err != nil {
		return err
	}
	for {
		body, _, err := first.get("/api/")
		if err != nil {
			return err
		}
		if bytes.Count(body, []byte(`"`)) == 2*projects {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	all := time.Since(first.began)
	if err := first.stop(); err != nil {
		return err
	}
	second, err := start(server, folder)
	if err != nil {
		return err
	}
	if _, _, err := second.get("/simple/" + project(projects/2) + "/"); err != nil {
		return err
	}
	ready := time.Since(second.began)
	time.Sleep(3 * time.Second)
	idle := second.memory()
	var pages, searches []time.Duration
	for i := range 3000 {
		_, took, err := second.get("/simple/" + project(i*7919%projects) + "/")
		if err != nil {
			return err
		}
		pages = append(pages, took)
	}
	for i := range 30 {
		_, took, err := second.get("/?q=" + []string{"bench-00", "web", "framework+number", "nothing", "colours+" + strconv.Itoa(i), project(projects - 1)}[i%6])
		if err != nil {
			return err
		}
		searches = append(searches, took)
	}
	loaded := second.memory()
	slices.Sort(pages)
	slices.Sort(searches)
	fmt.Fprintf(os.Stdout, "%8d %10.2f s %11.3f s %9.0f %9.0f %7d us %7d us %9.1f ms %9.1f ms\n", n, all.Seconds(), ready.Seconds(), idle, loaded,
		pages[len(pages)/2].Microseconds(), pages[len(pages)*99/100].Microseconds(),
		float64(searches[len(searches)/2].Microseconds())/1000, float64(searches[len(searches)-1].Microseconds())/1000)
	return second.stop()
}

// process is a server that runs.
type process struct {
	cmd   *exec.Cmd
	url   string
	began time.Time
}

func start(server, folder string) (*process, error) {
	p := &process{cmd: exec.Command(server, "-H", "127.0.0.1", "-p", "0", folder), began: time.Now()} //nolint:noctx // it is stopped by a signal
	p.cmd.Stderr = os.Stderr
	stdout, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	_, rest, _ := strings.Cut(line, "http://")
	address, _, _ := strings.Cut(rest, ",")
	p.url = "http://" + address
	return p, err
}

func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.cmd.Wait()
}

// get gives a page and how long it took.
func (p *process) get(path string) ([]byte, time.Duration, error) {
	began := time.Now()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, p.url+path, nil)
	if err != nil {
		return nil, 0, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, resp.Status)
	}
	return b, time.Since(began), err
}

// memory is what of the process lies in memory, in MB.
func (p *process) memory() float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid)) // 0 where there is no such file
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb * 1024 / 1e6
		}
	}
	return 0
}

// uploadRate is how many wheels of 20 kB come in a second.
func uploadRate(server, folder string, n, at int) (float64, error) {
	bodies := make([][]byte, n)
	names := make([]string, n)
	for i := range n {
		w := wheeltest.Wheel{Name: project(i), Version: "1.0", Files: map[string]string{"code.py": strings.Repeat(project(i), 1900)}}
		members := w.Members()
		for j := range members {
			members[j].Stored = true
		}
		names[i], bodies[i] = w.Filename(), wheeltest.Zip(members)
	}
	p, err := start(server, folder)
	if err != nil {
		return 0, err
	}
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = at
	next := make(chan int)
	failures := make(chan error, at)
	var clients sync.WaitGroup
	began := time.Now()
	for range at {
		clients.Go(func() {
			for i := range next {
				if err := p.put("/p/"+names[i], bodies[i]); err != nil {
					select {
					case failures <- err:
					default:
					}
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	clients.Wait()
	took := time.Since(began)
	close(failures)
	return float64(n) / took.Seconds(), errors.Join(<-failures, p.stop())
}

func (p *process) put(path string, body []byte) error {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPut, p.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return nil
}
