// Package lock reads, chooses from, and writes lock files of PEP 751: pylock.toml.
//
// A file is held against the specification as Python's packaging does
// (packaging.pylock), key by key and type by type; keys that it does not know
// are passed over. A lock file is foreign, and read more strictly than that:
//
//   - URLs have a scheme that can be fetched (http, https, file; for a
//     repository those of its programs), a host, and no spaces or control
//     characters; neither they nor paths can be taken for a program's option;
//   - a subdirectory stays inside its source;
//   - the digest of a known algorithm has its length in hexadecimal digits;
//   - the type of a repository is git, hg, svn or bzr, and its commit a full
//     one where there are such;
//   - a size is not negative.
//
// Limits: 16 MiB a file, nested at most 100 deep, 100,000 packages, 1,000 wheels
// of a package.
package lock

import (
	"path/filepath"
	"time"

	"curdling/internal/dist"
	"curdling/internal/lazyregexp"
	"curdling/internal/marker"
	"curdling/internal/version"
)

const (
	maxSize     = 16 << 20 // bytes
	maxPackages = 100_000
	maxWheels   = 1000 // of one package
)

var filename = lazyregexp.New(`^pylock\.([^.]+\.)?toml$`)

// IsFilename tells whether a path or URL ends as PEP 751 names lock files:
// pylock.toml or pylock.NAME.toml.
func IsFilename(path string) bool {
	return filename.MatchString(filepath.Base(filepath.ToSlash(path)))
}

// Lock is a lock file. The zero value of what is optional says nothing.
type Lock struct {
	Version          version.Version // lock-version: "1.0"; later ones are read below 2
	Environments     []marker.Marker // one of which must hold, if there are any
	RequiresPython   version.Specifiers
	Extras           []dist.Name
	DependencyGroups []string // that may be asked for
	DefaultGroups    []string // that are installed unless others are asked for
	CreatedBy        string
	Packages         []Package
	Tool             map[string]any // of the tool that wrote the file, as TOML has it
}

// Package is one entry of [[packages]]. It has either Wheels and Sdist, or one
// of them, or exactly one of VCS, Directory and Archive.
type Package struct {
	Name           dist.Name
	Version        version.Version // the zero value where the source alone tells it
	Marker         marker.Marker
	RequiresPython version.Specifiers
	Dependencies   []map[string]any // for the reader; installing does not heed it
	VCS            *VCS
	Directory      *Directory
	Archive        *File  // with Subdirectory, and without Name
	Index          string // URL
	Sdist          *File
	Wheels         []File
	// AttestationIdentities are publishers (PEP 740), each with its "kind".
	AttestationIdentities []map[string]any
	Tool                  map[string]any
}

// VCS is a repository. Path goes before URL.
type VCS struct {
	Type              string // "git", "hg", "svn" or "bzr"
	URL               string // may hold credentials
	Path              string
	RequestedRevision string // what the commit was looked up by
	CommitID          string
	Subdirectory      string // of the project in it, slash-separated
}

// Directory is a project's folder on this machine.
type Directory struct {
	Path         string
	Editable     bool
	Subdirectory string // of the project in it, slash-separated
}

// File is a wheel, a source distribution, or an archive. Path goes before URL.
// A relative path begins at the folder of the lock file.
type File struct {
	Name         string            // where it is not the last segment of Path or URL
	URL          string            // may hold credentials
	Path         string            // slash-separated, or as this system has it
	Size         int64             // bytes; 0 where it is not known
	UploadTime   time.Time         // UTC
	Hashes       map[string]string // lower-case hex by algorithm, at least one
	Subdirectory string            // of the project in an archive, slash-separated
}
