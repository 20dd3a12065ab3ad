package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"curdling/internal/index"
	"curdling/internal/lease"
	"curdling/internal/process"
)

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
