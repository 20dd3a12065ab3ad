package curd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/install"
	"curdling/internal/requirement"
	"curdling/internal/resolve"
	"curdling/internal/wheel/wheeltest"
)

// A network in memory. Hosts that do not answer are called by how: refuses0, blackhole1, silent2.
type network struct {
	begun time.Time
	hosts map[string]*host

	mu    sync.Mutex
	dials map[string][]time.Duration // of hosts that do not answer, since begun
}

// A host lists wheels and serves them, as long as it lives.
type host struct {
	wheels map[string][]byte                                      // by file name
	dies   func(w http.ResponseWriter, r *http.Request, b []byte) // serves files in the place of what would be right; nil: none does
	accept chan net.Conn

	mu    sync.Mutex
	files []string // that were asked for
}

// newNetwork serves the hosts until the test ends.
func newNetwork(t *testing.T, hosts map[string]*host) *network {
	n := &network{begun: time.Now(), hosts: hosts, dials: map[string][]time.Duration{}}
	for _, h := range hosts {
		h.accept = make(chan net.Conn)
		s := &http.Server{Handler: h}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = s.Serve(h)
		}()
		t.Cleanup(func() {
			s.Close()
			<-done
		})
	}
	return n
}

func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	name, _, _ := strings.Cut(address, ":")
	if h := n.hosts[name]; h != nil {
		here, there := net.Pipe()
		select {
		case h.accept <- there:
			return here, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	n.mu.Lock()
	n.dials[name] = append(n.dials[name], time.Since(n.begun))
	n.mu.Unlock()
	switch {
	case strings.HasPrefix(name, "refuses"):
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	case strings.HasPrefix(name, "silent"):
		here, there := net.Pipe()
		go func() { // hears all and says nothing
			_, _ = bytes.NewBuffer(nil).ReadFrom(there)
		}()
		return here, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func (h *host) Accept() (net.Conn, error) {
	c, ok := <-h.accept
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (h *host) Close() error   { close(h.accept); return nil }
func (h *host) Addr() net.Addr { return &net.TCPAddr{} }

func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	if content, ok := h.wheels[name]; ok {
		h.mu.Lock()
		h.files = append(h.files, name)
		h.mu.Unlock()
		if h.dies != nil {
			h.dies(w, r, content)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		return
	}
	known := false
	var page strings.Builder
	for file, content := range h.wheels {
		if project, _, _ := strings.Cut(file, "-"); project == name {
			fmt.Fprintf(&page, "<a href='/p/%s#sha256=%x'>%s</a>\n", file, sha256.Sum256(content), file)
			known = true
		}
	}
	if !known {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprint(w, page.String())
}

// someWheels gives an app that needs several libraries.
func someWheels() map[string][]byte {
	all := map[string][]byte{}
	app := wheeltest.Wheel{Name: "app", Version: "1.0"}
	for _, name := range []string{"a", "b", "c", "d"} {
		lib := wheeltest.Wheel{Name: name, Version: "1.0"}
		all[lib.Filename()] = wheeltest.Build(lib)
		app.Requires = append(app.Requires, name)
	}
	all[app.Filename()] = wheeltest.Build(app)
	return all
}

// obtainApp gets all that app needs, from the caches in their order or the index, and tells where it was had
// from, what was warned of and how long that took.
func obtainApp(t *testing.T, n *network, home string, caches ...string) (origins map[string]Origin, warnings []string, took time.Duration) {
	t.Helper()
	req, err := requirement.Parse("app")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	o := Options{
		Requirements: []resolve.Wanted{{Requirement: req}}, Indexes: []NamedIndex{{URL: "http://index/simple/"}},
		Home: home, dial: n.dial,
		Notify: func(e Event) {
			if e.Kind == Warning {
				mu.Lock()
				defer mu.Unlock()
				warnings = append(warnings, e.Name)
			}
		},
	}
	for _, c := range caches {
		o.Caches = append(o.Caches, "http://"+c)
	}
	begun := time.Now()
	s, err := newSession(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	all, _, err := s.obtain(t.Context(), install.Env{Python: testEnvironment(t).Python}, nil)
	if err != nil {
		t.Fatal(err)
	}
	origins = map[string]Origin{}
	for _, p := range all {
		origins[string(p.choice.File.Name)] = p.origin
	}
	return origins, warnings, time.Since(begun)
}

func allFrom(o Origin) map[string]Origin {
	return map[string]Origin{"app": o, "a": o, "b": o, "c": o, "d": o}
}

// TestDeadPeers has three of eight peers dead, in each way: all three together cost one short timeout.
func TestDeadPeers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		way  string
		cost time.Duration
	}{{"refuses", 0}, {"blackhole", connectPatience}, {"silent", cachePatience}} {
		t.Run(test.way, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				home := t.TempDir()
				wheels := someWheels()
				n := newNetwork(t, map[string]*host{
					"index": {wheels: wheels}, "p1": {}, "p2": {}, "p4": {}, "p6": {wheels: wheels}, "p7": {wheels: wheels},
				})
				peers := []string{test.way + "0", "p1", "p2", test.way + "3", "p4", test.way + "5", "p6", "p7"}
				origins, warnings, took := obtainApp(t, n, home, peers...)
				if diff := cmp.Diff(allFrom(CacheServer), origins); diff != "" {
					t.Errorf("origins (-want +got):\n%s", diff)
				}
				if took != test.cost {
					t.Errorf("took %v, want %v", took, test.cost)
				}
				if len(warnings) != 3 {
					t.Errorf("warnings: %q", warnings)
				}
				if len(n.hosts["p6"].files) == 0 || len(n.hosts["p7"].files)+len(n.hosts["index"].files) > 0 {
					t.Error("the files do not come from the first peer that has them")
				}
				if len(n.dials) != 3 {
					t.Errorf("asked were %v", n.dials)
				}
				for name, dials := range n.dials {
					if slices.Max(dials) > test.cost || test.cost > 0 && slices.Max(dials) == test.cost {
						t.Errorf("%s was asked when it was known to be dead: %v", name, dials)
					}
				}

				// The next runs do not wait again, for a minute.
				asked := len(n.dials[peers[0]])
				if err := os.RemoveAll(home + "/files"); err != nil {
					t.Fatal(err)
				}
				_, warnings, took = obtainApp(t, n, home, peers...)
				if again := len(n.dials[peers[0]]) > asked; took != 0 || again != (test.cost == 0) || len(warnings) != 3 {
					t.Errorf("the second run took %v, asked again: %v, warnings: %q", took, again, warnings)
				}
				time.Sleep(silentFor)
				if _, _, took = obtainApp(t, n, home, peers...); took != test.cost {
					t.Errorf("a minute later it took %v, want %v", took, test.cost)
				}
			})
		})
	}
}

// TestPeerDies has a peer die while a file comes from it: the next one is taken, else the index. As it answered
// before, its silence is borne twice.
func TestPeerDies(t *testing.T) {
	t.Parallel()
	half := func(w http.ResponseWriter, b []byte) {
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		_, _ = w.Write(b[:len(b)/2])
		_ = http.NewResponseController(w).Flush()
	}
	for _, test := range []struct {
		name   string
		dies   func(http.ResponseWriter, *http.Request, []byte)
		second bool // peer
		cost   time.Duration
		want   Origin
	}{
		{"breaks off, another peer", func(w http.ResponseWriter, r *http.Request, b []byte) { half(w, b); panic(http.ErrAbortHandler) }, true, -1, CacheServer},
		{"breaks off, the index", func(w http.ResponseWriter, r *http.Request, b []byte) { half(w, b); panic(http.ErrAbortHandler) }, false, -1, Index},
		{"is silent, another peer", func(w http.ResponseWriter, r *http.Request, b []byte) { half(w, b); <-r.Context().Done() }, true, 2 * cachePatience, CacheServer},
		{"is silent, the index", func(w http.ResponseWriter, r *http.Request, b []byte) { half(w, b); <-r.Context().Done() }, false, 2 * cachePatience, Index},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				wheels := someWheels()
				n := newNetwork(t, map[string]*host{"index": {wheels: wheels}, "p1": {wheels: wheels, dies: test.dies}, "p2": {}})
				if test.second {
					n.hosts["p2"].wheels = wheels
				}
				origins, warnings, took := obtainApp(t, n, t.TempDir(), "p1", "p2")
				if diff := cmp.Diff(allFrom(test.want), origins); diff != "" {
					t.Errorf("origins (-want +got):\n%s", diff)
				}
				if len(warnings) != 1 || !strings.Contains(warnings[0], "cache server http://p1 does not answer") {
					t.Errorf("warnings: %q", warnings)
				}
				if took < test.cost || took > max(test.cost, cachePatience)+time.Second {
					t.Errorf("took %v, want %v", took, test.cost)
				}
			})
		})
	}
}
