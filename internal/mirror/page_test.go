package mirror_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/mirror"
)

var (
	flask1 = makeWheel("flask", "1.0", 1000)
	flask2 = makeWheel("flask", "2.0", 1000)
	flask9 = makeWheel("flask", "9.0", 1000)
	acme1  = makeWheel("acme-tool", "1.0", 1000)
	acme99 = makeWheel("acme-tool", "99.0", 1000)
)

func (s *site) check(t *testing.T, project string, want ...string) {
	t.Helper()
	got, a := s.files(t, project)
	if diff := cmp.Diff(want, got); diff != "" || (a.status == http.StatusOK) != (len(want) > 0) {
		t.Errorf("page of %s: %d %s", project, a.status, diff)
	}
}

func (s *site) put(t *testing.T, f published, status int) answer {
	t.Helper()
	a := s.do(http.MethodPut, "/p/"+f.name, f.content)
	if a.status != status {
		t.Errorf("PUT %s: %d %s, want %d", f.name, a.status, a.body, status)
	}
	return a
}

// TestPageIsKept: asked for once, then used until it expires, then asked whether it changed.
func TestPageIsKept(t *testing.T) {
	t.Parallel()
	up := newOther(t, map[string][]published{"flask": {flask1, flask2}})
	dir := t.TempDir()
	s := newSite(t, dir, mirror.Config{}, up)
	knows := func(want bool, name dist.Name) {
		t.Helper()
		if got := s.Knows(name); got != want {
			t.Errorf("%s is known: %v", name, got)
		}
	}
	knows(false, "flask")
	for range 3 {
		s.check(t, "flask", flask1.name, flask2.name)
		knows(true, "flask")
	}
	s.check(t, "none")
	knows(true, "none")
	s.check(t, "none")
	if a, b := up.count("/flask/"), up.count("/none/"); a != 1 || b != 1 {
		t.Errorf("asked %d and %d times", a, b)
	}
	up.set(func() { up.pages["flask"] = append(up.pages["flask"], flask9) })
	s.forward(11 * time.Minute)
	knows(false, "flask")
	s.check(t, "none")
	if b := up.count("/none/"); b != 2 {
		t.Errorf("the name that nobody knew was asked for %d times", b)
	}
	until(t, "the new file does not show", func() bool { names, _ := s.files(t, "flask"); return len(names) == 3 })
	s.stop()
	before := up.count("/flask/")
	s = newSite(t, dir, mirror.Config{}, up)
	s.check(t, "flask", flask1.name, flask2.name, flask9.name)
	if n := up.count("/flask/"); n != before {
		t.Errorf("a fresh page was asked for again after a start")
	}
}

// TestUpstreamFails: what is held, and pages that are known, go on being served at once.
func TestUpstreamFails(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(http.ResponseWriter, *http.Request){
		"500":     func(w http.ResponseWriter, r *http.Request) { http.Error(w, "broken", http.StatusInternalServerError) },
		"silent":  func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"refuses": func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
		"nonsense": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", index.TypeJSON)
			_, _ = w.Write([]byte(`{"files": [{]}`))
		},
		"denied": func(w http.ResponseWriter, r *http.Request) { http.Error(w, "who are you", http.StatusForbidden) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := newOther(t, map[string][]published{"flask": {flask1, flask2}})
			s := newSite(t, "", mirror.Hasty(mirror.Config{}), up)
			s.check(t, "flask", flask1.name, flask2.name)
			checkWhole(t, []answer{s.get("/p/" + flask1.name)}, flask1.content)
			up.set(func() { up.page, up.file = fail, fail })
			s.forward(2 * time.Hour)
			_, a := s.files(t, "flask")
			if a.status != http.StatusOK || a.header.Get("Cache-Status") == "" {
				t.Errorf("%d %v", a.status, a.header)
			}
			checkWhole(t, []answer{s.get("/p/" + flask1.name)}, flask1.content)
			if a := s.get("/p/" + flask2.name); a.status != http.StatusBadGateway && a.err == nil {
				t.Errorf("what is not held: %d", a.status)
			}
			if a := s.get("/simple/other/"); a.status != http.StatusBadGateway {
				t.Errorf("what nobody knows: %d %s", a.status, a.body)
			}
			if st := s.Stats(); st.Stale == 0 || st.Errors == 0 || st.Upstreams[0].Errors == 0 || st.Upstreams[0].LastError == "" {
				t.Errorf("%+v", st)
			}
			up.set(func() { up.page, up.file = nil, nil })
			s.forward(3 * time.Hour)
			until(t, "it stays stale", func() bool { _, a := s.files(t, "flask"); return a.header.Get("Cache-Status") == "" })
			if !s.Stats().Upstreams[0].Up {
				t.Error("it stays down")
			}
		})
	}
}

