package filecache

import "github.com/prometheus/client_golang/prometheus"

// Metrics are the cache's, for Prometheus.
func (c *Cache) Metrics() []prometheus.Collector {
	tell := func(name, help string, value func(Stats) int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "curd_server", Name: name, Help: help}, func() float64 { return float64(value(c.Stats())) })
	}
	opened := func(how string, value func(Stats) int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "curd_server", Name: "cache_opened_total",
			Help: "Files of the bucket that were opened: hit (it lay in the cache), fetched (it was brought there), shared (another brought it), " +
				"bypassed (it was read from the bucket: too large, or the cache's disk fails).",
			ConstLabels: prometheus.Labels{"result": how}}, func() float64 { return float64(value(c.Stats())) })
	}
	return []prometheus.Collector{
		tell("cache_files", "Files in the cache.", func(s Stats) int64 { return s.Files }),
		tell("cache_bytes", "Bytes of these.", func(s Stats) int64 { return s.Bytes }),
		tell("cache_damaged_total", "Files of the cache that were thrown away, as they were damaged.", func(s Stats) int64 { return s.Damaged }),
		tell("cache_evicted_total", "Files of the cache that went for others.", func(s Stats) int64 { return s.Evicted }),
		opened("hit", func(s Stats) int64 { return s.Hits }),
		opened("fetched", func(s Stats) int64 { return s.Fetched }),
		opened("shared", func(s Stats) int64 { return s.Shared }),
		opened("bypassed", func(s Stats) int64 { return s.Bypassed }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "curd_server", Name: "cache_up", Help: "1, or 0 while the cache's disk fails."}, func() float64 {
			if _, works := c.State(); works {
				return 1
			}
			return 0
		}),
	}
}
