package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"sync/atomic"
	"testing"

	"curdling/internal/store"
	"curdling/internal/store/storetest"
)

// between does something before a listing goes on after its first objects.
type between struct {
	Raw
	after int
	do    func()
}

func (b *between) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		n := 0
		for info, err := range b.Raw.List(ctx, prefix) {
			if n == b.after {
				b.do()
			}
			if n++; !yield(info, err) {
				return
			}
		}
		if n <= b.after {
			b.do()
		}
	}
}

// TestBetweenPages: whatever others do in the middle of a listing, it shows of a file what was claimed or nothing.
func TestBetweenPages(t *testing.T) {
	t.Parallel()
	claimed := func(t *testing.T, s *Store) { keep(t, s, flask, "the winner's") }
	removed := func(t *testing.T, s *Store) {
		if err := s.Remove(t.Context(), flask); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct{ before, during []func(*testing.T, *Store) }{
		"claimed":             {nil, []func(*testing.T, *Store){claimed}},
		"removed":             {[]func(*testing.T, *Store){claimed}, []func(*testing.T, *Store){removed}},
		"removed and claimed": {[]func(*testing.T, *Store){claimed}, []func(*testing.T, *Store){removed, claimed}},
	} {
		for after := range 6 {
			t.Run(fmt.Sprint(name, " after ", after), func(t *testing.T) {
				t.Parallel()
				m := storetest.NewMemory(1, 0)
				other := open(t, m)
				// A crash left what another would have claimed, whose hash comes last and first.
				for _, content := range []string{"b", "d"} {
					put(t, m, "wheels/flask/"+sum(content)+"/PUT/"+flask, content)
				}
				for _, do := range test.before {
					do(t, other)
				}
				s := open(t, &between{m, after, func() {
					for _, do := range test.during {
						do(t, other)
					}
				}})
				listed, err := listGroup(t.Context(), s, flask)
				if size, shown := listed[flask]; err != nil || shown && size != int64(len("the winner's")) {
					t.Errorf("%v, %v", listed, err)
				}
				want, wantErr := show(t.Context(), other, flask)
				got, gotErr := show(t.Context(), s, flask)
				if got != want || errors.Is(gotErr, fs.ErrNotExist) != errors.Is(wantErr, fs.ErrNotExist) {
					t.Errorf("opened: %q, %v, want %q, %v", got, gotErr, want, wantErr)
				}
			})
		}
	}
}

// TestOlderListing: a listing that began before something was seen here does not make it unseen.
func TestOlderListing(t *testing.T) {
	t.Parallel()
	for name, during := range map[string]func(t *testing.T, s, other *Store){
		"changed here": func(t *testing.T, s, _ *Store) {
			if err := s.Remove(t.Context(), flask); err != nil {
				t.Fatal(err)
			}
			keep(t, s, flask, "later")
			if _, err := s.Stat(t.Context(), flask); err != nil {
				t.Fatal(err)
			}
		},
		"listed here": func(t *testing.T, s, other *Store) {
			if err := other.Remove(t.Context(), flask); err != nil {
				t.Fatal(err)
			}
			keep(t, other, flask, "later")
			if _, err := listGroup(t.Context(), s, flask); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := storetest.NewMemory(0, 0)
			var s *Store
			other := open(t, m)
			var changed atomic.Bool
			s = open(t, failing{m, func(key string) bool {
				if strings.HasSuffix(key, flaskSd) && !changed.Swap(true) { // when what is known was taken for good
					during(t, s, other)
				}
				return false
			}})
			keep(t, s, flask, "wheel")
			if _, err := listGroup(t.Context(), s, flask); err != nil {
				t.Fatal(err)
			}
			keep(t, other, flaskSd, "sdist")
			if _, err := listGroup(t.Context(), s, flask); err != nil {
				t.Fatal(err)
			}
			if got := s.SHA256(flask); got != sum("later") {
				t.Errorf("sha256 %q is known, want %q", got, sum("later"))
			}
		})
	}
}

// failing fails to open some objects.
type failing struct {
	Raw
	fails func(key string) bool
}

