"""The history of an hour and of a day: from the store, and live where it is not yet kept.

What is older than late reports may be is summed once; only the rest is read again.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from meterhouse_agent import wire
from meterhouse_collector.live import Live
from meterhouse_collector.rollup.points import sums_of
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.rollup.roll_up import add_sums
from meterhouse_collector.rows import Point, Policy
from meterhouse_collector.store import Store
from meterhouse_collector.web.document import History
from meterhouse_collector.web.history import Past

_HOUR: Final = 3600
_CHUNK_SECONDS: Final = 300
_KEPT_CHUNK_SECONDS: Final = 6 * _HOUR
QUARTER: Final = wire.QUARTER_SECONDS


class Span(NamedTuple):
    """How far back a history goes, in steps of at least so much, and for how long it is fresh."""

    seconds: int
    step_seconds: int
    fresh_seconds: float


SPANS: Final = {"hour": Span(_HOUR, 15, 10.0), "day": Span(24 * _HOUR, QUARTER, 30.0)}


class StoredPast:
    """Keeps the sums of the site by interval and by quarter, and reads what it lacks of them."""

    def __init__(
        self, store: Store, live: Live, site: str, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._live = live
        self._site = site
        self._clock = clock
        self._intervals: dict[int, Sums] = {}
        self._quarters: dict[int, Sums] = {}
        self._read_until: dict[Policy, int] = {}
        self._turn = asyncio.Lock()
        self._fresh: dict[str, tuple[float, History]] = {}
        self._past = {name: Past() for name in SPANS}

    async def history(self, name: str) -> History:
        """Return a history by its name in ``SPANS``; raise ``KeyError`` for any other.

        Raises ``StoreUnavailableError`` where it cannot be read.
        """
        span = SPANS[name]
        async with self._turn:
            now = self._clock()
            known = self._fresh.get(name)
            if known is not None and 0 <= now - known[0] < span.fresh_seconds:
                return known[1]
            found = await self._read(name, span, int(now))
            self._fresh[name] = now, found
            return found

    async def _read(self, name: str, span: Span, now: int) -> History:
        length = self._live.pace.length_seconds
        await self._follow("live", self._intervals, now, _HOUR, _CHUNK_SECONDS)
        intervals = {**self._intervals, **dict(self._live.intervals())}
        window = self._live.window()
        if name == "hour":
            step = -(-span.step_seconds // length) * length
            parts = sorted((s, v) for s, v in intervals.items() if s >= now - _HOUR)
            return await asyncio.to_thread(
                self._past[name].history, parts, window, step_seconds=step
            )
        await self._follow("kept", self._quarters, now, span.seconds, _KEPT_CHUNK_SECONDS)
        quarters = {**self._whole(intervals), **self._quarters}
        parts = sorted((s, v) for s, v in quarters.items() if s >= now - span.seconds)
        of_quarter = window._replace(seconds=float(QUARTER))
        return await asyncio.to_thread(
            self._past[name].history, parts, of_quarter, step_seconds=QUARTER
        )

    def _whole(self, intervals: Mapping[int, Sums]) -> dict[int, Sums]:
        """Return the sums of quarters that are over and were live in every interval."""
        parts: dict[int, list[Sums]] = {}
        for start, sums in intervals.items():
            parts.setdefault(start - start % QUARTER, []).append(sums)
        whole = QUARTER // self._live.pace.length_seconds
        return {q: add_sums(rows) for q, rows in parts.items() if len(rows) == whole}

    async def _follow(
        self, policy: Policy, known: dict[int, Sums], now: int, back: int, chunk: int
    ) -> None:
        """Read what is new of a rollup since the last time, and forget what is too old."""
        held = round(self._live.pace.held_seconds) if policy == "live" else 3 * _HOUR
        oldest = now - back
        begins = max(oldest, self._read_until.get(policy, oldest))
        for start in range(begins, now, chunk):
            end = min(start + chunk, now)
            points = await self._store.points(
                policy, "rollup", start_seconds=start, end_seconds=end
            )
            known.update(await asyncio.to_thread(_totals, points, self._site))
        self._read_until[policy] = max(oldest, now - held)
        for start in [start for start in known if start < oldest]:
            del known[start]


def _totals(points: list[Point], site: str) -> dict[int, Sums]:
    parts: dict[int, list[Sums]] = {}
    for point in points:
        if ("site", site) in point.tags:
            parts.setdefault(point.start_seconds, []).append(sums_of(point))
    return {start: add_sums(rows) for start, rows in parts.items()}
