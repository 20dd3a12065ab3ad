package mirror_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"curdling/internal/mirror"
)

const clients = 50

// together has n clients get a path at once.
func (s *site) together(n int, path string) []answer {
	answers := make([]answer, n)
	var g sync.WaitGroup
	for i := range answers {
		g.Go(func() { answers[i] = s.get(path) })
	}
	g.Wait()
	return answers
}

func checkWhole(t *testing.T, answers []answer, want string) {
	t.Helper()
	for i, a := range answers {
		if a.err != nil || a.status != http.StatusOK || a.body != want {
			t.Fatalf("client %d: %d, %d bytes, %v; %.200s", i, a.status, len(a.body), a.err, a.body[:min(len(a.body), 200)])
		}
	}
}

// checkNotWhole wants of nobody to have had a file, and of nothing to be kept.
func (s *site) checkNotWhole(t *testing.T, answers []answer, f published) {
	t.Helper()
	for i, a := range answers {
		if a.status == http.StatusOK && a.err == nil {
			t.Errorf("client %d: 200 and %d bytes, as though they were all", i, len(a.body))
		}
		if a.status == http.StatusOK && len(a.body) > len(f.content)-mirror.Tail {
			t.Errorf("client %d: %d bytes of %d", i, len(a.body), len(f.content))
		}
	}
	s.noneSpooled(t)
	if kept := s.kept(t); len(kept) > 0 {
		t.Errorf("kept: %v", kept)
	}
}

// TestOneFetch: however many wait, the upstream is asked once, and its bytes are
// passed on while they arrive.
func TestOneFetch(t *testing.T) {
	t.Parallel()
	f := makeWheel("big", "1.0", 2<<20)
	up := newOther(t, map[string][]published{"big": {f}})
	var reading atomic.Int32
	half := len(f.content) / 2
	up.file = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(f.content)))
		_, _ = io.WriteString(w, f.content[:half])
		w.(http.Flusher).Flush()
		until(t, "nobody is sent what is there", func() bool { return reading.Load() == clients })
		_, _ = io.WriteString(w, f.content[half:])
	}
	s := newSite(t, "", mirror.Config{}, up)
	var g sync.WaitGroup
	for range clients {
		g.Go(func() {
			resp, err := http.Get(s.url + "/p/" + f.name)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			first := make([]byte, half-100<<10)
			_, err = io.ReadFull(resp.Body, first)
			reading.Add(1)
			rest, err2 := io.ReadAll(resp.Body)
			if err != nil || err2 != nil || string(first)+string(rest) != f.content {
				t.Errorf("%v, %v, %d bytes", err, err2, len(first)+len(rest))
			}
		})
	}
	g.Wait()
	http.DefaultClient.CloseIdleConnections()
	if n := up.count("/files/"); n != 1 {
		t.Errorf("the upstream was asked %d times", n)
	}
	until(t, "it is not kept", func() bool { return s.catalog.File(f.name) != nil })
	if from := s.catalog.File(f.name).From; from.Upstream != "up0" {
		t.Errorf("from %+v", from)
	}
	s.noneSpooled(t)
	checkWhole(t, []answer{s.get("/p/" + f.name)}, f.content)
	if st := s.Stats(); st.Hits != 1 || st.Misses != clients || st.Fetched != 1 || st.Bytes != int64(len(f.content)) {
		t.Errorf("%+v", st)
	}
}