// TestSilentIsNotWaitedFor: once an upstream kept somebody waiting, nobody waits for
// it who can do without.
func TestSilentIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	up := newOther(t, map[string][]published{"flask": {flask1}})
	s := newSite(t, "", mirror.Config{}, up) // which waits for minutes
	s.check(t, "flask", flask1.name)
	up.set(func() { up.page = func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() } })
	s.forward(2 * time.Hour)
	began := time.Now()
	for range 20 {
		s.check(t, "flask", flask1.name)
	}
	if took := time.Since(began); took > 2*time.Minute || up.count("/flask/") != 2 {
		t.Errorf("20 pages took %v, the upstream was asked %d times", took, up.count("/flask/"))
	}
	if st := s.Stats(); st.Stale != 20 || st.Upstreams[0].Up {
		t.Errorf("%+v", st)
	}
}

// TestPrivate: private names are not asked for, and not mixed.
func TestPrivate(t *testing.T) {
	t.Parallel()
	up := newOther(t, map[string][]published{"acme-tool": {acme99}, "flask": {flask9}})
	dir := t.TempDir()
	s := newSite(t, dir, mirror.Config{Private: []string{"ACME_*"}}, up)
	s.check(t, "acme-tool")
	for _, path := range []string{"/p/" + acme99.name, "/p/" + acme99.name + ".metadata", "/simple/acme-tool/"} {
		if a := s.get(path); a.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	s.put(t, acme1, http.StatusCreated)
	s.check(t, "acme-tool", acme1.name)
	if n := up.count("acme"); n != 0 {
		t.Errorf("the upstream heard of it %d times", n)
	}
	// By what was uploaded first, in the life of another server too.
	s.put(t, flask1, http.StatusCreated)
	asked := up.count("flask")
	s.check(t, "flask", flask1.name)
	if a := s.get("/p/" + flask9.name); a.status != http.StatusNotFound {
		t.Errorf("%d", a.status)
	}
	if diff := cmp.Diff([]dist.Name{"acme-tool", "flask"}, s.PrivateHeld()); diff != "" {
		t.Error(diff)
	}
	s.stop()
	s = newSite(t, dir, mirror.Config{}, up)
	s.check(t, "acme-tool", acme1.name)
	s.check(t, "flask", flask1.name)
	if n := up.count("acme") + up.count("flask"); n != asked {
		t.Errorf("the upstream heard of them %d times", n-asked)
	}
	// Unless somebody says otherwise.
	s.stop()
	s = newSite(t, dir, mirror.Config{Public: []string{"*"}, Private: []string{"acme-*"}}, up)
	s.check(t, "flask", flask9.name, flask1.name)
	s.check(t, "acme-tool", acme1.name)
}

// TestUploadsBesideUpstream: what is uploaded of an upstream's project is laid over its page, with the
// upstream's bytes alone where it publishes the file.
func TestUploadsBesideUpstream(t *testing.T) {
	t.Parallel()
	yanked := flask1
	yanked.yanked = "broken"
	up := newOther(t, map[string][]published{"flask": {yanked, flask9}})
	dir := t.TempDir()
	s := newSite(t, dir, mirror.Config{}, up)
	checkWhole(t, []answer{s.get("/p/" + flask9.name)}, flask9.content)
	until(t, "it is not kept", func() bool { return s.catalog.File(flask9.name) != nil })
	s.put(t, flask2, http.StatusCreated) // of which the upstream knows nothing
	s.check(t, "flask", flask1.name, flask9.name, flask2.name)
	other := makeWheel("flask", "1.0", 2000)
	if a := s.put(t, other, http.StatusConflict); !strings.Contains(a.body, "up0 publishes") {
		t.Error(a.body)
	}
	s.put(t, flask1, http.StatusCreated)
	if from := s.catalog.File(flask1.name).From; from.Upstream != "up0" {
		t.Errorf("%+v", from)
	}
	_, a := s.files(t, "flask")
	var page struct {
		Files []struct {
			URL    string
			Yanked any
			Hashes map[string]string
		}
	}
	if err := json.Unmarshal([]byte(a.body), &page); err != nil || len(page.Files) != 3 {
		t.Fatal(err, a.body)
	}
	if f := page.Files[0]; f.Yanked != "broken" || f.URL != "../../p/"+flask1.name || f.Hashes["sha256"] != sum(flask1.content) {
		t.Errorf("%+v", f)
	}
	// Whose the name is is known after a start without what is derived.
	s.stop()
	if err := os.RemoveAll(filepath.Join(dir, ".curdling")); err != nil {
		t.Fatal(err)
	}
	s = newSite(t, dir, mirror.Config{}, up)
	s.check(t, "flask", flask1.name, flask9.name, flask2.name)
	text, err := os.ReadFile(filepath.Join(dir, ".curdling-upstream"))
	if err != nil || !strings.HasSuffix(string(text), "\nflask\n") {
		t.Errorf("%q %v", text, err)
	}
}

// TestFirstUpstreamWins: and one that fails keeps its names.
func TestFirstUpstreamWins(t *testing.T) {
	t.Parallel()
	corp := newOther(t, map[string][]published{"acme-tool": {acme1}})
	public := newOther(t, map[string][]published{"acme-tool": {acme99}, "flask": {flask1}})
	s := newSite(t, "", mirror.Hasty(mirror.Config{}), corp, public)
	s.check(t, "acme-tool", acme1.name)
	s.check(t, "flask", flask1.name)
	if a := s.get("/p/" + acme99.name); a.status != http.StatusNotFound {
		t.Errorf("%d", a.status)
	}
	corp.set(func() { corp.page = func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) } })
	fresh := newSite(t, "", mirror.Hasty(mirror.Config{}), corp, public)
	if _, a := fresh.files(t, "acme-tool"); a.status != http.StatusBadGateway {
		t.Errorf("%d %s", a.status, a.body)
	}
	if n := public.count("acme"); n != 0 {
		t.Errorf("the second was asked %d times", n)
	}
}

