package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"curdling/internal/catalog"
	"curdling/internal/config"
	"curdling/internal/index"
	"curdling/internal/mirror"
)

// mirrorOptions say what other indexes are mirrored, and how.
type mirrorOptions struct {
	upstreams       []string // NAME=URL, URL, or pypi
	private, public []string // globs
	excludeNewer    string   // "" is no bound
	offline         bool
}

func (o *mirrorOptions) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&o.upstreams, "upstream", nil, "also have what this index has, fetched when it is asked for: `NAME=URL` with the root of its Simple API,\n"+
		"or pypi for the default index; of several the first that knows a name has it; may repeat")
	flags.StringArrayVar(&o.private, "private", nil, "never ask an upstream for names that match this `GLOB`; may repeat")
	flags.StringArrayVar(&o.public, "public", nil, "names that match this `GLOB` are the upstream's, whatever was uploaded here before; may repeat")
	flags.StringVar(&o.excludeNewer, "exclude-newer", "", "leave out what upstreams published after `WHEN`: 2026-11-01, a time (RFC 3339),\nor 7d for what is younger than seven days")
	flags.BoolVar(&o.offline, "offline", false, "ask no upstream: serve what is held")
}

// openMirror makes the mirror, nil where there is none.
func (o *mirrorOptions) openMirror(held *catalog.Catalog, holding holding, log *slog.Logger) (*mirror.Mirror, error) {
	if len(o.upstreams) == 0 {
		return nil, nil
	}
	c := mirror.Config{
		Catalog: held, Private: o.private, Public: o.public, Offline: o.offline, Log: log,
		State:     filepath.Join(holding.state, "upstream"),
		UserAgent: "curd-server/" + version,
	}
	if holding.fleet != nil {
		c.Shared = holding.fleet.store
	} else {
		c.Claims = filepath.Join(holding.folder.Dir(), mirror.ClaimsFile)
	}
	var err error
	if c.Upstreams, err = parseUpstreams(o.upstreams, defaultIndex); err != nil {
		return nil, usageError{err}
	}
	if o.excludeNewer != "" {
		if _, err := config.ParseCutoff(o.excludeNewer, time.Now()); err != nil {
			return nil, usageError{err}
		}
		c.Newest = func(now time.Time) time.Time {
			t, _ := config.ParseCutoff(o.excludeNewer, now) // it was read before
			return t
		}
	}
	netrc, err := index.ReadNetrc(index.FindNetrc(os.Getenv))
	if err != nil {
		return nil, err
	}
	c.Credentials = netrc.Lookup
	m, err := mirror.New(c)
	if err != nil {
		return nil, fmt.Errorf("--upstream cannot be followed: %w", err)
	}
	for _, u := range c.Upstreams {
		log.Info("mirroring", "upstream", u.Name, "url", index.Redact(u.URL))
	}
	if names := m.PrivateHeld(); len(names) > 0 {
		log.Info("projects that lie here and that no upstream is asked for; --public GLOB has the upstream's page of those that are an upstream's",
			"projects", len(names), "some", names[:min(len(names), 10)])
	}
	return m, nil
}

// parseUpstreams reads NAME=URL, a URL, which is named by its host, or pypi.
func parseUpstreams(texts []string, defaultIndex string) (all []mirror.Upstream, err error) {
	for _, text := range texts {
		u := mirror.Upstream{}
		u.Name, u.URL = config.CutIndex(text)
		if text == "pypi" {
			if defaultIndex == "" {
				return nil, errors.New("--upstream pypi: this program was built without a default index; write pypi=URL")
			}
			u = mirror.Upstream{Name: text, URL: defaultIndex}
		}
		at, err := url.Parse(u.URL)
		if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
			return nil, fmt.Errorf("--upstream %s: write NAME=URL, with the root of the index's Simple API: corp=https://HOST/simple/", index.Redact(text))
		}
		if u.Name == "" {
			u.Name = at.Hostname()
		}
		if slices.ContainsFunc(all, func(other mirror.Upstream) bool { return other.Name == u.Name }) {
			return nil, fmt.Errorf("--upstream: two are named %s; give one another name: NAME=URL", u.Name)
		}
		all = append(all, u)
	}
	return all, nil
}
