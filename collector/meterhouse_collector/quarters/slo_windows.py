"""Latency objectives over a window: how many requests of a served model were within a threshold."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from meterhouse_collector.kpi.latency import Histogram, within_threshold
from meterhouse_collector.kpi.slo import error_budget_spent_ratio, objective_met
from meterhouse_collector.kpi.value import COVERAGE_FLOOR, Reasoned, below_floor, share
from meterhouse_collector.quarters.objectives import REPORTED, Seen, installed_seconds
from meterhouse_collector.quarters.window_latency import decoded_rows, window_rows
from meterhouse_collector.quarters.windows import Progress, Stretch
from meterhouse_collector.rollup.quarter import QUARTER
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.targets import Slo
from meterhouse_collector.store import Store

_DAY_SECONDS: Final = 86_400
# Read day by day, all engines of a longer window still are more rows than a question is worth.
SLO_SECONDS_MAX: Final = 92 * _DAY_SECONDS + QUARTER


@dataclass(frozen=True, slots=True, kw_only=True)
class SloWindow:
    """An objective over a window: the share of requests within its threshold, and whether met.

    Where the threshold is no bucket edge, there is no ``share`` but ``low`` and ``high``. Without a
    share there is a ``reason``; ``met`` is None where it is not known, ``requests`` and
    ``coverage`` where the window was not read.
    """

    name: str
    served_model: str
    metric: str
    threshold_seconds: float
    objective_ratio: float
    window_seconds: int
    share: float | None = None
    low: float | None = None
    high: float | None = None
    requests: int | None = None
    coverage: float | None = None
    budget_spent_ratio: float | None = None
    met: bool | None = None
    reason: str | None = None


def _silently(_: float, __: str) -> None:
    """Show no progress."""


class Reading(NamedTuple):
    """The longest window that is worth reading, and who hears which share of one is read."""

    seconds_max: int = SLO_SECONDS_MAX
    progress: Progress = _silently


_ANY: Final = Reading()


async def window_slos(
    store: Store, index: SiteIndex, window: Stretch, reading: Reading = _ANY
) -> list[SloWindow]:
    """Return the objectives in force at the end of a window that begins with a quarter.

    A window that is too long is not read, and each objective says so. Raises
    ``StoreUnavailableError`` where it cannot be read.
    """
    slos = index.dated.slo.at(window.end_seconds - 1).values()
    return await _over(store, index, list(slos), window, reading)


async def own_window_slos(
    store: Store, index: SiteIndex, end_seconds: int, reading: Reading = _ANY
) -> list[SloWindow]:
    """Return each objective over its own window until an instant; it begins with a quarter.

    Raises ``StoreUnavailableError``.
    """
    by_window: dict[float, list[Slo]] = {}
    for slo in index.dated.slo.at(end_seconds - 1).values():
        by_window.setdefault(slo.window, []).append(slo)
    found = []
    for seconds, slos in by_window.items():
        window = Stretch(int(end_seconds - seconds) // QUARTER * QUARTER, end_seconds)
        found += await _over(store, index, slos, window, reading)
    return found


async def _over(
    store: Store, index: SiteIndex, slos: Sequence[Slo], window: Stretch, reading: Reading
) -> list[SloWindow]:
    if not slos:
        return []
    start, end = window
    if end - start > reading.seconds_max:
        days = reading.seconds_max // _DAY_SECONDS
        reason = f"not read of a window of more than {days} day{'s' if days > 1 else ''}"
        return [_unmeasured(slo, window, reason) for slo in slos]
    seen = Seen(slo.served_model for slo in slos)
    for begins in range(start, end, _DAY_SECONDS):
        ends = min(begins + _DAY_SECONDS, end)
        for packed in await window_rows(store, index.site, begins, ends):
            await asyncio.to_thread(lambda rows: seen.add(decoded_rows(rows)), packed)
        reading.progress((ends - start) / (end - start), "reading latencies")
    installed = {
        model: installed_seconds(index, model, start, end) for model in seen.told_milliseconds
    }
    return [_held_against(slo, window, seen, installed[slo.served_model]) for slo in slos]


def _held_against(slo: Slo, window: Stretch, seen: Seen, installed: float) -> SloWindow:
    """Hold what was observed against an objective; bounds and value need the same coverage."""
    told_seconds = seen.told_milliseconds[slo.served_model] / 1000
    coverage = share(told_seconds, max(told_seconds, installed))
    counts = seen.of(slo)
    requests = sum(map(sum, counts.values()))
    reason = None if requests else _why_none(slo, told_seconds)
    reason = reason or below_floor(coverage, COVERAGE_FLOOR)
    known = replace(_unmeasured(slo, window, reason), requests=requests, coverage=coverage)
    if reason is not None:
        return known
    found = within_threshold(
        replicas=[Histogram(edges, each) for edges, each in counts.items()],
        threshold_seconds=slo.threshold,
    )
    spent = Reasoned(None)
    if found.ratio is not None:
        spent = error_budget_spent_ratio(
            within_ratio=found.ratio, objective_ratio=slo.objective_ratio
        )
    return replace(
        known,
        share=found.ratio,
        low=found.low_ratio,
        high=found.high_ratio,
        budget_spent_ratio=None if spent.value is None else float(spent.value),
        met=objective_met(
            low_ratio=found.low_ratio,
            high_ratio=found.high_ratio,
            objective_ratio=slo.objective_ratio,
        ),
        reason=found.reason or spent.reason,
    )


def _why_none(slo: Slo, told_seconds: float) -> str:
    if slo.metric not in REPORTED:
        return "no engine reports this latency"
    return "no request was observed" if told_seconds else "no engine told of the served model"


def _unmeasured(slo: Slo, window: Stretch, reason: str | None = None) -> SloWindow:
    return SloWindow(
        name=slo.name,
        served_model=slo.served_model,
        metric=slo.metric,
        threshold_seconds=slo.threshold,
        objective_ratio=slo.objective_ratio,
        window_seconds=window.end_seconds - window.start_seconds,
        reason=reason,
    )
