//go:build unix

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"curdling/internal/record"
	"curdling/internal/record/recordtest"
	"curdling/internal/store/disk"
	"curdling/internal/wheel/wheeltest"
)

// A fleet is an index, a cache server with the builds of a machine that signs them, and the keys. The index has
// pkg 1.0 and 2.0 as sources alone, and lib 1.0 and dep 1.0 as wheels; so has the cache server, and the builds.
type fleet struct {
	index       string // URL
	published   string // folder of the index
	cache       string // folder of the cache server, which nobody serves any more
	ci, mallory note.Signer
	trusted     string // public key of ci
}

// attack is what somebody does who has a cache server, or a way into one.
type attack struct {
	name   string
	folder func(t *testing.T, f *fleet, dir string)          // what he does to its folder; nil: nothing
	answer func(w http.ResponseWriter, r *http.Request) bool // answers in the place of the server
	page   func(f *fleet, server string, files []any) []any  // what he makes of the pages that it answers; nil: nothing
	body   func(path string, body []byte) []byte             // and of the rest
	args   []string                                          // of curd, in the place of "pkg>=2" and "lib"
	works  bool                                              // on a machine without a policy
	warm   bool                                              // pkg was installed before, from the honest server
	want   string                                            // what standard error says; "": the lie goes unheard, for others know better
	tries  int                                               // how often the server is asked for something, at most; 0: not counted
	used   string                                            // what comes from the cache server nevertheless
}

// TestUntrustedServer tries all that a cache server could do to a machine with the policies --trust and
// --verify upstream. Whatever that is: what is installed is what the author published, or was built of it by who is trusted.
func TestUntrustedServer(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	var tried, withstood atomic.Int64
	t.Cleanup(func() { t.Logf("tried %d, withstood %d", tried.Load(), withstood.Load()) })
	for _, a := range slices.Concat(folderAttacks(), serverAttacks()) {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			tried.Add(1)
			f.try(t, a)
			if !t.Failed() {
				withstood.Add(1)
			}
		})
	}
}

