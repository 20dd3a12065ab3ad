package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"curdling/internal/catalog"
	"curdling/internal/dist"
	"curdling/internal/index"
)

// ErrHeld says that a file came in the meantime: the catalog has it.
var ErrHeld = errors.New("the file is held")

// ConflictError says that an upstream publishes other bytes under a name.
type ConflictError struct {
	Filename, Upstream string
	Published, Sent    string // sha256
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s: %s publishes a file of that name with sha256 %s, sent was %s; a file that an upstream publishes is taken with its bytes alone: raise the version or the build tag, or have the project made private",
		e.Filename, e.Upstream, e.Published, e.Sent)
}

// AbsentError says why there is no file to be had. It is fs.ErrNotExist.
type AbsentError struct{ Filename, Why string }

func (e *AbsentError) Error() string { return e.Filename + ": " + e.Why }

// Is knows fs.ErrNotExist.
func (e *AbsentError) Is(target error) bool { return target == fs.ErrNotExist }

// candidates are the projects that a file can be of. An old sdist's name can be
// read in several ways.
func candidates(filename string) (names []dist.Name) {
	f, err := dist.ParseFilename(filename, "")
	if err == nil {
		names = append(names, f.Name)
	}
	if err == nil && f.Kind == dist.Wheel {
		return names
	}
	const most = 4
	for i := range filename {
		if filename[i] != '-' || len(names) == most {
			continue
		}
		name, err := dist.ParseName(filename[:i])
		if err == nil && !slices.Contains(names, name) {
			if _, err := dist.ParseFilename(filename, name); err == nil {
				names = append(names, name)
			}
		}
	}
	return names
}

// Find tells what an upstream's page says of a file. A file that no upstream
// publishes, or that is too young, is an *[AbsentError]; an upstream that
// fails an *[Error].
func (m *Mirror) Find(ctx context.Context, filename string) (dist.File, error) {
	f, _, err := m.find(ctx, filename)
	return f, err
}

func (m *Mirror) find(ctx context.Context, filename string) (dist.File, *Page, error) {
	why := "no such file is held here, and no upstream publishes it"
	for _, name := range candidates(filename) {
		page, _, err := m.Page(ctx, name)
		if err != nil {
			return dist.File{}, nil, err
		}
		if page == nil {
			continue
		}
		f, ok := page.file(filename)
		switch {
		case !ok:
		case m.quarantined(page):
			why = "its project is quarantined"
		case page.heldOnly:
			why = "no such file is held here, and this server works offline"
		case page.young(&f):
			why = "it is younger than this server serves what others publish"
		default:
			return f, page, nil
		}
	}
	return dist.File{}, nil, &AbsentError{filename, why}
}

// quarantined tells whether a project's files must not be had (PEP 792).
func (m *Mirror) quarantined(page *Page) bool {
	held := m.catalog.Project(page.project.Name)
	return page.project.Status == catalog.Quarantined || held != nil && held.Status == catalog.Quarantined
}

// Metadata gives METADATA of a wheel that an upstream publishes, without fetching
// the wheel where that can be helped: where it cannot, the wheel is fetched, and
// the error is [ErrHeld].
func (m *Mirror) Metadata(ctx context.Context, filename string) ([]byte, error) {
	f, page, err := m.find(ctx, filename)
	if err != nil {
		return nil, err
	}
	if f.Kind != dist.Wheel {
		return nil, &AbsentError{filename, "a source distribution has no metadata that could be relied on"}
	}
	u := page.from
	text, err := u.files.Metadata(ctx, f)
	if err == nil {
		return text, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if !errors.Is(err, index.ErrNoRanges) {
		m.count.errors.Add(1)
		return nil, &Error{u.Name, err}
	}
	content, err := m.Fetch(ctx, filename)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	select {
	case <-content.t.over:
		if err := content.t.failure(); err != nil {
			return nil, err
		}
		return nil, ErrHeld
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// admitTime is how long an upload may wait for what an upstream says of it.
const admitTime = 15 * time.Second

// Admit tells whether somebody may put a file here, and where it comes from: an
// upstream's file is taken with the upstream's bytes alone, else the error is
// a *[ConflictError]. It is an *[Error] where that cannot be found out now. The name of an upstream's file is written
// down as the upstream's.
func (m *Mirror) Admit(ctx context.Context, filename, sha256 string) (catalog.From, error) {
	from, name, err := m.published(ctx, filename, sha256)
	if err != nil || from.Upstream == "" {
		return from, err
	}
	return from, m.claim(ctx, name)
}

// Published is [Mirror.Admit] for a file that will lie below what is held here, and says nothing of whose a name is.
func (m *Mirror) Published(ctx context.Context, filename, sha256 string) (catalog.From, error) {
	from, _, err := m.published(ctx, filename, sha256)
	return from, err
}

// published gives where a file comes from, and its project's name; the zero value is of what no upstream publishes.
func (m *Mirror) published(ctx context.Context, filename, sha256 string) (from catalog.From, of dist.Name, err error) {
	ctx, cancel := context.WithTimeout(ctx, admitTime)
	defer cancel()
	for _, name := range candidates(filename) {
		page, stale, err := m.Page(ctx, name)
		if page == nil {
			theirs := matches(m.public, name)
			if (err != nil || stale) && !theirs {
				o, unknown := m.claims.owner(ctx, name)
				if unknown != nil {
					return from, "", unknown
				}
				theirs = o == upstreams
			}
			if (err != nil || stale) && theirs {
				if err == nil {
					err = &Error{m.upstreams[0].Name, errors.New("it does not answer, so that nobody knows whether it publishes this file; try again later")}
				}
				return from, "", err
			}
			continue // private, or nobody knows it: from now on it is private
		}
		f, ok := page.file(filename)
		if !ok {
			continue
		}
		if f.SHA256 != "" && f.SHA256 != sha256 {
			return from, "", &ConflictError{filename, page.Upstream, f.SHA256, sha256}
		}
		return catalog.From{Upstream: page.Upstream, UploadTime: f.UploadTime}, name, nil
	}
	return from, "", nil
}