// TestKilledHalfway: the upstream dies in the middle, stays away, and comes back.
func TestKilledHalfway(t *testing.T) {
	t.Parallel()
	for _, ranges := range []bool{true, false} {
		t.Run(fmt.Sprintf("ranges=%v", ranges), func(t *testing.T) {
			t.Parallel()
			f := makeWheel("big", "1.0", 2<<20)
			up := newOther(t, map[string][]published{"big": {f}})
			var attempts, resumed atomic.Int32
			up.file = func(w http.ResponseWriter, r *http.Request) {
				switch attempts.Add(1) {
				case 1:
					w.Header().Set("Content-Length", strconv.Itoa(len(f.content)))
					_, _ = io.WriteString(w, f.content[:len(f.content)/2])
					panic(http.ErrAbortHandler)
				case 2, 3:
					panic(http.ErrAbortHandler) // nobody there
				}
				if r.Header.Get("Range") != "" {
					resumed.Add(1)
				}
				if !ranges {
					r.Header.Del("Range")
				}
				up.sendFile(w, r)
			}
			s := newSite(t, "", mirror.Config{}, up)
			checkWhole(t, s.together(clients, "/p/"+f.name), f.content)
			if resumed.Load() != 1 || attempts.Load() != 4 {
				t.Errorf("%d attempts, %d resumed", attempts.Load(), resumed.Load())
			}
			until(t, "it is not kept", func() bool { return s.catalog.File(f.name) != nil })
		})
	}
}

// TestNeverWhole: whatever an upstream sends that is not the file, nobody has it
// whole, and nothing is kept.
func TestNeverWhole(t *testing.T) {
	t.Parallel()
	good := makeWheel("big", "1.0", 300<<10)
	wrong := []byte(good.content)
	wrong[len(wrong)/2] ^= 1
	send := func(content string, length int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			if length >= 0 {
				w.Header().Set("Content-Length", strconv.Itoa(length))
			}
			_, _ = io.WriteString(w, content)
			if length > len(content) {
				panic(http.ErrAbortHandler)
			}
		}
	}
	n := len(good.content)
	for name, test := range map[string]struct {
		file  func(http.ResponseWriter, *http.Request)
		as    func(published) published
		tries int // at most; what is no wrong hash is remembered for 2 s
		hasty bool
	}{
		"wrong byte":                     {file: send(string(wrong), n), tries: 1},
		"wrong byte, chunked":            {file: send(string(wrong), -1), tries: 1},
		"half, and a half's length":      {file: send(good.content[:n/2], n/2), tries: 5},
		"half, and the page agrees":      {file: send(good.content[:n/2], n/2), as: func(f published) published { f.size = n / 2; return f }, tries: 5},
		"half, chunked":                  {file: send(good.content[:n/2], -1), tries: 3, hasty: true},
		"half, the size is not told":     {file: send(good.content[:n/2], -1), as: func(f published) published { f.size = -1; return f }, tries: 5},
		"more":                           {file: send(good.content+"x", -1), tries: 5},
		"right, but its hash is another": {file: send(good.content, n), as: func(f published) published { f.sha256 = sum("x"); return f }, tries: 1},
		"no hash, and no wheel":          {file: send(good.content[:n/2], n/2), as: func(f published) published { f.sha256, f.size = "-", -1; return f }, tries: 5},
		"gone":                           {file: http.NotFound, tries: 5},
		"forbidden":                      {file: func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) }, tries: 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := good
			if test.as != nil {
				f = test.as(f)
			}
			up := newOther(t, map[string][]published{"big": {f}})
			up.file = test.file
			c := mirror.Config{}
			if test.hasty {
				c = mirror.Hasty(c)
			}
			s := newSite(t, "", c, up)
			answers := s.together(5, "/p/"+f.name)
			s.checkNotWhole(t, answers, f)
			if asked := up.count("/files/"); asked > test.tries {
				t.Errorf("the upstream was asked %d times", asked)
			}
			if s.Stats().Errors == 0 {
				t.Error("no error was counted")
			}
		})
	}
}

// late is the context of one who was asked to wait, and hears of nothing before the gate opens.
type late struct {
	context.Context
	waits chan<- bool
	gate  <-chan struct{}
}

func (l late) Done() <-chan struct{} {
	select {
	case l.waits <- true:
	default:
	}
	<-l.gate
	return l.Context.Done()
}