func TestExcludeNewer(t *testing.T) {
	t.Parallel()
	now := time.Now()
	old, young, undated := flask1, flask2, flask9
	old.uploaded, young.uploaded = now.AddDate(0, 0, -30), now.AddDate(0, 0, -1)
	up := newOther(t, map[string][]published{"flask": {old, young, undated}})
	s := newSite(t, "", mirror.Config{Newest: func(now time.Time) time.Time { return now.AddDate(0, 0, -7) }}, up)
	s.check(t, "flask", flask1.name)
	if a := s.get("/p/" + flask2.name); a.status != http.StatusNotFound || !strings.Contains(a.body, "younger") {
		t.Errorf("%d %s", a.status, a.body)
	}
	checkWhole(t, []answer{s.get("/p/" + flask1.name)}, flask1.content)
	until(t, "it is not kept", func() bool { return s.catalog.File(flask1.name) != nil })
	if at := s.catalog.File(flask1.name).UploadTime; !at.Equal(old.uploaded.UTC().Truncate(time.Second)) {
		t.Errorf("published %v, is said to be of %v", old.uploaded, at)
	}
	if a := s.put(t, makeWheel("flask", "2.0", 5), http.StatusConflict); a.status != http.StatusConflict {
		t.Error("other bytes under the name of a file that is too young")
	}
	s.forward(8 * 24 * time.Hour)
	until(t, "it does not grow old", func() bool { names, _ := s.files(t, "flask"); return len(names) == 2 })
}

func TestOffline(t *testing.T) {
	t.Parallel()
	up := newOther(t, map[string][]published{"flask": {flask1, flask2}})
	dir := t.TempDir()
	s := newSite(t, dir, mirror.Config{}, up)
	checkWhole(t, []answer{s.get("/p/" + flask1.name)}, flask1.content)
	until(t, "it is not kept", func() bool { return s.catalog.File(flask1.name) != nil })
	s.stop()
	up.Close()
	s = newSite(t, dir, mirror.Config{Offline: true}, up)
	s.check(t, "flask", flask1.name)
	s.check(t, "other")
	if a := s.get("/p/" + flask2.name); a.status != http.StatusNotFound || !strings.Contains(a.body, "offline") {
		t.Errorf("%d %s", a.status, a.body)
	}
	checkWhole(t, []answer{s.get("/p/" + flask1.name)}, flask1.content)
}

