//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/marker"
	"curdling/internal/record"
	"curdling/internal/tag"
	"curdling/internal/version"
)

// session is one job: it asks, as curd does, for a plan or for pages and metadata, then for files, and for what has to be
// built.
type session struct {
	*morning
	job
	client *client
}

func (s *session) run(ctx context.Context) error {
	files, err := s.choose(ctx)
	if err != nil {
		return err
	}
	g, fetching := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for _, f := range files {
		g.Go(func() error { return s.fetch(fetching, f) })
	}
	if err := g.Wait(); err != nil || s.needs == nil {
		return err
	}
	s.client.close() // nobody keeps eight connections while he waits
	return s.obtain(ctx)
}

// choose gives the files that the job installs, by a plan or by pages.
func (s *session) choose(ctx context.Context) ([]dist.File, error) {
	if s.plan {
		if files, err := s.askPlan(ctx); err == nil {
			return files, nil
		}
	}
	needs := s.world.closure(s.roots)
	files := make([]dist.File, len(needs))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i, project := range needs {
		g.Go(func() (err error) {
			files[i], err = s.newest(ctx, s.world.projects[project].name)
			return err
		})
	}
	return files, g.Wait()
}

// newest gives the newest wheel of a project, by its page and metadata.
func (s *session) newest(ctx context.Context, project string) (f dist.File, err error) {
	r := getPage(project)
	s.mu.Lock()
	known, ok := s.remembered[project]
	s.mu.Unlock()
	if s.warm && ok {
		r.header.Set("If-None-Match", known.etag)
	}
	a, err := s.client.ask(ctx, r)
	if err != nil {
		return f, err
	}
	if a.status != http.StatusNotModified {
		if known.files, err = readPage(s.client.base, project, a); err != nil {
			return f, err
		}
		known.etag = a.header.Get("Etag")
		s.mu.Lock()
		s.remembered[project] = known
		s.mu.Unlock()
	}
	if len(known.files) == 0 {
		return f, fmt.Errorf("the page of %s is empty", project)
	}
	f = slices.MaxFunc(known.files, func(a, b dist.File) int { return a.Version.Compare(b.Version) })
	if !s.warm {
		_, err = s.client.ask(ctx, get(kindMetadata, "/p/"+f.Filename+".metadata"))
	}
	return f, err
}

// readPage gives the wheels on a page.
func readPage(base, project string, a *answer) ([]dist.File, error) {
	at, err := url.Parse(base + "/simple/" + project + "/")
	if err != nil {
		return nil, err
	}
	page, err := index.ParseProject(a.body, a.header.Get("Content-Type"), at, dist.Name(project))
	if err != nil {
		return nil, err
	}
	return page.Files, nil
}

// askPlan gives the files that the server's solver chose.
func (s *session) askPlan(ctx context.Context) ([]dist.File, error) {
	question := planQuestion()
	for _, root := range s.roots {
		question.Requirements = append(question.Requirements, s.world.projects[root].name)
	}
	body, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	a, err := s.client.once(ctx, &request{kind: kindPlan, method: http.MethodPost, path: "/plan", body: body,
		header: http.Header{"Content-Type": {"application/json"}, "Accept-Encoding": {"zstd"}}})
	if err != nil {
		return nil, err
	}
	plan, err := index.ParsePlan(a.body)
	if err != nil {
		return nil, err
	}
	var chosen []dist.File
	for _, p := range plan.Projects {
		files, err := readPage(s.client.base, string(p.Name), &answer{body: p.Page, header: http.Header{"Content-Type": {index.TypeBuilds}}})
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			if slices.Contains(plan.Chosen, f.Filename) {
				chosen = append(chosen, f)
			}
		}
	}
	if len(chosen) == 0 {
		return nil, errors.New("the plan chose nothing")
	}
	return chosen, nil
}

func planQuestion() *index.PlanQuestion {
	return &index.PlanQuestion{
		Python: version.MustParse("3.11.7"), Markers: marker.Environment{"python_version": "3.11", "sys_platform": "linux"},
		Target: tag.Target{Implementation: "cpython", Version: [2]int{3, 11}, OS: "linux", Arch: "x86_64", Glibc: &[2]int{2, 36}},
	}
}

