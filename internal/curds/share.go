package curds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"curdling/internal/record"
	"curdling/internal/store"
)

// Share notes that others may have the file with that hash, if it is held. It is
// for files that an index lists and for what anybody would build of them. What
// came from a folder, a repository or a URL of a requirement has no place on an
// index: there it would pass for the project's own release. So a file that
// nobody shared is nobody else's. A build is shared with its record, what is
// published without one, nil. The first record stays; a signature of it, nil where none is known, may come later.
// What cannot be noted is not shared.
func (c *Curds) Share(sha256 string, record, signature []byte) {
	if _, ok := c.File(sha256); !ok {
		return
	}
	mark := c.sharePath(sha256)
	info, err := os.Lstat(mark)
	if err != nil || info.Size() == 0 && record != nil {
		if os.MkdirAll(filepath.Dir(mark), 0o755) != nil || writeAtomic(mark, record) != nil {
			return
		}
	}
	if signature == nil {
		return
	}
	if shared, err := os.ReadFile(mark); err != nil || !bytes.Equal(shared, record) {
		return
	}
	if held, err := os.ReadFile(mark + signedMark); err != nil || !bytes.Equal(held, signature) {
		_ = writeAtomic(mark+signedMark, signature)
	}
}

// signedMark ends the names of the signatures that lie beside marks.
const signedMark = ".sig"

func (c *Curds) sharePath(sha256 string) string { return filepath.Join(c.shareDir(), sha256) }
func (c *Curds) shareDir() string               { return filepath.Join(c.dir, "shared") }

// Shared is the view of a cache that other machines may have: the files that
// were shared, by their names, and beside builds their records and signatures. It is a [store.Store] that only reads.
//
// Where two different files of one name were shared, neither is there: nothing
// tells which of the two is the project's, and one of them may have come from an
// index that somebody was tricked into. Who misses it asks his own index.
//
// It holds no lock, so that Prune and Clean never wait for it. It needs none: a
// file lies under its own hash, is whole when it gets its name, and is read to
// its end by who has opened it, whoever removes it meanwhile.
type Shared struct {
	cache *Curds
	log   *slog.Logger

	mu      sync.Mutex
	changed time.Time           // of the folder of marks, when it was listed
	settled bool                // a later change has a later time
	files   map[string]string   // names, by hash
	hashes  map[string][]string // by name
	told    map[string]bool     // names of which the log knows that there are two
}

var (
	_ store.Store    = (*Shared)(nil)
	_ store.Watcher  = (*Shared)(nil)
	_ store.Digester = (*Shared)(nil)
)

// Shared gives the view; log hears of names that several files have.
func (c *Curds) Shared(log *slog.Logger) *Shared {
	return &Shared{cache: c, log: log, told: map[string]bool{}}
}

// coarse is how long two changes may have one time: file systems count in ticks of the kernel, FAT in two seconds.
const coarse = 2 * time.Second

// look lists the marks, where they changed. The caller holds mu.
func (s *Shared) look() error {
	changed, began := s.modTime(), time.Now()
	if s.hashes != nil && s.settled && changed.Equal(s.changed) {
		return nil
	}
	marks, err := os.ReadDir(s.cache.shareDir())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s.cache.failed(err)
	}
	files, hashes := make(map[string]string, len(marks)), make(map[string][]string, len(marks))
	for _, mark := range marks {
		sha256 := mark.Name()
		name, known := s.files[sha256]
		if !known {
			path, held := s.cache.File(sha256)
			if name = filepath.Base(path); !held || store.CheckKey(name) != nil {
				continue
			}
		}
		files[sha256] = name
		hashes[name] = append(hashes[name], sha256)
	}
	s.files, s.hashes = files, hashes
	s.changed, s.settled = changed, began.Sub(changed) > coarse
	return nil
}

// hash gives the hash of the one file that has a name, "" where there is none or more than one. The caller holds mu.
func (s *Shared) hash(name string) string {
	hashes := s.hashes[name]
	if len(hashes) > 1 {
		hashes = slices.DeleteFunc(slices.Clone(hashes), func(sha256 string) bool {
			_, held := s.cache.File(sha256)
			return !held
		})
	}
	switch len(hashes) {
	case 0:
		return ""
	case 1:
		delete(s.told, name)
		return hashes[0]
	}
	if !s.told[name] {
		s.told[name] = true
		s.log.Warn("two files of one name came to this machine: neither is served; curd cache clean NAME forgets both", "file", name, "sha256", hashes)
	}
	return ""
}

