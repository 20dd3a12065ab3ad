package server

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"curdling/internal/mirror"
)

// latencies are the bounds of the histograms' buckets, in seconds. A file's time
// is the client's as well, so that they reach far.
var latencies = []float64{.0005, .002, .01, .05, .2, 1, 5, 30}

// metrics are what Prometheus is told. A request looks no label up: each route
// has its counters at hand.
type metrics struct {
	registry *prometheus.Registry
	routes   map[string]*route // by label
	other    *route            // of requests that came to no route

	requests *prometheus.CounterVec   // route, status
	seconds  *prometheus.HistogramVec // route
	sent     *prometheus.CounterVec   // route
	uploads  *prometheus.CounterVec   // result
	refused  *prometheus.CounterVec   // limit
	plans    *prometheus.CounterVec   // result
	errors   prometheus.Counter
}

// route is one route's part of the metrics.
type route struct {
	label    string
	metrics  *metrics
	statuses [500]atomic.Pointer[prometheus.Counter] // from 100, each made when it is first answered
	seconds  prometheus.Observer
	sent     prometheus.Counter
}

const namespace = "curd_server"

func newMetrics(s *Server, version string) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		routes:   make(map[string]*route),
		requests: counter("requests_total", "Requests, by route and status.", "route", "status"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: "request_seconds",
			Help: "Time from a request's header to the end of its answer.", Buckets: latencies}, []string{"route"}),
		sent:    counter("sent_bytes_total", "Bytes of bodies sent.", "route"),
		uploads: counter("uploads_total", "Uploads, by result: created, held (the same bytes were there), conflict, refused, failed.", "result"),
		refused: counter("refused_total", "What a limit refused: connections, rate, uploads, plans.", "limit"),
		plans:   counter("plans_total", "Plans, by result: made, part (not all could be found out in time), remembered.", "result"),
		errors: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "store_errors_total",
			Help: "Requests that failed because the store did, a full disk too."}),
	}
	m.other = m.route("other")
	m.registry.MustRegister(m.requests, m.seconds, m.sent, m.uploads, m.refused, m.plans, m.errors,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(held(s, version)...)
	m.registry.MustRegister(&s.counters.savings)
	if s.mirror != nil {
		m.registry.MustRegister(mirrored{s.mirror})
	}
	if s.builds.Leases != nil {
		m.registry.MustRegister(leased{s.builds.Leases})
	}
	return m
}

// held are the metrics that are asked for when they are read.
func held(s *Server, version string) []prometheus.Collector {
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, value)
	}
	files := func(result string, value func() int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: namespace, Name: "files_served_total",
			Help:        "Files asked for: hit (it was held), miss (it was not).",
			ConstLabels: prometheus.Labels{"result": result}}, func() float64 { return float64(value()) })
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: "build_info",
		Help: "Always 1; the version is a label.", ConstLabels: prometheus.Labels{"version": version}})
	info.Set(1)
	return []prometheus.Collector{
		info,
		gauge("projects", "Projects that are held.", func() float64 { return float64(s.catalog.Stats().Projects) }),
		gauge("files", "Files that are held.", func() float64 { return float64(s.catalog.Stats().Files) }),
		gauge("held_bytes", "Bytes of the files that are held.", func() float64 { return float64(s.catalog.Stats().Bytes) }),
		gauge("tarball_bytes", "Bytes of the tarballs that are kept beside wheels.", func() float64 { return float64(s.catalog.Stats().TarballBytes) }),
		gauge("counted_timestamp_seconds", "When files and bytes that are held were counted, where that is not now; else 0.", func() float64 {
			if at := s.catalog.Stats().Counted; !at.IsZero() {
				return float64(at.Unix())
			}
			return 0
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: namespace, Name: "build_conflicts_total",
			Help: "Builds that were sent when another of the same identity was held, which stays."}, func() float64 {
			_, all := s.catalog.Evidence("")
			return float64(all)
		}),
		files("hit", s.counters.hits.Load),
		files("miss", s.counters.misses.Load),
	}
}

