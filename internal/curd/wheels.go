package curd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	s.wheels = true
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
			if err := s.writeBeside(ctx, p, filepath.Join(dir, p.name)); err != nil {
				return nil, err
			}
		}
		if s.Upload {
			report.Uploaded, report.FailedUploads = s.upload(ctx, all)
		}
	}
	report.Elapsed = time.Since(start)
	return report, ctx.Err()
}

// writeBeside writes the record of a build and its signature beside the wheel at path. What lay there of another build is replaced.
func (s *session) writeBeside(ctx context.Context, p prepared, path string) error {
	signature, err := s.signature(ctx, p)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name+record.SignatureSuffix, err)
	}
	for suffix, content := range map[string][]byte{record.Suffix: p.record, record.SignatureSuffix: signature} {
		if content == nil {
			err = os.Remove(path + suffix)
		} else {
			err = WriteFile(path+suffix, bytes.NewReader(content))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %w", p.name+suffix, err)
		}
	}
	return nil
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
