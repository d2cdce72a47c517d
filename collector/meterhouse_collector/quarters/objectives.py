"""What engines told of the latencies that objectives are about, and its counts as plain points.

Goodput under several objectives at once needs single requests; from histograms it is known of one
objective at a time (``definitions.md``). A board divides by these counts over any window.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from math import fsum
from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.kpi.latency import Histogram, WithinCount, within_count
from meterhouse_collector.rollup.observed import METRICS
from meterhouse_collector.rollup.points import tag_value
from meterhouse_collector.rollup.quarter import QUARTER
from meterhouse_collector.rows import EngineRow, Point
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.targets import Slo

OBJECTIVE: Final = "objective"
REPORTED: Final = {metric: word for word, metric in METRICS.items()}

# What was observed of one served model and latency, by the edges of the buckets.
Counts = dict[tuple[float, ...], list[int]]


class Seen:
    """What engines told of the served models that objectives are about."""

    def __init__(self, models: Iterable[str]) -> None:
        self.told_milliseconds: Final = dict.fromkeys(models, 0)
        self.counts: Final[defaultdict[tuple[str, str], Counts]] = defaultdict(dict)

    def add(self, rows: Iterable[EngineRow]) -> None:
        """Add rows of engines, one for each engine and time."""
        for row in rows:
            for served in row.served:
                if served.served_model in self.told_milliseconds:
                    self.told_milliseconds[served.served_model] += served.covered_milliseconds
                    for word, histogram in served.latency.items():
                        _count(self.counts[served.served_model, word], histogram)

    def of(self, slo: Slo) -> Counts:
        """Return what was observed of the served model and latency of an objective."""
        return self.counts.get((slo.served_model, REPORTED.get(slo.metric, "")), {})


def _count(counts: Counts, histogram: wire.Histogram) -> None:
    """Add whole counts of the same edges; buckets that are none are left, as in every sum."""
    edges = tuple(histogram.edges_seconds)
    rising = all(before < after for before, after in pairwise(edges))
    if not rising or len(histogram.counts) != len(edges) + 1:
        return
    before = counts.get(edges, [0] * len(histogram.counts))
    counts[edges] = [a + b for a, b in zip(before, histogram.counts, strict=True)]


def installed_seconds(index: SiteIndex, model: str, start: int, end: int) -> float:
    """Return the seconds of all engines that serve a model by the register."""
    engines = index.dated.engine
    steps = [start, *(t for t in engines.instants if start < t < end), end]
    return fsum(
        (after - before) * sum(model in engine.weights for engine in engines.at(before).values())
        for before, after in pairwise(steps)
    )


def objective_points(
    index: SiteIndex, start: int, engines: Mapping[str, EngineRow]
) -> Iterator[Point]:
    """Yield, of each objective in force at the end of a quarter, its requests of that quarter.

    What no engine reports has no point, as 0 requests would say that none was observed.
    """
    end = start + QUARTER
    slos = [
        slo for slo in index.dated.slo.at(end - 1).values() if REPORTED.get(slo.metric) is not None
    ]
    seen = Seen(slo.served_model for slo in slos)
    seen.add(engines.values())
    for slo in slos:
        within = [
            within_count(histogram=Histogram(edges, counts), threshold_seconds=slo.threshold)
            for edges, counts in seen.of(slo).items()
        ]
        low, high, observed = (
            fsum(column) for column in zip(WithinCount(0, 0, 0), *within, strict=True)
        )
        told = seen.told_milliseconds[slo.served_model] / 1000
        tags = {
            "site": index.site,
            "objective": slo.name,
            "served_model": tag_value(slo.served_model),
            "metric": slo.metric,
        }
        fields: dict[str, float | int | str | bool] = {
            "within_requests": low,
            "high_within_requests": high,
            "observed_requests": observed,
            "told_seconds": told,
            "installed_seconds": max(told, installed_seconds(index, slo.served_model, start, end)),
            "quarter_seconds": float(QUARTER),
            "threshold_seconds": float(slo.threshold),
            "objective_ratio": float(slo.objective_ratio),
        }
        yield Point("event", OBJECTIVE, tuple(sorted(tags.items())), fields, start)