// folderAttacks are by who can write into the server's folder, or has an uploader's password: that is the same.
func folderAttacks() []attack {
	return []attack{
		{name: "nothing at all", used: "2 from the cache server"},
		{name: "the wheel is another", want: "left out", folder: func(t *testing.T, f *fleet, dir string) {
			put(t, build(t, dir, "2.0").wheel, evilWheel(build(t, dir, "2.0").record))
		}},
		{name: "the record tells of another cost", want: "it says", folder: func(t *testing.T, f *fleet, dir string) {
			b := build(t, dir, "2.0")
			put(t, b.wheel+record.Suffix, bytes.Replace(b.text, []byte(`"seconds"`), []byte(`"seconds": 1, "was"`), 1))
		}},
		{name: "the record needs less than the wheel does", want: "it says", folder: func(t *testing.T, f *fleet, dir string) {
			b := build(t, dir, "2.0")
			put(t, b.wheel+record.Suffix, bytes.Replace(b.text, []byte(`"needs"`), []byte(`"needs": {}, "needed"`), 1))
		}},
		{name: "wheel and record are another", want: "it says", folder: func(t *testing.T, f *fleet, dir string) { replace(t, build(t, dir, "2.0")) }},
		{name: "wheel and record are another, and nobody signed them", works: true, want: "nobody signed it", folder: func(t *testing.T, f *fleet, dir string) {
			b := build(t, dir, "2.0")
			replace(t, b)
			remove(t, b.wheel+record.SignatureSuffix)
		}},
		{name: "wheel and record are another, and signed with another key", want: "nobody who is trusted signed it", folder: func(t *testing.T, f *fleet, dir string) {
			b := build(t, dir, "2.0")
			put(t, b.wheel+record.SignatureSuffix, recordtest.Sign(t, replace(t, b), f.mallory))
		}},
		{name: "wheel and record are another, and signed with another key of that name", want: "nobody who is trusted signed it", folder: func(t *testing.T, f *fleet, dir string) {
			b := build(t, dir, "2.0")
			namesake, _ := recordtest.Key(t, f.ci.Name())
			put(t, b.wheel+record.SignatureSuffix, recordtest.Sign(t, replace(t, b), namesake))
		}},
		{name: "wheel and record are another, and signed as with the key", want: "though not with that key", folder: func(t *testing.T, f *fleet, dir string) {
			b := build(t, dir, "2.0")
			put(t, b.wheel+record.SignatureSuffix, recordtest.Sign(t, replace(t, b), forger{f.ci}))
		}},
		{name: "the signature is gone", want: "nobody signed it", folder: func(t *testing.T, f *fleet, dir string) {
			remove(t, build(t, dir, "2.0").wheel+record.SignatureSuffix)
		}},
		{name: "the signature is another version's", want: "it is the signature of something else", folder: func(t *testing.T, f *fleet, dir string) {
			put(t, build(t, dir, "2.0").wheel+record.SignatureSuffix, build(t, dir, "1.0").signature)
		}},
		{name: "all three are another version's", want: "building pkg 2.0", folder: func(t *testing.T, f *fleet, dir string) {
			old, b := build(t, dir, "1.0"), build(t, dir, "2.0")
			put(t, b.wheel, read(t, old.wheel))
			put(t, b.wheel+record.Suffix, old.text)
			put(t, b.wheel+record.SignatureSuffix, old.signature)
		}},
		{name: "the record is an older one of that name", want: "it says", folder: func(t *testing.T, f *fleet, dir string) {
			b := build(t, dir, "2.0")
			older := *b.record
			older.Cost.Built = older.Cost.Built.AddDate(-1, 0, 0)
			text, err := older.Encode()
			if err != nil {
				t.Fatal(err)
			}
			put(t, b.wheel+record.Suffix, text)
		}},
		{name: "the signature is of an older record of that name", want: "it is the signature of something else", folder: func(t *testing.T, f *fleet, dir string) {
			b := build(t, dir, "2.0")
			older := *b.record
			older.Wheel.SHA256 = strings.Repeat("0", 64)
			text, err := older.Encode()
			if err != nil {
				t.Fatal(err)
			}
			put(t, b.wheel+record.SignatureSuffix, recordtest.Sign(t, text, f.ci))
		}},
		{name: "the signature is no note", want: "it is no signed note", folder: func(t *testing.T, f *fleet, dir string) {
			put(t, build(t, dir, "2.0").wheel+record.SignatureSuffix, []byte("trust me\n"))
		}},
		{name: "a wheel without a record, of a version that is not", works: true, want: "no index names it", folder: func(t *testing.T, f *fleet, dir string) {
			w := wheeltest.Wheel{Name: "pkg", Version: "9.0", Files: map[string]string{"pkg.py": evilText}}
			put(t, filepath.Join(dir, w.Filename()), wheeltest.Build(w))
		}},
		{name: "a published wheel is another", works: true, want: "its index names the sha256", folder: func(t *testing.T, f *fleet, dir string) {
			w := wheeltest.Wheel{Name: "lib", Version: "1.0", Files: map[string]string{"lib.py": evilText}}
			put(t, filepath.Join(dir, w.Filename()), wheeltest.Build(w))
		}},
		{name: "a published source is another", want: "its index names the sha256", folder: func(t *testing.T, f *fleet, dir string) {
			remove(t, build(t, dir, "2.0").wheel)
			put(t, filepath.Join(dir, "pkg-2.0.tar.gz"), source("2.0", "import os; os.abort()\n"))
		}},
	}
}

