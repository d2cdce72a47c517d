"""Quarters from the ledger: the sums of things, their rollups, and the marks they answer.

The order of steps makes a crash harmless: marks are read first; then come the rows of the quarter,
the rollups, the record that says the quarter is done and what it was priced by, and last the
cleared marks. Each step written twice is the same, so whatever was cut off is simply done again.

A rollup fills gaps with what was drawn in the four quarters before, so where a quarter changes,
those four after it are rolled up again.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from meterhouse_collector.quarters.marks import Mark, cleared, is_ripe, read_marks
from meterhouse_collector.quarters.objectives import objective_points
from meterhouse_collector.quarters.path import path_points
from meterhouse_collector.quarters.quarter_rows import Ledger, QuarterRows
from meterhouse_collector.quarters.region import region_points
from meterhouse_collector.rollup.expected import latest_known, power_of
from meterhouse_collector.rollup.pricing import Dues, Sums, priced
from meterhouse_collector.rollup.quarter import QUARTER
from meterhouse_collector.rollup.rates import Rates
from meterhouse_collector.rollup.roll_up import live_dues, measured
from meterhouse_collector.rollup.site_energy import Expected, IntervalRows, site_energy
from meterhouse_collector.rows import Point, Row
from meterhouse_collector.settlement.kept import KeptRollups
from meterhouse_collector.settlement.rates import RateBook
from meterhouse_collector.settlement.records import Record, read_records, record_point
from meterhouse_collector.site.index import GroupKey, SiteIndex
from meterhouse_collector.store import Store

FILLED_QUARTERS: Final = 4
_BATCH_ROWS: Final = 5_000
_LONGEST_REST_SECONDS: Final = 2.0


@dataclass(slots=True)
class Settled:
    """What a settlement did, and what it had to leave out."""

    rows: int = 0
    rollups: int = 0
    refused: int = 0
    refusal: str = ""
    records: list[Record] = field(default_factory=list)
    unread: int = 0
    unknown_spans: int = 0


class _Quarter(NamedTuple):
    """The rows of a quarter, and what its gaps are filled with."""

    interval: IntervalRows
    expected: Expected


class Settlement:
    """One run over a store: sums, rolls up and clears, resting after each step as it is told.

    ``rest`` is how long it sleeps for each second of work, so that what is live goes first.
    """

    def __init__(
        self,
        store: Store,
        index: SiteIndex,
        *,
        rest: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._index = index
        self._rest = rest
        self._clock = clock
        self._ledger = Ledger(store, index)
        self._rates = RateBook(index)
        self._kept = KeptRollups(store, index, self._sums)
        self._powers: dict[int, Expected] = {}
        self._worked_since = time.monotonic()
        self._settled = Settled()

    @property
    def settled(self) -> Settled:
        """What was done until now."""
        self._settled.unread = self._ledger.unread_rows
        self._settled.unknown_spans = self._ledger.unknown_spans
        return self._settled

    async def quarters(self, starts: Iterable[int]) -> Settled:
        """Sum whole quarters from the ledger, whatever was known of them before."""
        wanted = sorted(set(starts))
        answered: list[Mark] = []
        for start in wanted:
            now = self._clock()
            found = await read_marks(self._store, self._index.site, start, start + QUARTER)
            answered += [mark for mark in found if mark.open and is_ripe(mark, now)]
            rows = await self._ledger.sum_whole(start, found, self._breathe)
            await self._write(rows)
            self._settled.rows += len(rows)
        await self._roll_up(wanted, new=set(wanted))
        await self._write_records()
        await self._write([cleared(self._index.site, mark) for mark in answered])
        return self.settled

    async def marks(self, marks: Sequence[Mark]) -> Settled:
        """Sum the things of open marks again, then clear those marks; they are read before."""
        things = sorted({(mark.quarter, mark.kind, mark.thing) for mark in marks})
        rows: list[Row] = []
        for start, kind, thing in things:
            rows += await self._ledger.sum_thing(start, (kind, thing))
            await self._breathe()
        await self._write(rows)
        self._settled.rows += len(rows)
        await self._roll_up(sorted({start for start, _, _ in things}), new=set())
        await self._write_records()
        await self._write([cleared(self._index.site, mark) for mark in marks])
        return self.settled

    async def rerate(self, starts: Iterable[int], told: Callable[[int], None]) -> Settled:
        """Make the rollups of quarters again from their rows, as prices have changed.

        What they cost before is kept as history. ``told`` hears how many are done.
        """
        wanted = sorted(set(starts))
        for count, start in enumerate(wanted):
            await self._roll_up_one(start)
            told(count + 1)
        await self._bill(wanted)
        await self._write_records()
        return self.settled

    async def _roll_up(self, changed: Sequence[int], new: set[int]) -> None:
        """Roll up what changed, and what is filled from it where that is done already."""
        if not changed:
            return
        last = changed[-1] + FILLED_QUARTERS * QUARTER
        done = await done_quarters(self._store, self._index.site, changed[0], last + QUARTER)
        reach = range(FILLED_QUARTERS + 1)
        affected = {start + k * QUARTER for start in changed for k in reach}
        again = sorted(affected & (done | new))
        for start in again:
            await self._roll_up_one(start)
        await self._bill(again)

    async def _roll_up_one(self, start: int) -> None:
        """Write the rollups of a quarter, priced as far as its own hour knows."""
        quarter = await self._read(start)
        groups, dues = await self._measured(quarter)
        sums = priced(groups, self._index.site_group, dues)
        await self._write(await self._kept.replace(start, sums))
        await self._write(_for_boards(self._index, quarter, groups))
        self._settled.rollups += 1
        # Only what the next quarters are filled from.
        for old in [q for q in self._powers if q < start - FILLED_QUARTERS * QUARTER]:
            del self._powers[old]
        await self._breathe()

    async def _bill(self, starts: Sequence[int]) -> None:
        """Price the months that quarters lie in: a new peak or tier may re-state others of them."""
        async for rows in self._kept.priced_by_the_month(starts):
            await self._write(rows)
            await self._breathe()

    async def _write_records(self) -> None:
        """Say that quarters are done, and what they were priced by; after all else of them."""
        records = self._kept.take_records()
        self._settled.records += records
        await self._write([record_point(self._index.site, record) for record in records])

    async def _sums(self, start: int) -> dict[GroupKey, Sums]:
        """Return a quarter without what its joules cost, so with all that served."""
        return (await self._measured(await self._read(start)))[0]

    async def _read(self, start: int) -> _Quarter:
        """Read the rows of a quarter, and of those before it what its gaps are filled with."""
        before = [start - k * QUARTER for k in range(1, FILLED_QUARTERS + 1)]
        for earlier in before:
            if earlier not in self._powers:
                self._learn(earlier, await self._ledger.read_quarter(earlier))
        rows = await self._ledger.read_quarter(start)
        self._learn(start, rows)
        interval = IntervalRows(start, QUARTER, rows.nodes, rows.meters, rows.engines)
        return _Quarter(interval, latest_known(self._powers[earlier] for earlier in before))

    async def _measured(self, quarter: _Quarter) -> tuple[dict[GroupKey, Sums], Dues]:
        """Return what was measured in a quarter, and what it owes as far as its own hour knows."""
        rates = self._rates.at(quarter.interval.start_seconds)
        return await asyncio.to_thread(_measured, quarter, self._index, rates)

    def _learn(self, start: int, rows: QuarterRows) -> None:
        self._powers[start] = power_of(rows.meters, rows.nodes)

    async def _write(self, rows: Iterable[Row]) -> None:
        waiting = iter(rows)
        while batch := list(islice(waiting, _BATCH_ROWS)):
            rejections = await self._store.write(batch)
            if rejections:
                self._settled.refused += len(rejections)
                self._settled.refusal = rejections[0].reason

    async def _breathe(self) -> None:
        worked = time.monotonic() - self._worked_since
        await asyncio.sleep(min(_LONGEST_REST_SECONDS, worked * self._rest))
        self._worked_since = time.monotonic()


def _measured(
    quarter: _Quarter, index: SiteIndex, rates: Rates
) -> tuple[dict[GroupKey, Sums], Dues]:
    interval, expected = quarter
    energy = site_energy(interval, index, expected)
    groups = measured(interval, index, energy, expected, rates)
    return groups, live_dues(interval, index, energy, rates)


def _for_boards(
    index: SiteIndex, quarter: _Quarter, groups: Mapping[GroupKey, Sums]
) -> Iterator[Point]:
    """Yield the plain points of a quarter, which no rollup has."""
    interval, expected = quarter
    yield from objective_points(index, interval.start_seconds, interval.engines)
    yield from path_points(index, interval, expected)
    yield from region_points(index, interval.start_seconds, groups[index.site_group])


async def settle_quarters(store: Store, index: SiteIndex, quarters: Iterable[int]) -> Settled:
    """Sum quarters, by their starts, from the ledger, and roll them up; needs no running loop.

    Raises ``StoreUnavailableError``; done again it comes to the same.
    """
    return await Settlement(store, index).quarters(quarters)


async def done_quarters(store: Store, site: str, start_seconds: int, end_seconds: int) -> set[int]:
    """Return the quarters of [start, end) that were summed once."""
    return set(await read_records(store, site, start_seconds, end_seconds))
