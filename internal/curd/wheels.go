package curd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"curdling/internal/record"
)

// Wheels puts the wheels of all that is required and needed into a folder, from which it can be
// installed without any index. What lies there already under its name is overwritten.
func Wheels(ctx context.Context, o Options, dir string) (*Report, error) {
	start := time.Now()
	s, env, err := newSessionFor(ctx, o)
	if err != nil {
		return nil, err
	}
	defer s.close()
	all, _, err := s.obtain(ctx, env, nil)
	if err != nil {
		return nil, err
	}
	report := &Report{DryRun: s.DryRun, Environment: dir, Python: env.Python}
	s.plan(report, all, nil, nil)
	if !s.DryRun {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, err
		}
		for _, p := range all {
			if err := copyWheel(p.file.path, filepath.Join(dir, p.name)); err != nil {
				return nil, fmt.Errorf("%s: %w", p.name, err)
			}
			if p.record != nil {
				if err := WriteFile(filepath.Join(dir, p.name+record.Suffix), bytes.NewReader(p.record)); err != nil {
					return nil, fmt.Errorf("%s: %w", p.name+record.Suffix, err)
				}
			}
		}
		if s.Upload {
			report.Uploaded, report.FailedUploads = s.upload(ctx, all)
		}
	}
	report.Elapsed = time.Since(start)
	return report, ctx.Err()
}

func copyWheel(from, to string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	return WriteFile(to, r)
}

// WriteFile writes a file that appears whole and on disk, or not at all.
func WriteFile(path string, r io.Reader) error {
	w, err := os.CreateTemp(filepath.Dir(path), ".curd-*")
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	if err = errors.Join(err, w.Chmod(0o644), w.Sync(), w.Close()); err == nil {
		err = os.Rename(w.Name(), path)
	}
	if err != nil {
		os.Remove(w.Name())
	}
	return err
}