// Register adds metrics of others.
func (s *Server) Register(collectors ...prometheus.Collector) {
	s.metrics.registry.MustRegister(collectors...)
}

// Metrics answers what Prometheus asks.
func (s *Server) Metrics() http.Handler {
	return promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

func (s *Server) getMetrics(w *response, r *http.Request) error {
	s.metricsHandler().ServeHTTP(w, r)
	return nil
}

// route gives the counters of a route, by the pattern of its path.
func (m *metrics) route(pattern string) *route {
	label := strings.TrimSuffix(pattern, "{$}")
	if pattern == "/" { // whatever has no route
		label = "other"
	} else if len(label) > 1 {
		label = strings.TrimSuffix(label, "/")
	}
	r := m.routes[label]
	if r == nil {
		r = &route{label: label, metrics: m, seconds: m.seconds.WithLabelValues(label), sent: m.sent.WithLabelValues(label)}
		m.routes[label] = r
	}
	return r
}

// observe counts a request that was answered.
func (r *route) observe(status int, bytes int64, took time.Duration) {
	slot := &r.statuses[min(max(status-100, 0), len(r.statuses)-1)]
	counter := slot.Load()
	if counter == nil {
		made := r.metrics.requests.WithLabelValues(r.label, strconv.Itoa(status))
		counter = &made
		slot.Store(counter)
	}
	(*counter).Inc()
	r.seconds.Observe(took.Seconds())
	if bytes > 0 {
		r.sent.Add(float64(bytes))
	}
}

// handlerOnce makes the handler of /metrics when it is first asked.
func handlerOnce(s *Server) func() http.Handler { return sync.OnceValue(s.Metrics) }

// mirrored are the metrics of a mirror, all of one moment.
type mirrored struct{ *mirror.Mirror }

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(namespace+"_"+name, help, labels, nil)
}

var (
	fetchedFiles  = describe("mirror_fetched_files_total", "Files that came from upstreams, and are held.")
	fetchedBytes  = describe("mirror_fetched_bytes_total", "Bytes of files that came from upstreams.")
	mismatches    = describe("mirror_mismatches_total", "Files with another hash than their upstream's page says; they are not kept.")
	stalePages    = describe("mirror_stale_pages_total", "Pages that were given though their upstream should have been asked again.")
	fetches       = describe("mirror_fetches", "Files that are being fetched.")
	upstreamUp    = describe("upstream_up", "1 where the upstream answered last, 0 where it did not.", "upstream")
	upstreamAsked = describe("upstream_requests_total", "Requests to an upstream.", "upstream")
	upstreamError = describe("upstream_errors_total", "Requests to an upstream that failed.", "upstream")
)

// Describe is prometheus.Collector's.
func (m mirrored) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{fetchedFiles, fetchedBytes, mismatches, stalePages, fetches, upstreamUp, upstreamAsked, upstreamError} {
		to <- d
	}
}

// Collect is prometheus.Collector's.
func (m mirrored) Collect(to chan<- prometheus.Metric) {
	tell := func(d *prometheus.Desc, kind prometheus.ValueType, n int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, kind, float64(n), labels...)
	}
	stats := m.Stats()
	tell(fetchedFiles, prometheus.CounterValue, stats.Fetched)
	tell(fetchedBytes, prometheus.CounterValue, stats.Bytes)
	tell(mismatches, prometheus.CounterValue, stats.Mismatches)
	tell(stalePages, prometheus.CounterValue, stats.Stale)
	tell(fetches, prometheus.GaugeValue, int64(stats.FilesUnderWay))
	for _, u := range stats.Upstreams {
		up := int64(0)
		if u.Up {
			up = 1
		}
		tell(upstreamUp, prometheus.GaugeValue, up, u.Name)
		tell(upstreamAsked, prometheus.CounterValue, u.Requests, u.Name)
		tell(upstreamError, prometheus.CounterValue, u.Errors, u.Name)
	}
}
