"""The kept rollups of quarters: written, priced by the bills of their months, and superseded.

Only a change of the site model makes history: what a quarter cost by the model before it goes to
``rollup_history`` with its revision, and the new money gets the next one. Late rows and a bill that
is known better replace the money of an open period, of which nothing was said for good.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final

from meterhouse_collector.rollup.points import group_of, group_tags, kept_points, sums_of
from meterhouse_collector.rollup.pricing import Sums, priced, zero_sums
from meterhouse_collector.rows import Point, Row
from meterhouse_collector.settlement.months import (
    bill_of,
    billed_stretch,
    dues_of,
    is_priced_so,
    month_of,
    read_meters,
)
from meterhouse_collector.settlement.records import Record, read_records, record_of
from meterhouse_collector.settlement.revision import model_revision
from meterhouse_collector.site.index import GroupKey, SiteIndex
from meterhouse_collector.store import Store

Groups = dict[GroupKey, Sums]
HISTORY: Final = "rollup_history"


class KeptRollups:
    """Says what to write for quarters of one site; ``sums`` makes those of one from its rows."""

    def __init__(
        self, store: Store, index: SiteIndex, sums: Callable[[int], Awaitable[Groups]]
    ) -> None:
        self._store = store
        self._index = index
        self._sums = sums
        self._model_revision = model_revision(index.model)
        self._changed: dict[int, Record] = {}

    def take_records(self) -> list[Record]:
        """Return the records of all quarters that changed since, to be written after their rows."""
        records, self._changed = list(self._changed.values()), {}
        return records

    async def replace(self, start: int, sums: Groups) -> list[Row]:
        """Return the rows that make these the rollups of a quarter, with those they supersede."""
        there = await self._read(start)
        before = (await self._records(start, start + 1)).get(start)
        return self._rows(start, sums, there, before)

    async def priced_by_the_month(self, starts: Sequence[int]) -> AsyncIterator[list[Row]]:
        """Yield the rows of each quarter that the bills of the months of quarters re-state."""
        if not starts:
            return
        stretch = billed_stretch(self._index.model, starts)
        records = await self._records(*stretch)
        meters = await read_meters(self._store, self._index, stretch)
        first = month_of(self._index.model, min(starts)).begins
        for due in bill_of(self._index, stretch, records, meters).dues:
            start = due.start_seconds
            record = records.get(start)
            if start < first or record is None or is_priced_so(record, due):
                continue
            there = await self._read(start)
            sums = there
            if record.energy_money is None:
                # Without a price nothing that served was kept: it takes the rows to know it.
                sums = await self._sums(start)
            site = sums.get(self._index.site_group, zero_sums())
            billed = site["billed_joules"]
            gap = site["estimated_billed_joules"] / billed if billed else 0.0
            priced_sums = priced(sums, self._index.site_group, dues_of(due, gap))
            yield self._rows(start, priced_sums, there, record)

    def _rows(self, start: int, sums: Groups, there: Groups, before: Record | None) -> list[Row]:
        revision = 0 if before is None else before.revision
        rows: list[Row] = []
        if before is not None and before.model_revision != self._model_revision:
            superseded = {g: s for g, s in there.items() if _money(s) != _money(sums.get(g, {}))}
            if superseded:
                rows += [_history(start, g, s, before) for g, s in superseded.items()]
                revision += 1
        rows += kept_points(start, sums, there, revision)
        site = sums.get(self._index.site_group, zero_sums())
        self._changed[start] = record_of(start, site, revision, self._model_revision)
        return rows

    async def _read(self, start: int) -> Groups:
        points = await self._store.points(
            "kept", "rollup", start_seconds=start, end_seconds=start + 1
        )
        mine = (point for point in points if ("site", self._index.site) in point.tags)
        return {group_of(point.tags): sums_of(point) for point in mine}

    async def _records(self, begins: int, ends: int) -> dict[int, Record]:
        known = await read_records(self._store, self._index.site, begins, ends)
        changed = {s: r for s, r in self._changed.items() if begins <= s < ends}
        return {**known, **changed}


def _money(sums: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in sums.items() if name.endswith("_money") and value != 0}


def _history(start: int, group: GroupKey, sums: Sums, before: Record) -> Point:
    fields: dict[str, float | int | str | bool] = {**sums}
    fields["model_revision"] = before.model_revision
    tags = (*group_tags(group), ("revision", str(before.revision)))
    return Point("kept", HISTORY, tags, fields, start)
