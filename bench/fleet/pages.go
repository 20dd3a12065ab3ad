//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"curdling/internal/index"
	"curdling/internal/wheel/wheeltest"
)

// samples is of how many projects each kind of request is measured.
const samples = 30

// cost is what one request took: time, and requests to the store.
type cost struct {
	took  []time.Duration
	calls []int
}

func (c *cost) String() string {
	if c == nil || len(c.took) == 0 {
		return ""
	}
	took, calls := slices.Sorted(slices.Values(c.took)), slices.Sorted(slices.Values(c.calls))
	return fmt.Sprintf("%d; %s", calls[len(calls)/2], milliseconds(took[len(took)/2]))
}

// pages measures requests alone, one after the other, to one server over buckets of each size.
func (r *report) pages(ctx context.Context, o *options, dir string) error {
	if o.folder || len(o.wheels) == 0 {
		return nil
	}
	head := []string{"a request alone: requests to the store; ms"}
	var names []string
	var all []map[string]*cost
	for _, wheels := range o.wheels {
		costs, order, err := measurePages(ctx, o, filepath.Join(dir, "pages-"+strconv.Itoa(wheels)), wheels)
		if err != nil {
			return err
		}
		head, names, all = append(head, number(float64(wheels))+" wheels"), order, append(all, costs)
	}
	var rows [][]string
	for _, name := range names {
		line := []string{name}
		for _, costs := range all {
			line = append(line, costs[name].String())
		}
		rows = append(rows, line)
	}
	r.table(head, rows)
	r.say("Medians of %d projects with %d wheels each, one request after the other; cold: the server was just started and has not been asked for it.", samples, perProject)
	return nil
}

// measurePages measures one bucket.
func measurePages(ctx context.Context, o *options, dir string, wheels int) (costs map[string]*cost, order []string, err error) {
	s, err := newStorage(ctx, o, dir)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		s.close()
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	began := time.Now()
	if err := fillDirect(ctx, filepath.Join(dir, "data", bucketName, prefixName), dir, wheels); err != nil {
		return nil, nil, err
	}
	say("%d wheels put into a bucket in %.0f s", wheels, time.Since(began).Seconds())
	p, url, err := s.newServer(o, filepath.Join(dir, "server"), serverOptions{program: o.server, endpoint: s.proxy.url()})
	if err != nil {
		return nil, nil, err
	}
	m := &meter{storage: s, costs: map[string]*cost{}, client: newClient(url, new(stats))}
	defer m.client.close()
	err = m.measure(ctx, "start, until ready", func() error {
		if err := p.start(); err != nil {
			return err
		}
		return p.answers(ctx, url+"/readyz")
	})
	if err == nil {
		err = m.all(ctx, wheels/perProject)
	}
	if p.cmd != nil {
		p.end(syscall.SIGTERM)
	}
	return m.costs, m.order, err
}

// meter measures what single requests cost.
type meter struct {
	*storage
	client *client
	costs  map[string]*cost
	order  []string
}

func (m *meter) measure(ctx context.Context, name string, do func() error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	before, began := m.proxy.seen(), time.Now()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	took := time.Since(began)
	if m.costs[name] == nil {
		m.costs[name] = &cost{}
		m.order = append(m.order, name)
	}
	c := m.costs[name]
	c.took, c.calls = append(c.took, took), append(c.calls, m.proxy.seen().since(before).of())
	return nil
}

// all measures each kind of request with projects from all over the bucket.
func (m *meter) all(ctx context.Context, projects int) error {
	names := make([]string, samples)
	for i := range names {
		names[i] = pageProject(i * (projects / samples))
	}
	file := func(name string) string {
		return wheeltest.Wheel{Name: name, Version: "1.4"}.Filename()
	}
	page := getPage
	for _, kind := range []struct {
		title string
		later bool // everything that is known is older than a second by then
		ask   func(name string) *request
	}{
		{"page, cold", false, page},
		{"page again, within a second", false, page},
		{"page again, later", true, page},
		{"metadata, cold", false, func(name string) *request { return get(kindMetadata, "/p/"+file(name)+".metadata") }},
		{"metadata again", false, func(name string) *request { return get(kindMetadata, "/p/"+file(name)+".metadata") }},
		{"file, its page known, not in the cache", false, func(name string) *request { return getFile(file(name)) }},
		{"file again", false, func(name string) *request { return getFile(file(name)) }},
		{"file again, later", true, func(name string) *request { return getFile(file(name)) }},
		{"page of a project that is not there", false, func(name string) *request { return getPage("no-" + name) }},
	} {
		if kind.later {
			time.Sleep(1500 * time.Millisecond)
		}
		for _, name := range names {
			err := m.measure(ctx, kind.title, func() error {
				_, err := m.client.once(ctx, kind.ask(name))
				var said *statusError
				if errors.As(err, &said) && said.status == http.StatusNotFound && kind.title[:9] == "page of a" {
					return nil
				}
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return errors.Join(m.plans(ctx, projects), m.lists(ctx), m.uploads(ctx, names), m.builds(ctx))
}

const planned = 10

// plans asks for plans of projects that nobody has asked for.
func (m *meter) plans(ctx context.Context, projects int) error {
	ask := func(i int) error {
		q := planQuestion()
		for j := range planned {
			q.Requirements = append(q.Requirements, pageProject(i*(projects/samples)+j+1))
		}
		body, err := json.Marshal(q)
		if err != nil {
			return err
		}
		_, err = m.client.once(ctx, &request{kind: kindPlan, method: http.MethodPost, path: "/plan", body: body})
		return err
	}
	for _, title := range []string{"plan of 10 projects, cold", "plan again, later"} {
		for i := range samples {
			if err := m.measure(ctx, title, func() error { return ask(i) }); err != nil {
				return err
			}
		}
		time.Sleep(1500 * time.Millisecond)
	}
	return nil
}

func (m *meter) lists(ctx context.Context) error {
	return m.measure(ctx, "/simple/, cold", func() error {
		_, err := m.client.once(ctx, get(kindPage, "/simple/"))
		return err
	})
}

func (m *meter) uploads(ctx context.Context, names []string) error {
	for _, name := range names {
		f := newWheel(wheeltest.Wheel{Name: name, Version: "2.0"}, 20_000, "")
		err := m.measure(ctx, "upload of 20 kB", func() error {
			_, err := m.client.once(ctx, putFile(&f))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// builds asks for a lease, sends a heartbeat and gives up.
func (m *meter) builds(ctx context.Context) error {
	for i := range samples {
		s := newSource(fmt.Sprintf("measured-%d", i))
		path := "/builds/" + s.sha256 + "/" + s.key
		var lease index.BuildAnswer
		for _, step := range []struct {
			title  string
			method string
			path   func() string
			body   string
		}{
			{"build: the question that gets the lease", http.MethodPost, func() string { return path }, `{"name": "measured 1.0"}`},
			{"build: the same question of somebody who waits, at once", http.MethodPost, func() string { return path }, `{"name": "measured 1.0"}`},
			{"build: a heartbeat", http.MethodPut, func() string { return path + "/" + lease.Lease + "?at=0" }, "compiling\n"},
			{"build: the end", http.MethodDelete, func() string { return path + "/" + lease.Lease + "?abandoned=1" }, ""},
		} {
			err := m.measure(ctx, step.title, func() error {
				a, err := m.client.once(ctx, &request{kind: kindWait, method: step.method, path: step.path(), body: []byte(step.body)})
				if err == nil && a.status == http.StatusCreated {
					err = json.Unmarshal(a.body, &lease)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
