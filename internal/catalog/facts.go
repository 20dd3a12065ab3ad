package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"curdling/internal/dist"
	"curdling/internal/store"
)

// facts is a line of facts.jsonl, or a note: what reading a file taught.
type facts struct {
	File           string    `json:"file"`
	Size           int64     `json:"size"`
	ModTime        int64     `json:"mtime,omitempty"` // Unix nanoseconds; no note has it
	SHA256         string    `json:"sha256"`
	Project        dist.Name `json:"project"` // an sdist's name alone can be ambiguous
	MetadataSHA256 string    `json:"metadata_sha256,omitempty"`
	RequiresPython string    `json:"requires_python,omitempty"`
	Summary        string    `json:"summary,omitempty"`
	User           string    `json:"user,omitempty"`
	Upstream       string    `json:"upstream,omitempty"`
	UploadTime     int64     `json:"upload_time,omitempty"` // Unix nanoseconds; 0 is mtime
	// Of a wheel that was built, in notes alone: as text, since the signature is of its very bytes.
	Record    string `json:"record,omitempty"`
	Signature string `json:"signature,omitempty"`
}

func factsOf(f *File) facts {
	x := facts{
		File: f.Filename, Size: f.Size, ModTime: f.ModTime.UnixNano(), SHA256: f.SHA256, Project: f.Name,
		MetadataSHA256: f.MetadataSHA256, RequiresPython: f.RequiresPython.String(), Summary: f.Summary,
		User: f.From.User, Upstream: f.From.Upstream,
	}
	if !f.UploadTime.Equal(f.ModTime) {
		x.UploadTime = f.UploadTime.UnixNano()
	}
	return x
}

// write writes a line.
func (x facts) write(b *bytes.Buffer) error {
	encoder := json.NewEncoder(b)
	encoder.SetEscapeHTML(false) // it is for nobody's page
	return encoder.Encode(x)
}

// file makes a File of the facts, nil if they are not of the file that info tells
// of or cannot be used.
func (x facts) file(info store.Info, common *common) *File {
	if x.File != info.Key || (stamp{x.Size, x.ModTime}) != stampOf(info) || !store.IsSHA256(x.SHA256) {
		return nil
	}
	// One piece of memory for what is this file's alone; the line may go.
	text := x.File + x.SHA256 + x.MetadataSHA256 + shorten(x.Summary)
	take := func(n int) (s string) {
		s, text = text[:n], text[n:]
		return s
	}
	f, err := dist.ParseFilename(take(len(x.File)), x.Project)
	if err != nil || (f.Kind == dist.Wheel) != store.IsSHA256(x.MetadataSHA256) {
		return nil
	}
	f.Name = dist.Name(common.text(string(f.Name)))
	if f.Kind == dist.Wheel {
		f.Tags = common.tags(f)
	}
	if f.RequiresPython, err = common.requires(x.RequiresPython); err != nil {
		return nil
	}
	f.Size, f.SHA256 = x.Size, take(len(x.SHA256))
	f.HasMetadata, f.MetadataSHA256 = f.Kind == dist.Wheel, take(len(x.MetadataSHA256))
	known := &File{File: f, Summary: text}
	from := From{User: common.text(x.User), Upstream: common.text(x.Upstream)}
	if x.UploadTime != 0 {
		from.UploadTime = time.Unix(0, x.UploadTime).UTC()
	}
	known.came(info, from)
	return known
}

// maxLine is the longest line of facts.jsonl that is read, in bytes.
const maxLine = 64 << 10

// readFacts finds the last line of each file, which is the one that counts.
// Whether a line can be used shows when it is parsed.
func readFacts(text string) (known map[string]string, lines int) {
	lines = strings.Count(text, "\n")
	known = make(map[string]string, lines)
	for line := range strings.Lines(text) {
		if len(line) > maxLine {
			continue
		}
		if key, ok := factsKey(line); ok {
			known[key] = line
		}
	}
	return known, lines
}

