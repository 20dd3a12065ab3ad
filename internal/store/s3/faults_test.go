package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"curdling/internal/store"
	"curdling/internal/store/s3/s3test"
)

// pipes is a network within a bubble of synctest, in which nothing takes time.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// inBubble runs a test with a store over a server, in a time of its own.
func inBubble(t *testing.T, run func(t *testing.T, s *Store, server *s3test.Server)) {
	synctest.Test(t, func(t *testing.T) {
		network := &pipes{make(chan net.Conn), make(chan struct{})}
		server := s3test.NewHandler()
		h := &http.Server{Handler: server, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
		go func() { _ = h.Serve(network) }()
		s, err := connect("s3://bucket/prefix", Options{Endpoint: "http://bucket.test", Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
		if err != nil {
			t.Fatal(err)
		}
		s.transport.DialContext = network.dial
		defer func() {
			s.Close()
			h.Close()
			time.Sleep(24 * time.Hour) // until whoever sleeps has seen it
		}()
		run(t, s, server)
	})
}

// since is [time.Since] without the nanosecond that the client waits for after its only attempt.
func since(t time.Time) time.Duration { return time.Since(t).Truncate(time.Microsecond) }

func create(t *testing.T, s *Store, key, content string) {
	t.Helper()
	if err := s.Create(t.Context(), key, strings.NewReader(content), int64(len(content))); err != nil {
		t.Fatal(err)
	}
}

func read(ctx context.Context, s *Store, key string) (string, error) {
	r, _, err := s.Open(ctx, key)
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}

// TestFrozen: while the bucket does not answer for 20 s under load, nothing waits longer than it may, few requests are
// in flight, most are refused at once, and all is well a few seconds after it answers again.
func TestFrozen(t *testing.T) {
	inBubble(t, func(t *testing.T, s *Store, server *s3test.Server) {
		create(t, s, "a", "content")
		var frozen atomic.Pointer[chan struct{}]
		server.Before = func(http.ResponseWriter, *http.Request) bool {
			if ice := frozen.Load(); ice != nil {
				<-*ice
			}
			return false
		}
		begun := time.Now()
		const freeze, thaw, end = 2 * time.Second, 22 * time.Second, 40 * time.Second
		ice := make(chan struct{})
		time.AfterFunc(freeze, func() { frozen.Store(&ice) })
		time.AfterFunc(thaw, func() {
			frozen.Store(nil)
			close(ice)
		})
		var (
			clients sync.WaitGroup
			mu      sync.Mutex
			longest time.Duration
			ok      = map[string]int{}
		)
		for time.Since(begun) < end {
			for range 40 { // 400 a second
				clients.Go(func() {
					asked := time.Now()
					got, err := read(t.Context(), s, "a")
					took := since(asked)
					mu.Lock()
					defer mu.Unlock()
					longest = max(longest, took)
					switch {
					case err == nil && got == "content":
						ok["served"]++
					case !isUnavailable(err):
						t.Errorf("%q, %v", got, err)
					case took == 0:
						ok["refused at once"]++
					default:
						ok["refused"]++
					}
					if since := asked.Sub(begun); err != nil && since > thaw+longBreak {
						t.Errorf("%v after the thaw: %v", since-thaw, err)
					}
				})
			}
			synctest.Wait() // whoever is one too many has been refused, and counts no more
			if n := len(s.guard.slots); n > inFlight {
				t.Errorf("%d in flight", n)
			}
			if n := s.guard.waiting.Load(); n > queued {
				t.Errorf("%d wait", n)
			}
			time.Sleep(100 * time.Millisecond)
		}
		clients.Wait()
		t.Logf("%v; the longest took %v", ok, longest)
		if longest > readTime+patience {
			t.Errorf("the longest took %v", longest)
		}
		if ok["refused"] > 3*(inFlight+queued) {
			t.Errorf("%d were not refused at once", ok["refused"])
		}
	})
}

// TestTriedAgain: what the bucket says of itself is tried again, what it says of the request is not.
func TestTriedAgain(t *testing.T) {
	for _, test := range []struct {
		status      int
		header      string // Retry-After
		least, most time.Duration
		attempts    int
	}{
		{http.StatusServiceUnavailable, "", time.Millisecond, time.Second, 4},
		{http.StatusServiceUnavailable, "2", 6 * time.Second, 7 * time.Second, 4},
		{http.StatusInternalServerError, "", time.Millisecond, time.Second, 4},
		{http.StatusTooManyRequests, "1", 3 * time.Second, 4 * time.Second, 4},
		{http.StatusServiceUnavailable, "60", 0, 0, 1},
		{http.StatusForbidden, "", 0, 0, 1},
		{http.StatusNotFound, "", 0, 0, 1},
		{http.StatusInsufficientStorage, "", 0, 0, 1},
		{http.StatusNotImplemented, "", 0, 0, 1},
	} {
		for name, do := range map[string]func(context.Context, *Store) error{
			"open":   func(ctx context.Context, s *Store) error { _, err := read(ctx, s, "a"); return err },
			"stat":   func(ctx context.Context, s *Store) error { _, err := s.Stat(ctx, "a"); return err },
			"get":    func(ctx context.Context, s *Store) error { _, _, err := s.Get(ctx, "a", ""); return err },
			"create": func(ctx context.Context, s *Store) error { return s.Create(ctx, "b", strings.NewReader("x"), 1) },
			"list": func(ctx context.Context, s *Store) error {
				for _, err := range s.List(ctx, "") {
					return err
				}
				return nil
			},
		} {
			t.Run(fmt.Sprint(name, test.status, test.header), func(t *testing.T) {
				inBubble(t, func(t *testing.T, s *Store, server *s3test.Server) {
					create(t, s, "a", "content")
					asked := 0
					server.Before = func(w http.ResponseWriter, r *http.Request) bool {
						if asked++; asked > 3 {
							return false
						}
						if test.header != "" {
							w.Header().Set("Retry-After", test.header)
						}
						w.WriteHeader(test.status)
						return true
					}
					begun := time.Now()
					err := do(t.Context(), s)
					if took := since(begun); took < test.least || took > test.most {
						t.Errorf("took %v, want %v to %v", took, test.least, test.most)
					}
					if (err == nil) != (test.attempts > 1) || asked != test.attempts {
						t.Errorf("%d attempts, %v; want %d", asked, err, test.attempts)
					}
					if want := test.header == "60"; isUnavailable(err) != want {
						t.Errorf("%v: unavailable %v, want %v", err, !want, want)
					}
				})
			})
		}
	}
}

// TestMistaken: an answer to a request that was none is not ours.
func TestMistaken(t *testing.T) {
	inBubble(t, func(t *testing.T, s *Store, server *s3test.Server) {
		n := 0
		server.Before = func(w http.ResponseWriter, r *http.Request) bool {
			if n++; n%2 == 0 {
				return false
			}
			s3test.Fail(w, r, http.StatusBadRequest, "BadRequest")
			return true
		}
		create(t, s, "a", "content")
		if got, err := read(t.Context(), s, "a"); err != nil || got != "content" {
			t.Errorf("%q, %v", got, err)
		}
		if _, err := s.Stat(t.Context(), "a"); err != nil {
			t.Error(err)
		}
		if _, _, err := s.Get(t.Context(), "a", ""); err != nil {
			t.Error(err)
		}
	})
}

// TestGivesUp: somebody who asks a bucket that fails gets his answer in time.
func TestGivesUp(t *testing.T) {
	for name, fail := range map[string]func(http.ResponseWriter, *http.Request){
		"throttled": s3test.SlowDown,
		"cut":       func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"silent":    func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *Store, server *s3test.Server) {
				server.Before = func(w http.ResponseWriter, r *http.Request) bool {
					_, _ = io.Copy(io.Discard, r.Body)
					fail(w, r)
					return true
				}
				begun := time.Now()
				_, err := read(t.Context(), s, "a")
				if took := time.Since(begun); !isUnavailable(err) || took > readTime+patience {
					t.Errorf("read: %v after %v", err, took)
				}
				time.Sleep(time.Minute)
				begun = time.Now()
				err = s.Create(t.Context(), "a", strings.NewReader("x"), 1)
				if took := time.Since(begun); !isUnavailable(err) || took > writeTime+putPatience {
					t.Errorf("create: %v after %v", err, took)
				}
				if err := s.Ping(t.Context()); !isUnavailable(err) && err == nil {
					t.Error("it is said to answer")
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				time.Sleep(time.Minute)
				begun = time.Now()
				if _, err := read(ctx, s, "a"); err == nil || time.Since(begun) > time.Second {
					t.Errorf("%v after %v", err, time.Since(begun))
				}
			})
		})
	}
}

