package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"curdling/internal/dist"
	"curdling/internal/index"
)

// index of a folder that counts what it is asked for, and fails when it is told to.
type site struct {
	dir   string
	rate  int // bytes a second of one connection
	pages map[dist.Name]*index.Project
	names []dist.Name

	wrong, silent  atomic.Bool
	fetches, asked atomic.Int64 // files begun; requests of any kind

}

// upstream serves a folder of wheels until it is told to stop: /simple/NAME/ and /files/NAME.
// POST /control?wrong=1&silent=1 sets how it fails (whatever is left out heals),
// GET /control tells how often files were fetched since the last POST.
func upstream(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("upstream", flag.ContinueOnError)
	port := flags.Int("port", 0, "on 127.0.0.1")
	s := &site{pages: make(map[dist.Name]*index.Project)}
	flags.StringVar(&s.dir, "dir", "", "folder of wheels")
	flags.IntVar(&s.rate, "rate", 100_000_000, "bytes a second for each connection")
	if err := parse(flags, args); err != nil {
		return err
	}
	if err := s.read(); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /control", s.setControl)
	mux.HandleFunc("GET /control", s.getControl)
	mux.HandleFunc("GET /simple/{$}", s.falter(s.list))
	mux.HandleFunc("GET /simple/{name}", s.falter(s.project)) // proxpi and some others leave the slash out
	mux.HandleFunc("GET /simple/{name}/{$}", s.falter(s.project))
	mux.HandleFunc("GET /files/{file}", s.falter(s.file))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (s *site) read() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		file, err := dist.ParseFilename(entry.Name(), "")
		if err != nil {
			continue
		}
		content, err := os.ReadFile(filepath.Join(s.dir, entry.Name()))
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		file.SHA256, file.Size, file.URL = hex.EncodeToString(sum[:]), int64(len(content)), "../../files/"+file.Filename
		if s.pages[file.Name] == nil {
			s.pages[file.Name] = &index.Project{Name: file.Name}
			s.names = append(s.names, file.Name)
		}
		s.pages[file.Name].Files = append(s.pages[file.Name].Files, file)
	}
	return nil
}

// falter keeps everybody waiting while the upstream is silent.
func (s *site) falter(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		for s.silent.Load() {
			select {
			case <-r.Context().Done():
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
		next(w, r)
	}
}

func (s *site) setControl(w http.ResponseWriter, r *http.Request) {
	s.wrong.Store(r.FormValue("wrong") != "")
	s.silent.Store(r.FormValue("silent") != "")
	s.fetches.Store(0)
	s.asked.Store(0)
	w.WriteHeader(http.StatusNoContent)
}

func (s *site) getControl(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, `{"fetches": %d, "asked": %d}`, s.fetches.Load(), s.asked.Load())
}

func (s *site) list(w http.ResponseWriter, r *http.Request) {
	s.page(w, r, func(contentType string) ([]byte, error) { return index.RenderProjects(s.names, contentType) })
}

func (s *site) project(w http.ResponseWriter, r *http.Request) {
	page := s.pages[dist.Name(r.PathValue("name"))]
	switch {
	case page == nil:
		http.NotFound(w, r)
	case !strings.HasSuffix(r.URL.Path, "/"):
		http.Redirect(w, r, r.URL.Path+"/", http.StatusMovedPermanently)
	default:
		s.page(w, r, func(contentType string) ([]byte, error) { return index.RenderProject(page, contentType) })
	}
}

func (s *site) page(w http.ResponseWriter, r *http.Request, render func(string) ([]byte, error)) {
	contentType := cmp.Or(index.Negotiate(r.Header.Get("Accept")), "text/html")
	body, err := render(contentType)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "max-age=1")
	_, _ = w.Write(body) // the client is gone, or not
}

// file sends a file no faster than the rate, with one byte in its middle changed while it is wrong.
func (s *site) file(w http.ResponseWriter, r *http.Request) {
	content, err := os.ReadFile(filepath.Join(s.dir, filepath.Base(r.PathValue("file"))))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	if s.wrong.Load() {
		content[len(content)/2] ^= 1
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(content)))
	w.Header().Set("Content-Type", "application/octet-stream")
	if r.Method == http.MethodHead {
		return
	}
	s.fetches.Add(1)
	start := time.Now()
	for sent := 0; sent < len(content); {
		part := content[sent:min(len(content), sent+1<<18)]
		if _, err := w.Write(part); err != nil {
			return
		}
		sent += len(part)
		due := time.Duration(float64(sent) / float64(s.rate) * float64(time.Second))
		time.Sleep(due - time.Since(start))
	}
}
