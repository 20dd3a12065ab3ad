package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

const (
	curdTOML  = "curd.toml"
	pyproject = "pyproject.toml"

	maxCurdTOML  = 1 << 17 // bytes
	maxPyproject = 4 << 20
	maxPip       = 1 << 20 // of each of pip's files
)

// files finds and parses the TOML files that count, the nearest first.
func (l *loader) files() ([]*file, error) {
	switch path := l.Getenv("CURD_CONFIG_FILE"); path {
	case "":
	case os.DevNull:
		return nil, nil
	default:
		f, err := l.readFile(path)
		if err != nil {
			return nil, fmt.Errorf("CURD_CONFIG_FILE: %w", err)
		}
		return []*file{f}, nil
	}
	var files []*file
	project, err := l.project()
	if err != nil {
		return nil, err
	}
	if project != nil {
		files = append(files, project)
	}
	for _, path := range []string{l.userFile(), filepath.Join(l.Etc, curdTOML)} {
		if path == "" || !isFile(path) {
			continue
		}
		f, err := l.readFile(path)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// isFile tells whether a file is there. In a folder that we may not look into there is none.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// userFile gives the path of the user's own file, "" where there is no place for it.
func (l *loader) userFile() string {
	dir := l.userConfig()
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, "curd", curdTOML)
}

// userConfig is the folder of the user's configuration, "" where there is none.
func (l *loader) userConfig() string {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		dir, _ := os.UserConfigDir()
		return dir
	}
	if dir := l.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return dir
	}
	if l.Home == "" {
		return ""
	}
	return filepath.Join(l.Home, ".config")
}

// UserDir gives the folder of the user's own curd.toml, which need not be there.
func UserDir() (string, error) {
	l := &loader{}
	l.complete()
	if dir := l.userConfig(); dir != "" {
		return filepath.Join(dir, "curd"), nil
	}
	return "", errors.New("no place for your configuration: there is no home folder")
}

// project finds the project's file from the working folder upwards; nil: there is none.
func (l *loader) project() (*file, error) {
	if l.Dir == "" {
		return nil, nil
	}
	for dir := filepath.Clean(l.Dir); ; dir = filepath.Dir(dir) {
		for _, name := range []string{curdTOML, pyproject} {
			path := filepath.Join(dir, name)
			if !isFile(path) {
				continue
			}
			f, err := l.readFile(path)
			if err != nil {
				return nil, err
			}
			if f.settings == nil {
				continue
			}
			if dir != filepath.Clean(l.Dir) && strange(path, l.Dir) {
				return nil, fmt.Errorf("%s belongs to another user than the working folder: it may be a trap; CURD_CONFIG_FILE=%s takes it nevertheless, CURD_CONFIG_FILE=%s none", path, path, os.DevNull)
			}
			return f, nil
		}
		if dir == filepath.Dir(dir) {
			return nil, nil
		}
	}
}

// readFile reads and parses a TOML file.
func (l *loader) readFile(path string) (*file, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	limit := maxCurdTOML
	if filepath.Base(path) == pyproject {
		limit = maxPyproject
	}
	b, err := readAll(path, limit)
	if err != nil {
		return nil, err
	}
	if filepath.Base(path) == pyproject && !bytes.Contains(b, []byte("curd")) {
		return &file{path: path, loader: l}, nil // says nothing to us, whatever is wrong with it
	}
	return l.parseFile(path, b)
}

var errTooLong = errors.New("no configuration is so long")

// readAll reads a file of at most limit bytes.
func readAll(path string, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(b) > limit {
		err = fmt.Errorf("%s: %w: longer than %d bytes", path, errTooLong, limit)
	}
	return b, err
}
