package main

import (
	"bufio"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"curdling/internal/index"
)

// checkURL refuses what is no root of a server.
func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return usageError{fmt.Errorf("%q is not a URL of a server; write http://HOST:PORT or https://HOST/PATH", index.Redact(s))}
	}
	return nil
}

// configuredIndexes gives the indexes that the environment or pip's own configuration name.
func configuredIndexes(getenv func(string) string) []string {
	if u := getenv("CURD_INDEX_URL"); u != "" {
		return strings.Fields(u)
	}
	main, extra := getenv("PIP_INDEX_URL"), strings.Fields(getenv("PIP_EXTRA_INDEX_URL"))
	for _, path := range pipConfigs(getenv) {
		if main != "" && len(extra) > 0 {
			break
		}
		m, e := readPipConfig(path)
		if main == "" {
			main = m
		}
		if len(extra) == 0 {
			extra = e
		}
	}
	if main == "" {
		if len(extra) == 0 || defaultIndex == "" {
			return extra
		}
		main = defaultIndex
	}
	return append([]string{main}, extra...)
}

// pipConfigs lists where pip looks for its configuration, what counts most first.
func pipConfigs(getenv func(string) string) []string {
	var paths []string
	if p := getenv("PIP_CONFIG_FILE"); p != "" {
		if p == os.DevNull {
			return nil
		}
		paths = append(paths, p)
	}
	if v := getenv("VIRTUAL_ENV"); v != "" {
		paths = append(paths, filepath.Join(v, "pip.conf"))
	}
	if dir, err := os.UserConfigDir(); err == nil {
		paths = append(paths, filepath.Join(dir, "pip", "pip.conf"))
	}
	if dir, err := os.UserHomeDir(); err == nil {
		paths = append(paths, filepath.Join(dir, ".config", "pip", "pip.conf"), filepath.Join(dir, ".pip", "pip.conf"))
	}
	if runtime.GOOS != "windows" {
		paths = append(paths, "/etc/pip.conf")
	}
	return paths
}

// readPipConfig reads index-url and extra-index-url of the sections [install] and [global].
func readPipConfig(path string) (main string, extra []string) {
	f, err := os.Open(path)
	if err != nil {
		return "", nil
	}
	defer f.Close()
	section, key := "", ""
	values := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		raw := lines.Text()
		line := strings.TrimSpace(raw)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[' && strings.HasSuffix(line, "]"):
			section, key = line[1:len(line)-1], ""
		case raw[0] == ' ' || raw[0] == '\t': // goes on with the line before
			if key != "" {
				values[key] += " " + line
			}
		default:
			k, v, _ := strings.Cut(line, "=")
			key = section + "." + strings.ReplaceAll(strings.ToLower(strings.TrimSpace(k)), "_", "-")
			values[key] = strings.TrimSpace(v)
		}
	}
	either := func(key string) string {
		if v := values["install."+key]; v != "" {
			return v
		}
		return values["global."+key]
	}
	return either("index-url"), strings.Fields(either("extra-index-url"))
}