// serverAttacks are by the server itself.
func serverAttacks() []attack {
	type file = map[string]any
	of := func(name string, edit func(file)) func(*fleet, string, []any) []any {
		return func(_ *fleet, _ string, files []any) []any {
			for _, f := range files {
				if f := f.(file); strings.HasPrefix(f["filename"].(string), name) {
					edit(f)
				}
			}
			return files
		}
	}
	return []attack{
		{name: "a build is listed as a published wheel", want: "no index names it",
			page: of("pkg-2.0-0b", func(f file) { delete(f, "_build") })},
		{name: "a signed build is listed under another name", want: "left out", warm: true,
			page: of("pkg-2.0-0b", func(f file) {
				f["filename"] = strings.Replace(f["filename"].(string), "pkg-2.0", "pkg-9.0", 1)
			})},
		{name: "a file is listed at another server", want: "the server lists it at another server",
			page: func(_ *fleet, server string, files []any) []any {
				for _, f := range files {
					f := f.(file)
					f["url"] = "http://localhost" + server[strings.LastIndex(server, ":"):] + "/p/" + f["filename"].(string)
				}
				return files
			}},
		{name: "a file is listed where the index has another", want: "the server lists it at another server", args: []string{"lib"},
			page: func(fl *fleet, _ string, files []any) []any { // to have the index's own file barred
				for _, f := range files {
					f := f.(file)
					f["url"] = strings.Replace(fl.index, "/simple/", "/p/", 1) + f["filename"].(string)
					f["hashes"] = file{"sha256": strings.Repeat("0", 64)}
				}
				return files
			}},
		{name: "other bytes come than are listed", want: "sends something else than it lists",
			body: func(path string, body []byte) []byte {
				if strings.HasSuffix(path, "lib-1.0-py3-none-any.whl") {
					return bytes.Repeat([]byte("x"), len(body))
				}
				return body
			}},
		{name: "other bytes of a signed build come", want: "sends something else than it lists",
			body: func(path string, body []byte) []byte {
				if strings.HasPrefix(path, "/p/pkg-2.0-0b") && strings.HasSuffix(path, ".whl") {
					return bytes.Repeat([]byte("x"), len(body))
				}
				return body
			}},
		{name: "other bytes of a locked file come", want: "sends something else than it lists", args: []string{"-r", "pylock.toml"},
			body: func(path string, body []byte) []byte {
				if strings.HasPrefix(path, "/p/") {
					return bytes.Repeat([]byte("x"), len(body))
				}
				return body
			}},
		{name: "metadata requires more", used: "2 from the cache server", body: func(path string, body []byte) []byte {
			if strings.HasSuffix(path, ".metadata") {
				return []byte(strings.Replace(string(body), "\nVersion:", "\nRequires-Dist: dep\nVersion:", 1))
			}
			return body
		}},
		{name: "metadata of a source requires more", args: []string{"pkg>=2"}, used: "1 built", want: "building pkg 2.0",
			page: func(_ *fleet, _ string, files []any) []any { return []any{} },
			answer: func(w http.ResponseWriter, r *http.Request) bool {
				const lie = "Metadata-Version: 2.1\nName: pkg\nVersion: 2.0\nRequires-Dist: dep\n"
				switch sum := sha256.Sum256([]byte(lie)); {
				case strings.HasPrefix(r.URL.Path, "/builds/") && !strings.HasSuffix(r.URL.Path, "/metadata"):
					w.WriteHeader(http.StatusNoContent)
				case strings.HasPrefix(r.URL.Path, "/builds/") && r.Method == http.MethodPost:
					fmt.Fprintf(w, `{"metadata": "%x"}`, sum)
				case strings.HasPrefix(r.URL.Path, "/builds/"):
					_, _ = io.WriteString(w, lie)
				default:
					return false
				}
				return true
			}},
		{name: "metadata forbids this Python", used: "2 from the cache server", body: func(path string, body []byte) []byte {
			if strings.HasSuffix(path, ".metadata") {
				return []byte(strings.Replace(string(body), "\nVersion:", "\nRequires-Python: <3\nVersion:", 1))
			}
			return body
		}},
		{name: "the page forbids this Python", used: "cache server", args: []string{"lib"},
			page: of("lib", func(f file) { f["requires-python"] = "<3" })},
		{name: "the page says that it was yanked", used: "cache server", args: []string{"lib"},
			page: of("lib", func(f file) { f["yanked"] = "do not use" })},
		{name: "the page promises other metadata", used: "cache server", args: []string{"lib"},
			page: of("lib", func(f file) { f["core-metadata"] = map[string]any{"sha256": strings.Repeat("0", 64)} })},
		{name: "builds without end", want: "16 files of cache servers were left out", tries: 80, page: func(_ *fleet, _ string, files []any) []any {
			for _, f := range files {
				f := f.(file)
				if strings.HasPrefix(f["filename"].(string), "pkg-2.0-0b") {
					for i := range 1000 {
						another := maps.Clone(f)
						another["filename"] = strings.Replace(f["filename"].(string), "pkg-2.0", fmt.Sprintf("pkg-3.%d", i), 1)
						another["url"] = strings.Replace(f["url"].(string), "pkg-2.0", fmt.Sprintf("pkg-3.%d", i), 1)
						files = append(files, another)
					}
				}
			}
			return files
		}},
		{name: "signatures without end", want: "its signature cannot be read", answer: func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, record.SignatureSuffix) {
				return false
			}
			for range 1000 {
				_, _ = io.WriteString(w, strings.Repeat("— ci AAAAAAAAAAAA\n", 100))
			}
			return true
		}},
	}
}