// TestLate: who looks at the page for so long that another's fetch fails meanwhile hears of that, and fetches nothing anew.
func TestLate(t *testing.T) {
	t.Parallel()
	f := makeWheel("big", "1.0", 300<<10)
	f.sha256 = sum("x")
	up := newOther(t, map[string][]published{"big": {f}})
	s := newSite(t, "", mirror.Config{}, up)
	waits, gate, done := make(chan bool, 1), make(chan struct{}), make(chan error)
	go func() {
		r, err := s.Fetch(late{t.Context(), waits, gate}, f.name)
		if err == nil {
			r.Close()
		}
		done <- err
	}()
	<-waits
	s.checkNotWhole(t, []answer{s.get("/p/" + f.name)}, f)
	until(t, "no error is counted", func() bool { return s.Stats().Errors == 1 })
	close(gate)
	if err := <-done; err == nil || !strings.Contains(err.Error(), "promised") {
		t.Error(err)
	}
	if n := up.count("/files/"); n != 1 {
		t.Errorf("the upstream was asked %d times", n)
	}
}

// TestCutAlways: an upstream that never comes to an end.
func TestCutAlways(t *testing.T) {
	t.Parallel()
	f := makeWheel("big", "1.0", 300<<10)
	up := newOther(t, map[string][]published{"big": {f}})
	up.file = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(f.content)))
		_, _ = io.WriteString(w, f.content[:1000])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	s := newSite(t, "", mirror.Hasty(mirror.Config{}), up)
	done := make(chan []answer)
	go func() { done <- s.together(5, "/p/"+f.name) }()
	until(t, "it is not asked", func() bool { return up.count("/files/") > 1 })
	s.stop() // which ends it
	for _, a := range <-done {
		if a.err == nil && a.status == http.StatusOK {
			t.Fatalf("%d, %d bytes", a.status, len(a.body))
		}
	}
}

// TestOtherBytes: an upstream that begins again with other bytes. Who had the
// first ones is cut off, who comes then has the file.
func TestOtherBytes(t *testing.T) {
	t.Parallel()
	f := makeWheel("big", "1.0", 2<<20)
	wrong := []byte(f.content)
	wrong[1000] ^= 1
	up := newOther(t, map[string][]published{"big": {f}})
	var attempts, reading atomic.Int32
	up.file = func(w http.ResponseWriter, r *http.Request) {
		if attempts.Add(1) > 1 {
			_, _ = io.WriteString(w, f.content)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(f.content)))
		_, _ = w.Write(wrong[:1<<20])
		w.(http.Flusher).Flush()
		until(t, "nobody reads", func() bool { return reading.Load() == 1 })
		panic(http.ErrAbortHandler)
	}
	s := newSite(t, "", mirror.Config{}, up)
	resp, err := http.Get(s.url + "/p/" + f.name)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, 100<<10)
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		t.Fatal(err)
	}
	reading.Store(1)
	if rest, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%d bytes, as though they were right", len(first)+len(rest))
	}
	checkWhole(t, []answer{s.get("/p/" + f.name)}, f.content)
	until(t, "it is not kept", func() bool { return s.catalog.File(f.name) != nil })
}

// TestEndless: a body without an end is not taken for longer than the file may be.
func TestEndless(t *testing.T) {
	t.Parallel()
	f := makeWheel("big", "1.0", 300<<10)
	up := newOther(t, map[string][]published{"big": {f}})
	ended := make(chan bool)
	up.file = func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		_, _ = io.WriteString(w, f.content)
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, "more and more")
		}
	}
	s := newSite(t, "", mirror.Config{}, up)
	answers := s.together(5, "/p/"+f.name)
	<-ended
	s.checkNotWhole(t, answers, f)
}

