package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"curdling/internal/auth"
	"curdling/internal/dist"
	"curdling/internal/index"
	"curdling/internal/lease"
	"curdling/internal/metadata"
	"curdling/internal/process"
	"curdling/internal/store"
)

// Builds lets clients build what they all need once. The zero value grants no leases, and its routes are as if they were not there.
type Builds struct {
	// Leases are on FROM/KEY, and on FROM/KEY/metadata.
	Leases *lease.Leases
	// Prepared keeps METADATA of sources, under FROM/KEY; set where Leases is.
	Prepared lease.Documents
	// Below keeps both for a scope below main. nil: there are no scopes.
	Below func(scope string) (leases, prepared lease.Documents)
}

const (
	maxQuestion   = 64 << 10         // bytes
	maxBuildWait  = 30 * time.Second // for news
	maxWaiting    = 4096             // clients; who comes then does not wait
	wakeEvery     = 2 * time.Second  // those who wait
	findEvery     = 5 * time.Second  // what may come without a lease, for all who wait for it
	questionTime  = 10 * time.Second // for a body to come
	metadataTime  = time.Minute
	preparedClass = "text/plain; charset=utf-8"
)

// waiting is the room for those who wait, all of whom are answered when the server ends.
type waiting struct {
	places chan struct{}
	end    context.Context
	stop   context.CancelFunc

	mu     sync.Mutex
	looked map[string]time.Time // when one of those who wait for it began to look, and there was nothing
}

func newWaiting() *waiting {
	w := &waiting{places: make(chan struct{}, maxWaiting), looked: make(map[string]time.Time)}
	w.end, w.stop = context.WithCancel(context.Background())
	return w
}

// look tells one of all who wait for the same, while somebody builds it, to look for it now and then.
func (w *waiting) look(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.looked[name]) < findEvery {
		return false
	}
	if len(w.looked) >= maxWaiting {
		clear(w.looked)
	}
	w.looked[name] = time.Now()
	return true
}

// found has all who wait for something look.
func (w *waiting) found(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.looked, name)
}