const evilText = "evil = True\n"

// newFleet has a machine build and sign.
func newFleet(t *testing.T) *fleet {
	t.Helper()
	dir := t.TempDir()
	f := &fleet{published: filepath.Join(dir, "index"), cache: filepath.Join(dir, "cache")}
	for _, d := range []string{f.published, f.cache} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"lib", "dep"} {
		w := wheeltest.Wheel{Name: name, Version: "1.0", Files: map[string]string{name + ".py": "evil = False\n"}}
		put(t, filepath.Join(f.published, w.Filename()), wheeltest.Build(w))
	}
	for _, version := range []string{"1.0", "2.0"} {
		put(t, filepath.Join(f.published, "pkg-"+version+".tar.gz"), source(version, ""))
	}
	f.index = startServer(t, f.published) + "/simple/"
	secret := filepath.Join(dir, "ci.key")
	f.trusted = strings.TrimSpace(f.curd(t, dir, "key", "new", "-o", secret, "ci"))
	var err error
	if f.ci, err = note.NewSigner(lastLine(string(read(t, secret)))); err != nil {
		t.Fatal(err)
	}
	f.mallory, _ = recordtest.Key(t, "mallory")
	handler, stop := newServer(t, f.cache, nil, 0)
	srv := httptest.NewServer(handler)
	for _, version := range []string{"1.0", "2.0"} {
		f.curd(t, dir, "install", "--python", virtualenv(t), "-c", srv.URL, "-u", "--sign-key", secret, "pkg=="+version, "lib")
	}
	srv.Close()
	stop()
	return f
}

