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

// printReport says at the end what was done, such as "installed", from where, how long it took, and what the caches spared.
func printReport(w io.Writer, r *curd.Report, did string) {
	s := style{colour: isTerminal(w) && os.Getenv("NO_COLOR") == ""}
	took := r.Elapsed.Round(time.Millisecond)
	if r.Elapsed > 10*time.Second {
		took = r.Elapsed.Round(100 * time.Millisecond)
	}
	if len(r.Installed)+len(r.Removed) == 0 {
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
		for _, i := range r.Removed {
			fmt.Fprintf(w, "%s %s %s\n", s.yellow("-"), i.Name, i.Version)
		}
		fmt.Fprintf(w, "%s in %s%s\n", done(r, did), took, from(r.Installed))
	}
	if saved := saved(r.Saved); saved != "" {
		fmt.Fprintln(w, saved)
	}
	if n := len(r.Uploaded); n > 0 {
		fmt.Fprintf(w, "uploaded %s\n", count(n, "wheel"))
	}
	if n := len(r.FailedUploads); n > 0 {
		fmt.Fprintf(w, "not uploaded: %s (see the warnings)\n", count(n, "wheel"))
	}
}

// done says what was done: "installed 3 packages into .venv and removed 1".
func done(r *curd.Report, did string) string {
	would := ""
	if r.DryRun {
		would = "would have "
	}
	if len(r.Installed) == 0 {
		return fmt.Sprintf("%sremoved %s from %s", would, count(len(r.Removed), "package"), r.Environment)
	}
	text := fmt.Sprintf("%s%s %s into %s", would, did, count(len(r.Installed), "package"), r.Environment)
	if n := len(r.Removed); n > 0 {
		text += fmt.Sprintf(" and removed %d", n)
	}
	return text
}

// saved says what the caches spared: "the caches saved 12.3 MiB of downloads and 2 builds, which took 1m20s where done".
func saved(s curd.Saved) string {
	var parts []string
	if s.Bytes > 0 {
		parts = append(parts, size(s.Bytes)+" of downloads")
	}
	if s.Builds > 0 {
		parts = append(parts, fmt.Sprintf("%s, which took %s where done", count(s.Builds, "build"), s.Time.Round(time.Second/10)))
	}
	if parts == nil {
		return ""
	}
	return "the caches saved " + strings.Join(parts, " and ")
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
	for _, o := range []curd.Origin{curd.OwnCache, curd.CacheServer, curd.Index, curd.Folder, curd.URL, curd.Built} {
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
	if parts == nil {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}
