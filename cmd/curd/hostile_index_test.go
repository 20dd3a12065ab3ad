//go:build unix

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"curdling/internal/wheel/wheeltest"
)

const (
	typeJSON = "application/vnd.pypi.simple.v1+json"
	typeHTML = "application/vnd.pypi.simple.v1+html"
)

// indexCases are pages, answers and cache servers that lie.
func indexCases() []hostile {
	return append(append(pageCases(), answerCases()...), serverCases()...)
}

// pageCases are about what a page says of its files.
func pageCases() []hostile {
	of := func(name string, edit func(file map[string]any), want ...string) hostile {
		return hostile{name: "page: " + name, want: append(want, "evil"), serve: func(b *box) site {
			s := wheelOf(wheeltest.Build(evil()))(b)
			s.edit = edit
			return s
		}}
	}
	const none = "there is no version of evil" // what cannot be used is passed over
	page := func(name, contentType, text string, want ...string) hostile {
		return hostile{name: "page: " + name, want: append(want, "evil"), serve: func(*box) site {
			return site{get: func(w http.ResponseWriter, path string) {
				w.Header().Set("Content-Type", contentType)
				_, _ = io.WriteString(w, text)
			}}
		}}
	}
	url := func(name, url string) hostile {
		return of(name, func(f map[string]any) { f["url"] = url }, none)
	}
	beside, foreign := evil(), evil()
	beside.Requires = []string{"nowhere-to-be-found"}
	foreign.Summary = "metadata is remembered by the wheel's hash, so this is another wheel"
	return []hostile{
		of("file name with a traversal", func(f map[string]any) { f["filename"] = "../../pwned-1.0-py3-none-any.whl" }, none),
		of("file name with backslashes", func(f map[string]any) { f["filename"] = `..\evil-1.0-py3-none-any.whl` }, none),
		of("file name with NUL", func(f map[string]any) { f["filename"] = "evil-1.0-py3-none-any.whl\x00" }, none),
		of("file name with a terminal escape", func(f map[string]any) { f["filename"] = "evil-1.0\x1b[2J-py3-none-any.whl" }, none),
		of("file of another project", func(f map[string]any) { f["filename"] = "pip-1.0-py3-none-any.whl" }, none),
		of("file of another version than its METADATA", func(f map[string]any) { f["filename"] = "evil-9.0-py3-none-any.whl" }, "evil-9.0-py3-none-any.whl", "is of evil 1.0"),
		of("file name of 300 bytes", func(f map[string]any) { f["filename"] = "evil-1.0-py3-none-" + strings.Repeat("a", 300) + ".whl" }, none),
		url("javascript: URL", "javascript:alert(1)"),
		url("file: URL", "file:///etc/passwd"),
		url("data: URL", "data:application/zip;base64,UEsFBgAA"),
		url("ftp: URL", "ftp://127.0.0.1/evil-1.0-py3-none-any.whl"),
		url("URL without host", "http:///evil-1.0-py3-none-any.whl"),
		url("URL that is none", "http://[::1/evil"),
		of("wrong hash", func(f map[string]any) { f["hashes"] = map[string]any{"sha256": strings.Repeat("0", 64)} },
			evil().Filename(), "sha256 of", "the index says 0000000000"),
		of("size too small", func(f map[string]any) { f["size"] = 10 }, evil().Filename(), "the index says 10"),
		of("size too large", func(f map[string]any) { f["size"] = 1 << 40 }, evil().Filename(), "the index says 1099511627776"),
		{name: "page: no hash where one is required", args: []string{"-i", "URL/simple", "-r", "BOX/home/requirements.txt"}, want: []string{"evil", "sha256"}, serve: func(b *box) site {
			b.put("home/requirements.txt", "evil==1.0 --hash=sha256:"+strings.Repeat("0", 64)+"\n")
			s := wheelOf(wheeltest.Build(evil()))(b)
			s.edit = func(f map[string]any) { delete(f, "hashes") }
			return s
		}},
		{name: "page: another hash than the one that is required", args: []string{"-i", "URL/simple", "-r", "BOX/home/requirements.txt"}, want: []string{"evil", "sha256"}, serve: func(b *box) site {
			b.put("home/requirements.txt", "evil==1.0 --hash=sha256:"+strings.Repeat("0", 64)+"\n")
			return wheelOf(wheeltest.Build(evil()))(b)
		}},
		{name: "page: hash that is the required one, of a file that is not", args: []string{"-i", "URL/simple", "-r", "BOX/home/requirements.txt"}, want: []string{evil().Filename(), "the index says 000000"},
			serve: func(b *box) site {
				b.put("home/requirements.txt", "evil==1.0 --hash=sha256:"+strings.Repeat("0", 64)+"\n")
				s := wheelOf(wheeltest.Build(evil()))(b)
				s.edit = func(f map[string]any) { f["hashes"] = map[string]any{"sha256": strings.Repeat("0", 64)} }
				return s
			}},
		allowed("pip and uv take it too, and --require-hashes refuses it", of("no hash", func(f map[string]any) { delete(f, "hashes") }), nil),
		allowed("then the wheel's own METADATA counts", of("hash of a .metadata file that is not there", func(f map[string]any) {
			f["core-metadata"] = map[string]any{"sha256": strings.Repeat("0", 64)}
		}), nil),
		{name: "page: .metadata that is not the wheel's", want: []string{evil().Filename(), "METADATA"}, serve: func(b *box) site {
			s := wheelOf(wheeltest.Build(beside))(b)
			s.files[evil().Filename()+".metadata"] = []byte("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
			s.edit = func(f map[string]any) { f["core-metadata"] = true }
			return s
		}},
		{name: "page: .metadata of another project", want: []string{"evil 1.0", "pip 1.0"}, serve: func(b *box) site {
			s := wheelOf(wheeltest.Build(foreign))(b)
			s.files[evil().Filename()+".metadata"] = []byte("Metadata-Version: 2.1\nName: pip\nVersion: 1.0\n")
			s.edit = func(f map[string]any) { f["core-metadata"] = true }
			return s
		}},

		{name: "page: two files whose names normalise alike", harmless: "each has its own hash, and the last is taken by pip too",
			serve: func(*box) site {
				other := evil()
				other.Summary = "another one"
				return site{files: map[string][]byte{evil().Filename(): wheeltest.Build(evil()), "Evil-1.0-py3-none-any.whl": wheeltest.Build(other)}}
			}},
		page("API version 2", typeJSON, `{"meta": {"api-version": "2.0"}, "files": []}`, "API version"),
		page("HTML of API version 2", typeHTML, `<meta name="pypi:repository-version" content="2.0">`, "API version"),
		page("plain text", "text/plain", "evil-1.0-py3-none-any.whl", "content type"),
		page("JSON that is cut", typeJSON, `{"meta": {"api-version": "1.0"}, "files": [{"filename": "evil`, "JSON"),
		page("JSON without files", typeJSON, `{"meta": {"api-version": "1.0"}}`, "no list of files"),
		page("bottomless JSON", typeJSON, `{"x": `+strings.Repeat("[", 5_000_000), "JSON"),
		page("bottomless JSON of objects", typeJSON, `{"files": [], "x": `+strings.Repeat(`{"a":`, 1_000_000), "JSON"),
		page("a sign-in page", "text/html", `<form action="/login"><a href="javascript:x">sign in</a></form>`, none),
		page("a tag without end", "text/html", `<a href="`+strings.Repeat("x", 5_000_000), "HTML"),
		page("base that is no place", "text/html", `<base href="javascript:x"><a href="evil-1.0-py3-none-any.whl">x</a>`, none),
		{name: "page: base that is a file", want: []string{"evil 1.0", "cannot be used"}, serve: func(b *box) site {
			b.put("home/"+evil().Filename(), string(wheeltest.Build(evil())))
			return site{get: func(w http.ResponseWriter, _ string) {
				w.Header().Set("Content-Type", typeHTML)
				fmt.Fprintf(w, `<base href="file://%s/home/"><a href="%s">x</a>`, b.dir, evil().Filename())
			}}
		}},
		page("reason with a terminal escape", typeJSON, `{"meta": {"api-version": "1.4"}, "project-status": {"status": "quarantined", "reason": "\u001b]0;pwned\u0007"}, "files": []}`, none),
		{name: "page: too many files", want: []string{"evil", "files"}, serve: func(*box) site {
			return site{get: func(w http.ResponseWriter, _ string) {
				w.Header().Set("Content-Type", "text/html")
				for range 200_000 {
					_, _ = io.WriteString(w, `<a href="evil-1.0-py3-none-any.whl">x</a>`+"\n")
				}
			}}
		}},
	}
}

// put writes a file of the user's.
func (b *box) put(path, text string) {
	if err := os.WriteFile(filepath.Join(b.dir, path), []byte(text), 0o644); err != nil {
		panic(err)
	}
}

// endless writes until nobody listens any more, 100 MB at most.
func endless(w io.Writer) {
	chunk := bytes.Repeat([]byte("<!-- more and more -->\n"), 5000)
	for range 1000 {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// answerCases are about what HTTP can do.
func answerCases() []hostile {
	of := func(name string, get func(b *box, w http.ResponseWriter, path string), want ...string) hostile {
		return hostile{name: "answer: " + name, want: append(want, "evil"), serve: func(b *box) site {
			return site{get: func(w http.ResponseWriter, path string) { get(b, w, path) }}
		}}
	}
	redirect := func(name, to string, want ...string) hostile {
		return of(name, func(_ *box, w http.ResponseWriter, _ string) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
		}, want...)
	}
	// file serves an honest page, and the file by get.
	file := func(name string, get func(w http.ResponseWriter, whole []byte), want ...string) hostile {
		whole := wheeltest.Build(evil())
		return of(name, func(_ *box, w http.ResponseWriter, path string) {
			switch {
			case strings.HasPrefix(path, "simple/"):
				sum := sha256.Sum256(whole)
				w.Header().Set("Content-Type", typeJSON)
				fmt.Fprintf(w, `{"meta": {"api-version": "1.0"}, "files": [{"filename": %q, "url": "../../files/%s", "size": %d, "hashes": {"sha256": %q}}]}`,
					evil().Filename(), evil().Filename(), len(whole), hex.EncodeToString(sum[:]))
			case strings.HasSuffix(path, ".whl"):
				get(w, whole)
			default:
				w.WriteHeader(http.StatusNotFound)
			}
		}, append(want, evil().Filename())...)
	}
	return []hostile{
		of("page of 100 MB", func(_ *box, w http.ResponseWriter, _ string) {
			w.Header().Set("Content-Type", "text/html")
			endless(w)
		}, "more than 67108864 bytes"),
		of("page that inflates to 900 MB", func(_ *box, w http.ResponseWriter, _ string) {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), zeros(900)...))
		}, "more than 67108864 bytes"),
		of("page in zstd that wants a window of gigabytes", func(_ *box, w http.ResponseWriter, _ string) {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Encoding", "zstd")
			_, _ = w.Write([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00})
		}, "window"),
		of("page in a coding that nobody asked for", func(_ *box, w http.ResponseWriter, _ string) {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Encoding", "compress")
			_, _ = w.Write([]byte("x"))
		}, "compress"),
		of("page in a coding that it is not", func(_ *box, w http.ResponseWriter, _ string) {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, "<html> this is no gzip")
		}, "gzip"),
		of("page that is shorter than its length", func(_ *box, w http.ResponseWriter, _ string) {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte("<html>"))
		}, "unexpected EOF"),
		of("error with a terminal escape and much to say", func(_ *box, w http.ResponseWriter, _ string) {
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "\x1b]0;pwned\x07"+strings.Repeat("no! ", 100_000))
		}, "403 Forbidden: "),
		of("error that never ends", func(_ *box, w http.ResponseWriter, _ string) {
			w.WriteHeader(http.StatusForbidden)
			endless(w)
		}, "403 Forbidden"),
		redirect("redirect to itself", "?again", "redirects"),
		redirect("redirect to a file", "file:///etc/passwd", "redirect from http to file:///etc/passwd refused"),
		redirect("redirect to a script", "javascript:alert(1)", "redirect from http to"),
		redirect("redirect that is none", "http://[::1/", "evil"),
		file("file that never ends", func(w http.ResponseWriter, _ []byte) { endless(w) }, "more than "),
		file("file that is shorter than its length", func(w http.ResponseWriter, whole []byte) {
			w.Header().Set("Content-Length", fmt.Sprint(len(whole)))
			_, _ = w.Write(whole[:500])
		}, "unexpected EOF"),
		file("file with something behind it", func(w http.ResponseWriter, whole []byte) { _, _ = w.Write(append(bytes.Clone(whole), "pwned"...)) }, "the index says "),
		file("part of a file that nobody asked for", func(w http.ResponseWriter, whole []byte) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 5-%d/%d", len(whole)-1, len(whole)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(whole[5:])
		}, "evil"),
		file("nothing new", func(w http.ResponseWriter, _ []byte) { w.WriteHeader(http.StatusNotModified) }, "304"),
		allowed("then the whole wheel is fetched, and its hash is the announced one", file("ranges that lie", func(w http.ResponseWriter, whole []byte) {
			_, _ = w.Write(whole)
		}), nil),
	}
}