// begin gives a context that is done when there was enough waiting, which is at once where
// there is no room. end is to be called.
func (w *waiting) begin(ctx context.Context, patience time.Duration) (_ context.Context, end func()) {
	leave := func() { <-w.places }
	select {
	case w.places <- struct{}{}:
	default:
		patience, leave = 0, func() {}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	unhook := context.AfterFunc(w.end, cancel)
	return ctx, func() {
		unhook()
		cancel()
		leave()
	}
}

// buildRoutes are those of builds under way.
func (s *Server) buildRoutes(routes map[string]methods) {
	if s.builds.Leases == nil {
		return
	}
	claim := methods{http.MethodPut: s.allow(auth.Upload, (*shelf).heartbeat), http.MethodDelete: s.allow(auth.Upload, (*shelf).endLease)}
	routes["/builds/{from}/{key}"] = methods{http.MethodPost: s.allow(auth.Read, (*shelf).askBuild)}
	routes["/builds/{from}/{key}/{lease}"] = claim
	routes["/builds/{from}/{key}/metadata"] = methods{http.MethodPost: s.allow(auth.Read, (*shelf).askMetadata),
		http.MethodGet: s.allow(auth.Read, (*shelf).getBuildMetadata), http.MethodPut: s.upload((*shelf).putBuildMetadata)}
	routes["/builds/{from}/{key}/metadata/{lease}"] = claim
}

// leases are those that the scope's own may hold. What is held, or failed, in a scope below main, main's do not see.
func (s *shelf) leases() *lease.Leases {
	if s.scope == "" {
		return s.builds.Leases
	}
	return s.builds.Leases.Apart(s.scope, func() lease.Documents {
		leases, _ := s.builds.Below(s.scope)
		return leases
	})
}

// preparers keep the METADATA of sources that the scope's own believe: main's and, last, what takes what they send.
func (s *shelf) preparers() []lease.Documents {
	all := []lease.Documents{s.builds.Prepared}
	if s.scope != "" {
		_, prepared := s.builds.Below(s.scope)
		all = append(all, prepared)
	}
	return all
}

// buildName is FROM/KEY of a path.
func buildName(r *http.Request) (name string, err error) {
	from, key := r.PathValue("from"), r.PathValue("key")
	if !store.IsSHA256(from) || !store.IsSHA256(key) {
		return "", refuse(http.StatusBadRequest, "a build is named by two times 64 lower-case hexadecimal digits: /builds/FROM/KEY")
	}
	return from + "/" + key, nil
}

// leaseName is the name of the lease that a path is about.
func leaseName(r *http.Request) (string, error) {
	name, err := buildName(r)
	if strings.HasPrefix(r.Pattern, "/builds/{from}/{key}/metadata") {
		name += "/metadata"
	}
	return name, err
}

// askBuild answers with the builds that there are, a lease, or what another one is doing.
func (s *shelf) askBuild(w *response, r *http.Request) error {
	return s.ask(w, r, func(q *index.BuildQuestion) (*index.BuildAnswer, error) {
		if err := s.catalog.FreshBuilds(r.Context(), r.PathValue("from"), r.PathValue("key")); err != nil {
			return nil, err
		}
		var a index.BuildAnswer
		for _, f := range s.catalog.Builds(r.PathValue("from"), r.PathValue("key")) {
			if !slices.Contains(q.Unfit, f.Filename) {
				a.Files = append(a.Files, index.BuiltFile{Filename: f.Filename, SHA256: f.SHA256, Size: f.Size})
			}
		}
		if a.Files == nil {
			return nil, nil
		}
		return &a, nil
	})
}

// askMetadata is the same for the METADATA of a source.
func (s *shelf) askMetadata(w *response, r *http.Request) error {
	return s.ask(w, r, func(*index.BuildQuestion) (*index.BuildAnswer, error) {
		text, err := s.prepared(r)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return &index.BuildAnswer{Metadata: sha256Of(text)}, err
	})
}

// ask answers a question, as late as the asker wants, or as soon as there is news.
func (s *shelf) ask(w *response, r *http.Request, find func(*index.BuildQuestion) (*index.BuildAnswer, error)) error {
	name, err := leaseName(r)
	if err != nil {
		return err
	}
	q, err := s.question(w, r)
	if err != nil {
		return err
	}
	refusal, err := s.mayBuild(w, r, q)
	if err != nil {
		return err
	}
	waiting, done := s.waiting.begin(r.Context(), min(time.Duration(q.Wait*float64(time.Second)), maxBuildWait, s.stall/2))
	defer done()
	w.Header().Set("Cache-Control", "no-store")
	builder := refusal == nil && !q.Look
	for waits := q.After != ""; ; waits = true {
		var leases *lease.Leases
		var status lease.Status
		if waits {
			if leases, status, err = s.claim(r, name, q, false, ""); err != nil {
				return leaseError(err)
			}
		}
		if status.State != lease.Held || s.waiting.look(s.scope+" "+name) {
			if answer, err := find(&q); err != nil {
				return err
			} else if answer != nil {
				s.waiting.found(s.scope + " " + name)
				return sendJSON(w, http.StatusOK, answer)
			}
		}
		if !waits || builder && (status.State == lease.Free || status.HeldBy(q.Ours)) {
			if leases, status, err = s.claim(r, name, q, builder, w.user()); err != nil {
				return leaseError(err)
			}
		}
		switch status.State {
		case lease.Granted:
			return sendJSON(w, http.StatusCreated, index.BuildAnswer{Lease: status.Token, TTL: s.builds.Leases.TTL().Seconds()})
		case lease.Failed:
			return sendFailure(w, q.Name, status)
		case lease.Free:
			if q.Look {
				w.WriteHeader(http.StatusNoContent)
				return nil
			}
			if refusal != nil {
				return refusal
			}
		}
		if waiting.Err() != nil || status.After != q.After {
			return sendJSON(w, http.StatusAccepted, index.BuildAnswer{
				Holder: plainLine(status.By), Since: status.Since.Seconds(), Log: process.Plain(status.Log), After: status.After})
		}
		soon, cancel := context.WithTimeout(waiting, wakeEvery)
		leases.Wait(soon, name, status.After)
		cancel()
	}
}

func (s *Server) question(w *response, r *http.Request) (q index.BuildQuestion, err error) {
	w.until = time.Now().Add(questionTime)
	b, err := io.ReadAll(body{http.MaxBytesReader(w.ResponseWriter, r.Body, maxQuestion), w})
	if err != nil {
		return q, err
	}
	if q, err = index.ParseBuildQuestion(b); err == nil && q.Ours != "" && !lease.IsToken(q.Ours) {
		err = errors.New("ours is not a token: 26 of the characters A-Z and 2-7")
	}
	if err != nil {
		return q, refuse(http.StatusBadRequest, "the question cannot be read: "+err.Error())
	}
	return q, nil
}

// mayBuild tells why who asks may have no lease, but wait for another's; nil where he may
// have one. An error is for who is not let in at all.
func (s *Server) mayBuild(w *response, r *http.Request, q index.BuildQuestion) (refusal, err error) {
	authorization := r.Header.Get("Authorization")
	who, err := s.gate.Authorize(authorization, remoteAddr(r), auth.Upload)
	var denied *auth.ForbiddenError
	switch {
	case errors.As(err, &denied):
		return err, nil
	case errors.Is(err, auth.ErrUnauthenticated) && authorization == "": // everybody may read
		return &auth.ForbiddenError{Reason: "nobody builds that now, and who does not say who he is may not build for others"}, nil
	case err != nil:
		return nil, err
	}
	w.who = who
	if !who.Limited() {
		return nil, nil
	}
	project, _, _ := strings.Cut(q.Name, " ")
	name, err := dist.ParseName(project)
	if err != nil {
		return &auth.ForbiddenError{Reason: "the token is for uploads of some projects, and the question's name does not begin with one"}, nil
	}
	return w.mayUpload(name), nil
}

// claim asks for a lease, or for how it stands where the asker may not have one, and tells among whose leases. What main's
// build, or failed to build, those below wait for, or are told of.
func (s *shelf) claim(r *http.Request, name string, q index.BuildQuestion, builder bool, user string) (among *lease.Leases, status lease.Status, err error) {
	among = s.leases()
	if main := s.builds.Leases; among != main {
		if status, err = main.Look(r.Context(), name, q.After); err != nil || status.State != lease.Free {
			return main, status, err
		}
	}
	if !builder {
		status, err = among.Look(r.Context(), name, q.After)
		return among, status, err
	}
	by := remoteAddr(r).String()
	if user != "" {
		by = user + " at " + by
	}
	status, err = among.Acquire(r.Context(), name, lease.Asker{Token: q.Ours, By: by, What: q.Name}, q.After)
	return among, status, err
}

// leaseError gives errors of leases their status.
func leaseError(err error) error {
	switch {
	case errors.Is(err, lease.ErrLost):
		return refuse(http.StatusGone, "the lease is not yours any more, after a silence; what you build is as welcome")
	case errors.Is(err, lease.ErrFull):
		return refuse(http.StatusServiceUnavailable, err.Error()+" on this server; build without one")
	case errors.Is(err, lease.ErrNewer):
		return refuse(http.StatusServiceUnavailable, "a newer server keeps this lease, and this one cannot read it; try again, at another one, or build without a lease")
	case errors.Is(err, lease.ErrConflict):
		return refuse(http.StatusServiceUnavailable, "too many ask for this lease at once; try again in a moment")
	case errors.Is(err, context.Canceled):
		return refuse(http.StatusRequestTimeout, "the client went away") // nobody reads that
	}
	return err
}

// sendFailure tells of a failure: problem details, with one member more.
func sendFailure(w *response, what string, status lease.Status) error {
	failure := &index.BuildFailure{Message: plainLine(status.Message), Holder: plainLine(status.By),
		Since: status.Since.Seconds(), For: status.For.Seconds(), Log: process.Plain(status.Log)}
	b, err := json.Marshal(index.BuildAnswer{
		Title: http.StatusText(http.StatusFailedDependency), Status: http.StatusFailedDependency, Failed: failure,
		Detail: fmt.Sprintf("%s was built %v ago by %s, and that failed: %s", cmp.Or(plainLine(what), plainLine(status.What)),
			status.Since.Round(time.Second), failure.Holder, failure.Message),
	})
	if err != nil {
		return err
	}
	w.json(http.StatusFailedDependency, "application/problem+json", append(b, '\n'))
	return nil
}

// plainLine makes what a client said fit to be shown in a line.
func plainLine(s string) string {
	return strings.Join(strings.Fields(process.Plain([]byte(s))), " ")
}

// heartbeat takes what a holder's log grew by.
func (s *shelf) heartbeat(w *response, r *http.Request) error {
	name, err := leaseName(r)
	if err != nil {
		return err
	}
	at, err := strconv.ParseInt(cmp.Or(r.URL.Query().Get("at"), "0"), 10, 64)
	if err != nil || at < 0 {
		return refuse(http.StatusBadRequest, "at is the position in the log that the body begins at")
	}
	w.until = time.Now().Add(questionTime)
	log, err := io.ReadAll(body{http.MaxBytesReader(w.ResponseWriter, r.Body, lease.MaxLog), w})
	if err != nil {
		return err
	}
	if err := s.leases().Heartbeat(r.Context(), name, r.PathValue("lease"), at, log); err != nil {
		return leaseError(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// endLease ends a lease.
func (s *shelf) endLease(w *response, r *http.Request) error {
	name, err := leaseName(r)
	if err != nil {
		return err
	}
	token, query := r.PathValue("lease"), r.URL.Query()
	switch {
	case query.Has("failed"):
		err = s.leases().Fail(r.Context(), name, token, query.Get("failed"))
	case query.Has("abandoned"):
		err = s.leases().GiveUp(r.Context(), name, token)
	default:
		err = s.leases().Done(r.Context(), name, token)
	}
	if err != nil {
		return leaseError(err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// prepared gives the METADATA of a source: what was prepared, or what a build of it has.
func (s *shelf) prepared(r *http.Request) ([]byte, error) {
	name, err := buildName(r)
	if err != nil {
		return nil, err
	}
	if text, err := s.sentMetadata(r, name); !errors.Is(err, fs.ErrNotExist) {
		return text, err
	}
	if err := s.catalog.FreshBuilds(r.Context(), r.PathValue("from"), r.PathValue("key")); err != nil {
		return nil, err
	}
	for _, f := range s.catalog.Builds(r.PathValue("from"), r.PathValue("key")) {
		if text, _, err := s.catalog.Metadata(r.Context(), f.Filename); err == nil {
			return text, nil
		}
	}
	return nil, fmt.Errorf("the metadata of %s: %w", name, fs.ErrNotExist)
}

// sentMetadata gives the METADATA that was prepared.
func (s *shelf) sentMetadata(r *http.Request, name string) (text []byte, err error) {
	for _, prepared := range s.preparers() {
		if text, _, err = prepared.Get(r.Context(), name, ""); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return text, err
}

func (s *shelf) getBuildMetadata(w *response, r *http.Request) error {
	text, err := s.prepared(r)
	if errors.Is(err, fs.ErrNotExist) {
		return refuse(http.StatusNotFound, "nobody prepared the metadata of that source yet")
	}
	if err != nil {
		return err
	}
	newVariant(text, sha256Of(text), preparedClass, s.pageControl, "Accept-Encoding", chooseEncoding(headerOf(r, "Accept-Encoding"))).send(w, r)
	return nil
}

// putBuildMetadata keeps the METADATA of a source for the others. The first stays.
func (s *shelf) putBuildMetadata(w *response, r *http.Request) error {
	name, err := buildName(r)
	if err != nil {
		return err
	}
	w.upload.File = "builds/" + name + "/metadata"
	w.until = time.Now().Add(metadataTime)
	text, err := io.ReadAll(body{http.MaxBytesReader(w.ResponseWriter, r.Body, index.MaxBuildMetadata), w})
	if err != nil {
		return err
	}
	w.upload.Size, w.upload.SHA256 = int64(len(text)), sha256Of(text)
	m, err := metadata.Parse(text)
	if err != nil {
		return refuse(http.StatusBadRequest, err.Error())
	}
	if err := w.mayUpload(m.Name); err != nil {
		return err
	}
	status := http.StatusOK
	held, err := s.sentMetadata(r, name)
	if errors.Is(err, fs.ErrNotExist) {
		err = s.prepare(r, name, text)
		if err == nil {
			status, held = http.StatusCreated, text
		} else if errors.Is(err, lease.ErrConflict) {
			held, err = s.sentMetadata(r, name)
		}
	}
	switch {
	case err != nil:
		return err
	case !bytes.Equal(held, text):
		return refuse(http.StatusConflict, fmt.Sprintf("other metadata of that source is held: its sha256 is %s, of what came it is %s", sha256Of(held), sha256Of(text)))
	}
	entry := w.entry(r)
	entry.Status = status
	if err := s.audit.Write(entry); err != nil {
		s.log.Error("metadata was kept and cannot be noted in the audit log", "file", entry.File, "sha256", entry.SHA256, "user", entry.User, "remote", entry.Remote, "err", err)
		return unaudited(err, "the metadata was kept")
	}
	w.text(status, "ok\n")
	return nil
}

// prepare keeps the METADATA of a source that has none yet. What those below main may fill is bounded.
func (s *shelf) prepare(r *http.Request, name string, text []byte) error {
	stores := s.preparers()
	store := stores[len(stores)-1]
	if s.scope != "" {
		n := 0
		for _, err := range store.List(r.Context()) {
			if n++; err != nil {
				return err
			}
		}
		if n >= lease.MostApart {
			return refuse(http.StatusInsufficientStorage, fmt.Sprintf("the scope %s has metadata of %d sources, which is as much as it may", s.scope, n))
		}
	}
	_, err := store.Swap(r.Context(), name, "", text)
	return err
}

func sha256Of(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// leased are the metrics of leases.
type leased struct{ *lease.Leases }

var (
	leasesHeld   = describe("build_leases", "Builds under way, of those that this server was asked about.")
	leaseWaiters = describe("build_waiters", "Clients that wait for a build of another.")
	leaseResults = describe("build_leases_total", "What became of leases: granted; taken_over (of a silent holder), expired (of one that nobody waited for); "+
		"done, failed (and remembered), given_up; lost (a late holder was told so).", "result")
)

// Describe is prometheus.Collector's.
func (l leased) Describe(to chan<- *prometheus.Desc) {
	to <- leasesHeld
	to <- leaseWaiters
	to <- leaseResults
}

// Collect is prometheus.Collector's.
func (l leased) Collect(to chan<- prometheus.Metric) {
	stats := l.Stats()
	to <- prometheus.MustNewConstMetric(leasesHeld, prometheus.GaugeValue, float64(stats.Held))
	to <- prometheus.MustNewConstMetric(leaseWaiters, prometheus.GaugeValue, float64(stats.Waiters))
	for result, n := range map[string]int64{
		"granted": stats.Granted, "taken_over": stats.TakenOver, "expired": stats.Expired, "done": stats.Done,
		"failed": stats.Failed, "given_up": stats.GivenUp, "lost": stats.Lost,
	} {
		to <- prometheus.MustNewConstMetric(leaseResults, prometheus.CounterValue, float64(n), result)
	}
}
