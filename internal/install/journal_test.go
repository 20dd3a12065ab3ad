package install

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestJournalForm(t *testing.T) {
	t.Parallel()
	j := journal{
		Moves: []string{"/v/site/a.dist-info", "/v/bin/a \"b\"\n"}, Made: []string{"/v/site/größe"}, Files: []string{"/v/site/x"},
		Prune: []string{"/v/site/p/q", "/v/site/p"},
	}
	got, err := decodeJournal(text(t, j, "/v/site"))
	if err != nil {
		t.Fatal(err)
	}
	want := journal{
		Moves: []string{"a.dist-info", "../bin/a \"b\"\n"}, Made: []string{"größe"}, Files: []string{"x"}, Prune: []string{"p/q", "p"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzJournal(f *testing.F) {
	f.Add(text(f, journal{Moves: []string{"a", "b\n"}, Made: []string{"m"}, Prune: []string{"p/q"}}, ""))
	f.Add(journalMagic + "\nmove x\nend\n")
	f.Fuzz(func(t *testing.T, s string) {
		j, err := decodeJournal(s)
		if err != nil {
			return
		}
		for _, list := range j.lists() {
			for i, path := range *list.paths {
				(*list.paths)[i] = filepath.Join("/base", path)
			}
		}
		again, err := decodeJournal(text(t, j, "/base"))
		if err != nil {
			t.Fatal(err)
		}
		for n, list := range again.lists() {
			for i, path := range *list.paths {
				if got, want := filepath.Join("/base", path), (*j.lists()[n].paths)[i]; got != want {
					t.Errorf("%q, want %q", got, want)
				}
			}
		}
	})
}

// TestRecoverRefuses has journals that name what is not in the environment.
func TestRecoverRefuses(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	write(t, filepath.Join(outside, "precious"), "precious")
	for _, tt := range []struct{ what, journal, want string }{
		{"a folder outside", journalMagic + "\nmade \"" + strings.Repeat("../", 40) + outside + "\"\nend\n", "not in the environment"},
		{"a file behind a link", journalMagic + "\nfile \"out/precious\"\nend\n", "not in the environment"},
		{"the prefix itself", journalMagic + "\nmade \"../../..\"\nend\n", "not in the environment"},
		{"another version", "curdling-journal 2\nend\n", "is of another version"},
		{"cut", journalMagic + "\nmove \"a\"\n", "is cut"},
		{"nonsense", journalMagic + "\nnonsense\nend\n", "wrong line"},
	} {
		for _, dir := range []string{journalDir, doneDir} {
			env := fakeEnv(t, t.TempDir())
			symlink(t, outside, filepath.Join(env.Python.Purelib, "out"))
			write(t, filepath.Join(env.Python.Purelib, dir, "journal"), tt.journal)
			if err := Recover(env); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: error %v, want %q", tt.what, err, tt.want)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(outside, "precious")); err != nil {
		t.Error(err)
	}
}

// text is a journal as on disk.
func text(t testing.TB, j journal, base string) string {
	t.Helper()
	b, err := j.encode(base)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestRecoverAgain interrupts a Recover at each of its steps.
func TestRecoverAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := fakeEnv(t, filepath.Join(dir, "venv"))
	site := env.Python.Purelib
	write(t, filepath.Join(site, "kept.py"), "kept")
	write(t, filepath.Join(site, "folder/moved.py"), "old")
	want := snapshot(t, dir)

	in := func(names ...string) (paths []string) {
		for _, name := range names {
			paths = append(paths, filepath.Join(site, name))
		}
		return paths
	}
	j := journal{
		Moves: in("folder", "kept.py", "../../../bin/python"), Made: in("new"), Files: in("file.py", "gone.py"), Prune: in("folder"),
	}
	begin := func() {
		if err := j.write(site); err != nil {
			t.Fatal(err)
		}
		for i, path := range j.Moves[:2] {
			if err := os.Rename(path, filepath.Join(site, journalDir, "old", strconv.Itoa(i))); err != nil {
				t.Fatal(err)
			}
		}
		write(t, filepath.Join(site, "folder"), "a file now")
		write(t, filepath.Join(site, "new/a/b.py"), "new")
		write(t, filepath.Join(site, "file.py"), "new")
	}
	for _, interrupt := range []func() error{
		func() error { return nil },
		func() error { return os.RemoveAll(filepath.Join(site, "new")) },
		func() error {
			return os.Rename(filepath.Join(site, journalDir, "old/1"), filepath.Join(site, "kept.py"))
		},
		func() error { return os.Remove(filepath.Join(site, "file.py")) },
	} {
		begin()
		if err := interrupt(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := Recover(env); err != nil {
				t.Fatal(err)
			}
			same(t, want, snapshot(t, dir))
		}
	}
}

func TestRecoverWithoutJournal(t *testing.T) {
	t.Parallel()
	env := fakeEnv(t, t.TempDir())
	want := snapshot(t, env.Python.Prefix)
	write(t, filepath.Join(env.Python.Purelib, journalDir, "journal.part"), "move \"x")
	write(t, filepath.Join(env.Python.Purelib, doneDir, "old", "0", "x"), "")
	if err := Recover(env); err != nil {
		t.Fatal(err)
	}
	same(t, want, snapshot(t, env.Python.Prefix))
}
