"""The last window in at most so many steps, each computed once unless its sums change."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from meterhouse_collector.kpi.compute import Window, kpis
from meterhouse_collector.kpi.value import KpiValue
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.rollup.roll_up import add_sums
from meterhouse_collector.web.document import History, Power, Series, Tokens
from meterhouse_collector.web.figures import columns_of, power_of, tokens_of

POINTS_MAX: Final = 300
SHOWN: Final = ("pue", "idle_capacity_ratio", "cost_per_million_output_tokens")


class _Point(NamedTuple):
    parts: tuple[Sums, ...]
    sums: Sums
    kpis: Mapping[str, KpiValue]
    power: Power
    tokens: Tokens

    def is_of(self, parts: Sequence[Sums]) -> bool:
        """Tell whether it was computed from these very sums."""
        return len(parts) == len(self.parts) and all(
            one is other for one, other in zip(parts, self.parts, strict=True)
        )


class Past:
    """Turns intervals into the steps of a history, and remembers those that stay."""

    def __init__(self) -> None:
        self._points: dict[int, _Point] = {}

    def history(
        self,
        intervals: Sequence[tuple[int, Sums]],
        window: Window,
        *,
        step_seconds: int | None = None,
    ) -> History:
        """Return the history of some intervals; ``window`` is that of one of them.

        Without a step it is as long as it must be for at most ``POINTS_MAX`` of them.
        """
        length = round(window.seconds)
        step = step_seconds or -(-len(intervals) // POINTS_MAX) * length or length
        parts: dict[int, list[Sums]] = {}
        for start, sums in intervals:
            parts.setdefault(start - start % step, []).append(sums)
        self._points = {
            start: self._point(start, sums, window._replace(seconds=float(length * len(sums))))
            for start, sums in parts.items()
        }
        return _history(self._points, step)

    def _point(self, start: int, parts: Sequence[Sums], window: Window) -> _Point:
        known = self._points.get(start)
        if known is not None and known.is_of(parts):
            return known
        sums = add_sums(parts) if len(parts) > 1 else parts[0]
        return _Point(
            tuple(parts), sums, kpis(sums, window=window), power_of(sums), tokens_of(sums)
        )


def last_of(history: History) -> History:
    """Return the last step alone: what a page that has the others adds to them."""
    if not history.start_seconds:
        return history
    return History(
        step_seconds=history.step_seconds,
        start_seconds=history.start_seconds[-1:],
        kpis={
            name: Series(series.value[-1:], series.low[-1:], series.high[-1:])
            for name, series in history.kpis.items()
        },
        states={state: column[-1:] for state, column in history.states.items()},
        facility_watts=history.facility_watts[-1:],
        it_watts=history.it_watts[-1:],
        output_tokens_per_second=history.output_tokens_per_second[-1:],
    )


def _history(points: Mapping[int, _Point], step: int) -> History:
    rows = list(points.values())
    return History(
        step_seconds=step,
        start_seconds=list(points),
        kpis={
            name: Series(
                [row.kpis[name].value for row in rows],
                [row.kpis[name].low for row in rows],
                [row.kpis[name].high for row in rows],
            )
            for name in SHOWN
        },
        states=columns_of([row.sums for row in rows]),
        facility_watts=[row.power.facility_watts for row in rows],
        it_watts=[row.power.it_watts for row in rows],
        output_tokens_per_second=[row.tokens.output_per_second for row in rows],
    )
