package server

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"curdling/internal/record"
	"curdling/internal/record/recordtest"
	"curdling/internal/store/storetest"
	"curdling/internal/wheel/wheeltest"
)

// ofLaterFormat makes of a claim with its note what a later program may write: a higher format, and more members. What is no claim stays.
func ofLaterFormat(text []byte) []byte {
	rest, ok := bytes.CutPrefix(text, []byte(`{"format":1,`))
	if !ok {
		return text
	}
	line, facts, _ := bytes.Cut(rest, []byte("\n"))
	later := append([]byte(`{"format":2,"later":{"x":[1]},`), line...)
	return append(append(later, "\n{\"schema\":2,\"later\":[1],"...), facts[len("{"):]...)
}

// laterBuild is a build with a record of a later schema.
func laterBuild(t *testing.T, project string) (name string, wheel, text []byte) {
	t.Helper()
	name, wheel, text = recordtest.Build(t, project, "3.11.1", "", nil)
	text = bytes.Replace(text, []byte(`"schema": 1`), []byte(`"schema": 2, "later": {"x": [1]}`), 1)
	text = bytes.Replace(text, []byte(`"cost": {`), []byte(`"cost": {"joules": 5, `), 1)
	if r, err := record.Parse(text); err != nil || r.Schema != 2 || !strings.Contains(string(text), "joules") {
		t.Fatalf("%v: %s", err, text)
	}
	return name, wheel, text
}

// sendBuild uploads a build.
func (s *site) sendBuild(t *testing.T, name string, wheel, record, signature []byte) int {
	t.Helper()
	body, contentType := form(t, name, name, wheel, name+".build.json", string(record), name+".build.sig", string(signature))
	return s.do(http.MethodPut, "/p/"+name, body, "Content-Type", contentType).StatusCode
}

// objects gives all that lies below wheels/, by key.
func objects(t *testing.T, raw *storetest.Memory) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for info, err := range raw.List(t.Context(), "wheels/") {
		if err != nil {
			t.Fatal(err)
		}
		r, _, err := raw.Open(t.Context(), info.Key)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		all[info.Key] = string(content)
	}
	return all
}

// TestVersions: servers of two versions over one bucket. What the later one wrote, in formats of which this one knows a part, this one serves
// to the last byte, adds to, and keeps as it is; and the other way around (docs/layout.md, "Servers of different versions").
func TestVersions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testVersions)
}

func testVersions(t *testing.T) {
	raw := storetest.NewMemory(0, time.Second)
	later, old := newFarSite(t, &gate{Memory: raw, later: true}), newFarSite(t, &gate{Memory: raw})
	first, firstKey := recordtest.Key(t, "first")
	second, secondKey := recordtest.Key(t, "second")
	foo, fooWheel, fooRecord := laterBuild(t, "foo")
	bar, barWheel, barRecord := laterBuild(t, "bar")
	for _, sent := range []int{
		later.send(t, flask, true), later.sendBuild(t, foo, fooWheel, fooRecord, recordtest.Sign(t, fooRecord, first)),
		old.send(t, zope, false), old.sendBuild(t, bar, barWheel, barRecord, recordtest.Sign(t, barRecord, first)),
	} {
		if sent != http.StatusCreated {
			t.Fatal(sent)
		}
	}
	before := objects(t, raw)
	if claim := before["wheels/foo/"+foo]; !strings.HasPrefix(claim, `{"format":2`) || !strings.Contains(claim, `"schema":2`) || !strings.Contains(claim, "joules") {
		t.Fatalf("no claim of a later program: %s", claim)
	}

	// Both show the same, byte for byte.
	time.Sleep(2 * time.Second)
	for _, path := range []string{"/simple/flask/", "/simple/foo/", "/project/foo", "/p/" + flaskFile, "/p/" + foo, "/p/" + zope.Filename(), "/p/" + bar,
		"/p/" + foo + record.Suffix, "/p/" + foo + record.SignatureSuffix, "/p/" + bar + record.Suffix, "/p/" + flaskFile + ".metadata"} {
		a, b := old.get(path), later.get(path)
		if a.StatusCode != http.StatusOK || b.StatusCode != http.StatusOK {
			t.Errorf("%s: %s, %s", path, a.Status, b.Status)
		}
		if diff := cmp.Diff(text(t, b), text(t, a)); diff != "" {
			t.Errorf("%s (-later +old):\n%s", path, diff)
		}
	}
	if got := text(t, old.get("/p/"+foo+record.Suffix)); got != string(fooRecord) {
		t.Errorf("the record: %s", got)
	}
	if got := old.status(http.MethodPost, "/builds/"+aFrom+"/"+aKey, `{"name":"foo 1.0"}`); got != http.StatusOK {
		t.Errorf("a build of a later schema is not found: %d", got)
	}

	// A name keeps its content, whoever claimed it. Signatures are added beside the claim.
	if got := old.send(t, flask, true); got != http.StatusOK {
		t.Errorf("the same bytes: %d", got)
	}
	if got := old.send(t, wheeltest.Wheel{Name: flask.Name, Version: flask.Version, Summary: "Another"}, true); got != http.StatusConflict {
		t.Errorf("other bytes: %d", got)
	}
	if got := old.sendBuild(t, foo, fooWheel, fooRecord, recordtest.Sign(t, fooRecord, second)); got != http.StatusOK {
		t.Errorf("another signature: %d", got)
	}
	if got := later.sendBuild(t, bar, barWheel, barRecord, recordtest.Sign(t, barRecord, second)); got != http.StatusOK {
		t.Errorf("another signature: %d", got)
	}
	time.Sleep(2 * time.Second)
	for _, s := range []*site{old, later} {
		for name, of := range map[string][]byte{foo: fooRecord, bar: barRecord} {
			r, err := record.Parse(of)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range []note.Verifier{firstKey, secondKey} {
				if _, err := record.Verify([]byte(text(t, s.get("/p/"+name+record.SignatureSuffix))), r, of, []note.Verifier{key}); err != nil {
					t.Errorf("%s, signed by %s: %v", name, key.Name(), err)
				}
			}
		}
	}

	// A day of upkeep by the old one removes and rewrites nothing.
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := old.catalog.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	time.Sleep(26 * time.Hour)
	stop()
	running.Wait()
	after := objects(t, raw)
	for key, content := range before {
		if diff := cmp.Diff(content, after[key]); diff != "" {
			t.Errorf("%s is not as it was (-before +after):\n%s", key, diff)
		}
	}

	// A lease of a later format is let alone, and who asks is sent to another server.
	of := strings.Repeat("a", 64)
	key, lease := "leases/"+of+"."+aKey+".json", `{"format":2,"state":"waiting","queue":["x"]}`
	if _, err := raw.Put(t.Context(), key, "", []byte(lease)); err != nil {
		t.Fatal(err)
	}
	r := old.do(http.MethodPost, "/builds/"+of+"/"+aKey, strings.NewReader(`{"name":"foo 1.0"}`))
	if r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Connection") != "close" || !strings.Contains(text(t, r), "newer") {
		t.Errorf("a lease of a later program: %s %v", r.Status, r.Header)
	}
	if got, _, err := raw.Get(t.Context(), key, ""); err != nil || string(got) != lease {
		t.Errorf("that lease is %s now, %v", got, err)
	}
}