// TestMetadata: without the wheel.
func TestMetadata(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]bool{"by ranges": true, "with the wheel": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := makeWheel("big", "1.0", 200<<10)
			up := newOther(t, map[string][]published{"big": {f}})
			up.file = func(w http.ResponseWriter, r *http.Request) {
				if !file {
					r.Header.Del("Range")
				}
				up.sendFile(w, r)
			}
			s := newSite(t, "", mirror.Config{}, up)
			a := s.get("/p/" + f.name + ".metadata")
			if a.status != http.StatusOK || !strings.Contains(a.body, "Name: big") {
				t.Errorf("%d %s", a.status, a.body)
			}
			if held := s.catalog.File(f.name) != nil; held == file {
				t.Errorf("held: %v", held)
			}
		})
	}
}

// TestHostilePage: names that lead out of the folder, or to files of others.
func TestHostilePage(t *testing.T) {
	t.Parallel()
	evil := []published{
		{name: "../../etc/passwd", content: "x"}, {name: "..", content: "x"}, {name: "flask-1.0.exe", content: "x"},
		{name: "acme_tool-1.0-py3-none-any.whl", content: acme1.content}, {name: ".curdling-upstream", content: "x"},
		{name: "flask-3.0-py3-none-any.whl", content: flask1.content, url: "file:///etc/passwd"}, flask1,
		{name: flask1.name, content: flask2.content},
	}
	up := newOther(t, map[string][]published{"flask": evil})
	s := newSite(t, "", mirror.Config{}, up)
	s.check(t, "flask", flask1.name)
	if a := s.get("/simple/flask/", "Accept", index.TypeJSON); strings.Contains(a.body, "_tar-zst") {
		t.Errorf("a tarball is promised that is the upstream's: %s", a.body)
	}
	for _, path := range []string{"/p/..%2f..%2fetc%2fpasswd", "/p/" + acme1.name, "/p/flask-3.0-py3-none-any.whl", "/p/.curdling-upstream", "/p/flask-1.0.exe"} {
		if a := s.get(path); a.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	checkWhole(t, []answer{s.get("/p/" + flask1.name)}, flask1.content)
}

func TestCandidates(t *testing.T) {
	t.Parallel()
	for filename, want := range map[string][]dist.Name{
		flask1.name:                  {"flask"},
		"foo-bar-1.0-2.tar.gz":       {"foo-bar-1-0", "foo-bar"},
		"flask-1.0.tar.gz":           {"flask"},
		"../x-1.0.tar.gz":            nil,
		"a-1-2-3-4-5-6-7-8-9.tar.gz": {"a-1-2-3-4-5-6-7-8", "a-1-2-3-4-5-6-7"},
	} {
		if diff := cmp.Diff(want, mirror.Candidates(filename)); diff != "" {
			t.Errorf("%s: %s", filename, diff)
		}
	}
}

// TestTornClaims: a line that a crash tore is no name.
func TestTornClaims(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".curdling-upstream"), []byte("# x\nflask\nacme-to"), 0o666); err != nil {
		t.Fatal(err)
	}
	up := newOther(t, map[string][]published{"flask": {flask9}, "acme-to": {acme99}, "big": {makeWheel("big", "1.0", 10)}})
	for range 2 {
		s := newSite(t, dir, mirror.Config{}, up)
		if f := makeWheel("acme-to", "1.0", 10); s.catalog.File(f.name) == nil {
			s.put(t, f, http.StatusCreated)
		}
		if diff := cmp.Diff([]dist.Name{"acme-to"}, s.PrivateHeld()); diff != "" {
			t.Error(diff)
		}
		s.get("/p/big-1.0-py3-none-any.whl")
		until(t, "it is not kept", func() bool { return s.catalog.File("big-1.0-py3-none-any.whl") != nil })
		s.stop()
	}
}
