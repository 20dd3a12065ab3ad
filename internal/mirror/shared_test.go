package mirror_test

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"curdling/internal/catalog"
	"curdling/internal/mirror"
	"curdling/internal/store"
	"curdling/internal/store/bucket"
	"curdling/internal/store/storetest"
)

// door is one server's way to the store, which may be shut.
type door struct {
	*storetest.Memory
	shut  atomic.Bool
	asked atomic.Int64 // for names that are an upstream's
}

func (d *door) away() error {
	if d.shut.Load() {
		return &store.UnavailableError{Err: storetest.ErrFault, RetryAfter: time.Millisecond}
	}
	return nil
}

func (d *door) Get(ctx context.Context, key, known string) ([]byte, string, error) {
	if strings.HasPrefix(key, "upstream/") {
		d.asked.Add(1)
	}
	if err := d.away(); err != nil {
		return nil, "", err
	}
	return d.Memory.Get(ctx, key, known)
}

func (d *door) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	if err := d.away(); err != nil {
		return func(yield func(store.Info, error) bool) { yield(store.Info{}, err) }
	}
	return d.Memory.List(ctx, prefix)
}

// newSharedSites is two servers over one store.
func newSharedSites(t *testing.T, c mirror.Config, up *other) (raw *storetest.Memory, a, b *site, doors [2]*door) {
	raw = storetest.NewMemory(0, time.Second)
	var sites []*site
	for i := range doors {
		doors[i] = &door{Memory: raw}
		c := c
		c.Upstreams = []mirror.Upstream{{Name: "up0", URL: up.URL + "/simple/"}}
		c.Shared, c.State = doors[i], filepath.Join(t.TempDir(), "upstream")
		sites = append(sites, serve(t, catalog.Config{Store: bucket.New(doors[i], bucket.Options{Temp: t.TempDir()}), Derived: doors[i]}, c, func() error { return nil }))
	}
	return raw, sites[0], sites[1], doors
}

// within waits until a page is as it should be: others see it a second later at most.
func (s *site) within(t *testing.T, project string, want ...string) {
	t.Helper()
	until(t, fmt.Sprintf("the page of %s never names %v", project, want), func() bool {
		got, _ := s.files(t, project)
		return slices.Equal(got, want)
	})
}

// TestShared: whose a name is, is the same on all servers of a store: the upstream's once a file of it was fetched, the house's once one was uploaded.
func TestShared(t *testing.T) {
	t.Parallel()
	up := newOther(t, map[string][]published{"flask": {flask1, flask9}, "acme-tool": {acme99}})
	raw, a, b, _ := newSharedSites(t, mirror.Config{}, up)
	a.check(t, "flask", flask1.name, flask9.name)
	a.check(t, "acme-tool", acme99.name)
	if slices.ContainsFunc(raw.Keys(), func(key string) bool { return strings.HasPrefix(key, "upstream/") }) {
		t.Error("a page that was looked at took a name")
	}
	checkWhole(t, []answer{a.get("/p/" + flask9.name)}, flask9.content)
	until(t, "it is not kept", func() bool { return a.catalog.File(flask9.name) != nil })
	if !slices.Contains(raw.Keys(), "upstream/flask") {
		t.Errorf("nothing says whose flask is: %v", raw.Keys())
	}
	b.within(t, "flask", flask1.name, flask9.name)
	b.put(t, flask2, http.StatusCreated) // of which the upstream knows nothing
	for _, s := range []*site{a, b} {
		s.within(t, "flask", flask1.name, flask9.name, flask2.name)
	}
	if a := b.put(t, makeWheel("flask", "1.0", 2000), http.StatusConflict); !strings.Contains(a.body, "up0 publishes") {
		t.Error(a.body)
	}

	// a knows the upstream's page, and that nothing is held; b is sent a file; at the same moment a is asked for the upstream's.
	a.check(t, "acme-tool", acme99.name)
	b.put(t, acme1, http.StatusCreated)
	if got := a.get("/p/" + acme99.name); got.status == http.StatusOK {
		t.Errorf("the upstream's file, when the name was the house's: %d", got.status)
	}
	for _, s := range []*site{a, b} {
		s.within(t, "acme-tool", acme1.name)
		until(t, "the upstream's file of a private name is there", func() bool { return s.get("/p/"+acme99.name).status == http.StatusNotFound })
	}
	if text, _, err := raw.Get(t.Context(), "upstream/acme-tool", ""); !strings.HasPrefix(string(text), "house\n") || err != nil {
		t.Errorf("it says %q, %v", text, err)
	}
	// A server that comes later knows the same.
	c := serve(t, catalog.Config{Store: bucket.New(raw, bucket.Options{Temp: t.TempDir()}), Derived: raw},
		mirror.Config{Shared: raw, Upstreams: []mirror.Upstream{{Name: "up0", URL: up.URL + "/simple/"}}}, func() error { return nil })
	c.check(t, "acme-tool", acme1.name)
	c.check(t, "flask", flask1.name, flask9.name, flask2.name)
}

// TestSharedAway: while the store does not answer nothing changes hands, and what nobody can tell is not guessed.
func TestSharedAway(t *testing.T) {
	t.Parallel()
	up := newOther(t, map[string][]published{"flask": {flask1, flask9}, "acme-tool": {acme99}})
	_, a, b, doors := newSharedSites(t, mirror.Config{}, up)
	checkWhole(t, []answer{a.get("/p/" + flask9.name)}, flask9.content)
	until(t, "it is not kept", func() bool { return a.catalog.File(flask9.name) != nil })
	b.put(t, acme1, http.StatusCreated)
	a.within(t, "acme-tool", acme1.name)
	a.within(t, "flask", flask1.name, flask9.name)
	for _, d := range doors {
		d.shut.Store(true)
	}
	a.check(t, "acme-tool", acme1.name)
	a.check(t, "flask", flask1.name, flask9.name)
	if got := b.get("/simple/flask/"); got.status != http.StatusServiceUnavailable {
		t.Errorf("b cannot know whose flask is: %d", got.status)
	}
	if n := up.count("/simple/flask/"); n != 1 {
		t.Errorf("the upstream was asked %d times", n)
	}
}

// TestSharedCosts: of a project that is held it is asked about once a minute, however often it is asked for.
func TestSharedCosts(t *testing.T) {
	t.Parallel()
	up := newOther(t, map[string][]published{"flask": {flask9}})
	_, a, b, doors := newSharedSites(t, mirror.Config{}, up)
	a.put(t, acme1, http.StatusCreated)
	for range 50 {
		b.within(t, "acme-tool", acme1.name)
	}
	if n := doors[1].asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}