// serverCases are about several servers, and what one may learn of another.
func serverCases() []hostile {
	cache := func(name, content, want string) hostile {
		return hostile{name: "cache server: " + name, args: []string{"-c", "URL/cache", "evil"}, want: []string{evil().Filename(), want}, serve: func(b *box) site {
			return site{get: func(w http.ResponseWriter, path string) {
				switch path {
				case "cache/simple/evil/":
					w.Header().Set("Content-Type", typeJSON)
					fmt.Fprintf(w, `{"meta": {"api-version": "1.0"}, "files": [{"filename": %q, "url": "../../p/%s", "hashes": {"sha256": %q}}]}`,
						evil().Filename(), evil().Filename(), strings.Repeat("0", 64))
				case "cache/p/" + evil().Filename():
					_, _ = io.WriteString(w, content)
				default:
					w.WriteHeader(http.StatusNotFound)
				}
			}}
		}}
	}
	return []hostile{
		cache("other bytes than announced", string(wheeltest.Build(evil())), "the index says 000000"),
		cache("a page for a wheel", "<html>", "the index says 000000"),
		{name: "server: redirect from https to http", args: []string{"-i", "HTTPS/simple", "evil"}, env: []string{"SSL_CERT_FILE=BOX/home/cert.pem"},
			want: []string{"evil", "redirect from https to http://", "refused"}},
		{name: "server: certificate that nobody knows", args: []string{"-i", "HTTPS/simple", "evil"}, want: []string{"evil", "certificate"}},
		{name: "server: redirect to another host with a password", args: []string{"-i", "AUTH/simple", "evil"}, want: []string{"evil", "401"}, serve: elsewhere},
		{name: "server: file on another host with a password", args: []string{"-i", "AUTH/simple", "evil"}, want: []string{evil().Filename(), "401"}, serve: func(b *box) site {
			s := wheelOf(wheeltest.Build(evil()))(b)
			s.edit = func(f map[string]any) { f["url"] = b.stranger + "/" + evil().Filename() }
			return s
		}},
		{name: "server: page with a password in a file's URL", args: []string{"evil"}, want: []string{evil().Filename(), "401"}, serve: func(b *box) site {
			s := wheelOf(wheeltest.Build(evil()))(b)
			s.edit = func(f map[string]any) {
				f["url"] = strings.Replace(b.stranger, "://", "://me:hunter2@", 1) + "/" + evil().Filename()
			}
			return s
		}},
	}
}