// paced gives what is written at the pace that it is told.
type paced struct {
	http.ResponseWriter
	write func(w http.ResponseWriter, p []byte) (int, error)
}

func (p *paced) Write(b []byte) (int, error) { return p.write(p.ResponseWriter, b) }

// TestSlowIsNotStalled: bytes that come slowly are waited for, bytes that do not come are asked for anew.
func TestSlowIsNotStalled(t *testing.T) {
	content := strings.Repeat("0123456789abcdef", 1000)
	for _, test := range []struct {
		name     string
		piece    int
		pause    time.Duration
		requests int
	}{
		{"slow", leastProgress, patience - time.Second, 1},
		{"dribbling", leastProgress / 20, patience / 10, 2},
		{"stopping", 5000, time.Hour, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *Store, server *s3test.Server) {
				create(t, s, "a", content)
				requests := 0
				server.Wrap = func(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
					if requests++; test.name == "dribbling" && requests > 1 {
						return w
					}
					return &paced{w, func(w http.ResponseWriter, p []byte) (n int, err error) {
						for n < len(p) && err == nil {
							var m int
							m, err = w.Write(p[n:min(n+test.piece, len(p))])
							_ = http.NewResponseController(w).Flush()
							n += m
							select {
							case <-time.After(test.pause):
							case <-r.Context().Done():
								return n, r.Context().Err()
							}
						}
						return n, err
					}}
				}
				got, err := read(t.Context(), s, "a")
				if err != nil || got != content || requests != test.requests {
					t.Errorf("%d of %d bytes in %d requests, want %d: %v", len(got), len(content), requests, test.requests, err)
				}
			})
		})
	}
}

