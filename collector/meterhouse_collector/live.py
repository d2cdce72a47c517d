"""What is known live: the open intervals, their rollups, and the KPIs over the last window."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final, NamedTuple

from meterhouse_collector.kpi.compute import Window, kpis
from meterhouse_collector.kpi.pue import energy_basis
from meterhouse_collector.kpi.value import KpiValue
from meterhouse_collector.ledger import Entry
from meterhouse_collector.open_interval import OpenInterval, pack_nodes
from meterhouse_collector.read_back import ledger_rows, rollups
from meterhouse_collector.rollup.expected import FILLED_SECONDS, power_of
from meterhouse_collector.rollup.observed import Observed, add_observed, observed
from meterhouse_collector.rollup.points import group_of, live_point
from meterhouse_collector.rollup.pricing import Sums, zero_sums
from meterhouse_collector.rollup.rates import NO_RATES, Rates
from meterhouse_collector.rollup.roll_up import add_sums, by_group, roll_up
from meterhouse_collector.rollup.site_energy import Expected, IntervalRows
from meterhouse_collector.rows import Row
from meterhouse_collector.site.index import GroupKey, SiteIndex
from meterhouse_collector.store import Store
from meterhouse_collector.telling import Telling
from meterhouse_collector.ticks import tick

_LOG: Final = logging.getLogger(__name__)
_TICK_SECONDS: Final = 0.5
_FILLED_SECONDS: Final = 3600
_FUTURE_SECONDS: Final = 60
# An interval is rolled up again for all that came late in this time, and all of that together
# takes no more than this part of the time.
_AGAIN_SECONDS: Final = 5.0
_AGAIN_PART: Final = 0.25
# Alerts look at an interval some seconds before it is that old, and after that hardly anybody does:
# as objects the rows of minutes would be most of what a large site has in memory.
_PACKED_SECONDS: Final = 18


Told = Callable[[int, int], AsyncIterator[Entry]]
# The last known power by name, and the interval that it was drawn in.
_Watts = dict[str, tuple[int, float]]


class Pace(NamedTuple):
    """When an interval is rolled up, and how long its rows are held for late reports."""

    length_seconds: int
    grace_seconds: float
    held_seconds: float
    window_seconds: float


class Snapshot(NamedTuple):
    """The KPIs and sums over a window of whole intervals, [start, end) in Unix seconds."""

    start_seconds: int
    end_seconds: int
    kpis: dict[str, KpiValue]
    sums: Sums
    groups: dict[GroupKey, Sums]


def _recent(known: _Watts, start_seconds: int) -> dict[str, float]:
    since = start_seconds - FILLED_SECONDS
    return {name: watts for name, (at, watts) in known.items() if at >= since}


def no_rates(_: float) -> Rates:
    """Return the rates of a site where nothing but each device and energy costs."""
    return NO_RATES


class Live:
    """Holds the open intervals, and rolls each up once its grace is over, and after late rows."""

    def __init__(
        self,
        index: SiteIndex,
        pace: Pace,
        *,
        write: Callable[[Row], None],
        bug: Callable[[str], None],
        rates: Callable[[float], Rates] = no_rates,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.pace: Final = pace
        self.revision = 0
        self._index = index
        self._write = write
        self._bug = bug
        self._rates = rates
        self._clock = clock
        self._open: dict[int, OpenInterval] = {}
        self._rolled: dict[int, dict[GroupKey, Sums]] = {}
        self._totals: dict[int, Sums] = {}
        self._observed: dict[int, Observed] = {}
        self._since: float = 0
        self._next: int | None = None
        self._closed_before: float = 0
        self._again_at = float("-inf")
        self._learnt_at = 0
        self._telling = Telling()
        self._meter_watts: _Watts = {}
        self._node_watts: _Watts = {}

    def add(self, entry: Entry) -> None:
        """Take an entry into its interval, if that is still held."""
        start = entry.start_seconds
        if start < self._closed_before or start < self._clock() - self.pace.held_seconds:
            # With this row alone it would be rolled up as if all others were silent.
            return
        self._take(entry)

    def _take(self, entry: Entry) -> None:
        interval = self._open.get(entry.start_seconds)
        if interval is None:
            interval = self._open[entry.start_seconds] = OpenInterval()
        interval.take(entry)
        if interval.rolled_at is not None:
            self._telling.late(entry)

    async def read_back(self, store: Store, told: Told | None = None) -> None:
        """Take up what is held, and what was slept through, after a start.

        It is read from the ledger, or from what ``told`` yields of a window.
        """
        now, site = int(self._clock()), self._index.site
        held, length = round(self.pace.held_seconds), self.pace.length_seconds
        begin = (now - held) // length * length
        points = await rollups(store, site, begin, now)
        first = back = begin
        while not points and begin - back < _FILLED_SECONDS:
            points = await rollups(store, site, back - held, back)
            back -= held
            if points:
                first = max(point.start_seconds for point in points) + length
        if told is None:
            window = (first, now + _FUTURE_SECONDS)
            for row, decoded in await ledger_rows(store, site, window):
                interval = self._open.setdefault(row.start_seconds, OpenInterval())
                interval.put(row.thing, row.reader, decoded)
        else:
            async for entry in told(first, now + _FUTURE_SECONDS):
                self._take(entry)
        if not (points or self._open) and await store.oldest("live", "rollup") is None:
            # Nothing was ever collected, so nothing was slept through.
            return
        for point in points:
            interval = self._open.setdefault(point.start_seconds, OpenInterval())
            interval.groups.add(group_of(point.tags))
        for start in [start for start in self._open if start < first]:
            del self._open[start]
        self._next = first

    async def run(self) -> None:
        """Roll up until cancelled."""
        while True:
            await self.roll()
            await tick(_TICK_SECONDS)

    async def roll(self) -> None:
        """Roll up what is due; every interval gets its rows, also a silent one."""
        now, length = self._clock(), self.pace.length_seconds
        due = int(now - self.pace.grace_seconds) // length * length
        if self._next is None or self._next > due + self.pace.held_seconds:
            # The first time, or the clock was far ahead and was set back.
            self._next = due
            self._closed_before = min(self._closed_before, due)
        for start in range(max(self._next, due - _FILLED_SECONDS), due, length):
            self._open.setdefault(start, OpenInterval())
        self._next = max(self._next, due)
        closed = {
            s: o
            for s, o in self._open.items()
            if o.changed and (s + length <= due or (s + length <= now and self._is_whole(s, o)))
        }
        late = {s: o for s, o in closed.items() if o.rolled_at is not None}
        # The newest first: it is what a page shows.
        for start in sorted(closed.keys() - late.keys(), reverse=True):
            await self._roll_one(start, closed[start])
        await self._roll_again(late, now)
        self._forget(now)
        await self._pack(now - _PACKED_SECONDS)

    async def _pack(self, before_seconds: float) -> None:
        """Pack the rows of intervals rolled up before, and that nothing came for since."""
        for interval in list(self._open.values()):
            rolled = interval.rolled_at
            quiet = rolled is not None and rolled <= before_seconds and not interval.changed
            if quiet and interval.nodes:
                nodes = interval.all_nodes()
                packed = await asyncio.to_thread(pack_nodes, nodes)
                interval.keep_packed(nodes, packed)

    def _is_whole(self, start: int, interval: OpenInterval) -> bool:
        """Tell whether all have told that lately did; who comes back or is new will be late."""
        if interval.rolled_at is not None:
            return False
        return start - self._learnt_at == self.pace.length_seconds and self._telling.all_told(
            interval.nodes, interval.meters, interval.engines
        )

    async def _roll_again(self, late: Mapping[int, OpenInterval], now: float) -> None:
        ends = now - self.pace.held_seconds
        for start, interval in sorted(late.items(), key=lambda item: item[1].rolled_at or 0):
            age = now - (interval.rolled_at or 0)
            rested = not 0 <= age < _AGAIN_SECONDS and time.monotonic() >= self._again_at
            if rested or start < ends:
                begun = time.monotonic()
                await self._roll_one(start, interval)
                ended = time.monotonic()
                self._again_at = ended + (ended - begun) * (1 / _AGAIN_PART - 1)

    async def _roll_one(self, start: int, interval: OpenInterval) -> None:
        rows = interval.rows(start, self.pace.length_seconds)
        interval.changed, interval.rolled_at = False, self._clock()
        expected = Expected(*(_recent(known, start) for known in self._watts()))
        try:
            # In a thread, because for a large site it takes long.
            sums = await asyncio.to_thread(self._sums, rows, expected)
        except Exception:  # noqa: BLE001 - one interval must not end all others
            self._bug("rollup")
            return
        vanished = {group: zero_sums() for group in interval.groups if group not in sums}
        for group, fields in {**vanished, **sums}.items():
            self._write(live_point(group, fields, start))
        interval.groups.update(sums)
        self._rolled[start] = sums
        self._totals[start] = add_sums(sums.values())
        self._observed[start] = observed(rows.engines.values())
        self.revision += 1
        self._learn(rows)

    def _sums(self, rows: IntervalRows, expected: Expected) -> dict[GroupKey, Sums]:
        return roll_up(rows, self._index, expected, self._rates(rows.start_seconds))

    def _learn(self, rows: IntervalRows) -> None:
        """Learn what is drawn, for gaps to come; a late interval teaches nothing about now."""
        self._telling.note(rows)
        self._learnt_at = max(self._learnt_at, rows.start_seconds)
        power = power_of(rows.meters, rows.nodes)
        for known, learnt in zip(self._watts(), power, strict=True):
            for name, watts in learnt.items():
                if name not in known or known[name][0] <= rows.start_seconds:
                    known[name] = rows.start_seconds, watts

    def _watts(self) -> tuple[_Watts, _Watts]:
        return self._meter_watts, self._node_watts

    def _forget(self, now: float) -> None:
        self._closed_before = max(self._closed_before, now - self.pace.held_seconds)
        for start in [s for s in self._open if s < self._closed_before]:
            del self._open[start]
        kept = max(self.pace.window_seconds, self.pace.held_seconds) + 60
        for start in [s for s in self._rolled if s < now - kept]:
            del self._rolled[start], self._totals[start], self._observed[start]

    def count_from(self, start_seconds: float) -> None:
        """Leave what was before out of every window, as there was nothing to collect yet."""
        self._since = start_seconds
        self.revision += 1

    def window(self) -> Window:
        """Return what KPIs need to know of an interval of the last window, beside its sums."""
        newest, length = self.newest(), self.pace.length_seconds
        end = self._clock() if newest is None else newest + length
        return self._window(end - self.pace.window_seconds, end)._replace(seconds=float(length))

    def _window(self, start: float, end: float) -> Window:
        basis = energy_basis(self._index, (start, end))
        return Window(float(end - start), basis, self._index.model.currency)

    def newest(self) -> int | None:
        """Return the start of the last interval that was rolled up."""
        return max(self._rolled, default=None)

    def intervals(self) -> list[tuple[int, Sums]]:
        """Return the start and the sums of the whole site of each interval of the last window."""
        counted = sorted(start for start in self._totals if start >= self._since)
        if not counted:
            return []
        first = counted[-1] + self.pace.length_seconds - round(self.pace.window_seconds)
        return [(start, self._totals[start]) for start in counted if start >= first]

    def rows(self, start_seconds: int) -> IntervalRows | None:
        """Return one row per thing of an interval that is held, None of any other."""
        held = self._open.get(start_seconds)
        return None if held is None else held.rows(start_seconds, self.pace.length_seconds)

    def rolled(self, start_seconds: int, end_seconds: int) -> list[Mapping[GroupKey, Sums]]:
        """Return the sums of each interval of [start, end) that was rolled up, in order."""
        first = max(start_seconds, self._since)
        return [self._rolled[s] for s in sorted(self._rolled) if first <= s < end_seconds]

    def snapshot(
        self, start_seconds: int | None = None, end_seconds: int | None = None
    ) -> Snapshot | None:
        """Return the KPIs over rolled-up intervals, by default the last window; None before."""
        counted = [start for start in self._rolled if start >= self._since]
        if not counted:
            return None
        end = max(counted) + self.pace.length_seconds if end_seconds is None else end_seconds
        wanted = round(self.pace.window_seconds)
        start = max(min(counted), end - wanted) if start_seconds is None else start_seconds
        inside = [sums for s, sums in self._rolled.items() if start <= s < end]
        groups = by_group(inside)
        total = add_sums(groups.values())
        seen = add_observed(each for s, each in self._observed.items() if start <= s < end)
        window = self._window(start, end)._replace(observed=seen)
        return Snapshot(start, end, kpis(total, window=window), total, groups)
