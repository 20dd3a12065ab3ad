package s3

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Kinds of requests.
const (
	kindGet    = "get"
	kindHead   = "head"
	kindList   = "list"
	kindPut    = "put"
	kindDelete = "delete"
)

func kindOf(r *http.Request) string {
	switch r.Method {
	case http.MethodPut, http.MethodPost:
		return kindPut
	case http.MethodDelete:
		return kindDelete
	case http.MethodHead:
		return kindHead
	}
	if r.URL.Query().Has("list-type") {
		return kindList
	}
	return kindGet
}

// What becomes of a request.
const (
	outcomeOK        = "ok"        // done, or not changed
	outcomeAbsent    = "absent"    // no such object
	outcomeRefused   = "refused"   // the condition was not met, or the bucket does not allow it
	outcomeThrottled = "throttled" // the bucket is asked too much
	outcomeFailed    = "failed"    // on the network, or in the bucket
	outcomeTimeout   = "timeout"
	outcomeCancelled = "cancelled" // nobody waits for it any more
	outcomeShed      = "shed"      // not sent: too many wait
	outcomeClosed    = "closed"    // not sent: the bucket does not answer
)

func outcomeOf(status int) string {
	switch {
	case status == http.StatusNotFound:
		return outcomeAbsent
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		return outcomeThrottled
	case status >= 500 && lasting(status), status >= 400 && status < 500:
		return outcomeRefused
	case status >= 500:
		return outcomeFailed
	}
	return outcomeOK
}

// lasting tells of errors that are the bucket's last word: what it does not know, or has no room for.
func lasting(status int) bool {
	switch status {
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusInsufficientStorage:
		return true
	}
	return false
}

type metrics struct {
	requests *prometheus.CounterVec   // kind, outcome
	seconds  *prometheus.HistogramVec // kind
}

const namespace = "curd_server"

func newMetrics() metrics {
	return metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "store_requests_total",
			Help: "Requests to the bucket, by kind (get, head, list, put, delete) and outcome: ok, absent, refused, throttled, failed, timeout, cancelled; " +
				"shed (too many waited) and closed (it did not answer) were not sent."}, []string{"kind", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: "store_request_seconds",
			Help:    "Time until the bucket began to answer a request that was sent.",
			Buckets: []float64{.002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30}}, []string{"kind"}),
	}
}

func (m *metrics) observe(kind, outcome string, took time.Duration) {
	m.requests.WithLabelValues(kind, outcome).Inc()
	if outcome != outcomeShed && outcome != outcomeClosed {
		m.seconds.WithLabelValues(kind).Observe(took.Seconds())
	}
}

// Metrics are the store's, for Prometheus.
func (s *Store) Metrics() []prometheus.Collector {
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, value)
	}
	return []prometheus.Collector{
		s.guard.metrics.requests, s.guard.metrics.seconds,
		gauge("store_requests", "Requests to the bucket that it has not begun to answer.", func() float64 { return float64(len(s.guard.slots)) }),
		gauge("store_waiting", "Requests that wait until there are fewer.", func() float64 { return float64(s.guard.waiting.Load()) }),
		gauge("store_up", "1, or 0 while the bucket does not answer and requests are refused.", func() float64 {
			if s.guard.breaker.check() != nil {
				return 0
			}
			return 1
		}),
	}
}
