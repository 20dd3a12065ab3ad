package disk

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"runtime"
	"strings"
	"sync"

	"curdling/internal/store"
)

// batch is how many entries of a folder are read at once.
const batch = 2048

// List walks the folder. Folders and files whose names start with a dot are left out.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		start, _ := path.Split(prefix)
		folders := []string{start} // with a slash at the end, but for the root
		for len(folders) > 0 {
			folder := folders[len(folders)-1]
			folders = folders[:len(folders)-1]
			for infos, err := range s.read(ctx, folder) {
				if err != nil {
					yield(store.Info{}, err)
					return
				}
				for _, info := range infos {
					if strings.HasSuffix(info.Key, "/") {
						folders = append(folders, info.Key)
					} else if strings.HasPrefix(info.Key, prefix) && !yield(info, nil) {
						return
					}
				}
			}
		}
	}
}

// read gives what is held directly in a folder, many at a time. The key of a
// folder in it ends with a slash. A folder that is not there is empty.
func (s *Store) read(ctx context.Context, folder string) iter.Seq2[[]store.Info, error] {
	return func(yield func([]store.Info, error) bool) {
		name := s.root
		if folder != "" {
			var err error
			if name, err = s.path(strings.TrimSuffix(folder, "/")); err != nil {
				yield(nil, err)
				return
			}
		}
		dir, err := os.Open(name)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				yield(nil, err)
			}
			return
		}
		defer dir.Close()
		for {
			entries, err := dir.ReadDir(batch)
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			if errors.Is(err, io.EOF) || errors.Is(err, errNotDir) {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			infos, err := tell(dir, folder, entries)
			if !yield(infos, err) || err != nil {
				return
			}
		}
	}
}

// tell gives what is known of a folder's entries. One that vanished meanwhile, or
// that leads to where we may not look, is left out.
func tell(dir *os.File, folder string, entries []fs.DirEntry) ([]store.Info, error) {
	infos := make([]store.Info, len(entries)) // with a key where something is held
	errs := make([]error, len(entries))
	look := func(i int) {
		name := entries[i].Name()
		if store.CheckKey(folder+name) != nil {
			return
		}
		if entries[i].IsDir() {
			infos[i].Key = folder + name + "/"
			return
		}
		regular, err := statIn(dir, name, &infos[i])
		if regular && err == nil {
			infos[i].Key = folder + name
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			errs[i] = err
		}
	}
	var workers sync.WaitGroup
	share := len(entries)/runtime.GOMAXPROCS(0) + 1
	for start := 0; start < len(entries); start += share {
		workers.Go(func() {
			for i := start; i < min(start+share, len(entries)); i++ {
				look(i)
			}
		})
	}
	workers.Wait()
	held := infos[:0]
	for _, info := range infos {
		if info.Key != "" {
			held = append(held, info)
		}
	}
	return held, errors.Join(errs...)
}
