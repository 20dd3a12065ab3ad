package mirror

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"curdling/internal/dist"
	"curdling/internal/store/storetest"
)

// TestSharedClaims: of any number of servers that take a name for the house or the upstream one is first, and all who get an answer get the same one, whatever
// requests are lost, late or done twice.
func TestSharedClaims(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				raw := storetest.NewMemory(0, 0)
				names := []dist.Name{"acme", "flask", "numpy"}
				var mu sync.Mutex
				told := make(map[dist.Name]owner)
				hear := func(name dist.Name, o owner, err error) {
					mu.Lock()
					defer mu.Unlock()
					switch was := told[name]; {
					case err != nil || o == nobodys && was == nobodys:
					case was == nobodys:
						told[name] = o
					case o != was && o != nobodys: // what was seen to be nobody's a minute ago may be somebody's
						t.Errorf("%s is said to be of %d, and of %d", name, was, o)
					}
				}
				var servers sync.WaitGroup
				for i := range 4 {
					s := newSharedClaims(raw.Link(storetest.Faults{Seed: 100*seed + uint64(i), Delay: time.Second, Fail: .1, Lose: .1, Late: .2, Twice: .1}))
					servers.Go(func() {
						for n := range 40 {
							name := names[(n+i)%len(names)]
							by := upstreams
							if i%2 == 0 {
								by = house
							}
							if n%3 == 0 {
								o, err := s.take(t.Context(), name, by)
								if err == nil && o == nobodys {
									t.Errorf("%s was taken, and is nobody's", name)
								}
								hear(name, o, err)
							} else {
								o, err := s.owner(t.Context(), name)
								hear(name, o, err)
							}
							time.Sleep(20 * time.Second)
						}
					})
				}
				servers.Wait()
				time.Sleep(time.Hour)
				for _, name := range names {
					o, err := newSharedClaims(raw).owner(t.Context(), name)
					if err != nil || o != told[name] {
						t.Errorf("%s is of %d in the end, %v; %d was told", name, o, err, told[name])
					}
				}
			})
		})
	}
}

func TestParseClaim(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]owner{theirClaim: upstreams, "upstream": upstreams, "upstream\r\nx": upstreams, houseClaim: house, "": house, "Upstream?": house} {
		if got := parseClaim(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}
