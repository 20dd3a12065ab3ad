// Package curd is the workshop: it joins resolving, fetching, building and
// installing into the runs that users ask for. It reads no flags and prints
// nothing; what it does is told to Options.Notify and in the Report.
package curd

import (
	"context"
	"log/slog"
	"net"
	"time"

	"golang.org/x/mod/sumdb/note"

	"curdling/internal/dist"
	"curdling/internal/install"
	"curdling/internal/metadata"
	"curdling/internal/python"
	"curdling/internal/requirement"
	"curdling/internal/resolve"
	"curdling/internal/version"
)

// Options is what one run is asked to do.
type Options struct {
	Requirements     []resolve.Wanted // what to install; the Name of a folder may be ""
	Constraints      []resolve.Wanted // restrict the versions of what is needed anyway
	BuildConstraints []resolve.Wanted // likewise for what builds need
	Editable         map[string]bool  // the URLs (file:) of Requirements' folders to install as they stand (PEP 660)

	Lock *Lock // what to install instead of what Requirements would resolve to; nil: resolve

	Python              string // --python; "" finds one: see python.Find
	Target              string // a folder to install into instead of Python's own; "" is none
	BreakSystemPackages bool   // install even where PEP 668 forbids it

	Caches       []string     // roots of cache servers, in order; may hold credentials
	Indexes      []NamedIndex // in order; empty: DefaultIndex alone
	DefaultIndex string       // root of the public index; "" is none
	// Sources pins projects to an index, by its name.
	Sources map[dist.Name]string
	// BestMatch takes the best version of all indexes, and not the first index
	// that knows a name: then whoever can register a private name on a public index is installed.
	BestMatch bool
	FindLinks []string // folders and pages whose links are candidates besides those of the indexes
	Private   []string // globs of names that the default index is never asked for
	NoIndex   bool     // ask no index at all; FindLinks and Caches are
	Offline   bool     // ask nobody: what the own cache remembers must do
	Network   Network

	// Trusted are the keys of those whose builds are used, of all that cache servers have; none: everybody's are.
	// Where there are any, Verify holds too.
	Trusted []note.Verifier
	// Verify takes what the index publishes from cache servers only with the sha256 that the index names.
	Verify bool
	// Signer signs the builds of this machine that go to cache servers and into folders; nil: they are not signed.
	Signer note.Signer

	NoBinary   requirement.Names // never use a wheel of an index or a cache server; All leaves out what OnlyBinary names
	OnlyBinary requirement.Names // never build; All leaves out what NoBinary names
	// Hashes are what a project's files may have ("sha256:..." in hex, sha384 and
	// sha512 also), one of them. With RequireHashes there must be one for every project.
	Hashes        map[dist.Name][]string
	RequireHashes bool
	ExcludeNewer  time.Time  // files uploaded later do not count; the zero value excludes none
	Resolution    Resolution // which versions are preferred; "" is Highest
	NoDeps        bool       // leave out what Requirements need themselves
	OnlyDeps      bool       // leave out Requirements themselves, and take what they need

	// ConfigSettings are for all build backends, SettingsOf for that of one project, by its name or URL.
	ConfigSettings   map[string][]string
	SettingsOf       map[string]map[string][]string
	BuildOffline     bool // let builds have no network, or fail
	NoBuildIsolation bool // build in the environment itself, with what is installed there

	Upload bool // send what a cache server lacked
	// BuildWait is how long to wait for a build that another machine is at; 0 builds at once, whatever others do or failed to.
	BuildWait time.Duration
	// Upgrade takes the newest of all places, whatever is installed or cached;
	// UpgradeOf does so for some projects.
	Upgrade   bool
	UpgradeOf map[dist.Name]bool
	// Preferred versions are taken before others, wherever they are: those of the lock that is made anew.
	Preferred                map[dist.Name]version.Version
	Force                    bool              // install again what is there
	Prereleases              bool              // admit them everywhere
	PrereleasesOf, OnlyFinal requirement.Names // admit them for some projects, and for some never
	DryRun                   bool              // solve, and change nothing
	Describe                 bool              // fill Installed.Metadata
	Explain                  bool              // tell Notify of every Decision
	Sync                     bool              // remove what is neither required nor needed
	CompileBytecode          bool
	LinkMode                 install.LinkMode

	dial func(ctx context.Context, network, address string) (net.Conn, error) // nil: the system's way; tests have their own

	Home      string // the machine's own cache, see curds.Open
	UserAgent string
	Log       *slog.Logger // nil: silent
	// Notify hears of progress, from several goroutines at once; nil: nobody does.
	Notify func(Event)
}

// NamedIndex is where projects are to be had.
type NamedIndex struct {
	Name     string // by which Sources pins to it; "" has none
	URL      string // root of its Simple API; may hold credentials
	Explicit bool   // asked for pinned projects alone
}

// Network is how servers are reached. The zero value is the system's way.
type Network struct {
	Retries      int           // further attempts after a passing fault; 0 is 3, below 0 is none
	Timeout      time.Duration // that a server may be silent; 0 is 30 s
	CABundle     string        // PEM file in the place of the system's certificates
	ClientCert   string        // PEM file with our certificate and its key
	Proxy        string        // URL in the place of http_proxy and https_proxy; may hold credentials
	TrustedHosts []string      // "host" or "host:port", whose certificates are not checked
	Keyring      bool          // ask the program "keyring" who we are where a server refuses us
}

// Resolution tells which versions are preferred.
type Resolution string

// The resolutions, as they are written.
const (
	Highest      Resolution = "highest"
	Lowest       Resolution = "lowest"
	LowestDirect Resolution = "lowest-direct" // of what the user asks for
)

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
	Asking     Phase = "asking" // for a project's page or a file's metadata, while resolving
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
	Name  string // a project, a file, or a sentence where Kind is Warning or Decision
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
	Decision // Name is a sentence: why a version was taken or left
)

// Origin tells where an installed file came from.
type Origin string

// The origins, as they are shown.
const (
	OwnCache    Origin = "own cache"
	CacheServer Origin = "cache server"
	Index       Origin = "index"
	Folder      Origin = "folder" // of --find-links
	Built       Origin = "built"
	URL         Origin = "URL"
)

// Installed is one distribution that a run installed.
type Installed struct {
	Name      dist.Name
	Version   version.Version
	Replaced  version.Version // the zero value where nothing was there
	Origin    Origin
	File      dist.File          // as its index lists it; a wheel or a source
	Direct    *install.DirectURL // where it was required by URL
	Requested bool               // by the user
	Extras    []dist.Name        // that were asked for
	Saved     Saved              // what the caches spared for it
	Metadata  *metadata.Metadata // nil in a dry run where nobody had to read it
}

// Report is what a run did.
type Report struct {
	DryRun        bool
	Environment   string // sys.prefix
	Python        *python.Interpreter
	Installed     []Installed
	Removed       []Installed // by Sync, and not replaced
	Kept          int         // of what was asked for or needed, already there
	Saved         Saved
	Uploaded      []string
	FailedUploads []error
	Elapsed       time.Duration
}

// Saved is what the caches spared a run.
type Saved struct {
	Bytes  int64         // not fetched from an index
	Builds int           // not done here
	Time   time.Duration // of those builds whose time is known
}
