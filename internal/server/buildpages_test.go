package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"curdling/internal/index"
	"curdling/internal/record"
	"curdling/internal/record/recordtest"
	"curdling/internal/wheel/wheeltest"
)

// TestBuildsOnPages: a build comes with its record, lies beside it, and is shown to who can tell whether it fits.
func TestBuildsOnPages(t *testing.T) {
	t.Parallel()
	s := newSite(t, options{})
	signer, _ := recordtest.Key(t, "ci")
	put := func(name string, wheel, text []byte) int {
		t.Helper()
		body, contentType := form(t, name, name, wheel, name+record.Suffix, string(text), name+record.SignatureSuffix, string(recordtest.Sign(t, text, signer)))
		return s.do(http.MethodPut, "/p/"+name, body, "Content-Type", contentType).StatusCode
	}
	page := func(accept string) *index.Project {
		t.Helper()
		r := s.get("/simple/foo/", "Accept", accept)
		base, err := url.Parse("http://host/simple/foo/")
		if err != nil {
			t.Fatal(err)
		}
		p, err := index.ParseProject([]byte(text(t, r)), r.Header.Get("Content-Type"), base, "foo")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	plain, wheel, text1 := recordtest.Build(t, "foo", "3.11.1", "plain", nil)
	special, other, text2 := recordtest.Build(t, "foo", "3.11.1", "special", func(r *record.Record) { r.With.Settings = map[string][]string{"a": {"b"}} })
	_, again, text3 := recordtest.Build(t, "foo", "3.11.1", "other bytes", nil)
	for _, up := range []struct {
		name        string
		wheel, text []byte
		want        int
	}{
		{plain, wheel, text1, http.StatusCreated},
		{plain, wheel, text1, http.StatusOK},
		{special, other, text2, http.StatusCreated},
		{plain, other, text1, http.StatusConflict},
		{plain, again, text3, http.StatusConflict},
	} {
		if got := put(up.name, up.wheel, up.text); got != up.want {
			t.Errorf("PUT %s: %d, want %d", up.name, got, up.want)
		}
	}
	if got := put(strings.Replace(plain, "foo", "bar", 1), wheel, text1); got != http.StatusBadRequest {
		t.Errorf("another name: %d", got)
	}
	if got := page(index.TypeJSON).Files; len(got) != 1 || got[0].Filename != plain || got[0].BuiltFrom != recordtest.Source || len(got[0].BuildKey) != 64 {
		t.Errorf("for all: %+v", got)
	}
	if got := page(index.TypeBuilds).Files; len(got) != 2 {
		t.Errorf("for curd: %+v", got)
	}
	if got := text(t, s.get("/p/"+plain+record.Suffix)); got != string(text1) {
		t.Errorf("the record is %s", got)
	}
	if got := text(t, s.get("/p/"+plain+record.SignatureSuffix)); got != string(recordtest.Sign(t, text1, signer)) {
		t.Errorf("the signature is %s", got)
	}
	if got := text(t, s.get("/api/foo")); strings.Contains(got, special) || !strings.Contains(got, plain) {
		t.Errorf("the original's list: %s", got)
	}
	// Each time that a build is fetched, somebody did not build.
	for range 2 {
		if r := s.get("/p/" + plain); r.StatusCode != http.StatusOK {
			t.Error(r.Status)
		}
	}
	var stats struct {
		Saved     Saved
		ByProject []savedProject `json:"by_project"`
		ByDay     []savedDay     `json:"by_day"`
	}
	if err := json.Unmarshal([]byte(text(t, s.get("/api/stats"))), &stats); err != nil {
		t.Fatal(err)
	}
	want := Saved{Builds: 2, Seconds: 120, Bytes: int64(2 * len(wheel))}
	if stats.Saved != want || len(stats.ByProject) != 1 || stats.ByProject[0] != (savedProject{"foo", want}) || len(stats.ByDay) != 1 || stats.ByDay[0].Saved != want {
		t.Errorf("saved %+v", stats)
	}
	if got := text(t, s.get("/metrics")); !strings.Contains(got, `curd_server_saved_build_seconds_total{project="foo"} 120`) {
		t.Error("the metrics do not tell")
	}
	shown := text(t, s.get("/project/foo"))
	for _, want := range []string{"built in 1 min, on Python 3.11.1", "2, 2 min of work", "/p/" + plain + ".build.json", "--config-settings a=b", "1, which were put aside"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the page does not tell %q", want)
		}
	}
	if got := text(t, s.get("/")); !strings.Contains(got, "Time spared</dt><dd>2 min") {
		t.Error("the first page does not tell")
	}
	// The project's own wheel takes the build's place.
	own := wheeltest.Wheel{Name: "foo", Version: "1.0"}
	if r := s.do(http.MethodPut, "/p/"+own.Filename(), bytes.NewReader(wheeltest.Build(own))); r.StatusCode != http.StatusCreated {
		t.Fatal(r.Status)
	}
	if got := page(index.TypeJSON).Files; len(got) != 1 || got[0].Filename != own.Filename() {
		t.Errorf("for all: %+v", got)
	}
	if got := page(index.TypeBuilds).Files; len(got) != 3 {
		t.Errorf("for curd: %+v", got)
	}
}

func TestWheelFor(t *testing.T) {
	t.Parallel()
	for platform, want := range map[string]string{
		"any": "any", "linux_x86_64": "linux x86_64", "manylinux1_i686": "linux i686", "manylinux2014_x86_64": "linux x86_64",
		"manylinux_2_17_aarch64": "linux aarch64", "musllinux_1_2_x86_64": "musllinux x86_64", "macosx_11_0_arm64": "macosx arm64", "win_amd64": "win_amd64",
	} {
		if got := release.ReplaceAllString(platform, "$1 "); got != want {
			t.Errorf("%s: %q, want %q", platform, got, want)
		}
	}
}
