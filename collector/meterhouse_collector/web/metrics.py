"""/metrics: the collector's own, and the KPIs; a KPI without a value is absent."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from meterhouse_agent import wire
from meterhouse_collector.kpi.live_kpis import LIVE_KPIS
from meterhouse_collector.kpi.value import KpiValue
from meterhouse_collector.live import Snapshot
from meterhouse_collector.web.api import Answers
from meterhouse_collector.web.figures import power_of, tokens_of

_PREFIX: Final = "meterhouse_"
_FORMULAS: Final = {kpi.name: kpi.formula for kpi in LIVE_KPIS}


class KpiMetrics(Collector):
    """The KPIs over the last window, computed when they are scraped."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield every gauge that has a value."""
        snapshot = self._answers.snapshot()
        if snapshot is None:
            return
        for value in snapshot.kpis.values():
            yield from self._kpi(value)
        yield from self._sums(snapshot)

    def _kpi(self, kpi: KpiValue) -> Iterator[GaugeMetricFamily]:
        yield self._gauge(f"{kpi.name}_coverage_ratio", "Share that was measured.", kpi.coverage)
        if kpi.value is None:
            return
        yield self._gauge(kpi.name, f"{_FORMULAS[kpi.name]}; in {kpi.unit}.", kpi.value)
        for bound, value in (("low", kpi.low), ("high", kpi.high)):
            if value is not None:
                text = "What it would be if all were known: bound."
                yield self._gauge(f"{kpi.name}_{bound}", text, value)

    def _sums(self, snapshot: Snapshot) -> Iterator[GaugeMetricFamily]:
        sums, seconds = snapshot.sums, float(snapshot.end_seconds - snapshot.start_seconds)
        yield self._gauge("window_seconds", "What the KPIs are over.", seconds)
        yield self._gauge("window_end_seconds", "Its end, Unix.", float(snapshot.end_seconds))
        power, tokens = power_of(sums), tokens_of(sums)
        for name, text, value in (
            ("facility_power_watts", "Mean over the window.", power.facility_watts),
            ("it_power_watts", "Mean over the window.", power.it_watts),
            ("output_tokens_per_second", "Mean over the window.", tokens.output_per_second),
        ):
            if value is not None:
                yield self._gauge(name, text, value)
        family = GaugeMetricFamily(
            f"{_PREFIX}accelerators", "Mean count by state.", labels=("site", "state")
        )
        for state in wire.STATES:
            family.add_metric((self._answers.site, state), sums[f"{state}_seconds"] / seconds)
        yield family

    def _gauge(self, name: str, text: str, value: float) -> GaugeMetricFamily:
        family = GaugeMetricFamily(f"{_PREFIX}{name}", text, labels=("site",))
        family.add_metric((self._answers.site,), value)
        return family


def exposition(own: CollectorRegistry, answers: Answers) -> bytes:
    """Return the text of /metrics."""
    registry = CollectorRegistry()
    registry.register(KpiMetrics(answers))
    return generate_latest(own) + generate_latest(registry)
