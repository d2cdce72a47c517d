"""/metrics: the collector's own, and the KPIs; a KPI without a value is absent."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from meterhouse_agent import wire
from meterhouse_collector.kpi import cost, idle
from meterhouse_collector.kpi.live_kpis import LIVE_KPIS
from meterhouse_collector.kpi.value import KpiValue
from meterhouse_collector.live import Snapshot
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.rollup.roll_up import add_sums
from meterhouse_collector.site.index import GroupKey
from meterhouse_collector.web.api import GROUPS_MAX, Answers
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
        yield from self._pools(snapshot)
        yield from self._models(snapshot)

    def _pools(self, snapshot: Snapshot) -> Iterator[GaugeMetricFamily]:
        seconds = float(snapshot.end_seconds - snapshot.start_seconds)
        labels = ("site", "cluster", "pool", "tenant")
        count = _group_gauge("pool_accelerators", "Mean count by state.", (*labels, "state"))
        ratio = _group_gauge("pool_idle_capacity_ratio", "Of one pool.", labels)
        coverage = _group_gauge(
            "pool_idle_capacity_ratio_coverage_ratio", "Share that was measured.", labels
        )
        pools = _gathered(
            snapshot.groups, lambda g: (g.site, g.cluster, g.pool, g.tenant), "installed_seconds"
        )
        for pool, sums in pools.items():
            kpi = idle.idle_capacity_ratio(sums)
            coverage.add_metric(pool, kpi.coverage)
            if kpi.value is not None:
                ratio.add_metric(pool, kpi.value)
            for state in wire.STATES:
                count.add_metric((*pool, state), sums[f"{state}_seconds"] / seconds)
        yield from (family for family in (count, ratio, coverage) if family.samples)

    def _models(self, snapshot: Snapshot) -> Iterator[GaugeMetricFamily]:
        labels = ("site", "served_model")
        name = "served_model_cost_per_million_output_tokens"
        value = _group_gauge(name, "Of one served model.", labels)
        coverage = _group_gauge(f"{name}_coverage_ratio", "Share that was measured.", labels)
        models = _gathered(
            snapshot.groups, lambda g: (g.site, g.served_model), "engine_installed_seconds"
        )
        for model, sums in models.items():
            kpi = cost.cost_per_million_output_tokens(sums, currency="")
            coverage.add_metric(model, kpi.coverage)
            if kpi.value is not None:
                value.add_metric(model, kpi.value)
        yield from (family for family in (value, coverage) if family.samples)

    def _gauge(self, name: str, text: str, value: float) -> GaugeMetricFamily:
        family = GaugeMetricFamily(f"{_PREFIX}{name}", text, labels=("site",))
        family.add_metric((self._answers.site,), value)
        return family


def _group_gauge(name: str, text: str, labels: tuple[str, ...]) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{_PREFIX}{name}", text, labels=labels)


def _gathered(
    groups: Mapping[GroupKey, Sums], of: Callable[[GroupKey], tuple[str, ...]], size: str
) -> dict[tuple[str, ...], Sums]:
    """Return the largest gatherings of groups that there is anything of."""
    parts: dict[tuple[str, ...], list[Sums]] = {}
    for group, sums in groups.items():
        if sums[size] > 0:
            parts.setdefault(of(group), []).append(sums)
    found = {name: add_sums(members) for name, members in parts.items()}
    largest = sorted(found, key=lambda name: (-found[name][size], name))
    return {name: found[name] for name in largest[:GROUPS_MAX]}


def exposition(own: CollectorRegistry, answers: Answers) -> bytes:
    """Return the text of /metrics."""
    registry = CollectorRegistry()
    registry.register(KpiMetrics(answers))
    return generate_latest(own) + generate_latest(registry)
