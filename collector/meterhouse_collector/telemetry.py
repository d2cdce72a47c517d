"""What the collector says about itself on /metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_PREFIX = "meterhouse_collector_"
_LATENESS_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 300, 3600)


class Telemetry:
    """The collector's own metrics, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.reports = Counter(f"{_PREFIX}reports_total", "Reports taken.", registry=registry)
        self.refused = Counter(
            f"{_PREFIX}refused_total",
            "Reports refused, by reason.",
            ("reason", "final"),
            registry=registry,
        )
        self.dropped = Counter(
            f"{_PREFIX}dropped_total",
            "Messages not looked at, by reason; agents send reports without a receipt again.",
            ("reason",),
            registry=registry,
        )
        self.rows = Counter(f"{_PREFIX}rows_total", "Rows written.", ("policy",), registry=registry)
        self.rejected = Counter(
            f"{_PREFIX}rows_rejected_total",
            "Rows that the store will never take.",
            ("policy",),
            registry=registry,
        )
        self.receipts = Counter(f"{_PREFIX}receipts_total", "Receipts sent.", registry=registry)
        self.pending = Gauge(
            f"{_PREFIX}pending_reports", "Reports that wait for the store.", registry=registry
        )
        self.store_up = Gauge(
            f"{_PREFIX}store_up", "1 while the store takes rows.", registry=registry
        )
        self.connected = Gauge(
            f"{_PREFIX}connected", "1 while connected to the broker.", registry=registry
        )
        self.waiting = Gauge(
            f"{_PREFIX}agents_waiting_reports",
            "Reports that wait in the spools of the agents.",
            registry=registry,
        )
        self.lateness = Histogram(
            f"{_PREFIX}lateness_seconds",
            "From the end of a report's interval to its coming.",
            buckets=_LATENESS_SECONDS,
            registry=registry,
        )
