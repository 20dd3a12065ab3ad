package s3

import (
	"path/filepath"
	"testing"

	"curdling/internal/store"
	"curdling/internal/store/s3/s3test"
	"curdling/internal/store/storetest"
)

// TestRealServers holds the store against programs that others run for a living: make test-s3 names them.
func TestRealServers(t *testing.T) {
	s3test.Real(t, func(t *testing.T, endpoint string) {
		storetest.Run(t, func(t *testing.T) store.Store {
			return open(t, "s3://curdling/"+filepath.Base(t.TempDir())+"/"+filepath.Base(t.Name()), endpoint)
		})
	})
}
