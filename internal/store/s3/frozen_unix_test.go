//go:build unix

package s3

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"curdling/internal/store/filecache"
	"curdling/internal/store/s3/s3test"
)

// TestRealFrozen: while a server is stopped for 20 s, files of the cache are had, nothing waits longer than it
// may or piles up, and all is well soon after it goes on.
func TestRealFrozen(t *testing.T) {
	s3test.RealProcess(t, func(t *testing.T, endpoint string, server *os.Process) {
		s := open(t, "s3://curdling/frozen", endpoint)
		cache := filecache.New(filecache.Options{Dir: t.TempDir(), MaxBytes: 2 << 20})
		defer cache.Close()
		const files, hot = 4000, 10
		contents := make([]string, files)
		get := func(i int) error {
			sum := sha256.Sum256([]byte(contents[i]))
			r, err := cache.Open(context.Background(), hex.EncodeToString(sum[:]), int64(len(contents[i])), func(ctx context.Context) (io.ReadSeekCloser, error) {
				r, _, err := s.Open(ctx, fmt.Sprint("f", i))
				return r, err
			})
			if err != nil {
				return err
			}
			defer r.Close()
			if got, err := io.ReadAll(r); err != nil || string(got) != contents[i] {
				return fmt.Errorf("%d of %d bytes: %w", len(got), len(contents[i]), errors.Join(err, errors.New("wrong bytes")))
			}
			return nil
		}
		for i := range contents {
			contents[i] = strings.Repeat(fmt.Sprintln(i), 500)
			create(t, s, fmt.Sprint("f", i), contents[i])
			if i < hot {
				if err := get(i); err != nil {
					t.Fatal(err)
				}
			}
		}
		var (
			clients            sync.WaitGroup
			longest, most      atomic.Int64
			served, refused    atomic.Int64
			cached             atomic.Int64
			end, thawed        = make(chan struct{}), make(chan struct{})
			isOver, isThawed   = func() bool { return isClosed(end) }, func() bool { return isClosed(thawed) }
			next               atomic.Int64
			limit              = readTime + patience + 2*time.Second
			memory, memoryThen runtime.MemStats
		)
		runtime.ReadMemStats(&memory)
		for n := range 300 {
			clients.Go(func() {
				for !isOver() {
					i, asked, thawed := rand.IntN(hot), time.Now(), isThawed()
					if n%2 == 0 {
						i = hot + int(next.Add(1))%(files-hot)
					}
					err := get(i)
					took := time.Since(asked)
					for old := longest.Load(); int64(took) > old && !longest.CompareAndSwap(old, int64(took)); old = longest.Load() {
					}
					switch {
					case err == nil && i < hot:
						cached.Add(1)
					case err == nil:
						served.Add(1)
					case !isUnavailable(err) || i < hot || thawed:
						t.Errorf("file %d after %v, thawed %v: %v", i, took, thawed, err)
					default:
						refused.Add(1)
					}
					time.Sleep(50 * time.Millisecond)
				}
			})
		}
		time.Sleep(2 * time.Second)
		if err := server.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		before := cached.Load()
		for range 20 {
			time.Sleep(time.Second)
			most.Store(max(most.Load(), int64(runtime.NumGoroutine())))
		}
		during := cached.Load() - before
		if err := server.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		time.Sleep(longBreak + time.Second)
		close(thawed)
		then := served.Load()
		time.Sleep(5 * time.Second)
		close(end)
		clients.Wait()
		runtime.ReadMemStats(&memoryThen)
		t.Logf("%d cached files served while it was frozen; others: %d served, %d refused; longest %v; at most %d goroutines; heap %d MiB, then %d MiB",
			during, served.Load(), refused.Load(), time.Duration(longest.Load()), most.Load(), memory.HeapAlloc>>20, memoryThen.HeapAlloc>>20)
		if during == 0 || served.Load() == then || time.Duration(longest.Load()) > limit || most.Load() > 2000 || memoryThen.HeapSys > memory.HeapSys+200<<20 {
			t.Error("that is not as it must be")
		}
	})
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
