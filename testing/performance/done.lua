-- What every run of wrk prints at its end: one line of JSON. Latencies are in microseconds, and exact: wrk counts each of them, and adds those that a
-- request would have had that its late predecessor kept back.

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '{"tool": "wrk", "requests": %d, "duration_us": %d, "rps": %.3f, "bytes": %d, ' ..
      '"latency_us": {"p50": %d, "p90": %d, "p95": %d, "p99": %d, "max": %d, "mean": %.1f}, ' ..
      '"errors": {"connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}}\n',
      summary.requests, summary.duration, summary.requests / summary.duration * 1e6, summary.bytes,
      latency:percentile(50), latency:percentile(90), latency:percentile(95), latency:percentile(99), latency.max, latency.mean,
      errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