// factsKey gives the name of the file that a line is of.
func factsKey(line string) (string, bool) {
	if rest, ok := strings.CutPrefix(line, `{"file":"`); ok { // as we write it
		if key, _, ok := strings.Cut(rest, `"`); ok && key != "" && !strings.Contains(key, `\`) {
			return key, true
		}
	}
	x, ok := parseFacts(line)
	return x.File, ok && x.File != ""
}

// journal is facts.jsonl, which only grows, and is written anew when most of it is out of date.
type journal struct {
	dir   string // "" keeps nothing
	log   *slog.Logger
	lines int // at the start
	guest bool

	mu     sync.Mutex
	f      *os.File          // nil until it is needed
	broken bool              // the log was told
	read   int64             // bytes of it
	others map[string]string // lines that were read since the start, of files that were not held then
}

// openJournal reads what is known from the last time.
func openJournal(dir string, log *slog.Logger) (*journal, map[string]string) {
	j := &journal{dir: dir, log: log}
	if dir == "" {
		return j, nil
	}
	f, err := os.Open(j.path())
	if err != nil {
		return j, nil // as good as empty
	}
	defer f.Close()
	var text strings.Builder // in one piece: it is large
	if fi, err := f.Stat(); err == nil {
		text.Grow(int(fi.Size()))
	}
	if _, err := io.Copy(&text, f); err != nil {
		log.Warn("what was learnt of files cannot be read whole; the rest will be read again", "err", err)
	}
	known, lines := readFacts(text.String())
	j.lines, j.read = lines, int64(text.Len())
	return j, known
}

func (j *journal) path() string { return filepath.Join(j.dir, "facts.jsonl") }

// compact writes the journal anew if more than half of its lines are of no use.
// It must be called before append.
func (j *journal) compact(files map[string]*File) {
	if j.dir == "" || j.guest || j.lines <= 2*len(files)+1000 {
		return
	}
	var b bytes.Buffer
	for _, f := range files {
		if err := factsOf(f).write(&b); err != nil {
			j.complain(err)
			return
		}
	}
	if err := writeWhole(j.path(), b.Bytes()); err != nil {
		j.complain(err)
		return
	}
	j.read = int64(b.Len())
}

const (
	maxNews   = 16 << 20 // bytes of the journal that are read at once
	maxOthers = 1 << 16  // lines that are kept
)

// told gives what another process that works on the same store noted of a file, and nil where none did.
func (j *journal) told(info store.Info, held func(key string) bool) *File {
	if j.dir == "" {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for key, line := range j.news() {
		if len(j.others) >= maxOthers {
			clear(j.others)
		}
		if !held(key) {
			if j.others == nil {
				j.others = make(map[string]string)
			}
			j.others[key] = line
		}
	}
	line := j.others[info.Key]
	delete(j.others, info.Key)
	x, ok := parseFacts(line)
	if !ok {
		return nil
	}
	return x.file(info, newCommon())
}

// news gives the lines that came since the last time. Where the journal was written anew meanwhile there is nothing new in it.
func (j *journal) news() map[string]string {
	f, err := os.Open(j.path())
	if err != nil {
		return nil
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil
	}
	if fi.Size() <= j.read {
		j.read = fi.Size()
		return nil
	}
	text := make([]byte, min(fi.Size()-j.read, maxNews))
	n, _ := f.ReadAt(text, j.read)
	whole := bytes.LastIndexByte(text[:n], '\n') + 1
	if whole == 0 && n == maxNews {
		whole = n // no line is so long
	}
	j.read += int64(whole)
	known, _ := readFacts(string(text[:whole]))
	return known
}

// append notes what was learnt of a file. What cannot be written will be learnt again.
func (j *journal) append(f *File) {
	if j.dir == "" {
		return
	}
	var line bytes.Buffer
	err := factsOf(f).write(&line)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil && j.f == nil {
		err = j.open()
	}
	if err == nil {
		if _, err = j.f.Write(line.Bytes()); err != nil {
			err = errors.Join(err, j.f.Close())
			j.f = nil
		}
	}
	if err != nil {
		j.complain(err)
	}
}

// open begins a new line, in case that a crash or a full disk tore the last one.
func (j *journal) open() error {
	if err := os.MkdirAll(j.dir, 0o777); err != nil {
		return err
	}
	f, err := os.OpenFile(j.path(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	j.f = f
	if fi, err := f.Stat(); err != nil || fi.Size() == 0 {
		return err
	}
	_, err = f.WriteString("\n")
	return err
}

func (j *journal) complain(err error) {
	if !j.broken {
		j.log.Warn("what was learnt of files cannot be kept; they will be read again at the next start", "err", err)
	}
	j.broken = true
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.f == nil {
		return nil
	}
	return j.f.Close()
}

// writeWhole writes a file that is seen whole or not at all. It is not synced:
// whoever reads it checks it.
func writeWhole(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing there after success
	_, err = f.Write(b)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
