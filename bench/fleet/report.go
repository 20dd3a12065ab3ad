//go:build linux

package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// report is the Markdown that a run ends with.
type report struct {
	o    *options
	text bytes.Buffer
	told bool // there is a table with rows
}

func newReport(o *options, title string) *report {
	r := &report{o: o}
	load, _ := os.ReadFile("/proc/loadavg")
	commit, _ := exec.Command("git", "describe", "--always", "--dirty").Output() //nolint:noctx // it ends
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	where := "over one bucket of versitygw, whose files lie on tmpfs"
	if o.folder {
		where = "over one folder on tmpfs"
	}
	fmt.Fprintf(&r.text, `# %s, %s

curd-server at %s, %s. Servers, store, load balancer and clients share %d processors (%s), Linux %s, load %s at the start.
A morning: %d jobs within %v, %d projects with %d wheels each, builds of %v, seed %d. How and what: [README](../README.md#a-fleet).
`, title, time.Now().Format(time.DateOnly), strings.TrimSpace(string(commit)), where, runtime.NumCPU(), processor(), strings.TrimSpace(string(kernel)),
		firstWord(load), o.sessions, o.length, o.projects, worldVersions, o.build, o.seed)
	return r
}

func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // "" where it tells nothing
	for line := range strings.Lines(string(text)) {
		if _, model, ok := strings.Cut(line, ": "); ok && strings.HasPrefix(line, "model name") {
			return strings.TrimSpace(model)
		}
	}
	return runtime.GOARCH
}

func firstWord(b []byte) string {
	word, _, _ := strings.Cut(string(b), " ")
	return word
}

// table appends one.
func (r *report) table(head []string, rows [][]string) {
	r.told = r.told || len(rows) > 0
	r.text.WriteByte('\n')
	rule := make([]string, len(head))
	for i := range rule {
		rule[i] = "---"
	}
	for _, row := range append([][]string{head, rule}, rows...) {
		for i := range row {
			row[i] = strings.ReplaceAll(row[i], "|", `\|`)
		}
		fmt.Fprintf(&r.text, "| %s |\n", strings.Join(row, " | "))
	}
}

func (r *report) say(format string, args ...any) { fmt.Fprintf(&r.text, "\n"+format+"\n", args...) }

// write prints the report, and puts it into its file. One that tells nothing, as what was measured first failed, does not take the place of an earlier one.
func (r *report) write() error {
	if !r.told {
		return nil
	}
	if _, err := os.Stdout.Write(r.text.Bytes()); err != nil {
		return err
	}
	return os.WriteFile(r.o.results, r.text.Bytes(), 0o666)
}

// columns makes rows of one value for each outcome.
func columns(all []*outcome, rows []row) (head []string, lines [][]string) {
	head = []string{"what"}
	for _, o := range all {
		head = append(head, o.name)
	}
	for _, row := range rows {
		line := []string{row.what}
		for _, o := range all {
			line = append(line, row.value(o))
		}
		lines = append(lines, line)
	}
	return head, lines
}

type row struct {
	what  string
	value func(*outcome) string
}

// overtime is how many requests took longer than their deadline.
func (o *outcome) overtime() (n int) {
	for _, t := range o.stats.tallies {
		n += t.overtime
	}
	return n
}

// requests are those of clients, answered or not; for builds only how often a client waited.
func (o *outcome) requests() (n int) {
	for kind, t := range o.stats.tallies {
		if kind != kindWait && kind != kindLate && kind != kindSeen {
			n += len(t.took) + t.failures()
		}
	}
	return n
}

func (o *outcome) answered(kind string) int { return len(o.stats.of(kind).took) }

func (o *outcome) waited() (all time.Duration) {
	for _, d := range o.stats.of(kindWait).took {
		all += d
	}
	return all
}

func (o *outcome) sent() (n int64) {
	for _, t := range o.stats.tallies {
		n += t.bytes
	}
	return n
}

// builds are those that were executed, for each wheel that was missing.
func (o *outcome) builds() string {
	text := fmt.Sprintf("%s (%d of %d", per(o.stats.built, len(o.stats.wanted)), o.stats.built, len(o.stats.wanted))
	if n := o.stats.built - o.stats.leased; n > 0 {
		text += fmt.Sprintf(", %d without a lease", n)
	}
	return text + ")"
}