func (f failing) Open(ctx context.Context, key string) (io.ReadSeekCloser, store.Info, error) {
	if f.fails(key) {
		return nil, store.Info{}, storetest.ErrFault
	}
	return f.Raw.Open(ctx, key)
}

// TestPartial: where a claim cannot be read, those that were read need not be read again.
func TestPartial(t *testing.T) {
	t.Parallel()
	m := storetest.NewMemory(0, 0)
	for i := range 100 {
		keep(t, open(t, m), fmt.Sprintf("flask-%d.tar.gz", i), fmt.Sprint(i))
	}
	down := true
	s := open(t, failing{m, func(key string) bool { return down && strings.HasSuffix(key, "-77.tar.gz") }})
	if _, err := listGroup(t.Context(), s, flask); !errors.Is(err, storetest.ErrFault) {
		t.Errorf("%v, want ErrFault", err)
	}
	down = false
	before := m.Requests().Get
	if listed, err := listGroup(t.Context(), s, flask); err != nil || len(listed) != 100 {
		t.Errorf("%d files, %v", len(listed), err)
	}
	if n := m.Requests().Get - before; n != 1 {
		t.Errorf("%d claims were read again, want 1", n)
	}
}

// TestKnown: what is remembered is bounded, and what was forgotten is asked for again.
func TestKnown(t *testing.T) {
	t.Parallel()
	m := storetest.NewMemory(0, 0)
	s := New(m, Options{Temp: t.TempDir(), Known: 20})
	for i := range 100 {
		keep(t, s, fmt.Sprintf("project%d-1.tar.gz", i), "x")
		if _, err := s.Stat(t.Context(), fmt.Sprintf("project%d-1.tar.gz", i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.known.young) + len(s.known.old); n > 20 {
		t.Errorf("%d groups are known", n)
	}
	if s.SHA256("project0-1.tar.gz") != "" || s.SHA256("project99-1.tar.gz") != sum("x") {
		t.Error("not the oldest was forgotten")
	}
	if content, err := show(t.Context(), s, "project0-1.tar.gz"); content != "x" || err != nil {
		t.Errorf("%q, %v", content, err)
	}
}

// TestNotes: notes that nobody asks for are kept up to a bound, and are the same from the bucket.
func TestNotes(t *testing.T) {
	t.Parallel()
	m := storetest.NewMemory(0, 0)
	long := bytes.Repeat([]byte("n"), MaxNote)
	for i := range 2 + maxNotes/MaxNote {
		if err := open(t, m).CreateNoted(t.Context(), fmt.Sprintf("flask-%d.tar.gz", i), sum("x"), long, strings.NewReader("x"), 1); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, m)
	for range 2 {
		if _, err := listGroup(t.Context(), s, flask); err != nil {
			t.Fatal(err)
		}
		if s.known.notes > maxNotes || s.known.notes < maxNotes-MaxNote {
			t.Errorf("notes of %d bytes are kept", s.known.notes)
		}
	}
	for i := range 2 + maxNotes/MaxNote {
		if note, _, err := s.Note(t.Context(), fmt.Sprintf("flask-%d.tar.gz", i)); err != nil || !bytes.Equal(note, long) {
			t.Errorf("%d: a note of %d bytes, %v", i, len(note), err)
		}
	}
	if s.known.notes != 0 {
		t.Errorf("notes of %d bytes are kept that were asked for", s.known.notes)
	}
	if err := s.CreateNoted(t.Context(), flask, sum("x"), append(long, 'x'), strings.NewReader("x"), 1); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a longer note: %v, want fs.ErrInvalid", err)
	}
}

// BenchmarkListGroup is of a project whose claims are known.
func BenchmarkListGroup(b *testing.B) {
	for _, n := range []int{10, 2000} {
		b.Run(fmt.Sprint(n, " files"), func(b *testing.B) {
			m := storetest.NewMemory(0, 0)
			s := New(m, Options{Temp: b.TempDir()})
			for i := range n {
				key, content := fmt.Sprintf("flask-%d-cp314-cp314-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", i), fmt.Sprint(i)
				if err := createNoted(b.Context(), s, key, content); err != nil {
					b.Fatal(err)
				}
			}
			for range s.ListGroup(b.Context(), "flask") {
				break
			}
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range s.ListGroup(b.Context(), "flask") {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