// fetch downloads a file, or its tarball where there is one, and looks at its hash.
func (s *session) fetch(ctx context.Context, f dist.File) error {
	name, want := f.Filename, f.SHA256
	if f.Tarball.SHA256 != "" {
		name, want = name+".tar.zst", f.Tarball.SHA256
	}
	a, err := s.client.ask(ctx, getFile(name))
	if errors.Is(err, fs.ErrNotExist) && name != f.Filename { // it may have gone since the page was made
		name, want = f.Filename, f.SHA256
		a, err = s.client.ask(ctx, getFile(name))
	}
	if err == nil && a.sha256 != want {
		s.stats.note(&s.stats.wrong, "%s was served with sha256 %s, not %s", name, a.sha256, want)
	}
	return err
}

const buildPatience = 5 * time.Minute

// obtain gets a wheel of what has to be built: somebody else's, or by building it.
func (s *session) obtain(ctx context.Context) error {
	s.stats.mu.Lock()
	if s.stats.wanted == nil {
		s.stats.wanted = map[*source]bool{}
	}
	s.stats.wanted[s.needs] = true
	s.stats.mu.Unlock()
	builder := index.NewClient(index.Options{Builds: true, Concurrent: atOnce})
	defer builder.Close()
	began := time.Now()
	claim, err := builder.Claim(ctx, s.client.base, index.Build{From: s.needs.sha256, Key: s.needs.key, Name: s.needs.name + " 1.0", Wait: buildPatience})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil: // as curd does
		s.stats.tell("no lease of %s: %v, after %v", s.needs.name, err, time.Since(began).Round(time.Millisecond))
		return s.make(ctx, builder, nil)
	case claim.Failed != nil:
		return fmt.Errorf("%s failed elsewhere: %s", s.needs.name, claim.Failed.Message)
	case claim.Lease != nil:
		return s.make(ctx, builder, claim.Lease)
	case len(claim.Files) == 0:
		return fmt.Errorf("%s: neither a lease nor a build", s.needs.name)
	}
	s.stats.took(kindWait, time.Since(began))
	if at := s.needs.uploaded.Load(); at != nil && at.After(began) {
		s.stats.took(kindLate, time.Since(*at))
	}
	built := claim.Files[0]
	if err := s.fetch(ctx, dist.File{Filename: built.Filename, SHA256: built.SHA256}); err != nil {
		return err
	}
	_, err = s.client.ask(ctx, get(kindMetadata, "/p/"+built.Filename+record.Suffix))
	return err
}

// make builds, which is to wait and to write a log, and uploads.
func (s *session) make(ctx context.Context, builder *index.Client, lease *index.Lease) error {
	dir, err := os.MkdirTemp(s.dir, "build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s.stats.mu.Lock()
	s.stats.built++
	if lease != nil {
		s.stats.leased++
	}
	s.stats.mu.Unlock()
	log := filepath.Join(dir, "log")
	if lease != nil {
		lease.Follow(log)
		defer func() { _ = lease.GiveUp(context.WithoutCancel(ctx)) }() // where it was not ended
	}
	for began := time.Now(); time.Since(began) < s.build; {
		if err := appendLine(log, fmt.Sprintf("compiling %s: %.1f s\n", s.needs.name, time.Since(began).Seconds())); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(time.Second, s.build)):
		}
	}
	f, err := s.needs.build(s.build)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, f.name)
	if err := os.WriteFile(path, f.content, 0o666); err != nil {
		return err
	}
	began := time.Now()
	_, err = builder.Upload(ctx, s.client.base, path, index.Beside{Suffix: record.Suffix, Content: f.record})
	var said *index.StatusError
	switch {
	case err == nil:
		now := time.Now()
		s.needs.uploaded.CompareAndSwap(nil, &now)
		s.stats.took(kindUpload, time.Since(began))
		s.ledger.add(s.needs.name, &f)
	case errors.As(err, &said): // 409: somebody else's is held, which is as good
		s.stats.change(kindUpload, func(t *tally) { t.failed[fmt.Sprint(said.Code)]++ })
		if said.Code != http.StatusConflict {
			return err
		}
	default:
		return err
	}
	if lease != nil {
		return lease.Done(ctx)
	}
	return nil
}

func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	return errors.Join(err, f.Close())
}
