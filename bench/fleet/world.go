//go:build linux

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"curdling/internal/record"
	"curdling/internal/wheel/wheeltest"
)

// project is one of the world. The first is the most popular one.
type project struct {
	name     string
	size     int   // bytes of each of its wheels
	requires []int // all more popular
}

// world is what the servers hold when the morning begins: projects with some versions each.
type world struct {
	projects []project
	versions int
}

func newWorld(seed uint64, projects, versions int) *world {
	r := rand.New(rand.NewPCG(seed, 1))
	w := &world{make([]project, projects), versions}
	for i := range w.projects {
		p := &w.projects[i]
		p.name = fmt.Sprintf("project-%04d", i)
		p.size = int(min(max(20_000*math.Exp(1.2*r.NormFloat64()), 2_000), 1_000_000))
		for range min(i, r.IntN(4)) {
			if needs := popular(r, i); !slices.Contains(p.requires, needs) {
				p.requires = append(p.requires, needs)
			}
		}
	}
	return w
}

// popular chooses one of the first n projects, by Zipf's law.
func popular(r *rand.Rand, n int) int { return int(rand.NewZipf(r, 1.2, 8, uint64(n-1)).Uint64()) }

// closure is what it takes to install these projects.
func (w *world) closure(roots []int) []int {
	all := slices.Clone(roots)
	for i := 0; i < len(all); i++ {
		for _, needs := range w.projects[all[i]].requires {
			if !slices.Contains(all, needs) {
				all = append(all, needs)
			}
		}
	}
	return all
}

// file is a file and what lies beside it.
type file struct {
	name    string
	content []byte
	record  []byte // of a build; else nil
}

func (f *file) sha256() string { return sha256Of(f.content) }

func sha256Of(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// wheel makes a wheel of project i. Another salt gives other bytes of the same name.
func (w *world) wheel(i int, version, salt string) file {
	p := w.projects[i]
	var requires []string
	for _, needs := range p.requires {
		requires = append(requires, w.projects[needs].name)
	}
	return newWheel(wheeltest.Wheel{Name: p.name, Version: version, Requires: requires, RequiresPython: ">=3.8"}, p.size, salt)
}

// newWheel makes a wheel of about size bytes that nothing compresses.
func newWheel(w wheeltest.Wheel, size int, salt string) file {
	noise := make([]byte, size)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(w.Name + "-" + w.Version + salt))).Read(noise) // never fails
	w.Files = map[string]string{w.Name + "/data.bin": string(noise)}
	members := w.Members()
	for i := range members {
		members[i].Stored = true
	}
	return file{name: w.Filename(), content: wheeltest.Zip(members)}
}

// source is something that has to be built.
type source struct {
	name, sha256, key string
	later             bool                      // the record of its build is of a later schema
	uploaded          atomic.Pointer[time.Time] // when the first build of it was acknowledged
}

func newSource(name string) *source {
	s := &source{name: name, sha256: sha256Of([]byte(name))}
	s.key = record.Key(record.Decides{From: s.sha256, Tag: "cp311-cp311", Platform: "linux_x86_64 glibc"})
	return s
}

// build makes a wheel of the source, with its record. No two builds have the same bytes.
func (s *source) build(took time.Duration) (file, error) {
	r := &record.Record{
		Key:  s.key,
		From: record.From{SHA256: s.sha256, Filename: s.name + "-1.0.tar.gz"},
		With: record.With{Backend: "setuptools.build_meta"},
		On:   record.On{Python: "3.11.7", Tag: "cp311-cp311", Platform: "linux_x86_64", Libc: "glibc 2.36"},
		Cost: record.Cost{Seconds: took.Seconds(), Built: time.Now().UTC().Truncate(time.Millisecond)},
	}
	if err := r.Identify(); err != nil {
		return file{}, err
	}
	f := newWheel(wheeltest.Wheel{Name: s.name, Version: "1.0", BuildTag: r.BuildTag().String()}, 100_000, fmt.Sprint(rand.Uint64()))
	r.Wheel = record.Wheel{Filename: f.name, Size: int64(len(f.content)), SHA256: f.sha256()}
	var err error
	if f.record, err = r.Encode(); err == nil && s.later {
		f.record = laterRecord(f.record)
	}
	return f, err
}

// laterRecord makes a record one of a later schema, which says more.
func laterRecord(text []byte) []byte {
	return bytes.Replace(text, fmt.Appendf(nil, `"schema": %d,`, record.Schema), fmt.Appendf(nil, `"schema": %d, "later": {"x": [1]},`, record.Schema+1), 1)
}