// TestSlowReader: who reads what comes may take his time.
func TestSlowReader(t *testing.T) {
	inBubble(t, func(t *testing.T, s *Store, server *s3test.Server) {
		content := strings.Repeat("0123456789abcdef", 100_000)
		create(t, s, "a", content)
		before := server.Requests()
		r, _, err := s.Open(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var got bytes.Buffer
		for err == nil {
			time.Sleep(time.Hour)
			_, err = io.CopyN(&got, r, 300_000)
		}
		if !errors.Is(err, io.EOF) || got.String() != content || server.Requests() != before+1 {
			t.Errorf("%d bytes, %d requests, %v", got.Len(), server.Requests()-before, err)
		}
	})
}

// TestSlowUpload: a file is sent as slowly as the bucket takes it, but not to one that takes nothing.
func TestSlowUpload(t *testing.T) {
	for _, test := range []struct {
		pause time.Duration
		ok    bool
	}{{time.Second, true}, {time.Hour, false}} { // for 4 KiB
		t.Run(fmt.Sprint(test.pause), func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *Store, server *s3test.Server) {
				server.Before = func(_ http.ResponseWriter, r *http.Request) bool {
					if r.Method == http.MethodPut {
						r.Body = struct {
							io.Reader
							io.Closer
						}{slowly{r.Context(), r.Body, test.pause}, r.Body}
					}
					return false
				}
				begun := time.Now()
				content := strings.Repeat("x", 1<<20)
				err := s.Create(t.Context(), "a", struct{ io.Reader }{strings.NewReader(content)}, 1<<20)
				if (err == nil) != test.ok || !test.ok && (!isUnavailable(err) || time.Since(begun) > 2*putPatience) {
					t.Errorf("%v after %v", err, time.Since(begun))
				}
			})
		})
	}
}

type slowly struct {
	ctx   context.Context
	r     io.Reader
	pause time.Duration
}

func (s slowly) Read(p []byte) (int, error) {
	select {
	case <-time.After(s.pause):
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	}
	return s.r.Read(p)
}

// TestListGoesOn: a list of many pages outlives pages that fail, and tells of each object once.
func TestListGoesOn(t *testing.T) {
	inBubble(t, func(t *testing.T, s *Store, server *s3test.Server) {
		want := map[string]bool{}
		for i := range 2500 {
			key := fmt.Sprintf("d%04d/x", i)
			create(t, s, key, "")
			want[key] = true
		}
		n := 0
		server.Before = func(w http.ResponseWriter, r *http.Request) bool {
			if n++; n%3 == 0 {
				return false
			}
			s3test.SlowDown(w, r)
			return true
		}
		got := map[string]bool{}
		for info, err := range s.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			if got[info.Key] {
				t.Errorf("%s came twice", info.Key)
			}
			got[info.Key] = true
		}
		if len(got) != len(want) {
			t.Errorf("%d of %d", len(got), len(want))
		}
		clear(got)
		for folder, err := range s.ListFolders(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			if got[folder] {
				t.Errorf("%s came twice", folder)
			}
			got[folder] = true
		}
		if len(got) != len(want) {
			t.Errorf("%d of %d folders", len(got), len(want))
		}
		server.Before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Has("start-after") || r.URL.Query().Has("continuation-token") {
				s3test.SlowDown(w, r)
				return true
			}
			return false
		}
		n = 0
		var last error
		for _, err := range s.List(t.Context(), "") {
			if n++; err != nil {
				last = err
			}
		}
		if n != 1001 || !isUnavailable(last) {
			t.Errorf("%d and then %v", n, last)
		}
	})
}

