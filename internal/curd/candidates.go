package curd

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/python"
	"curdling/internal/resolve"
)

// candidates chooses the best file of each version on the pages, newest version first.
func (s *source) candidates(pages []*index.Project) []resolve.Candidate {
	type choice struct {
		resolve.Candidate
		rank int
	}
	best := map[string]*choice{}
	foreign := map[string]dist.File{} // a wheel of each version that is for other machines
	for _, page := range pages {
		s.heed(page)
		for _, f := range page.Files {
			rank, barred := s.judge(f)
			if page.Status == "quarantined" {
				barred = reason("its index has put the project into quarantine", page.StatusReason)
			}
			key := f.Version.Key()
			if rank == foreignRank {
				foreign[key] = f
			}
			b := best[key]
			if b == nil || better(f, rank, barred, b.Candidate, b.rank) {
				best[key] = &choice{resolve.Candidate{File: f, Barred: barred, Admitted: s.PrereleasesOf.Of[f.Name]}, rank}
			}
		}
	}
	all := make([]resolve.Candidate, 0, len(best))
	for key, b := range best {
		all = append(all, b.Candidate)
		if wheel, ok := foreign[key]; ok && b.Kind == dist.Sdist && b.Barred == "" {
			s.siblings.Store(b.URL, wheel)
		}
	}
	slices.SortFunc(all, func(a, b resolve.Candidate) int { return b.Version.Compare(a.Version) })
	return all
}

// heed notes the status of a project (PEP 792) that users should know of.
func (s *source) heed(page *index.Project) {
	if page.Status == "archived" || page.Status == "deprecated" {
		s.mu.Lock()
		s.statuses[page.Name] = reason(page.Status, page.StatusReason)
		s.mu.Unlock()
	}
}

// reason adds to a sentence why it is so, where that is told; those who tell are foreign.
func reason(sentence, why string) string {
	why = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, why)
	if why = strings.TrimSpace(why); why == "" {
		return sentence
	}
	return fmt.Sprintf("%s: %.200s", sentence, why)
}

// better tells whether a file is to be preferred to the best one so far: what can be used and is not
// yanked, then the better tag, then the higher build tag.
func better(f dist.File, rank int, barred string, b resolve.Candidate, bRank int) bool {
	switch {
	case (barred == "") != (b.Barred == ""):
		return barred == ""
	case f.Yanked != b.Yanked:
		return b.Yanked
	case rank != bRank:
		return rank < bRank
	}
	return f.Build.Compare(b.Build) > 0
}

// Ranks of what is no wheel that the project published for us: after all tags.
const (
	buildRank   = 1 << 29 // is added to that of the tag
	sdistRank   = 1 << 30
	noRank      = sdistRank + 1
	foreignRank = sdistRank + 2 // a wheel for other machines
)

// judge ranks a file for this interpreter (lower is better) or tells why it can't be used.
func (s *source) judge(f dist.File) (rank int, barred string) {
	if f.Kind == dist.Sdist {
		rank = sdistRank
		if s.onlyBinary(f.Name) {
			return rank, "only a source distribution is there, and --only-binary forbids to build it"
		}
	} else {
		r, ok := s.ranks.Best(f.Tags)
		if !ok {
			return foreignRank, fmt.Sprintf("no wheel for %s and no source distribution", describePython(s.python))
		}
		rank = r
		if f.BuildKey != "" {
			rank += buildRank
			if why := s.otherwise(f); why != "" {
				return noRank, why
			}
			if s.tooMany(f) {
				return noRank, "too many of its server's builds were left out"
			}
		}
		if s.noBinary(f.Name) && (!s.nested || !s.NoBinary.All) {
			return noRank, "only wheels are there, and --no-binary forbids them"
		}
	}
	if lacks, ok := s.unfit.Load(f.URL); ok {
		return rank, lacks.(string)
	}
	switch {
	case !f.RequiresPython.Contains(s.python.Version):
		return rank, fmt.Sprintf("needs Python %s", f.RequiresPython)
	case s.OnlyFinal.Of[f.Name] && f.Version.IsPrerelease(), s.OnlyFinal.All && f.Version.IsPrerelease() && !s.PrereleasesOf.Of[f.Name]:
		return rank, "it is a prerelease, and --only-final forbids those"
	}
	if late := s.tooNew(f); late != "" {
		return rank, late
	}
	return rank, s.wrongHash(f)
}

// tooNew tells why --exclude-newer leaves a file out, "" where it does not.
func (s *source) tooNew(f dist.File) string {
	switch {
	case s.ExcludeNewer.IsZero() || strings.HasPrefix(f.URL, "file:"):
		return ""
	case f.UploadTime.IsZero():
		return "its index does not tell when it was uploaded, which --exclude-newer must know"
	case f.UploadTime.After(s.ExcludeNewer):
		return "uploaded after --exclude-newer " + s.ExcludeNewer.UTC().Format(time.RFC3339)
	}
	return ""
}

// wrongHash tells why a file's hash forbids it, "" where it does not. What a
// build requires was never pinned.
func (s *source) wrongHash(f dist.File) string {
	hashes, pinned := s.Hashes[f.Name]
	switch {
	case s.nested || !pinned && !s.RequireHashes || slices.Contains(hashes, "sha256:"+f.SHA256),
		f.BuiltFrom != "" && slices.Contains(hashes, "sha256:"+f.BuiltFrom): // as pip has it of its own builds
		return ""
	case !pinned:
		return "no --hash is given for it, and hashes are required"
	case slices.ContainsFunc(hashes, func(h string) bool { return !strings.HasPrefix(h, "sha256:") }):
		return "" // the file itself will tell
	case f.SHA256 == "":
		return "its sha256 is not known, and hashes are required"
	}
	return "its sha256 is none of those given with --hash"
}

func describePython(py *python.Interpreter) string {
	return fmt.Sprintf("%s %s on %s %s", py.Target.Implementation, py.Version, py.Target.OS, py.Target.Arch)
}