// elsewhere redirects to a stranger.
func elsewhere(b *box) site {
	return site{get: func(w http.ResponseWriter, path string) {
		w.Header().Set("Location", b.stranger+"/"+path)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}}
}

// noSecret reads what was written about where a distribution came from.
func noSecret(t *testing.T, b *box) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(b.site, "evil-1.0.dist-info", "direct_url.json"))
	if err != nil {
		t.Error(err)
	}
	for _, s := range secrets {
		if strings.Contains(string(text), s) {
			t.Errorf("direct_url.json holds a secret: %s", text)
		}
	}
}

// inputCases are requirements, on the command line and in files.
func inputCases() []hostile {
	line := func(name, arg string, want ...string) hostile {
		return hostile{name: "input: " + name, args: []string{arg}, want: want, serve: wheelOf(wheeltest.Build(evil()))}
	}
	file := func(name, text string, want ...string) hostile {
		return hostile{name: "input: " + name, args: []string{"-r", "BOX/home/r.txt"}, env: []string{"SECRET=hunter2"}, want: want, serve: func(b *box) site {
			b.put("home/r.txt", b.fill(text))
			return wheelOf(wheeltest.Build(evil()))(b)
		}}
	}
	return append(lockCases(), []hostile{
		line("URL with another hash", "evil @ URL/files/evil-1.0-py3-none-any.whl#sha256="+strings.Repeat("0", 64), evil().Filename(), "sha256"),
		line("URL of another project", "pip @ URL/files/evil-1.0-py3-none-any.whl", "pip"),
		line("URL with a password, of nothing", "evil @ AUTH/files/evil-2.0-py3-none-any.whl", "evil-2.0-py3-none-any.whl", "404"),
		line("URL of a script", "evil @ javascript:evil-1.0-py3-none-any.whl", "evil"),
		allowed("direct_url.json is for everybody to read, and has no password", line("URL with a password", "evil @ AUTH/files/evil-1.0-py3-none-any.whl"), noSecret),
		file("file that includes itself", "-r r.txt\n", "r.txt"),
		file("a million lines", strings.Repeat("# no\n\n", 500_000)+"evil==3\n", "r.txt:1000001 asks for evil ==3"),
		file("a line of 10 MB", "evil=="+strings.Repeat("1", 10<<20)+"\n", "r.txt"),
		file("binary", "\x00\x01\x02\x7fELF", "r.txt"),
		file("option that runs something", "--install-option=x evil\n", "r.txt", "--install-option"),
		file("secret in a wrong line", "evil ${SECRET} evil\n", "r.txt"),
		file("secret in a URL that does not answer", "evil @ http://me:${SECRET}@127.0.0.1:1/evil-1.0-py3-none-any.whl\n", "evil", "127.0.0.1:1"),
		file("secret in a query", "evil @ URL/files/evil-2.0-py3-none-any.whl?token=${SECRET}\n", "404"),
		file("secret in an index that does not answer", "-i http://me:${SECRET}@127.0.0.1:1/simple\nevil\n", "evil", "127.0.0.1:1"),
		file("secret in a marker", "evil; python_version == ${SECRET}\n", "r.txt"),
		file("secret in an option", "--no-binary=${SECRET}!\n", "r.txt"),
	}...)
}