// TestBreaker: the states that a breaker goes through.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b breaker
		fail := errors.New("it fails")
		request := func(outcome string) {
			t.Helper()
			turn, err := b.begin(true)
			if err != nil {
				t.Fatal(err)
			}
			b.end(turn, outcome, fail)
		}
		refused := func(want bool) {
			t.Helper()
			var unavailable *store.UnavailableError
			switch err := b.check(); {
			case (err != nil) != want:
				t.Fatalf("%v, want refused %v", err, want)
			case want && (!errors.As(err, &unavailable) || unavailable.RetryAfter <= 0 || !errors.Is(err, fail)):
				t.Fatalf("%#v", err)
			}
		}
		for range 100 { // all at once is no sign
			request(outcomeFailed)
		}
		refused(false)
		time.Sleep(tripTime)
		request(outcomeOK)
		for range tripAfter - 1 {
			request(outcomeTimeout)
		}
		time.Sleep(tripTime)
		request(outcomeCancelled) // says nothing
		request(outcomeAbsent)    // is an answer
		for range tripAfter {
			refused(false)
			request(outcomeThrottled)
			time.Sleep(tripTime)
		}
		refused(false) // the break was shorter than tripTime
		b.begin(false) // is no probe, and refused
		for range 10 {
			request(outcomeFailed) // a probe
			refused(true)
			time.Sleep(b.pause)
		}
		if b.pause != longBreak {
			t.Errorf("pause %v, want %v", b.pause, longBreak)
		}
		probe, err := b.begin(true)
		if err != nil || !probe.probe {
			t.Fatal(probe, err)
		}
		refused(true) // one at a time
		b.end(probe, outcomeCancelled, nil)
		refused(false)
		request(outcomeOK)
		refused(false)
		request(outcomeFailed)
		refused(false)
	})
}

// TestShed: more than may wait are refused at once, and who waits is refused in time.
func TestShed(t *testing.T) {
	inBubble(t, func(t *testing.T, s *Store, server *s3test.Server) {
		ice := make(chan struct{})
		server.Before = func(http.ResponseWriter, *http.Request) bool {
			<-ice
			return false
		}
		var clients sync.WaitGroup
		var absent, atOnce, later atomic.Int64
		for range inFlight + queued + 100 {
			clients.Go(func() {
				begun := time.Now()
				_, err := s.Stat(t.Context(), "a")
				switch took := since(begun); {
				case errors.Is(err, fs.ErrNotExist):
					absent.Add(1)
				case isUnavailable(err) && took == 0:
					atOnce.Add(1)
				case isUnavailable(err) && took == queueTime:
					later.Add(1)
				default:
					t.Errorf("%v after %v", err, took)
				}
			})
		}
		time.Sleep(queueTime + time.Second)
		close(ice)
		clients.Wait()
		if absent.Load() != inFlight || atOnce.Load() != 100 || later.Load() != queued {
			t.Errorf("%d answered, %d refused at once, %d later", absent.Load(), atOnce.Load(), later.Load())
		}
	})
}

func TestPresign(t *testing.T) {
	t.Parallel()
	server := s3test.New(t)
	s := open(t, "s3://bucket/prefix", server.URL)
	create(t, s, "a/b c.whl", "content")
	u, err := s.Presign(t.Context(), "a/b c.whl", 10*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(u, server.URL+"/bucket/prefix/a/b%20c.whl?") || !strings.Contains(u, "X-Amz-Expires=600&") {
		t.Error(u)
	}
	r, err := http.Get(u)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if b, err := io.ReadAll(r.Body); err != nil || string(b) != "content" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := s.Presign(t.Context(), "../x", time.Minute); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("%v, want fs.ErrInvalid", err)
	}
}
