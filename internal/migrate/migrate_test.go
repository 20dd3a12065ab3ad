package migrate

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"curdling/internal/dist"
	"curdling/internal/mirror"
	"curdling/internal/store/s3"
	"curdling/internal/store/s3/s3test"
	"curdling/internal/wheel/wheeltest"
)

func TestMain(m *testing.M) {
	s3test.SetCredentials()
	goleak.VerifyTestMain(m)
}

// objectStore opens a bucket at a server of S3 that ends with the test.
func objectStore(t *testing.T, endpoint string) (Place, *s3.Store) {
	t.Helper()
	raw, err := s3.Open(t.Context(), "s3://curdling/"+filepath.Base(t.TempDir())+"/"+t.Name(), s3.Options{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(raw.Close)
	return Bucket(raw, t.TempDir()), raw
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// tree gives what lies in a folder, but for what is derived.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(name, ".curdling/") && !strings.Contains(name, "evidence/") || strings.HasSuffix(name, "lock") {
			return err
		}
		content, err := os.ReadFile(filepath.Join(dir, name))
		files[name] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func wheel(name, version, content string) (string, string) {
	w := wheeltest.Wheel{Name: name, Version: version, Files: map[string]string{"x.py": content}}
	return w.Filename(), string(wheeltest.Build(w))
}

// full makes a folder with something of everything.
func full(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	one, content := wheel("flask", "1.0", "")
	below, its := wheel("flask", "1.1", "of a pull request")
	write(t, dir, map[string]string{
		one: content, one + ".yanked": "loses data", "flask.status": "archived", ".tokens.json": `{"version":1,"tokens":[]}`,
		".curdling-upstream":             "# whose names\nflask\nnothing-is-held\n",
		".curdling-scopes/pr-7/" + below: its, ".curdling-scopes/no name/x": "", ".curdling/evidence/0123456789abcdef-" + one: "other bytes",
		".curdling/evidence/0123456789abcdef-" + one + ".json": "{}", "notes.txt": "not served", "sub/" + one: content,
	})
	return dir
}

func migrated(t *testing.T, from, to Place, dry bool) (Migrated, map[string]string) {
	t.Helper()
	left := make(map[string]string)
	var o Options
	o.DryRun, o.Left = dry, func(key string, why error) { left[filepath.Base(key)] = why.Error() }
	n, err := Run(t.Context(), from, to, o)
	if err != nil {
		t.Fatal(err)
	}
	n.Bytes = 0
	return n, left
}

// TestRun: all that cannot be made again goes into a bucket, and from there into another folder, and from there into a third one.
func TestRun(t *testing.T) {
	t.Parallel()
	dir := full(t)
	want := tree(t, dir)
	for name := range want {
		if strings.HasPrefix(name, "sub/") || name == "notes.txt" || strings.Contains(name, "no name") {
			delete(want, name)
		}
	}
	object, raw := objectStore(t, s3test.New(t).URL)
	folders := []string{filepath.Join(t.TempDir(), "new"), filepath.Join(t.TempDir(), "new")}
	from := Folder(dir)
	for i, to := range []Place{object, Folder(folders[0]), Folder(folders[1])} {
		var first Migrated
		for _, run := range []string{"dry", "true", "again"} {
			n, left := migrated(t, from, to, run == "dry")
			if len(left) > 0 {
				t.Errorf("%d, %s: left %v", i, run, left)
			}
			switch run {
			case "dry":
				first = n
				if first.Files != 2 || first.Beside != 2 || !first.Tokens || first.Evidence != 2 || first.Names != 2 || first.Scopes != 1 {
					t.Errorf("%d: it would copy %+v", i, n)
				}
				if i > 0 {
					if _, err := os.Stat(folders[i-1]); err == nil {
						t.Errorf("%d: a dry run made %s", i, folders[i-1])
					}
				}
			case "true":
				if n != first {
					t.Errorf("%d: it copied %+v, and said %+v before", i, n, first)
				}
			case "again":
				if n.Files+n.Beside+n.Names+n.Evidence+n.Left > 0 || n.Tokens || n.Held != 2 {
					t.Errorf("%d: once more %+v", i, n)
				}
			}
		}
		from = to
	}
	delete(want, ".curdling-upstream")
	for i, folder := range folders {
		names, err := mirror.NamesInFile(filepath.Join(folder, ".curdling-upstream"))
		if err != nil {
			t.Fatal(err)
		}
		all, err := names.All(t.Context())
		slices.Sort(all)
		if diff := cmp.Diff([]dist.Name{"flask", "nothing-is-held"}, all); diff != "" || err != nil {
			t.Errorf("%d: names that are an upstream's (-want +got):\n%s%v", i, diff, err)
		}
		if err := os.Remove(filepath.Join(folder, ".curdling-upstream")); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, tree(t, folder)); diff != "" {
			t.Errorf("%d (-want +got):\n%s", i, diff)
		}
	}
	for info, err := range raw.List(t.Context(), "") {
		known := []string{"wheels", "metadata", "evidence", "scopes", "tokens.json", "upstream"}
		if top, _, _ := strings.Cut(info.Key, "/"); err != nil || !slices.Contains(known, top) {
			t.Errorf("in the bucket lies %s, %v", info.Key, err)
		}
	}
}

// TestTokens: tokens come where there are none. Others stay.
func TestTokens(t *testing.T) {
	t.Parallel()
	object, _ := objectStore(t, s3test.New(t).URL)
	for i, to := range []Place{object, Folder(t.TempDir())} {
		dir := t.TempDir()
		write(t, dir, map[string]string{".tokens.json": fmt.Sprint("first ", i)})
		if n, left := migrated(t, Folder(dir), to, false); !n.Tokens || len(left) > 0 {
			t.Errorf("%d: %+v, %v", i, n, left)
		}
		write(t, dir, map[string]string{".tokens.json": "second"})
		n, left := migrated(t, Folder(dir), to, false)
		if n.Tokens || n.Left != 1 || len(left) != 1 {
			t.Errorf("%d: others came: %+v, %v", i, n, left)
		}
		there, err := to.open(t.Context(), false, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer there.done()
		if content, _, err := there.tokens.Read(t.Context(), ""); err != nil || string(content) != fmt.Sprint("first ", i) {
			t.Errorf("%d: %q, %v", i, content, err)
		}
	}
}

// TestWhose: a name that is private in one place and an upstream's in the other does not mix.
func TestWhose(t *testing.T) {
	t.Parallel()
	object, raw := objectStore(t, s3test.New(t).URL)
	dir := t.TempDir()
	for _, name := range []string{"private", "theirs"} {
		file, content := wheel(name, "1.0", "")
		write(t, dir, map[string]string{file: content})
	}
	if theirs, err := mirror.NamesInStore(raw).Add(t.Context(), "private"); !theirs || err != nil {
		t.Fatal(theirs, err)
	}
	for range 2 {
		n, left := migrated(t, Folder(dir), object, false)
		if n.Files+n.Held != 1 || len(left) != 1 || !strings.Contains(left["private"], "strangers") {
			t.Errorf("%+v, %v", n, left)
		}
	}
	// The other way round the name stays private, where something of it is held.
	write(t, dir, map[string]string{".curdling-upstream": "theirs\nprivate\n"})
	n, left := migrated(t, Folder(dir), object, false)
	if n.Names != 0 || n.Files != 1 || len(left) != 1 || !strings.Contains(left["theirs"], "stays private") {
		t.Errorf("%+v, %v", n, left)
	}
}

// TestRealServers: to and fro with programs that others run for a living.
func TestRealServers(t *testing.T) {
	s3test.Real(t, func(t *testing.T, endpoint string) {
		object, _ := objectStore(t, endpoint)
		dir, back := full(t), t.TempDir()
		one, left := migrated(t, Folder(dir), object, false)
		other, more := migrated(t, object, Folder(back), false)
		if one != other || len(left)+len(more) > 0 {
			t.Errorf("%+v, and back %+v: %v, %v", one, other, left, more)
		}
		if n, left := migrated(t, Folder(dir), Folder(back), true); n.Held != 2 || n.Files+n.Beside+n.Left+n.Evidence > 0 || n.Tokens || len(left) > 0 {
			t.Errorf("-want +got:\n%+v, %v", n, left)
		}
	})
}
