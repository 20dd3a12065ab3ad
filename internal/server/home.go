package server

import (
	"cmp"
	"context"
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"curdling/internal/catalog"
	"curdling/internal/dist"
)

const (
	mostListed   = 30 // projects that the page lists at once,
	mostPages    = 1_000_000
	mostNewest   = 6   // that it shows as new,
	mostFound    = 10  // that are found while somebody types
	longestQuery = 200 // bytes of a search

	listPatience = 300 * time.Millisecond // to wait for what a list tells of projects
)

// searched is the query of a request, cut to what is searched for.
func searched(r *http.Request) string {
	query := r.URL.Query().Get("q")
	return query[:min(len(query), longestQuery)]
}

// home is the page: what this is, how to use it, and what is here.
func (s *shelf) home(w *response, r *http.Request) error {
	query := searched(r)
	number, err := strconv.Atoi(cmp.Or(r.URL.Query().Get("page"), "1"))
	if err != nil || number < 1 || number > mostPages {
		return refuse(http.StatusBadRequest, "page must be a number from 1 to "+strconv.Itoa(mostPages))
	}
	if err := s.catalog.FreshNames(r.Context()); err != nil {
		return err
	}
	names, total := s.catalog.Search(query, mostListed*number)
	page := struct {
		frame
		Far              bool // what is known of files is what somebody asked for
		Stats            catalog.Stats
		Counts           Counts
		Saved            Saved
		Newest, Projects []*catalog.Project
		Total            int
		First, Last      int          // numbers of those that are listed
		Before, After    template.URL // queries of the neighbouring pages, "" for none
	}{frame: s.frame(r, "curdling"), Stats: s.catalog.Stats(), Counts: s.counters.Snapshot(), Saved: s.counters.savings.all(), Total: total, First: mostListed*(number-1) + 1}
	page.Home, page.Query, page.Far = true, query, s.catalog.Far()
	page.Projects = s.listed(r.Context(), names[min(len(names), page.First-1):])
	at := func(n int) template.URL {
		return template.URL(url.Values{"q": {query}, "page": {strconv.Itoa(n)}}.Encode())
	}
	page.Last = page.First - 1 + len(page.Projects)
	if number > 1 {
		page.Before = at(number - 1)
	}
	if total > mostListed*number {
		page.After = at(number + 1)
	}
	if query == "" && number == 1 && total > mostNewest {
		page.Newest = s.catalog.Newest(mostNewest)
	}
	return s.html(w, r, http.StatusOK, "home.html", page)
}

// listed gives projects to be shown in a list. Those of which a store far away does not tell at once are there by name alone.
func (s *shelf) listed(ctx context.Context, names []dist.Name) (projects []*catalog.Project) {
	if s.catalog.Far() {
		ctx, cancel := context.WithTimeout(ctx, listPatience)
		defer cancel()
		var g errgroup.Group
		for _, name := range names {
			g.Go(func() error { return s.catalog.Fresh(ctx, name) })
		}
		_ = g.Wait() // of some, perhaps
	}
	for _, name := range names {
		p := s.catalog.Project(name)
		if p == nil && s.catalog.Has(name) {
			p = &catalog.Project{Name: name}
		}
		if p != nil {
			projects = append(projects, p)
		}
	}
	return projects
}

// found is a project as the search while typing shows it.
type found struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Summary string `json:"summary"`
}

// find answers the search while typing: {"total": 12, "projects": [...]} with the best few.
func (s *shelf) find(w *response, r *http.Request) error {
	if err := s.catalog.FreshNames(r.Context()); err != nil {
		return err
	}
	names, total := s.catalog.Search(searched(r), mostFound)
	answer := struct {
		Total    int     `json:"total"`
		Projects []found `json:"projects"`
	}{total, []found{}}
	for _, name := range names {
		if p := s.catalog.Project(name); p != nil {
			newest := p.Latest()[0]
			answer.Projects = append(answer.Projects, found{string(name), newest.Version.String(), newest.Summary})
		} else if s.catalog.Has(name) {
			answer.Projects = append(answer.Projects, found{Name: string(name)})
		}
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return err
	}
	newVariant(body, tagOf(body), "application/json", "no-cache", "", identity).send(w, r)
	return nil
}
