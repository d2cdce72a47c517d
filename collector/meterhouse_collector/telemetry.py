"""What the collector says about itself on /metrics."""

import logging
import sys
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_LOG: Final = logging.getLogger(__name__)
_PREFIX: Final = "meterhouse_collector_"
_LATENESS_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)


class Taken(Collector):
    """Counts the reports taken and how late they came; plain numbers, as there is one per report.

    The counters of prometheus_client take a lock each time.
    """

    def __init__(self) -> None:
        self._counts = [0] * (len(_LATENESS_SECONDS) + 1)
        self._seconds = 0.0

    def note(self, late_seconds: float) -> None:
        """Count one report."""
        self._counts[bisect_left(_LATENESS_SECONDS, late_seconds)] += 1
        self._seconds += late_seconds

    @property
    def total(self) -> int:
        """How many reports were taken."""
        return sum(self._counts)

    @property
    def total_seconds(self) -> float:
        """How late they came, added up."""
        return self._seconds

    def collect(self) -> Iterator[Metric]:
        """Say both as metrics."""
        yield CounterMetricFamily(f"{_PREFIX}reports", "Reports taken.", self.total)
        edges = [*map(str, _LATENESS_SECONDS), "+Inf"]
        yield HistogramMetricFamily(
            f"{_PREFIX}lateness_seconds",
            "From the end of a report's interval to its coming.",
            list(zip(edges, accumulate(self._counts), strict=True)),
            self._seconds,
        )


def value_of(gauge: Gauge) -> float:
    """Return what a gauge without labels stands at."""
    (metric,) = gauge.collect()
    return float(metric.samples[0].value)


class Telemetry:
    """The collector's own metrics, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.taken = Taken()
        registry.register(self.taken)
        self.refused = Counter(
            f"{_PREFIX}refused_total",
            "Messages refused, by reason.",
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
        self.behind = Gauge(
            f"{_PREFIX}agents_behind_seconds",
            "Age of the oldest report that waits in a spool of an agent.",
            registry=registry,
        )
        self.quarters_behind = Gauge(
            f"{_PREFIX}quarters_behind",
            "Quarters that have ended and are not summed yet.",
            registry=registry,
        )
        self.last_quarter = Gauge(
            f"{_PREFIX}last_quarter_start_seconds",
            "Start of the newest quarter that is summed, in Unix seconds.",
            registry=registry,
        )
        self.dirty_marks = Gauge(
            f"{_PREFIX}dirty_marks",
            "Things in summed quarters that changed since and wait to be summed again.",
            registry=registry,
        )
        self.slots_untold = Gauge(
            f"{_PREFIX}slots_untold",
            "Slots that no intake tells of; only of a steward.",
            registry=registry,
        )
        self.slots_told_twice = Gauge(
            f"{_PREFIX}slots_told_twice",
            "Slots that more than one intake tells of; only of a steward.",
            registry=registry,
        )
        self.unknown_spans = Counter(
            f"{_PREFIX}unknown_spans_total",
            "Spans met whose quantity no quarter sums.",
            registry=registry,
        )
        self.unread_rows = Counter(
            f"{_PREFIX}unread_rows_total",
            "Rows of the ledger met that cannot be read.",
            registry=registry,
        )
        self.alerts = Gauge(
            f"{_PREFIX}alerts",
            "Alerts that are pending or firing, by kind of rule.",
            ("kind", "state"),
            registry=registry,
        )
        self.alerts_dropped = Counter(
            f"{_PREFIX}alerts_dropped_total",
            "Alerts that found no room beside those that are open.",
            registry=registry,
        )
        self.notifications = Counter(
            f"{_PREFIX}notifications_total",
            "Alerts that a receiver took, repeated ones too.",
            ("receiver", "state"),
            registry=registry,
        )
        self.notifications_refused = Counter(
            f"{_PREFIX}notifications_refused_total",
            "Alerts that a receiver will never take.",
            ("receiver",),
            registry=registry,
        )
        self.notification_failures = Counter(
            f"{_PREFIX}notification_failures_total",
            "Requests that a receiver did not take; they are tried again.",
            ("receiver",),
            registry=registry,
        )
        self.notifications_waiting = Gauge(
            f"{_PREFIX}notifications_waiting",
            "Alerts that a receiver is still to be told of.",
            ("receiver",),
            registry=registry,
        )
        self.page_refused = Counter(
            f"{_PREFIX}page_refused_total",
            "Connections and requests that the page refused, by reason.",
            ("reason",),
            registry=registry,
        )
        self._bugs = Counter(
            f"{_PREFIX}bugs_total",
            "Errors of this program, by where; the first of each is in the log.",
            ("where",),
            registry=registry,
        )
        self._told: set[tuple[str, type[BaseException] | None]] = set()

    def bug(self, where: str) -> None:
        """Count the exception that is being handled; the first of each kind is logged."""
        self._bugs.labels(where).inc()
        kind = sys.exc_info()[0]
        if (where, kind) not in self._told:
            self._told.add((where, kind))
            _LOG.exception("BUG in %s, more of them are only counted", where)
