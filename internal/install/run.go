package install

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
)

// run carries the transaction out, or leaves everything as it was.
func (t *transaction) run(ctx context.Context) error {
	err := t.journal.write(t.base.path)
	if err == nil {
		err = t.change(ctx)
	}
	if err == nil {
		err = os.Rename(filepath.Join(t.base.path, journalDir), filepath.Join(t.base.path, doneDir))
	}
	if err != nil {
		return errors.Join(err, Recover(t.env))
	}
	if err := t.journal.finish(t.base.path); err != nil {
		t.options.Warn(fmt.Sprintf("installed, but not tidied up: %v", err))
	}
	return nil
}

func (t *transaction) change(ctx context.Context) error {
	for i, path := range t.journal.Moves {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := move(path, filepath.Join(t.base.path, journalDir, "old", strconv.Itoa(i))); err != nil {
			return err
		}
	}
	var early []string
	for _, j := range t.jobs {
		for _, f := range j.folders {
			if f.early {
				early = append(early, f.path)
			}
		}
	}
	slices.Sort(early) // parents first
	base, err := openRoot(t.base.path)
	if err != nil {
		return err
	}
	defer base.close()
	for _, path := range early {
		if err := base.mkdir(path, 0o777); err != nil {
			return err
		}
	}
	jobs := slices.Clone(t.jobs)
	slices.SortFunc(jobs, func(a, b *job) int { return len(b.puts) - len(a.puts) }) // large ones first
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(max(2, runtime.GOMAXPROCS(0)))
	for _, j := range jobs {
		group.Go(func() error {
			t.options.Begin(j.m.Name)
			if err := t.put(groupCtx, j, base); err != nil {
				return fmt.Errorf("installing %s %s: %w", j.m.Name, j.m.Version, err)
			}
			t.options.Progress(j.m.Name)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, j := range t.jobs {
		if err := move(j.staged, j.info.path); err != nil {
			return err
		}
	}
	return nil
}

// put makes a job's folders and files, .dist-info aside.
func (t *transaction) put(ctx context.Context, j *job, base *root) error {
	for _, f := range j.folders {
		if f.early {
			continue
		}
		if err := base.mkdir(f.path, 0o777); err != nil {
			return err
		}
	}
	j.puts = append(j.puts, put{job: j, dest: j.dests[j.m.DistInfo], name: "RECORD", content: j.record()})
	tree, err := os.Stat(j.item.Tree.Dir)
	if err != nil {
		return err
	}
	from, err := openRoot(j.item.Tree.Dir)
	if err != nil {
		return err
	}
	defer from.close()
	var pair *linkPair
	device := uint64(0) // that it is for
	for i := range j.puts {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := &j.puts[i]
		if p.dropped || p.absent() {
			continue
		}
		if to := p.dest.folder.device; pair == nil || to != device {
			pair, device = t.linker.pair(deviceOf(tree), to), to
		}
		if err := p.put(route{pair, from, base}); err != nil {
			return err
		}
	}
	return nil
}

func (p *put) put(link route) error {
	from, to := place{p.job.item.Tree.Dir, ""}, place{p.dest.folder.path, p.name}
	switch {
	case p.file != nil:
		from.name = p.file.Path
	case p.bytecode != nil:
		from = place{p.job.item.Bytecode.Dir, p.bytecode.Path}
	}
	perm := os.FileMode(0o666)
	if p.executable {
		perm = 0o777
	}
	if from.name != "" {
		return link.put(from, to, perm, p.modTime)
	}
	return create(to.path(), perm, func(f *os.File) error {
		_, err := f.Write(p.content)
		return err
	})
}

// record writes RECORD as pip does: sorted, as CSV with CRLF, its own row and those of bytecode without hash.
func (j *job) record() []byte {
	type row struct {
		path string
		put  *put // nil: of RECORD
	}
	rows := make([]row, 0, len(j.puts)+1)
	length := 0
	for i := range j.puts {
		if p := &j.puts[i]; !p.absent() {
			length += len(p.dest.row) + len(p.name)
			rows = append(rows, row{put: p})
		}
	}
	var paths strings.Builder
	paths.Grow(length)
	for i := range rows {
		start := paths.Len()
		paths.WriteString(rows[i].put.dest.row)
		paths.WriteString(rows[i].put.name)
		rows[i].path = paths.String()[start:]
	}
	rows = append(rows, row{path: j.m.DistInfo + "/RECORD"})
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.path, b.path) })
	const others = len("sha256=,,\r\n") + 43 + 5 // of a row, mostly
	b := make([]byte, 0, length+len(rows)*others+100)
	for _, r := range rows {
		if strings.ContainsAny(r.path, ",\"\r\n") {
			r.path = `"` + strings.ReplaceAll(r.path, `"`, `""`) + `"`
		}
		b = append(append(b, r.path...), ',')
		if r.put != nil && r.put.bytecode == nil {
			b = append(r.put.appendHash(b), ',')
			b = strconv.AppendInt(b, r.put.size(), 10)
		} else {
			b = append(b, ',')
		}
		b = append(b, "\r\n"...)
	}
	return b
}

// appendHash adds what RECORD says of the file.
func (p *put) appendHash(b []byte) []byte {
	switch {
	case p.file == nil:
		sum := sha256.Sum256(p.content)
		return base64.RawURLEncoding.AppendEncode(append(b, "sha256="...), sum[:])
	case p.file.Hash != "":
		return append(b, p.file.Hash...)
	}
	return append(append(b, "sha256="...), p.file.SHA256...)
}

func (p *put) size() int64 {
	if p.file == nil {
		return int64(len(p.content))
	}
	return p.file.Size
}
