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

// TestFarWaiterAsksOnce: who waits has the lease looked at once when it asks or wakes, however long the bucket takes to tell what was built.
func TestFarWaiterAsksOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		raw := &gate{Memory: storetest.NewMemory(0, time.Second), lists: 1500 * time.Millisecond}
		s, path := newFarSite(t, raw), "/builds/"+aFrom+"/"+aKey
		if code, held := s.ask(t, path, `{"name": "foo 1.0"}`); code != http.StatusCreated {
			t.Fatalf("%d %+v", code, held)
		}
		code, told := s.ask(t, path, `{"name": "foo 1.0"}`)
		if code != http.StatusAccepted {
			t.Fatalf("%d %+v", code, told)
		}
		for range 2 {
			time.Sleep(10 * time.Second)
			before := raw.Requests()
			if code, again := s.ask(t, path, fmt.Sprintf(`{"name": "foo 1.0", "after": %q}`, told.After)); code != http.StatusAccepted || again.After != told.After {
				t.Errorf("%d %+v", code, again)
			}
			if after := raw.Requests(); after.Get-before.Get != 1 || after.List == before.List {
				t.Errorf("%+v became %+v, and the lease need be looked at once", before, after)
			}
		}
	})
}

// TestWaiterHearsOfItsOwn: a client that asked again, as its connection broke, gets the lease that its first question was granted meanwhile.
func TestWaiterHearsOfItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, path := newFarSite(t, &gate{Memory: storetest.NewMemory(0, time.Second)}), "/builds/"+aFrom+"/"+aKey
		code, held := s.ask(t, path, `{"name": "foo 1.0"}`)
		if code != http.StatusCreated {
			t.Fatalf("%d %+v", code, held)
		}
		ours, answers := lease.NewToken(), make(chan index.BuildAnswer, 2)
		for range cap(answers) {
			go func() {
				_, told := s.ask(t, path, `{"name": "foo 1.0"}`)
				_, answer := s.ask(t, path, fmt.Sprintf(`{"name": "foo 1.0", "wait": 20, "after": %q, "ours": %q}`, told.After, ours))
				answers <- answer
			}()
		}
		time.Sleep(5 * time.Second)
		if code := s.do(http.MethodDelete, path+"/"+held.Lease+"?abandoned", nil).StatusCode; code != http.StatusNoContent {
			t.Fatal(code)
		}
		for range cap(answers) {
			if answer := <-answers; answer.Lease != ours {
				t.Errorf("%+v", answer)
			}
		}
	})
}
