//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"curdling/internal/dist"
	"curdling/internal/record"
)

// verdict is what a checker found: whether a server over the store shows all that was acknowledged, as it was.
type verdict struct {
	mu      sync.Mutex
	files   int      // acknowledged
	missing []string // of them
	changed []string // of them, or acknowledged twice with different bytes
	wrong   []string // what is shown and has not the hash that its page tells
	others  int      // that nobody was told of, and are whole
}

func (v *verdict) note(list *[]string, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	*list = append(*list, fmt.Sprintf(format, args...))
}

func (v *verdict) holds() bool { return len(v.missing)+len(v.changed)+len(v.wrong) == 0 }

// print says what is wrong, at most some lines of each.
func (v *verdict) print(w io.Writer) {
	for what, list := range map[string][]string{"missing": v.missing, "changed": v.changed, "wrong": v.wrong} {
		for _, line := range list[:min(len(list), 10)] {
			fmt.Fprintf(w, "  %s: %s\n", what, line)
		}
	}
}

// check compares what was acknowledged with what the server at base shows: pages, bytes and records. Of each project it
// also reads what nobody was told of: that may be there or not, but not broken.
func check(ctx context.Context, base string, acknowledged *ledger) (*verdict, error) {
	v := &verdict{files: len(acknowledged.files)}
	projects := map[string][]string{}
	for name, all := range acknowledged.files {
		projects[all[0].project] = append(projects[all[0].project], name)
		if len(all) > 1 {
			v.note(&v.changed, "%s was acknowledged %d times with different bytes or records", name, len(all))
		}
	}
	var apart stats
	c := newClient(base, &apart)
	defer c.close()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, project := range slices.Sorted(maps.Keys(projects)) {
		g.Go(func() error { return v.project(ctx, c, project, projects[project], acknowledged.files) })
	}
	return v, g.Wait()
}

func (v *verdict) project(ctx context.Context, c *client, project string, names []string, acknowledged map[string][]kept) error {
	a, err := c.ask(ctx, getPage(project))
	if ctx.Err() != nil {
		return err
	}
	var shown []dist.File
	if err == nil {
		shown, err = readPage(c.base, project, a)
	}
	if err != nil {
		for _, name := range names {
			v.note(&v.missing, "%s: the page: %v", name, err)
		}
		return nil
	}
	for _, name := range names {
		i := slices.IndexFunc(shown, func(f dist.File) bool { return f.Filename == name })
		if i < 0 {
			v.note(&v.missing, "%s is not on its page", name)
			continue
		}
		if want := acknowledged[name][0]; shown[i].SHA256 != want.sha256 {
			v.note(&v.changed, "%s has sha256 %s, and %s was acknowledged", name, shown[i].SHA256, want.sha256)
		}
	}
	for _, f := range shown {
		v.file(ctx, c, f, acknowledged[f.Filename])
	}
	return nil
}

// file reads a file that is shown, and its record.
func (v *verdict) file(ctx context.Context, c *client, f dist.File, acknowledged []kept) {
	a, err := c.ask(ctx, getFile(f.Filename))
	switch {
	case err != nil && acknowledged != nil:
		v.note(&v.missing, "%v", err)
	case err != nil:
		v.note(&v.wrong, "%v", err)
	case a.sha256 != f.SHA256:
		v.note(&v.wrong, "%s was served with sha256 %s, and its page says %s", f.Filename, a.sha256, f.SHA256)
	case acknowledged == nil:
		v.mu.Lock()
		v.others++
		v.mu.Unlock()
	}
	if acknowledged == nil || acknowledged[0].record == "" {
		return
	}
	switch a, err := c.ask(ctx, get(kindMetadata, "/p/"+f.Filename+record.Suffix)); {
	case err != nil:
		v.note(&v.missing, "%v", err)
	case string(a.body) != acknowledged[0].record:
		v.note(&v.changed, "the record of %s is another", f.Filename)
	}
}
