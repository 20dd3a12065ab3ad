package install

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"curdling/internal/smallfile"
)

// The folders of a transaction, in Purelib. journalDir holds "journal" (once
// something may have been touched), "old" with what was moved away, numbered
// as in the journal, and "new" with .dist-info folders in the making. Its
// renaming to doneDir is what ends a transaction; then only leftovers remain.
const (
	journalDir   = ".curdling-journal"
	doneDir      = ".curdling-done"
	leftDir      = ".curdling-left" // what could not be removed, because a process has it open (over NFS)
	journalMagic = "curdling-journal 1"
	maxJournal   = 256 << 20 // bytes
)

// A journal says how to undo a transaction. The paths are absolute and have no
// links in them but perhaps in their last segment; on disk they are relative to Purelib.
type journal struct {
	Moves []string // moved to old/0, old/1 ...
	Made  []string // folders made, that did not exist; what is in them was made too
	Files []string // files made in folders that existed
	Prune []string // folders to remove in the end if they are empty, deepest first
}

// A pathList is one of the lists, by the word that stands before each of its paths.
type pathList struct {
	word  string
	paths *[]string
}

func (j *journal) lists() []pathList {
	return []pathList{{"move", &j.Moves}, {"made", &j.Made}, {"file", &j.Files}, {"prune", &j.Prune}}
}

// encode writes the journal with its paths relative to base.
func (j *journal) encode(base string) ([]byte, error) {
	b := []byte(journalMagic + "\n")
	for _, list := range j.lists() {
		for _, path := range *list.paths {
			rel, err := filepath.Rel(base, path)
			if err != nil {
				return nil, err
			}
			b = append(append(b, list.word...), ' ')
			b = append(strconv.AppendQuote(b, filepath.ToSlash(rel)), '\n')
		}
	}
	return append(b, "end\n"...), nil
}

// decodeJournal reads a journal; its paths stay as they are.
func decodeJournal(text string) (j journal, err error) {
	text, ok := strings.CutPrefix(text, journalMagic+"\n")
	if !ok {
		return j, errors.New("is of another version")
	}
	text, ok = strings.CutSuffix(text, "end\n")
	if !ok {
		return j, errors.New("is cut")
	}
	lists := j.lists()
	for line := range strings.Lines(text) {
		word, quoted, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		path, err := strconv.Unquote(quoted)
		if err != nil {
			return j, fmt.Errorf("wrong line %q", line)
		}
		n := slices.IndexFunc(lists, func(l pathList) bool { return l.word == word })
		if n < 0 {
			return j, fmt.Errorf("wrong line %q", line)
		}
		*lists[n].paths = append(*lists[n].paths, path)
	}
	return j, nil
}

// write puts the journal into base before anything is touched. Where something
// will be moved it is made durable: after a loss of power too, what was moved
// must be found. Without moves, the worst that a lost journal can leave behind
// are new files that belong to nothing.
func (j *journal) write(base string) error {
	text, err := j.encode(base)
	if err != nil {
		return err
	}
	dir := filepath.Join(base, journalDir)
	for _, d := range []string{dir, filepath.Join(dir, "old"), filepath.Join(dir, "new")} {
		if err := os.Mkdir(d, 0o777); err != nil {
			return err
		}
	}
	f, err := os.Create(filepath.Join(dir, "journal.part"))
	if err != nil {
		return err
	}
	durable := len(j.Moves) > 0
	_, err = f.Write(text)
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), filepath.Join(dir, "journal")); err != nil || !durable {
		return err
	}
	return errors.Join(syncDir(dir), syncDir(base))
}

// Recover repairs an environment in which an Apply was interrupted: what had
// not ended is undone, of what had ended the leftovers are removed. The caller
// holds the environment's Lock. Where there is nothing to do it costs a few
// system calls.
func Recover(env Env) error {
	base, err := filepath.EvalSymlinks(env.Python.Purelib)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = recoverIn(env, base)
	}
	if err != nil {
		return fmt.Errorf("repairing %s after an interrupted installation: %w", env.Python.Purelib, err)
	}
	return nil
}

func recoverIn(env Env, base string) error {
	dir, done, left := filepath.Join(base, journalDir), filepath.Join(base, doneDir), filepath.Join(base, leftDir)
	if exists(left) {
		_ = os.RemoveAll(left) // or the next time
	}
	if exists(dir) {
		if err := undo(env, base); err != nil {
			return err
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if !exists(done) {
		return nil
	}
	j, err := readJournal(env, base, filepath.Join(done, "journal"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return j.finish(base)
}

// readJournal reads a journal; its paths become absolute. One that names a
// path outside of the environment is refused.
func readJournal(env Env, base, path string) (j journal, err error) {
	b, err := smallfile.Read(path, maxJournal)
	if err != nil {
		return j, err
	}
	if j, err = decodeJournal(string(b)); err != nil {
		return j, fmt.Errorf("%s: %w", path, err)
	}
	s, err := newSite(env)
	if err != nil {
		return j, err
	}
	known := map[string]bool{}
	for _, list := range j.lists() {
		for i, rel := range *list.paths {
			p := filepath.Join(base, filepath.FromSlash(rel))
			dir := filepath.Dir(p)
			if !known[dir] && (!s.owns(&folder{path: dir}) || !withoutLinks(dir)) {
				return j, fmt.Errorf("%s names %s, which is not in the environment", path, p)
			}
			(*list.paths)[i], known[dir] = p, true
		}
	}
	return j, nil
}

// withoutLinks tells whether no part of path, as far as it exists, is a link.
func withoutLinks(path string) bool {
	for {
		real, err := filepath.EvalSymlinks(path)
		up := filepath.Dir(path)
		if !errors.Is(err, fs.ErrNotExist) || up == path {
			return err == nil && real == path
		}
		path = up
	}
}

// undo puts everything back as the journal says. It can be interrupted and
// begun again at any point; without a journal nothing was touched.
func undo(env Env, base string) error {
	dir := filepath.Join(base, journalDir)
	path := filepath.Join(dir, "journal")
	j, err := readJournal(env, base, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, made := range j.Made {
		if err := os.RemoveAll(made); err != nil {
			return err
		}
	}
	for _, file := range j.Files {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for i, original := range j.Moves {
		if err := putBack(filepath.Join(dir, "old", strconv.Itoa(i)), original); err != nil {
			return err
		}
	}
	return os.Remove(path)
}

// putBack moves what was stashed to where it was; without it, nothing was moved.
func putBack(stashed, original string) error {
	if !exists(stashed) {
		return nil
	}
	for _, path := range []string{original, original + partSuffix, original + goneSuffix} {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(original), 0o777); err != nil {
		return err
	}
	return move(stashed, original)
}

// finish removes what a transaction that has ended leaves behind.
func (j *journal) finish(base string) error {
	for _, dir := range j.Prune {
		_ = os.Remove(dir) // fails where something is in it, which is as it should be
	}
	done, left := filepath.Join(base, doneDir), filepath.Join(base, leftDir)
	err := os.RemoveAll(done)
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EBUSY) {
		if err = os.MkdirAll(left, 0o777); err == nil {
			err = os.Rename(done, filepath.Join(left, strconv.FormatInt(time.Now().UnixNano(), 36)))
		}
	}
	return err
}