// TestClientGone: who goes away does not stop what others wait for.
func TestClientGone(t *testing.T) {
	t.Parallel()
	f := makeWheel("big", "1.0", 1<<20)
	up := newOther(t, map[string][]published{"big": {f}})
	goOn := make(chan bool)
	up.file = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(f.content)))
		_, _ = io.WriteString(w, f.content[:1<<19])
		w.(http.Flusher).Flush()
		<-goOn
		_, _ = io.WriteString(w, f.content[1<<19:])
	}
	s := newSite(t, "", mirror.Config{}, up)
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/p/"+f.name, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan answer)
	go func() { second <- s.get("/p/" + f.name) }()
	until(t, "the second does not come", func() bool { return s.Stats().Misses == 2 })
	cancel()
	resp.Body.Close()
	close(goOn)
	checkWhole(t, []answer{<-second}, f.content)
	if n := up.count("/files/"); n != 1 {
		t.Errorf("the upstream was asked %d times", n)
	}
}

// TestRanges: ranges, HEAD and conditions of a file that is not here yet.
func TestRanges(t *testing.T) {
	t.Parallel()
	f := makeWheel("big", "1.0", 1<<20)
	n := len(f.content)
	up := newOther(t, map[string][]published{"big": {f}})
	reached, goOn := make(chan bool), make(chan bool)
	up.file = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(n))
		_, _ = io.WriteString(w, f.content[:n/2])
		w.(http.Flusher).Flush()
		close(reached)
		<-goOn
		_, _ = io.WriteString(w, f.content[n/2:])
	}
	s := newSite(t, "", mirror.Config{}, up)
	head := s.do(http.MethodHead, "/p/"+f.name, "")
	if head.status != 200 || head.header.Get("Content-Length") != strconv.Itoa(n) || head.header.Get("Etag") != `"`+sum(f.content)+`"` || up.count("/files/") != 0 {
		t.Errorf("HEAD: %d %v", head.status, head.header)
	}
	last := make(chan answer)
	go func() { last <- s.get("/p/"+f.name, "Range", "bytes=-1000") }()
	<-reached
	early := s.get("/p/"+f.name, "Range", "bytes=100-199999")
	if early.status != http.StatusPartialContent || early.body != f.content[100:200000] {
		t.Errorf("%d, %d bytes, %v", early.status, len(early.body), early.err)
	}
	close(goOn)
	if a := <-last; a.status != http.StatusPartialContent || a.body != f.content[n-1000:] {
		t.Errorf("%d, %d bytes, %v", a.status, len(a.body), a.err)
	}
}

// TestFileElsewhere: files lie on another host, behind a redirect; none tells a hash or a size.
func TestFileElsewhere(t *testing.T) {
	t.Parallel()
	f := makeWheel("big", "1.0", 300<<10)
	elsewhere := newOther(t, map[string][]published{"big": {f}})
	redirect := newOther(t, nil)
	redirect.file = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusFound)
	}
	for name, as := range map[string]func(*published){
		"as it should be":       func(*published) {},
		"no size":               func(f *published) { f.size = -1 },
		"no hash":               func(f *published) { f.sha256 = "-" },
		"neither hash nor size": func(f *published) { f.sha256, f.size = "-", -1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			there := f
			there.url = redirect.URL + "/files/" + f.name
			as(&there)
			s := newSite(t, "", mirror.Config{}, newOther(t, map[string][]published{"big": {there}}))
			checkWhole(t, s.together(5, "/p/"+f.name), f.content)
			until(t, "it is not kept", func() bool { return s.catalog.File(f.name) != nil })
		})
	}
}

// TestFailureIsRemembered: not each client has a bad file fetched anew.
func TestFailureIsRemembered(t *testing.T) {
	t.Parallel()
	f := makeWheel("big", "1.0", 1000)
	up := newOther(t, map[string][]published{"big": {f}})
	up.file = func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", len(f.content)))
	}
	s := newSite(t, "", mirror.Config{}, up)
	for range 3 {
		if a := s.get("/p/" + f.name); a.status != http.StatusBadGateway || !strings.Contains(a.body, "sha256") {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if n := up.count("/files/"); n != 1 || s.Stats().Mismatches != 1 {
		t.Errorf("the upstream was asked %d times: %+v", n, s.Stats())
	}
	up.set(func() { up.file = nil })
	s.forward(time.Minute)
	checkWhole(t, []answer{s.get("/p/" + f.name)}, f.content)
}