// loads tells of fleets of several sizes.
func (r *report) loads(all []*outcome) {
	rows := []row{
		{"jobs, and those that did not get all", func(o *outcome) string { return fmt.Sprintf("%d, %d", o.stats.sessions, len(o.stats.broken)) }},
		{"requests; for each job", func(o *outcome) string {
			return number(float64(o.requests())) + "; " + per(o.requests(), o.stats.sessions)
		}},
		{"the same, a second", func(o *outcome) string { return number(float64(o.requests()) / o.took.Seconds()) }},
	}
	for _, kind := range []string{kindPage, kindPlan, kindMetadata, kindFile, kindUpload, kindWait, kindLate, kindSeen} {
		rows = append(rows, row{kind + ": p50, p99 (ms)", func(o *outcome) string {
			t := o.stats.of(kind)
			return fmt.Sprintf("%s, %s (%d)", milliseconds(t.quantile(.5)), milliseconds(t.quantile(.99)), len(t.took))
		}})
	}
	rows = append(rows, []row{
		{"pages that were unchanged (304)", func(o *outcome) string {
			return percent(o.stats.of(kindPage).same, o.answered(kindPage))
		}},
		{"bytes to clients (MB)", func(o *outcome) string { return number(float64(o.sent()) / 1e6) }},
		{"bytes from and to the store (MB)", func(o *outcome) string { return number(float64(o.store.sent()) / 1e6) }},
		{"store requests for each page or plan", func(o *outcome) string {
			return per(o.store.of(aboutPage, aboutNames, aboutClaim, aboutSidecar), o.answered(kindPage)+o.answered(kindPlan))
		}},
		{"store requests for each file", func(o *outcome) string { return per(o.store.of(aboutBytes, aboutTarball), o.answered(kindFile)) }},
		{"store requests for each second that a client waited for a build", func(o *outcome) string {
			return per(o.store.of("leases"), int(o.waited().Seconds()))
		}},
		{"store requests in all; for each job", func(o *outcome) string {
			return number(float64(o.store.of())) + "; " + per(o.store.of(), o.stats.sessions)
		}},
		{"builds for each wheel that was missing", func(o *outcome) string {
			return o.builds()
		}},
		{"processor time of the servers (s; ms for each request)", func(o *outcome) string {
			return number(o.cpu.Seconds()) + "; " + number(o.cpu.Seconds()*1000/float64(max(1, o.requests())))
		}},
		{"processor time of the S3 server (s)", func(o *outcome) string { return number(o.gateway.Seconds()) }},
		{"processor time of clients, load balancer and proxy (s)", func(o *outcome) string { return number(o.ours.Seconds()) }},
		{"memory of the largest server at the most (MB)", func(o *outcome) string { return number(float64(o.peak) / 1e6) }},
		{"curd install, real programs", func(o *outcome) string { return o.installed }},
		{"acknowledged files; missing, changed, wrong", func(o *outcome) string { return o.verdict.String() }},
	}...)
	r.table(columns(all, rows))
	r.say("In brackets after the times: how many. What requests to the store were about:")
	r.calls(all)
	r.broken(all)
}

// calls tells what the store was asked for.
func (r *report) calls(all []*outcome) {
	kinds := map[call]bool{}
	for _, o := range all {
		for k, n := range o.store.calls {
			if n > 0 {
				kinds[k] = true
			}
		}
	}
	sorted := slices.SortedFunc(maps.Keys(kinds), func(a, b call) int {
		return cmp.Or(strings.Compare(a.about, b.about), strings.Compare(a.method, b.method))
	})
	var rows []row
	for _, k := range sorted {
		rows = append(rows, row{k.method + ": " + k.about, func(o *outcome) string { return number(float64(o.store.calls[k])) }})
	}
	r.table(columns(all, rows))
}

// broken tells why jobs did not get what they needed.
func (r *report) broken(all []*outcome) {
	for _, o := range all {
		for _, line := range o.stats.broken[:min(len(o.stats.broken), 3)] {
			r.say("- %s: a job that did not get all: %s", o.name, line)
		}
	}
}

// trials tells of mornings when something was done to the servers.
func (r *report) trials(what string, all []*outcome) {
	var rows [][]string
	for _, o := range all {
		failed, codes := 0, map[string]int{}
		longest := time.Duration(0)
		for kind, t := range o.stats.tallies {
			failed += t.failures()
			for code, n := range t.failed {
				codes[kind+" "+code] += n
			}
			if kind != kindWait && kind != kindLate && kind != kindSeen {
				longest = max(longest, t.longest)
			}
		}
		var why []string
		for _, code := range slices.Sorted(maps.Keys(codes)) {
			why = append(why, fmt.Sprintf("%s: %d", code, codes[code]))
		}
		rows = append(rows, []string{o.name, o.did, fmt.Sprintf("%d, %d", o.stats.sessions, len(o.stats.broken)), strconv.Itoa(o.requests()),
			strings.Join(why, ", "), fmt.Sprintf("%.1f; %d", longest.Seconds(), o.overtime()),
			o.builds(), fmt.Sprintf("%s, %s", milliseconds(o.stats.of(kindPage).quantile(.5)), milliseconds(o.stats.of(kindPage).quantile(.99))),
			o.verdict.String(), strconv.Itoa(len(o.stats.wrong))})
	}
	r.say("%d servers each time.", faultServers)
	r.table([]string{what, "how often", "jobs, and those that did not get all", "requests", "answers that failed, most of them asked again",
		fmt.Sprintf("longest answer (s); over %.0f s (uploads: %.0f)", deadline("").Seconds(), deadline(kindUpload).Seconds()), "builds for each missing wheel", "page p50, p99 (ms)",
		"acknowledged files; missing, changed, wrong", "files served with a wrong hash"}, rows)
	r.broken(all)
}

func (v *verdict) String() string {
	return fmt.Sprintf("%d; %d, %d, %d", v.files, len(v.missing), len(v.changed), len(v.wrong))
}

func milliseconds(d time.Duration) string { return number(float64(d) / 1e6) }

func per(n, of int) string {
	if of == 0 {
		return ""
	}
	return number(float64(n) / float64(of))
}

func percent(n, of int) string {
	if of == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f%%", 100*float64(n)/float64(of))
}

// number writes three digits that count.
func number(x float64) string {
	switch {
	case x >= 1000 || x == float64(int(x)):
		text := strconv.Itoa(int(x + .5))
		for i := len(text) - 3; i > 0; i -= 3 {
			text = text[:i] + "," + text[i:]
		}
		return text
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	case x >= 1:
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.3f", x)
}
