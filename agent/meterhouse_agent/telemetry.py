"""What the agent says about itself on /metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge

_PREFIX = "meterhouse_agent_"


class Metrics:
    """The metric families of one process, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.reports = self._counter("reports_total", "Reports made.")
        self.published = self._counter("published_total", "Reports sent, resends included.")
        self.receipts = self._counter("receipts_total", "Receipts taken.")
        self.refused = self._counter("refused_total", "Reports refused.", "reason", "final")
        self.dropped = self._counter("dropped_total", "What was lost, by reason.", "reason")
        self.events = self._counter("events_total", "Jumps of counters and clock.", "event")
        self.rounds = self._counter(
            "source_rounds_total", "Rounds of a source.", "source", "outcome"
        )
        self.connected = self._gauge("connected", "1 while connected to the broker.")
        self.spool_reports = self._gauge("spool_reports", "Reports without a receipt.")
        self.spool_bytes = self._gauge("spool_bytes", "Bytes of reports without a receipt.")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(_PREFIX + name, text, ("node", *labels), registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(_PREFIX + name, text, ("node",), registry=self.registry)


class Telemetry:
    """The families, bound to one node."""

    def __init__(self, metrics: Metrics, node: str) -> None:
        self._metrics = metrics
        self.node = node
        self.reports = metrics.reports.labels(node)
        self.published = metrics.published.labels(node)
        self.receipts = metrics.receipts.labels(node)
        self.connected = metrics.connected.labels(node)
        self.spool_reports = metrics.spool_reports.labels(node)
        self.spool_bytes = metrics.spool_bytes.labels(node)

    def dropped(self, reason: str, count: int = 1) -> None:
        """Count what was lost."""
        self._metrics.dropped.labels(self.node, reason).inc(count)

    def refused(self, reason: str, *, final: bool) -> None:
        """Count a refusal."""
        self._metrics.refused.labels(self.node, reason, str(final).lower()).inc()

    def event(self, event: str, count: int = 1) -> None:
        """Count a jump of a counter or of the clock."""
        self._metrics.events.labels(self.node, event).inc(count)

    def round(self, source: str, outcome: str, count: int = 1) -> None:
        """Count rounds of a source: ok, failed, absent, late or unresponsive."""
        self._metrics.rounds.labels(self.node, source, outcome).inc(count)
