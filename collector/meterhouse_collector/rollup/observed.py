"""What engines observed of latencies: buckets summed first, then quantiles of them. Pure.

Quantiles of parts say nothing of the whole, so a longer window sums the buckets of its rows.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import fsum
from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.kpi.catalogue import QUANTILES
from meterhouse_collector.kpi.latency import Histogram, latency_quantile, merge_histograms
from meterhouse_collector.rows import EngineRow

# The words of reports, and those of the catalogue.
METRICS: Final = {"ttft": "time_to_first_token", "tpot": "time_per_output_token", "e2e": "latency"}

Observed = dict[str, Histogram]


class Buckets:
    """Histograms of several engines by latency; those with the same edges are added as they are."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, tuple[float, ...]], list[list[float]]] = defaultdict(list)
        self._seconds: dict[tuple[str, tuple[float, ...]], list[float]] = defaultdict(list)

    def add(self, latency: Mapping[str, wire.Histogram], part: float = 1.0) -> None:
        """Add what an engine observed, or a part of it."""
        for name, histogram in latency.items():
            metric = METRICS.get(name)
            if metric is None or len(histogram.counts) != len(histogram.edges_seconds) + 1:
                continue
            key = (metric, tuple(histogram.edges_seconds))
            counts: list[float] = [*histogram.counts]
            self._counts[key].append(counts if part == 1.0 else [n * part for n in counts])
            self._seconds[key].append(histogram.sum_seconds * part)

    def merged(self) -> Observed:
        """Return the sum of all by latency, on the edges that all have."""
        parts: dict[str, list[Histogram]] = defaultdict(list)
        for (metric, edges), rows in self._counts.items():
            counts = tuple(map(fsum, zip(*rows, strict=True)))
            parts[metric].append(Histogram(edges, counts, fsum(self._seconds[metric, edges])))
        return _one_each(parts)


def observed(rows: Iterable[EngineRow]) -> Observed:
    """Return what engines observed in one stretch of time, all served models together."""
    buckets = Buckets()
    for row in rows:
        for served in row.served:
            buckets.add(served.latency)
    return buckets.merged()


def add_observed(parts: Iterable[Observed]) -> Observed:
    """Return what was observed in several stretches of time."""
    by_metric: dict[str, list[Histogram]] = defaultdict(list)
    for part in parts:
        for metric, histogram in part.items():
            by_metric[metric].append(histogram)
    return _one_each(by_metric)


def quantile_fields(found: Observed) -> dict[str, float]:
    """Return the quantiles that stand in a row; a latency that nobody observed has none."""
    return {
        f"{metric}_{name}_seconds": seconds
        for metric, histogram in found.items()
        for name, ratio in QUANTILES.items()
        if (seconds := latency_quantile(replicas=[histogram], quantile_ratio=ratio).seconds)
        is not None
    }


def _one_each(parts: Mapping[str, list[Histogram]]) -> Observed:
    """Sum by latency; without an edge in common there is nothing to say of a latency."""
    found = {}
    for metric, replicas in parts.items():
        if len(replicas) == 1:
            found[metric] = replicas[0]
            continue
        merged = merge_histograms(replicas=_by_edges(replicas))
        if merged.reason is None:
            found[metric] = Histogram(
                merged.edges_seconds, merged.observed_count, merged.sum_seconds
            )
    return found


def _by_edges(replicas: Iterable[Histogram]) -> list[Histogram]:
    """Sum what has the same edges."""
    same: dict[tuple[float, ...], list[Histogram]] = defaultdict(list)
    for each in replicas:
        same[tuple(each.edges_seconds)].append(each)
    return [
        Histogram(
            edges,
            tuple(map(fsum, zip(*(each.observed_count for each in found), strict=True))),
            fsum(each.sum_seconds for each in found),
        )
        for edges, found in same.items()
    ]
