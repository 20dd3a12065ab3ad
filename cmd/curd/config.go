package main

import (
	"fmt"
	"net/url"

	"curdling/internal/index"
)

// checkURL refuses what is no root of a server.
func checkURL(s string) error {
	u, err := url.Parse(s)
	if err == nil && u.Scheme == "file" && u.Path != "" { // a folder with a page for each project
		return nil
	}
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return usageError{fmt.Errorf("%q is not a URL of a server; write http://HOST:PORT or https://HOST/PATH (a constraints file goes with --constraint)", index.Redact(s))}
	}
	return nil
}
