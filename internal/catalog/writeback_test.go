package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"curdling/internal/record/recordtest"
	"curdling/internal/store"
	"curdling/internal/store/bucket"
	"curdling/internal/store/disk"
	"curdling/internal/store/storetest"
	"curdling/internal/wheel/wheeltest"
)

// folderServer is a folder with a second level, as a server has it.
type folderServer struct {
	*View
	folder, bucket *Catalog
	back           *WriteBack
	dir            string
	log            *logged
	stop           func() // and wait
}

// openLevels opens a folder over a bucket. Nothing watches it, so that time may stand still.
func openLevels(t *testing.T, dir string, over store.Noter, maxSize int64) *folderServer {
	t.Helper()
	in, err := disk.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &folderServer{dir: dir, log: new(logged)}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	s.folder, err = Open(t.Context(), Config{Store: in, State: filepath.Join(dir, disk.StateDir), Patience: time.Hour, MaxSize: maxSize, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if s.bucket, err = Open(t.Context(), Config{Store: over, Log: log}); err != nil {
		t.Fatal(err)
	}
	s.back = NewWriteBack(s.folder, s.bucket, log)
	s.View = s.back.View()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.back.Run(ctx)
	}()
	closed := false
	s.stop = func() {
		if !closed {
			closed = true
			cancel()
			<-done
			s.bucket.Close()
			s.folder.Close()
			in.Close()
		}
	}
	t.Cleanup(s.stop)
	return s
}

func (s *folderServer) upload(ctx context.Context, name string, content []byte) (bool, error) {
	u, err := s.Receive(name, bytes.NewReader(content))
	if err != nil {
		return false, err
	}
	defer u.Discard()
	return u.Keep(ctx, From{User: "ann"})
}

// read gives what a server serves under a name, "" for nothing.
func (s *folderServer) read(t *testing.T, name string) (string, error) {
	t.Helper()
	if err := s.FreshFile(t.Context(), name); err != nil {
		return "", err
	}
	r, f, err := s.Open(t.Context(), name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err == nil && sum(content) != f.SHA256 {
		t.Errorf("%s: other bytes than it is said to have", name)
	}
	return string(content), err
}

// away has a store in memory not answer.
func away(context.Context, string, string) error {
	return &store.UnavailableError{Err: errors.New("nobody is there")}
}

// TestLevels: what comes to one of two folders is seen in the other through the bucket, also where the bucket was away in between.
func TestLevels(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := newRemote()
		one, two := openLevels(t, t.TempDir(), shared, 0), openLevels(t, t.TempDir(), shared, 0)
		has := func(s *folderServer, name string, content []byte) {
			t.Helper()
			if got, err := s.read(t, name); err != nil || got != string(content) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
		put := func(s *folderServer, name string, content []byte) {
			t.Helper()
			began := time.Now()
			if created, err := s.upload(t.Context(), name, content); !created || err != nil {
				t.Fatalf("%s: %v, %v", name, created, err)
			}
			if took := time.Since(began); took > patience {
				t.Errorf("%s: it took %v", name, took)
			}
		}
		name, content := flask("1.0")
		put(one, name, content)
		time.Sleep(maxAge)
		has(two, name, content)
		if f := two.File(name); f == nil || f.From.User != "ann" || two.folder.File(name) != nil {
			t.Errorf("the other has %+v", f)
		}
		if p := two.Project("flask"); p == nil || len(p.Files) != 1 {
			t.Errorf("its page has %+v", p)
		}
		if created, err := two.upload(t.Context(), name, content); created || err != nil {
			t.Errorf("the same once more: %v, %v", created, err)
		}
		var conflict *ConflictError
		if _, err := two.upload(t.Context(), name, wheeltest.Build(wheeltest.Wheel{Name: "flask", Version: "1.0", Summary: "another"})); !errors.As(err, &conflict) {
			t.Errorf("other bytes: %v", err)
		}

		// The bucket is away: what a folder holds is served, and more is taken.
		shared.meanwhile(away)
		time.Sleep(time.Minute)
		later, newer := flask("2.0")
		put(one, later, newer)
		has(one, name, content)
		has(one, later, newer)
		if err := one.Fresh(t.Context(), "flask"); err != nil || len(one.Project("flask").Files) != 2 {
			t.Errorf("the page: %v", err)
		}
		if err := two.Fresh(t.Context(), "flask"); err != nil || two.File(name) == nil {
			t.Errorf("what is known is not shown: %v", err)
		}
		if _, err := two.read(t, "unknown-1.0-py3-none-any.whl"); !errors.As(err, new(*store.UnavailableError)) {
			t.Errorf("of what nobody can know: %v", err)
		}
		if stats := one.back.Stats(); stats.Waiting != 1 || stats.Files != 1 {
			t.Errorf("%+v", stats)
		}
		// Both take another file under one name meanwhile.
		a, b := wheeltest.Wheel{Name: "both", Version: "1", Summary: "a"}, wheeltest.Wheel{Name: "both", Version: "1", Summary: "b"}
		put(one, a.Filename(), wheeltest.Build(a))
		put(two, b.Filename(), wheeltest.Build(b))

		// What waits survives a restart.
		one.stop()
		one = openLevels(t, one.dir, shared, 0)
		has(one, later, newer)
		time.Sleep(time.Minute)
		shared.meanwhile(nil)
		time.Sleep(time.Minute)
		has(two, later, newer)
		first, err := one.read(t, a.Filename())
		second, err2 := two.read(t, a.Filename())
		if err != nil || err2 != nil || first != second {
			t.Errorf("one name has two contents: %v, %v", err, err2)
		}
		if left := one.back.Stats().Left + two.back.Stats().Left; left != 1 || one.folder.File(a.Filename()) == nil || two.folder.File(a.Filename()) == nil {
			t.Errorf("%d files were left", left)
		}
		if told := one.log.String() + two.log.String(); strings.Count(told, "is not copied to the bucket") != 1 {
			t.Errorf("the log was told\n%s", told)
		}
		if one.back.Stats().Waiting+two.back.Stats().Waiting != 0 {
			t.Error("something waits")
		}
	})
}

// TestLevelsBeside: records, signatures, what is yanked and what becomes of a project comes to the bucket as well.
func TestLevelsBeside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := newRemote()
		one, two := openLevels(t, t.TempDir(), shared, 0), openLevels(t, t.TempDir(), shared, 0)
		name, wheel, text := recordtest.Build(t, "built", "3.11.1", "one", nil)
		key, _ := recordtest.Key(t, "key")
		build := func(s *folderServer, signature []byte) {
			t.Helper()
			u, err := s.Receive(name, bytes.NewReader(wheel))
			if err != nil {
				t.Fatal(err)
			}
			defer u.Discard()
			u.Record, u.Signature = text, signature
			if _, err := u.Keep(t.Context(), From{}); err != nil {
				t.Fatal(err)
			}
		}
		build(one, nil)
		time.Sleep(maxAge)
		if p := fresh(t, two.bucket, "built"); p == nil || p.Files[0].Build == nil {
			t.Fatalf("the other has %+v", p)
		}
		build(one, recordtest.Sign(t, text, key))
		for suffix, content := range map[string]string{YankedSuffix: "loses data", "": ""} {
			of := name + suffix
			if suffix == "" {
				of, content = "built"+StatusSuffix, "archived"
			}
			if err := one.folder.store.Create(t.Context(), of, strings.NewReader(content), int64(len(content))); err != nil {
				t.Fatal(err)
			}
			one.folder.examine(t.Context(), of, 0)
		}
		time.Sleep(2 * maxAge)
		p := fresh(t, two.bucket, "built")
		if signature, err := two.Sidecar(t.Context(), name+SignatureSuffix); err != nil || len(signature) == 0 {
			t.Errorf("the signature: %v", err)
		}
		if f := p.Files[0]; !f.Yanked || f.YankedReason != "loses data" || p.Status != Archived {
			t.Errorf("the other has %+v of %+v", f, p)
		}
		// While the bucket is away its word is known, and what lies beside comes from the folder.
		shared.meanwhile(away)
		if got, err := one.Sidecar(t.Context(), name+RecordSuffix); err != nil || !bytes.Equal(got, text) {
			t.Errorf("the record: %v", err)
		}
		if _, f, err := one.Metadata(t.Context(), name); err != nil || f.SHA256 != sum(wheel) {
			t.Errorf("METADATA: %v", err)
		}
	})
}

