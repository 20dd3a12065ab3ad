package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"curdling/internal/curd"
)

// printReport says at the end what was installed, from where, and how long it took.
func printReport(w io.Writer, r *curd.Report) {
	s := style{colour: isTerminal(w) && os.Getenv("NO_COLOR") == ""}
	took := r.Elapsed.Round(time.Millisecond)
	if r.Elapsed > 10*time.Second {
		took = r.Elapsed.Round(100 * time.Millisecond)
	}
	if len(r.Installed) == 0 {
		fmt.Fprintf(w, "nothing to do: %s there already (%s)\n", isAre(r.Kept), took)
	} else {
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, i := range r.Installed {
			version := i.Version.String()
			if !i.Replaced.IsZero() && i.Replaced.Compare(i.Version) != 0 {
				version = i.Replaced.String() + " -> " + version
			}
			fmt.Fprintf(table, "%s %s %s\t%s\n", s.green("+"), i.Name, version, s.dim(string(i.Origin)))
		}
		table.Flush()
		verb := "installed"
		if r.DryRun {
			verb = "would install"
		}
		fmt.Fprintf(w, "%s %s into %s in %s%s\n", verb, count(len(r.Installed), "package"), r.Environment, took, from(r.Installed))
	}
	if n := len(r.Uploaded); n > 0 {
		fmt.Fprintf(w, "uploaded %s\n", count(n, "wheel"))
	}
	if n := len(r.FailedUploads); n > 0 {
		fmt.Fprintf(w, "not uploaded: %s (see the warnings)\n", count(n, "wheel"))
	}
}

func isAre(n int) string {
	if n == 1 {
		return "1 package is"
	}
	return fmt.Sprintf("%d packages are", n)
}

// from counts the origins: ": 5 from the cache server, 2 built".
func from(all []curd.Installed) string {
	n := map[curd.Origin]int{}
	for _, i := range all {
		n[i.Origin]++
	}
	var parts []string
	for _, o := range []curd.Origin{curd.OwnCache, curd.CacheServer, curd.Index, curd.URL, curd.Built} {
		switch {
		case n[o] == 0:
		case o == curd.Built:
			parts = append(parts, fmt.Sprintf("%d built", n[o]))
		case o == curd.URL:
			parts = append(parts, fmt.Sprintf("%d by URL", n[o]))
		default:
			parts = append(parts, fmt.Sprintf("%d from the %s", n[o], o))
		}
	}
	return ": " + strings.Join(parts, ", ")
}
