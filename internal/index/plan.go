package index

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"curdling/internal/dist"
	"curdling/internal/marker"
	"curdling/internal/requirement"
	"curdling/internal/tag"
	"curdling/internal/version"
)

// Limits of the plan.
const (
	MaxPlanQuestion = 256 << 10 // bytes
	MaxPlan         = 32 << 20  // bytes of an answer
	maxPlanned      = 10_000    // requirements, constraints, projects, files
	maxVariables    = 64        // of a marker's environment
	planTime        = 10 * time.Second
)

// PlanQuestion is what POST /plan asks: what will be needed of this server to install the requirements. Its JSON is
// the same for the same question.
type PlanQuestion struct {
	Requirements []string           `json:"requirements"`          // PEP 508, none with a URL
	Constraints  []string           `json:"constraints,omitempty"` // likewise
	Prereleases  bool               `json:"prereleases,omitempty"` // all are admitted
	NoDeps       bool               `json:"no_deps,omitempty"`     // what the requirements need themselves is left out
	Python       version.Version    `json:"python"`                // that Requires-Python is held against
	Markers      marker.Environment `json:"markers"`
	Target       tag.Target         `json:"target"` // for which wheels are
}

// ParsePlanQuestion reads a question, and what it requires. An error says what is wrong with it.
func ParsePlanQuestion(b []byte) (q *PlanQuestion, requirements, constraints []requirement.Requirement, err error) {
	if len(b) > MaxPlanQuestion {
		return nil, nil, nil, fmt.Errorf("longer than %d bytes", MaxPlanQuestion)
	}
	q = new(PlanQuestion)
	if err := json.Unmarshal(b, q); err != nil {
		return nil, nil, nil, err
	}
	if len(q.Requirements)+len(q.Constraints) > maxPlanned || len(q.Markers) > maxVariables {
		return nil, nil, nil, errors.New("too many requirements, constraints or marker variables")
	}
	if q.Python.IsZero() {
		return nil, nil, nil, errors.New("python is missing")
	}
	if err := checkTarget(&q.Target); err != nil {
		return nil, nil, nil, err
	}
	if requirements, err = parseRequirements(q.Requirements); err == nil {
		constraints, err = parseRequirements(q.Constraints)
	}
	return q, requirements, constraints, err
}

func parseRequirements(lines []string) (all []requirement.Requirement, err error) {
	for _, line := range lines {
		r, err := requirement.Parse(line)
		if err != nil {
			return nil, err
		}
		if r.URL != "" {
			return nil, fmt.Errorf("%s: a requirement by URL cannot be planned", r.Name)
		}
		all = append(all, r)
	}
	return all, nil
}

// checkTarget bounds how many tags a target has: a hundred thousand.
func checkTarget(t *tag.Target) error {
	within := func(n *[2]int, major int) bool {
		return n == nil || n[0] >= 0 && n[0] <= major && n[1] >= 0 && n[1] <= 99
	}
	if !within(&t.Version, 3) || !within(&t.OSVersion, 99) || !within(t.Glibc, 3) || !within(t.Musl, 3) || len(t.NotManylinux) > 1000 {
		return errors.New("target: there is no such interpreter or system")
	}
	return nil
}

// Plan is the answer: what the server has of all projects that its own solver looked at, as one reader may see it.
type Plan struct {
	Projects []PlannedProject `json:"projects"`
	// Unknown are projects that GET /simple/NAME/ would answer 404 of.
	Unknown []dist.Name `json:"unknown,omitempty"`
	// Chosen are the wheels that the solver chose, by file name; none where it came to no end.
	Chosen []string `json:"chosen,omitempty"`
}

// PlannedProject is what a plan has of one project.
type PlannedProject struct {
	Name dist.Name `json:"name"`
	// Page is what GET /simple/NAME/ gives as TypeBuilds, perhaps without files that the asker has no use for.
	Page json.RawMessage `json:"page"`
	// Metadata has, by file name, what counts for a solver in the METADATA of wheels on the page.
	Metadata map[string]string `json:"metadata,omitempty"`
}

// Render writes a plan.
func (p *Plan) Render() ([]byte, error) { return marshal(p) }

