package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"curdling/internal/catalog"
	"curdling/internal/index"
	"curdling/internal/lease"
	"curdling/internal/record/recordtest"
	"curdling/internal/store/storetest"
)

// TestFarWaiters: 500 clients of 4 servers who wait for one build cost the bucket a few requests a second, and one of them builds; so, too, where
// they wait for the METADATA of a source.
func TestFarWaiters(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/builds/" + aFrom + "/" + aKey, "/builds/" + aFrom + "/" + aKey + "/metadata"} {
		t.Run(path[len("/builds/"+aFrom+"/"+aKey):], func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { testFarWaiters(t, path) })
		})
	}
}

func testFarWaiters(t *testing.T, path string) {
	const servers, clients, work = 4, 500, time.Minute
	raw := storetest.NewMemory(0, time.Second)
	var sites []*site
	for i := range servers {
		sites = append(sites, newFarSite(t, &gate{Memory: raw.Link(storetest.Faults{Seed: uint64(i), Delay: 30 * time.Millisecond})}))
	}
	name, wheel, record := recordtest.Build(t, "foo", "3.11.1", "one", nil)
	var builders, found atomic.Int64
	start := time.Now()
	var waiting sync.WaitGroup
	for i := range clients {
		waiting.Go(func() {
			time.Sleep(time.Duration(i) * time.Millisecond)
			s, q := sites[i%servers], index.BuildQuestion{Name: "foo 1.0", Wait: 30}
			q.Ours = lease.NewToken()
			for time.Since(start) < 10*time.Minute {
				question, err := json.Marshal(q)
				if err != nil {
					t.Error(err)
					return
				}
				r := s.do(http.MethodPost, path, strings.NewReader(string(question)))
				var answer index.BuildAnswer
				if err := json.Unmarshal([]byte(text(t, r)), &answer); err != nil {
					t.Error(err)
					return
				}
				switch r.StatusCode {
				case http.StatusOK:
					found.Add(1)
					return
				case http.StatusCreated:
					builders.Add(1)
					for n := range 6 {
						time.Sleep(work / 6)
						beat := fmt.Sprintf("%s/%s?at=%d", path, answer.Lease, n*10)
						if r := s.do(http.MethodPut, beat, strings.NewReader("cc -c x.c\n")); r.StatusCode != http.StatusNoContent {
							t.Errorf("heartbeat: %d %s", r.StatusCode, text(t, r))
						}
					}
					r := s.do(http.MethodPut, path, strings.NewReader("Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n"))
					if !strings.HasSuffix(path, "/metadata") {
						body, contentType := form(t, name, name, wheel, name+catalog.RecordSuffix, string(record))
						r = s.do(http.MethodPut, "/p/"+name, body, "Content-Type", contentType)
					}
					if r.StatusCode != http.StatusCreated {
						t.Errorf("%d %s", r.StatusCode, text(t, r))
					}
					if r := s.do(http.MethodDelete, path+"/"+answer.Lease, nil); r.StatusCode != http.StatusNoContent {
						t.Errorf("the end: %d %s", r.StatusCode, text(t, r))
					}
				case http.StatusAccepted:
					q.After = answer.After
				default:
					t.Errorf("%d %+v", r.StatusCode, answer)
					return
				}
			}
		})
	}
	waiting.Wait()
	took, asked := time.Since(start), raw.Requests()
	all := asked.Get + asked.Head + asked.Put + asked.Delete + asked.List
	t.Logf("%d clients of %d servers, %v: %+v, %.1f requests a second", clients, servers, took, asked, float64(all)/took.Seconds())
	if builders.Load() != 1 || found.Load() != clients || float64(all) > 10*took.Seconds() {
		t.Errorf("%d built, %d found it, %d requests in %v", builders.Load(), found.Load(), all, took)
	}
}
