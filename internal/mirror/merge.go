package mirror

import (
	"curdling/internal/catalog"
	"curdling/internal/dist"
	"curdling/internal/index"
)

// Merge lays what is held of a project, nil for nothing, over what its upstream
// publishes. A file that is held is shown as it is held, with what the upstream
// says of it besides: that it was yanked, its provenance. The URLs of others become
// prefix and their names. Of a project that is quarantined, here or there, there is no file (PEP 792).
func Merge(held *index.Project, page *Page, prefix string) *index.Project {
	up := page.project
	merged := &index.Project{Name: up.Name, Status: up.Status, StatusReason: up.StatusReason}
	here := make(map[string]*dist.File)
	if held != nil {
		merged.Name = held.Name
		if held.Status != "" {
			merged.Status, merged.StatusReason = held.Status, held.StatusReason
		}
		for i := range held.Files {
			here[held.Files[i].Filename] = &held.Files[i]
		}
	}
	if merged.Status == catalog.Quarantined {
		return merged
	}
	merged.Files = make([]dist.File, 0, len(up.Files)+len(here))
	done := make(map[string]bool, len(up.Files))
	for _, f := range up.Files {
		kept := here[f.Filename]
		if done[f.Filename] {
			continue
		}
		done[f.Filename] = true
		if page.young(&f) || page.heldOnly && kept == nil {
			continue
		}
		if !index.IsWebURL(f.Provenance) {
			f.Provenance = ""
		}
		if kept != nil {
			f = over(*kept, f)
		} else {
			f.URL, f.Tarball = prefix+f.Filename, dist.Tarball{} // an upstream's own is not served here
		}
		merged.Files = append(merged.Files, f)
	}
	if held != nil {
		for _, f := range held.Files {
			if !done[f.Filename] {
				merged.Files = append(merged.Files, f)
			}
		}
	}
	return merged
}

// over adds to a file that is held what the upstream says of it.
func over(kept, up dist.File) dist.File {
	if up.Yanked && !kept.Yanked {
		kept.Yanked, kept.YankedReason = true, up.YankedReason
	}
	if kept.Provenance == "" && kept.SHA256 == up.SHA256 {
		kept.Provenance = up.Provenance
	}
	return kept
}
