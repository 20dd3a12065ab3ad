// Package resolve chooses one version of every project that a set of
// requirements needs, so that all requirements hold, or explains why that
// cannot be. It is pure: everything it knows of the world comes through a
// [Source], and the same answers give the same result.
//
// The algorithm is PubGrub: what is known is a list of incompatibilities (sets
// of terms that do not hold together), from which unit propagation derives what
// must be, and every dead end teaches a new one. A solution is found where one
// exists, save for what the rules on prereleases and yanked files below say.
//
// Versions. Of the candidates that still fit, the one that the source lists
// first is taken, with these rules on top:
//
//   - A prerelease (PEP 440) is on a par with final versions where
//     Problem.Prereleases is set, or a requirement or constraint in force for
//     the project names a prerelease or is a URL. Elsewhere it is taken only
//     where the requirements in force admit no final version that can be used.
//     Final versions that are admitted but conflict with something else do not
//     count as missing: that is a conflict, not a reason for a prerelease.
//   - A yanked file (PEP 592) is taken only where a requirement or constraint
//     in force pins its version (==, without wildcard, or ===).
//   - A project that waits for such permission is decided after all others.
//     The solver does not go through older versions of other projects in
//     search of one that would give the permission.
//
// Builds. The metadata of a source distribution may have to be built. Unless the
// user asks for its project, it is read only once everything else is decided.
//
// A requirement is in force when the user asks for it, or when a chosen
// version (and extra) needs it and its marker holds.
//
// Extras. "P[extra]" is a package of its own without versions: with a chosen
// version of P it needs what that version lists under the extra. An extra that
// no requirement of the chosen version mentions adds nothing, see Choice.Unmentioned.
//
// Constraints hold for a project as soon as something needs it; their extras
// are ignored. "name @ URL" is "name" in any version: the source has made the
// URL the only candidate.
package resolve

import (
	"context"
	"fmt"

	"curdling/internal/dist"
	"curdling/internal/marker"
	"curdling/internal/requirement"
	"curdling/internal/version"
)

// Source answers the solver's questions. Answers may use the network; the
// solver never does. It is asked from one goroutine.
type Source interface {
	// Files gives the candidates of a project, most preferred first (the order
	// is the source's policy: what is installed, then caches, then indexes,
	// newest first in each). Where a version stands there more than once, the
	// first file of it that can be used is taken.
	//
	// want is what the solver can still use: a source that has several places
	// to ask asks the next one only while none of the usable candidates found
	// so far lies in want. A later call with another want may give more
	// candidates, never fewer; that want leaves out the versions of files that
	// Requires called unusable. The solver keeps the slice. No such project: an
	// error that is fs.ErrNotExist.
	Files(ctx context.Context, name dist.Name, want version.Set) ([]Candidate, error)

	// Requires gives what a candidate needs, for all extras (markers not yet
	// evaluated). *Unusable means that this candidate cannot be used (broken
	// metadata, wrong Python): the solver passes on to the next. Any other
	// error ends the solve.
	Requires(ctx context.Context, f dist.File) ([]requirement.Requirement, error)
}

// Hinter is a Source that can advise on conflicts.
type Hinter interface {
	// Hint tells what the user may do about a project of which the candidates in
	// want cannot be used, or do not exist: "it is on other.example.org too,
	// which is asked only with --index-strategy ...". "" is no advice.
	Hint(name dist.Name, want version.Set) string
}

// Candidate is a file that may be chosen.
type Candidate struct {
	dist.File
	// Barred tells why it can't be used ("no wheel for cp311 on linux x86_64
	// and no source", "needs Python >=3.12"), "" where it can.
	Barred string
	// Admitted: a prerelease that counts as a final version. PEP 440 has that
	// for what is installed already.
	Admitted bool
}

// Unusable is the error of a candidate that cannot be used after all.
type Unusable struct {
	Reason string // "its metadata is broken"
	Err    error  // the cause, or nil
}

func (u *Unusable) Error() string {
	if u.Err == nil {
		return u.Reason
	}
	return u.Reason + ": " + u.Err.Error()
}

func (u *Unusable) Unwrap() error { return u.Err }

// Problem is what to solve.
type Problem struct {
	Requirements []Wanted           // what the user asks for
	Constraints  []Wanted           // restrict versions of what is needed anyway
	Markers      marker.Environment // what markers are evaluated with
	Prereleases  bool               // all prereleases are admitted
	Trace        func(Step)         // is told each step as it is taken; nil: nobody is
	Unexplained  bool               // a *Conflict says only that it is one: finding its reasons can take long
}

// Wanted is a requirement and who states it.
type Wanted struct {
	requirement.Requirement
	Where string // "requirements.txt:3"; "" is the command line
}

func (w Wanted) where() string {
	if w.Where == "" {
		return "the command line"
	}
	return w.Where
}

// Solution is what was chosen. It holds nothing that is not needed.
type Solution struct {
	Chosen []Choice // sorted by name
}

// Choice is one chosen version.
type Choice struct {
	File        dist.File
	Extras      []dist.Name // asked for and mentioned by a requirement of the version, sorted
	Requested   bool        // asked for by the user
	Needs       []dist.Name // direct dependencies that hold here, sorted
	Unmentioned []dist.Name // asked for, and unknown or empty, sorted
	NeededBy    []string    // "the command line", "flask 3.0.0", "flask[async] 3.0.0": for reports
}

// Solve chooses. An error is a *Conflict where nothing fits together; it is
// ctx's where that ended, and else the source's, with the project's name.
func Solve(ctx context.Context, p Problem, src Source) (*Solution, error) {
	return newSolver(ctx, p, src).solve()
}

// holds evaluates a requirement of the user.
func (w Wanted) holds(env marker.Environment) (bool, error) {
	ok, err := w.Marker.Holds(env, "")
	if err != nil {
		return false, fmt.Errorf("%s: %s: %w", w.where(), w.Requirement, err)
	}
	return ok, nil
}
