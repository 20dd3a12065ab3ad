// Package curd is the workshop: it joins resolving, fetching, building and
// installing into the runs that users ask for. It reads no flags and prints
// nothing; what it does is told to Options.Notify and in the Report.
package curd

import (
	"log/slog"
	"time"

	"curdling/internal/dist"
	"curdling/internal/requirement"
	"curdling/internal/resolve"
	"curdling/internal/version"
)

// Options is what one run is asked to do.
type Options struct {
	Requirements []resolve.Wanted // what to install; the Name of a folder may be ""
	Constraints  []resolve.Wanted // restrict the versions of what is needed anyway
	Editable     map[string]bool  // the URLs (file:) of Requirements' folders to install as they stand (PEP 660)

	Python              string // --python; "" finds one: see python.Find
	BreakSystemPackages bool   // install even where PEP 668 forbids it

	Caches       []string          // roots of cache servers, in order; may hold credentials
	Indexes      []string          // roots of Simple APIs, in order; empty: DefaultIndex alone
	DefaultIndex string            // the public index; "" is none
	Private      []string          // globs of names that the default index is never asked for
	NoIndex      bool              // ask no index at all
	NoBinary     requirement.Names // never use a wheel of an index or a cache server; All leaves out what OnlyBinary names
	OnlyBinary   requirement.Names // never build; All leaves out what NoBinary names
	// Hashes are the SHA-256 hashes, in hex, that a project's files may have. With
	// RequireHashes there must be one for every project.
	Hashes        map[dist.Name][]string
	RequireHashes bool

	Upload      bool // send what a cache server lacked
	Upgrade     bool // the newest of all places, whatever is installed or cached
	Force       bool // install again what is there
	Prereleases bool // admit them everywhere
	DryRun      bool // solve, and change nothing

	Home      string // the machine's own cache, see curds.Open
	UserAgent string
	Log       *slog.Logger // nil: silent
	// Notify hears of progress, from several goroutines at once; nil: nobody does.
	Notify func(Event)
}

func (o *Options) noBinary(name dist.Name) bool {
	return o.NoBinary.Of[name] || o.NoBinary.All && !o.OnlyBinary.Of[name]
}

func (o *Options) onlyBinary(name dist.Name) bool {
	return o.OnlyBinary.Of[name] || o.OnlyBinary.All && !o.NoBinary.Of[name]
}

// Phase is a part of a run.
type Phase string

// The phases, in the order in which a run enters them.
const (
	Resolving  Phase = "resolving"
	Fetching   Phase = "fetching"
	Building   Phase = "building"
	Unpacking  Phase = "unpacking"
	Installing Phase = "installing"
	Uploading  Phase = "uploading"
)

// Event is a step of a run. Begin and End enclose the work on one thing;
// between them, Bytes arrive.
type Event struct {
	Phase Phase
	Kind  EventKind
	Name  string // a project, a file, or a sentence where Kind is Warning
	Step  string // Building: "installing build requirements"
	Bytes int64  // Begin: how many will arrive, 0 where that is not known; Progress: how many more have (after a restart: fewer)
	Count int    // Plan: how many things the phase will work on
}

// EventKind tells what an Event says.
type EventKind uint8

// What can happen.
const (
	Plan EventKind = iota + 1
	Begin
	Progress
	End
	Warning
)

// Origin tells where an installed file came from.
type Origin string

// The origins, as they are shown.
const (
	OwnCache    Origin = "own cache"
	CacheServer Origin = "cache server"
	Index       Origin = "index"
	Built       Origin = "built"
	URL         Origin = "URL"
)

// Installed is one distribution that a run installed.
type Installed struct {
	Name     dist.Name
	Version  version.Version
	Replaced version.Version // the zero value where nothing was there
	Origin   Origin
}

// Report is what a run did.
type Report struct {
	DryRun        bool
	Environment   string // sys.prefix
	Installed     []Installed
	Kept          int // of what was asked for or needed, already there
	Uploaded      []string
	FailedUploads []error
	Elapsed       time.Duration
}
