-- Has wrk print what it counted as one line of JSON. The request itself stays wrk's own, as fast as without a script.
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\n{"requests": %d, "seconds": %f, "bytes": %d, "p50": %f, "p99": %f, "failed": %d, "timeouts": %d}\n',
    summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.status, e.timeout))
end
