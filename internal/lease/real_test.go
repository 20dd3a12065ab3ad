package lease

import (
	"context"
	"testing"
	"time"

	"curdling/internal/store"
	"curdling/internal/store/s3"
	"curdling/internal/store/s3/s3test"
)

// TestRealServers runs leases over object stores that others run for a living: make test-s3 names them.
func TestRealServers(t *testing.T) {
	s3test.Real(t, func(t *testing.T, endpoint string) {
		open := func(t *testing.T) store.Versioned {
			s, err := s3.Open(t.Context(), "s3://curdling/"+t.Name(), s3.Options{Endpoint: endpoint})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			return s
		}
		t.Run("Documents", func(t *testing.T) {
			t.Parallel()
			testDocuments(t, NewStored(open(t), "leases/"), NewStored(open(t), "leases/"))
		})
		t.Run("Crowd", func(t *testing.T) {
			t.Parallel()
			c := &crowd{clients: 40, work: 5 * time.Second}
			for range 4 {
				c.servers = append(c.servers, New(NewStored(open(t), "leases/"), Options{}))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			c.run(ctx)
			if c.begun.Load() != 1 || ctx.Err() != nil {
				t.Errorf("%d begun, %v", c.begun.Load(), ctx.Err())
			}
			time.Sleep(2 * settle)
			for _, l := range c.servers {
				if err := l.Sweep(ctx); err != nil {
					t.Error(err)
				}
			}
		})
	})
}