// ParsePlan reads a plan. The pages in it are read when they are asked for.
func ParsePlan(b []byte) (*Plan, error) {
	if len(b) > MaxPlan {
		return nil, fmt.Errorf("longer than %d bytes", MaxPlan)
	}
	p := new(Plan)
	if err := json.Unmarshal(b, p); err != nil {
		return nil, err
	}
	if max(len(p.Projects), len(p.Unknown), len(p.Chosen)) > maxPlanned {
		return nil, fmt.Errorf("more than %d projects or files", maxPlanned)
	}
	seen := make(map[dist.Name]bool, len(p.Projects)+len(p.Unknown))
	check := func(name dist.Name) error {
		if normal, err := dist.ParseName(string(name)); err != nil || normal != name {
			return fmt.Errorf("%.80q is no normalised name", name)
		}
		if seen[name] {
			return fmt.Errorf("%s stands there twice", name)
		}
		seen[name] = true
		return nil
	}
	for i := range p.Projects {
		if err := p.Projects[i].check(); err != nil {
			return nil, err
		}
		if err := check(p.Projects[i].Name); err != nil {
			return nil, err
		}
	}
	for _, name := range p.Unknown {
		if err := check(name); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// check refuses metadata of other things than the project's wheels.
func (p *PlannedProject) check() error {
	for file := range p.Metadata {
		if f, err := dist.ParseFilename(file, p.Name); err != nil || f.Kind != dist.Wheel {
			return fmt.Errorf("metadata of %.80q, which is no wheel of %.80q", file, p.Name)
		}
	}
	return nil
}

// planned is what a plan told, for those who ask for it in the same run.
type planned struct {
	mu       sync.RWMutex
	target   string            // whom the plan is for; "": nobody asked for one
	pages    map[string]*entry // by URL; nil: the server does not know the project
	metadata map[string]string // by URL of the file
}

func (p *planned) page(u *url.URL) (e *entry, ok bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	e, ok = p.pages[u.String()]
	return e, ok
}

// drop forgets a page; false where it was not planned.
func (p *planned) drop(u *url.URL) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.pages[u.String()]
	delete(p.pages, u.String())
	return ok
}

func (p *planned) text(at string) (text string, ok bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	text, ok = p.metadata[at]
	return text, ok
}

// add takes what a plan has of one project.
func (p *planned) add(root *url.URL, project *PlannedProject, stored time.Time) *entry {
	u := pageURL(root, project.Name)
	e := &entry{URL: u.String(), ContentType: TypeBuilds, Stored: stored, body: project.Page}
	files := root.JoinPath("p").String() + "/"
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pages == nil {
		p.pages, p.metadata = map[string]*entry{}, map[string]string{}
	}
	p.pages[e.URL] = e
	for name, text := range project.Metadata {
		p.metadata[files+name] = text
	}
	return e
}

func pageURL(root *url.URL, name dist.Name) *url.URL {
	return root.JoinPath("simple", string(name), "/")
}

// Plan asks the cache server whose root is base for a plan, once. From then on Project and Metadata answer with what is
// in it, as if it had been fetched by itself; each page is read only then. An error changes nothing:
// an old server, or one that fails, is asked for its pages.
func (c *Client) Plan(ctx context.Context, base string, q *PlanQuestion) (*Plan, error) {
	root, err := c.root(base)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	target, err := json.Marshal([]any{q.Python, q.Target})
	if err != nil {
		return nil, err
	}
	c.planned.mu.Lock()
	c.planned.target = string(target)
	c.planned.mu.Unlock()
	u := root.JoinPath("plan")
	ctx, cancel := context.WithTimeoutCause(ctx, planTime, errStalled)
	defer cancel()
	text, code, err := c.call(ctx, http.MethodPost, u, body, "application/json", MaxPlan)
	if err != nil {
		return nil, err
	}
	var plan *Plan
	if code != http.StatusOK {
		err = fmt.Errorf("unexpected answer %d", code)
	} else {
		plan, err = ParsePlan(text)
	}
	if err != nil {
		return nil, failed(http.MethodPost, redact(u), refuse(err))
	}
	for i := range plan.Projects {
		c.planned.add(root, &plan.Projects[i], c.now())
	}
	c.planned.mu.Lock()
	defer c.planned.mu.Unlock()
	for _, name := range plan.Unknown {
		if c.planned.pages == nil {
			c.planned.pages = map[string]*entry{}
		}
		c.planned.pages[pageURL(root, name).String()] = nil
	}
	return plan, nil
}

// ForgetPlan has the server asked for its pages again.
func (c *Client) ForgetPlan() {
	c.planned.mu.Lock()
	defer c.planned.mu.Unlock()
	c.planned.pages, c.planned.metadata = nil, nil
}

// KeepPlan keeps what a plan of the server at base has of each project for Options.Offline. It is kept apart from pages, as it
// was made for one kind of interpreter.
func (c *Client) KeepPlan(base string, plan *Plan) {
	root, err := c.root(base)
	if c.cache == nil || err != nil {
		return
	}
	for _, p := range plan.Projects {
		text, err := json.Marshal(p)
		if err != nil {
			continue
		}
		u := pageURL(root, p.Name)
		key := c.plannedKey(u)
		if old := c.recall(key); old == nil || !bytes.Equal(old.body, text) {
			e := entry{URL: u.String(), ContentType: planType, Stored: c.now(), body: text}
			c.cache.Put(key, e.encode())
		}
	}
}

const planType = "application/json"

func (c *Client) plannedKey(u *url.URL) string {
	c.planned.mu.RLock()
	defer c.planned.mu.RUnlock()
	return "planned/" + sum256(c.pageKey(u)+"\n"+c.planned.target)
}

// recallPlanned gives the page that a plan of an earlier run had, and its metadata; nil where there is none, or a younger page.
func (c *Client) recallPlanned(u *url.URL, page *entry) *entry {
	kept := c.recall(c.plannedKey(u))
	if kept == nil || page != nil && page.Stored.After(kept.Stored) {
		return nil
	}
	var p PlannedProject
	if json.Unmarshal(kept.body, &p) != nil || p.check() != nil || !strings.HasSuffix(u.Path, "/simple/"+string(p.Name)+"/") {
		return nil
	}
	return c.planned.add(u.JoinPath("../.."), &p, kept.Stored)
}

// Dead tells of an error that no connection to the server was made, or that it has been silent to all that it was asked.
func (c *Client) Dead(err error) bool { return absent(err) && !c.answered.Load() }