// source is a source distribution of pkg, whose backend starts with that code.
func source(version, code string) []byte {
	constants := fmt.Sprintf("name, version, requires = 'pkg', %q, ''\n", version)
	root := "pkg-" + version + "/"
	return gzipped(tarOf(
		tarEntry{name: root + "PKG-INFO", body: "Metadata-Version: 2.1\nName: pkg\nVersion: " + version + "\n"},
		tarEntry{name: root + "pyproject.toml", body: "[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n"},
		tarEntry{name: root + "backend.py", body: code + constants + backend}))
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// curd runs curd, which must succeed, in a folder that is its home, too.
func (f *fleet) curd(t *testing.T, dir string, args ...string) (stdout string) {
	t.Helper()
	stdout, stderr, err := f.run(dir, args...)
	if err != nil {
		t.Fatalf("curd %s: %v\n%s", strings.Join(args, " "), err, stderr)
	}
	return stdout
}

func (f *fleet) run(dir string, args ...string) (stdout, stderr string, err error) {
	cmd := curdCommand(filepath.Join(dir, "curds"), args...)
	cmd.Dir = dir
	cmd.Env = append(cmd.Env, "HOME="+dir, "PIP_CONFIG_FILE="+os.DevNull, "CURD_INDEX_URL="+f.index)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err = cmd.Run()
	return out.String(), said.String(), err
}

// try has a machine with the policies meet the attack.
func (f *fleet) try(t *testing.T, a attack) {
	home, dir := t.TempDir(), filepath.Join(t.TempDir(), "cache")
	if err := os.CopyFS(dir, os.DirFS(f.cache)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, disk.StateDir)); err != nil {
		t.Fatal(err)
	}
	if a.warm {
		f.curd(t, home, "install", "--python", virtualenv(t), "--trust", f.trusted, "-c", startServer(t, dir), "pkg>=2", "lib")
	}
	if a.folder != nil {
		a.folder(t, f, dir)
	}
	var requests atomic.Int64
	handler, stop := newServer(t, dir, nil, 0)
	t.Cleanup(stop)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.URL.Path == "/plan" { // it would be true; lies in it are tried in internal/curd
			http.NotFound(w, r)
			return
		}
		if a.answer == nil || !a.answer(w, r) {
			a.serve(f, handler, w, r)
		}
	}))
	t.Cleanup(srv.Close)
	args := a.args
	if args == nil {
		args = []string{"pkg>=2", "lib"}
	}
	if slices.Contains(args, "pylock.toml") {
		f.curd(t, home, "lock", "-o", filepath.Join(home, "pylock.toml"), "pkg", "lib")
	}
	if a.works {
		venv := virtualenv(t)
		f.curd(t, t.TempDir(), append([]string{"install", "--python", venv, "-c", srv.URL}, args...)...)
		if f.judge(t, venv) == "" {
			t.Error("it does not work on a machine without a policy, and so proves nothing")
		}
	}
	venv := virtualenv(t)
	stdout, stderr, err := f.run(home, append([]string{"install", "-v", "--python", venv, "--trust", f.trusted, "-c", srv.URL}, args...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	if testing.Verbose() {
		t.Logf("%s%s", stdout, stderr)
	}
	if !strings.Contains(stderr, a.want) || a.want == "" && strings.Contains(stderr, "warning") || !strings.Contains(stdout, a.used) {
		t.Errorf("want %q and %q:\n%s%s", a.want, a.used, stdout, stderr)
	}
	if n := requests.Load(); a.tries > 0 && n > int64(a.tries) {
		t.Errorf("%d requests", n)
	}
	if bad := f.judge(t, venv); bad != "" {
		t.Errorf("installed is %s\n%s", bad, stderr)
	}
}

// serve answers with what the attacker makes of the server's answer.
func (a attack) serve(f *fleet, h http.Handler, w http.ResponseWriter, r *http.Request) {
	r.Header.Del("Accept-Encoding")
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	body := answer.Body.Bytes()
	if r.Method == http.MethodGet && answer.Code == http.StatusOK {
		switch {
		case a.page != nil && strings.HasPrefix(r.URL.Path, "/simple/"):
			var page map[string]any
			if err := json.Unmarshal(body, &page); err == nil {
				page["files"] = a.page(f, "http://"+r.Host, page["files"].([]any))
				body, _ = json.Marshal(page)
			}
		case a.body != nil && strings.HasPrefix(r.URL.Path, "/p/"):
			body = a.body(r.URL.Path, body)
		}
	}
	maps.Copy(w.Header(), answer.Header())
	w.Header().Del("Content-Length")
	w.WriteHeader(answer.Code)
	_, _ = w.Write(body)
}

// judge tells what is installed that the authors did not publish, or in another version than the last; "": nothing.
func (f *fleet) judge(t *testing.T, venv string) (bad string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(venv, "lib", "python*", "site-packages", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("nothing is installed: %v", err)
	}
	for _, file := range files {
		switch name := filepath.Base(file); {
		case strings.HasSuffix(name, ".py"):
			if strings.Contains(string(read(t, file)), evilText) {
				bad += " evil " + name
			}
		case strings.HasPrefix(name, "dep"), strings.HasPrefix(name, "pkg-") && name != "pkg-2.0.dist-info":
			bad += " " + name
		}
	}
	return bad
}

// signedBuild is a build that lies in a folder.
type signedBuild struct {
	wheel           string // path
	record          *record.Record
	text, signature []byte
}

// build finds the build of a version of pkg.
func build(t *testing.T, dir, version string) signedBuild {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "pkg-"+version+"-0b*.whl"))
	if err != nil || len(found) != 1 {
		t.Fatalf("builds of pkg %s: %v, %v", version, found, err)
	}
	b := signedBuild{wheel: found[0], text: read(t, found[0]+record.Suffix), signature: read(t, found[0]+record.SignatureSuffix)}
	if b.record, err = record.Parse(b.text); err != nil {
		t.Fatal(err)
	}
	return b
}

// evilWheel is another wheel of the name that the record has.
func evilWheel(r *record.Record) []byte {
	parts := strings.Split(r.Wheel.Filename, "-")
	return wheeltest.Build(wheeltest.Wheel{Name: parts[0], Version: parts[1], BuildTag: parts[2], Files: map[string]string{"pkg.py": evilText}})
}

// replace puts another wheel in the place of a build, with a record that is of it.
func replace(t *testing.T, b signedBuild) (text []byte) {
	t.Helper()
	wheel := evilWheel(b.record)
	sum := sha256.Sum256(wheel)
	b.record.Wheel.SHA256, b.record.Wheel.Size = hex.EncodeToString(sum[:]), int64(len(wheel))
	text, err := b.record.Encode()
	if err != nil {
		t.Fatal(err)
	}
	put(t, b.wheel, wheel)
	put(t, b.wheel+record.Suffix, text)
	return text
}

// forger signs for a key that it has not.
type forger struct{ note.Signer }

func (forger) Sign([]byte) ([]byte, error) { return make([]byte, 64), nil }

func put(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}