// find gives the path of what has a name, and the hash where that is a file.
func (s *Shared) find(key string) (path, sha256 string, err error) {
	if err := store.CheckKey(key); err != nil {
		return "", "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.look(); err != nil {
		return "", "", err
	}
	if sha256 = s.hash(key); sha256 != "" {
		return filepath.Join(s.cache.fileDir(sha256), key), sha256, nil
	}
	for suffix, mark := range map[string]string{record.Suffix: "", record.SignatureSuffix: signedMark} {
		if of, ok := strings.CutSuffix(key, suffix); ok {
			if sha256 = s.hash(of); sha256 != "" {
				return s.cache.sharePath(sha256) + mark, "", nil
			}
		}
	}
	return "", "", missing(key)
}

func missing(key string) error { return &fs.PathError{Op: "open", Path: key, Err: fs.ErrNotExist} }

// Open gives an *os.File.
func (s *Shared) Open(_ context.Context, key string) (io.ReadSeekCloser, store.Info, error) {
	path, sha256, err := s.find(key)
	if err != nil {
		return nil, store.Info{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, store.Info{}, err
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || sha256 == "" && info.Size() == 0) { // a mark without a record
		err = missing(key)
	}
	if err != nil {
		f.Close()
		return nil, store.Info{}, err
	}
	return f, store.Info{Key: key, Size: info.Size(), ModTime: info.ModTime()}, nil
}

// SHA256 is what the content of the file must have, "" where it is not there.
func (s *Shared) SHA256(key string) string {
	_, sha256, _ := s.find(key)
	return sha256
}

// List gives what is shared.
func (s *Shared) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		if prefix != "" {
			if err := store.CheckKey(prefix); err != nil {
				yield(store.Info{}, err)
				return
			}
		}
		paths, err := s.paths()
		if err != nil {
			yield(store.Info{}, err)
			return
		}
		for key, path := range paths {
			if err := ctx.Err(); err != nil {
				yield(store.Info{}, err)
				return
			}
			info, err := os.Lstat(path)
			if err != nil || !info.Mode().IsRegular() || info.Size() == 0 || !strings.HasPrefix(key, prefix) {
				continue // it went just now, or is a mark without a record
			}
			if !yield(store.Info{Key: key, Size: info.Size(), ModTime: info.ModTime()}, nil) {
				return
			}
		}
	}
}

// paths gives those of all files, of all marks, which may hold a record, and of signatures that may be there, by what they are called.
func (s *Shared) paths() (paths map[string]string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.look(); err != nil {
		return nil, err
	}
	paths = make(map[string]string, 3*len(s.hashes))
	for name := range s.hashes {
		if sha256 := s.hash(name); sha256 != "" {
			paths[name] = filepath.Join(s.cache.fileDir(sha256), name)
			paths[name+record.Suffix] = s.cache.sharePath(sha256)
			paths[name+record.SignatureSuffix] = s.cache.sharePath(sha256) + signedMark
		}
	}
	return paths, nil
}

// errReadOnly is what Create and Remove say.
var errReadOnly = fmt.Errorf("a machine's own cache is changed by curd alone: %w", fs.ErrPermission)

// Create fails: only curd adds to its cache.
func (s *Shared) Create(_ context.Context, key string, _ io.Reader, _ int64) error {
	if err := store.CheckKey(key); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", key, errReadOnly)
}

// Remove fails likewise.
func (s *Shared) Remove(_ context.Context, key string) error {
	if err := store.CheckKey(key); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", key, errReadOnly)
}

// pollShared is how often the folder of marks is looked at.
const pollShared = time.Second / 2

// Watch looks twice a second whether the marks changed; then all may have.
func (s *Shared) Watch(ctx context.Context, changed func(key string)) error {
	tick := time.NewTicker(pollShared)
	defer tick.Stop()
	seen, until := s.modTime(), time.Now().Add(coarse)
	changed("")
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			t := s.modTime()
			switch {
			case !t.Equal(seen):
				seen, until = t, now.Add(coarse)
			case now.After(until):
				continue // a change that had the time of the one before it was seen, too
			}
			changed("")
		}
	}
}

func (s *Shared) modTime() time.Time {
	info, err := os.Stat(s.cache.shareDir())
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
