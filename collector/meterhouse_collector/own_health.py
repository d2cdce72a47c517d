"""The collector's own health as plain points of ``live``, so that a board shows it beside the rest.

What counters have counted since the last point stands in the point as an amount, so that sums over
any window are right; what gauges say stands there as it was. The numbers are those of /metrics.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import Counter

from meterhouse_agent import wire
from meterhouse_collector.agents import Agent
from meterhouse_collector.live import Live
from meterhouse_collector.rows import Point, Row
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.telemetry import Telemetry

MEASUREMENT: Final = "collector"
REFUSED: Final = "refused"
# A node whose last report came longer ago than so many intervals is silent.
SILENT_INTERVALS: Final = 3
_PREFIX: Final = "meterhouse_collector_"
_SUMMED: Final = ("refused", "dropped", "rows", "rows_rejected", "bugs", "unread_rows")
_GAUGES: Final = {
    "spool_reports": "agents_waiting_reports",
    "pending_reports": "pending_reports",
    "store_up": "store_up",
    "connected": "connected",
    "quarters_behind": "quarters_behind",
    "dirty_marks": "dirty_marks",
}


class OwnHealth:
    """Writes a point about the collector in each interval, and one for each reason of refusals."""

    def __init__(
        self,
        telemetry: Telemetry,
        live: Live,
        index: SiteIndex,
        agents: Mapping[str, Agent],
        *,
        write: Callable[[Row], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._telemetry = telemetry
        self._live = live
        self._index = index
        self._agents = agents
        self._write = write
        self._clock = clock
        self._counted: dict[str, float] = {}

    async def run(self) -> None:
        """Write until cancelled."""
        length = self._live.pace.length_seconds
        while True:
            now = self._clock()
            await asyncio.sleep(length - now % length)
            self.note()

    def note(self) -> None:
        """Write the points of this instant."""
        try:
            now = self._clock()
            for point in self._points(now):
                self._write(point)
        except Exception:  # noqa: BLE001 - what is collected goes on without it
            self._telemetry.bug("own_health")

    def _points(self, now: float) -> Iterator[Point]:
        taken, said = self._telemetry.taken, self._said()
        fields = {
            "reports": self._since("reports", float(taken.total)),
            "late_seconds": self._since("late_seconds", taken.total_seconds),
        }
        for name in _SUMMED:
            fields[name] = self._since(name, said.get(f"{name}_total", 0.0))
        for name, metric in _GAUGES.items():
            fields[name] = said.get(metric, 0.0)
        fields |= self._freshness(now, said.get("last_quarter_start_seconds", 0.0))
        fields |= self._nodes(now)
        fields |= self._alerts()
        yield self._point(MEASUREMENT, (), fields, now)
        for reason, final, count in _by_labels(self._telemetry.refused):
            since = self._since(f"refused {reason} {final}", count)
            if since > 0:
                tags = (("final", final), ("reason", reason))
                yield self._point(REFUSED, tags, {"reports": since}, now)

    def _point(
        self,
        measurement: str,
        tags: tuple[tuple[str, str], ...],
        fields: dict[str, float],
        now: float,
    ) -> Point:
        named = tuple(sorted((("site", self._index.site), *tags)))
        return Point("live", measurement, named, {**fields}, int(now))

    def _since(self, name: str, total: float) -> float:
        before = self._counted.get(name, 0.0)
        self._counted[name] = total
        return total - before

    def _said(self) -> dict[str, float]:
        """Return what /metrics says, over all labels: asked once, as each time all is collected."""
        said: dict[str, float] = {}
        for metric in self._telemetry.registry.collect():
            for sample in metric.samples:
                name = sample.name.removeprefix(_PREFIX)
                # A field is a float for ever.
                said[name] = said.get(name, 0.0) + sample.value
        return said

    def _freshness(self, now: float, quarter: float) -> dict[str, float]:
        """Return how long ago the newest rolled-up interval and the newest quarter ended."""
        found = {}
        newest = self._live.newest()
        if newest is not None:
            found["freshness_seconds"] = max(0.0, now - newest - self._live.pace.length_seconds)
        if quarter > 0:
            found["quarter_age_seconds"] = max(0.0, now - quarter - wire.QUARTER_SECONDS)
        return found

    def _nodes(self, now: float) -> dict[str, float]:
        since = now - SILENT_INTERVALS * self._live.pace.length_seconds
        expected = len(self._index.plans(now).keys() | self._agents.keys())
        heard = sum([agent.report_seconds >= since for agent in self._agents.values()])
        return {"nodes": float(expected), "silent_nodes": float(expected - heard)}

    def _alerts(self) -> dict[str, float]:
        found = {"alerts_firing": 0.0, "alerts_pending": 0.0}
        for metric in self._telemetry.alerts.collect():
            for sample in metric.samples:
                found[f"alerts_{sample.labels['state']}"] += sample.value
        return found


def _by_labels(counter: Counter) -> Iterator[tuple[str, str, float]]:
    for metric in counter.collect():
        for sample in metric.samples:
            if sample.name.endswith("_total"):
                yield sample.labels["reason"], sample.labels["final"], sample.value