// TestLevelsRoom: a folder with a bound gives up what the bucket has, and nothing else.
func TestLevelsRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		shared := newRemote()
		s := openLevels(t, t.TempDir(), shared, 100_000)
		put := func(name string) error {
			name, content := sized(name, 30_000)
			_, err := s.upload(t.Context(), name, content)
			return err
		}
		shared.meanwhile(away)
		var full *QuotaError
		if err := errors.Join(put("a"), put("b"), put("c")); err != nil {
			t.Fatal(err)
		}
		if err := put("d"); !errors.As(err, &full) {
			t.Errorf("one that has no room: %v", err)
		}
		shared.meanwhile(nil)
		time.Sleep(time.Minute)
		if err := errors.Join(put("d"), put("e")); err != nil {
			t.Error(err)
		}
		if stats := s.folder.Stats(); stats.Files != 3 {
			t.Errorf("the folder holds %+v", stats)
		}
		time.Sleep(time.Minute)
		for _, of := range []string{"a", "b", "c", "d", "e"} {
			name, _ := sized(of, 30_000)
			if got, err := s.read(t, name); err != nil || len(got) < 30_000 {
				t.Errorf("%s: %d bytes, %v", of, len(got), err)
			}
		}
	})
}

// TestLevelsFaults: over a bucket that fails in every way, with servers that are started anew all the time, each file that a server took
// comes to the bucket, or the server tells that another lies there.
func TestLevelsFaults(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				raw := storetest.NewMemory(100, time.Second)
				rnd := rand.New(rand.NewPCG(seed, 7))
				var links atomic.Uint64
				start := func(dir string) *folderServer {
					link := raw.Link(storetest.Faults{Seed: seed<<32 | links.Add(1), Delay: 50 * time.Millisecond, Fail: .04, Lose: .04, Late: .04, Twice: .04})
					return openLevels(t, dir, bucket.New(link, bucket.Options{Temp: t.TempDir()}), 0)
				}
				servers := []*folderServer{start(t.TempDir()), start(t.TempDir())}
				taken := make([]map[string]string, len(servers))
				for i := range taken {
					taken[i] = make(map[string]string)
				}
				for range 60 {
					i := rnd.IntN(len(servers))
					if rnd.IntN(15) == 0 {
						servers[i].stop()
						servers[i] = start(servers[i].dir)
					}
					w := wheeltest.Wheel{Name: fmt.Sprint("p", rnd.IntN(3)), Version: fmt.Sprint(rnd.IntN(12)), Summary: fmt.Sprint(rnd.IntN(2))}
					content := wheeltest.Build(w)
					_, err := servers[i].upload(t.Context(), w.Filename(), content)
					var conflict *ConflictError
					switch {
					case err == nil:
						taken[i][w.Filename()] = string(content)
					case !errors.As(err, &conflict):
						t.Fatalf("%s: %v", w.Filename(), err)
					}
					time.Sleep(time.Duration(rnd.IntN(500)) * time.Millisecond)
				}
				time.Sleep(3 * time.Hour) // nobody below tries again
				plain := openBucket(t, raw)
				for i, s := range servers {
					left := 0
					for name, content := range taken[i] {
						if err := plain.FreshFile(t.Context(), name); err != nil {
							t.Fatal(err)
						}
						switch f := plain.File(name); {
						case f == nil:
							t.Errorf("%d took %s, and it is not in the bucket", i, name)
						case f.SHA256 != sum([]byte(content)):
							left++
						}
					}
					if stats := s.back.Stats(); stats.Waiting != 0 || stats.Left != left {
						t.Errorf("%d: %d files are others in the bucket, and it says %+v", i, left, stats)
					}
					s.stop()
				}
			})
		})
	}
}