// lockCases are lock files (PEP 751).
func lockCases() []hostile {
	of := func(name, pkg string, want ...string) hostile {
		return hostile{name: "lock: " + name, args: []string{"-i", "URL/simple", "-r", "BOX/home/pylock.toml"}, want: want, serve: func(b *box) site {
			b.put("home/pylock.toml", "lock-version = \"1.0\"\ncreated-by = \"x\"\n[[packages]]\nname = \"evil\"\nversion = \"1.0\"\n"+b.fill(pkg))
			return wheelOf(wheeltest.Build(evil()))(b)
		}}
	}
	const zero = `{sha256 = "0000000000000000000000000000000000000000000000000000000000000000"}`
	return []hostile{
		of("wrong hash", `wheels = [{name = "evil-1.0-py3-none-any.whl", url = "URL/files/evil-1.0-py3-none-any.whl", hashes = `+zero+`}]`, evil().Filename(), "sha256"),
		of("no hash", `wheels = [{name = "evil-1.0-py3-none-any.whl", url = "URL/files/evil-1.0-py3-none-any.whl"}]`, "pylock.toml", "hashes"),
		of("wheel of another project", `wheels = [{name = "pip-1.0-py3-none-any.whl", url = "URL/files/evil-1.0-py3-none-any.whl", hashes = `+zero+`}]`, "pip"),
		of("file name with a traversal", `wheels = [{name = "../../pwned-1.0-py3-none-any.whl", url = "URL/files/x", hashes = `+zero+`}]`, "pylock.toml", "pwned"),
		of("script for a URL", `wheels = [{name = "evil-1.0-py3-none-any.whl", url = "javascript:x", hashes = `+zero+`}]`, "pylock.toml", "the URL names no host"),
		of("program's option for a repository", `vcs = {type = "git", url = "--upload-pack=touch pwned", commit-id = "0123456789012345678901234567890123456789"}`, "pylock.toml"),
		of("subdirectory outside", `archive = {url = "URL/files/x.zip", subdirectory = "../..", hashes = `+zero+`}`, "pylock.toml", "subdirectory"),
		of("bottomless", "x = "+strings.Repeat("[", 1_000_000), "pylock.toml"),
	}
}
