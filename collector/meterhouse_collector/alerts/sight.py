"""What is seen live: each interval is followed once, and the last window is summed."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from meterhouse_collector.alerts.conditions.energy import pue_of
from meterhouse_collector.alerts.held import HeldRuns
from meterhouse_collector.alerts.known import LiveKnown, Own, Silence, Things
from meterhouse_collector.alerts.plant import PlantWatch
from meterhouse_collector.alerts.power import PowerWatch
from meterhouse_collector.alerts.sensors import SensorWatch
from meterhouse_collector.alerts.table import calm_readings
from meterhouse_collector.alerts.things import ThingWatch
from meterhouse_collector.alerts.xids import XidWatch
from meterhouse_collector.ledger import Entry
from meterhouse_collector.live import Live
from meterhouse_collector.rollup.roll_up import by_group
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.xids import ToldXid

# Reports that come so late are still in what is followed.
SETTLED_SECONDS: Final = 15
HELD_KINDS: Final = ("reclaimable_idle", "idle_cost")


class Sight:
    """Follows the live part of one site."""

    def __init__(self, live: Live, index: SiteIndex) -> None:
        self._live = live
        self._index = index
        self._held = HeldRuns(index)
        self._power = PowerWatch(index)
        self._plant = PlantWatch(index)
        self._things = ThingWatch(index, calm_readings(index.model.threshold))
        self._sensors = SensorWatch(index)
        self._xids = XidWatch()
        self._pue_since: int | None = None
        self._pue_known = False
        self._needs_held = any(t.kind in HELD_KINDS for t in index.model.threshold)
        self._taken: int | None = None

    async def follow(self, now: float) -> bool:
        """Take each interval that is old enough; tell whether there was one."""
        newest, length = self._live.newest(), self._live.pace.length_seconds
        if newest is None:
            return False
        last = min(newest, int(now - SETTLED_SECONDS) // length * length - length)
        oldest = last - round(self._live.pace.held_seconds)
        if self._taken is None or self._taken > newest:
            # The first, or the clock was far ahead and was set back.
            self._taken = oldest
        if last <= self._taken:
            return False
        for start in range(max(oldest, self._taken + length), last + length, length):
            await self._take(start, length)
        self._taken = last
        return True

    async def _take(self, start: int, length: int) -> None:
        rows = self._live.rows(start)
        if rows is None:
            return
        groups = by_group(self._live.rolled(start, start + length))
        if self._needs_held:
            # In a thread, because for a large site it takes long.
            await asyncio.to_thread(self._held.add, rows)
        self._power.add(rows, groups.get(self._index.site_group))
        self._plant.add(rows, groups)
        self._things.add(rows)
        self._sensors.go_on(start, length)

    def add(self, entry: Entry) -> None:
        """Take what an entry says of single devices and of sensors."""
        self._things.add_detail(entry)
        self._sensors.add(entry)

    def add_xids(self, told: Iterable[ToldXid]) -> None:
        """Take fault codes that devices told."""
        self._xids.add(told)

    async def known(
        self, now: float, *, groups: bool, own: Own, still_open: frozenset[str]
    ) -> LiveKnown:
        """Return what is known after the last interval that was followed.

        Without ``groups`` only the whole site's sums are made: those of a large site take long.
        """
        length = self._live.pace.length_seconds
        taken = self._taken if self._taken is not None else 0
        end = (self._live.newest() or 0) + length
        intervals = self._live.rolled(end - round(self._live.pace.window_seconds), end)
        if not groups:
            site = self._index.site_group
            intervals = [{site: sums} for _, sums in self._live.intervals()]
        summed = await asyncio.to_thread(by_group, intervals)
        window = self._live.window()._replace(seconds=float(len(intervals) * length))
        seen = self._things.seen(still_open)
        known = LiveKnown(
            at_seconds=now,
            model=self._index.model,
            window=window,
            groups=summed,
            latest=by_group(self._live.rolled(taken, taken + length)) if groups else {},
            latest_seconds=float(length),
            held=self._held.held() if groups else {},
            demand=self._power.demand(now),
            loads=self._power.loads(now),
        )
        things = Things(
            nodes=seen.nodes,
            meters=seen.meters,
            lost=seen.lost,
            readings=seen.readings,
            faults=self._xids.faults(now),
            supplies=self._power.supplies(now),
            sources=self._plant.sources(),
            cooling=self._plant.cooling(),
            sensors=self._sensors.known(),
            silent_sensors=self._sensors.silences(),
            pue=self._pue(known, end),
            own=own,
            open=still_open,
        )
        return replace(known, things=things)

    def _pue(self, known: LiveKnown, end: int) -> Silence:
        """Return since when the PUE has no value; before it had one, at least since the start."""
        if pue_of(known).value is not None:
            self._pue_since, self._pue_known = end, True
        if self._pue_since is None:
            self._pue_since = end
        return Silence("pue", float(end - self._pue_since), at_least=not self._pue_known)
