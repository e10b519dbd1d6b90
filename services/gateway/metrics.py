"""What the gateway counts. Labels take values from closed lists only."""

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10)

REQUESTS = Counter("gateway_requests", "Requests answered", ("operation", "status"))
REQUEST_SECONDS = Histogram("gateway_request_seconds", "From request to answer", ("operation",), buckets=SECONDS)
COMMANDS = Counter("gateway_commands", "Commands sent, by how they ended for the caller", ("type", "outcome"))
VERDICT_SECONDS = Histogram("gateway_verdict_seconds", "From acknowledged command to its verdict", buckets=SECONDS)
RATE_LIMITED = Counter("gateway_rate_limited", "Requests refused because their user asked too much")
EVENTS_HELD = Gauge("gateway_events_held", "Events folded into the states held in memory")
EVENTS_FOLDED = Counter("gateway_events_folded", "Events read and folded")
