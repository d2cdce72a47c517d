"""A store over a store: what is written stays in memory, and is read as if it were there."""

from collections.abc import Sequence
from typing import Final, TypeVar

from msgspec.structs import astuple

from meterhouse_collector.rows import PackedRow, Point, Policy, Readings, Row, singles
from meterhouse_collector.store import Rejection, Store

_AnyRow = TypeVar("_AnyRow", PackedRow, Point)


class OverlayStore:
    """Shows what a change would come to, without the store below ever being written."""

    def __init__(self, below: Store) -> None:
        self._below: Final = below
        self._rows: dict[tuple[object, ...], PackedRow | Point] = {}

    async def open(self) -> None:
        """Open nothing: the store below is open."""

    async def close(self) -> None:
        """Forget what was written."""
        self._rows.clear()

    async def write(self, rows: Sequence[Row]) -> list[Rejection]:
        """Take rows over those of the same key."""
        for row in rows:
            for one in singles(row):
                kept = one.point() if isinstance(one, Readings) else one
                self._rows[_key(kept)] = kept
        return []

    async def packed(
        self,
        policy: Policy,
        measurement: str,
        *,
        start_seconds: int,
        end_seconds: int,
        thing: str | None = None,
    ) -> list[PackedRow]:
        """Read packed rows with a start in [start, end), by thing, reader and start."""
        found = await self._below.packed(
            policy, measurement, start_seconds=start_seconds, end_seconds=end_seconds, thing=thing
        )
        mine = [
            row
            for row in self._rows.values()
            if isinstance(row, PackedRow)
            and (row.policy, row.measurement) == (policy, measurement)
            and start_seconds <= row.start_seconds < end_seconds
            and thing in (None, row.thing)
        ]
        rows = _over(found, mine)
        return sorted(rows, key=lambda row: (row.thing, row.reader, row.start_seconds))

    async def points(
        self,
        policy: Policy,
        measurement: str,
        *,
        start_seconds: int,
        end_seconds: int,
        node: str | None = None,
    ) -> list[Point]:
        """Read plain points with a start in [start, end), by start and tags."""
        found = await self._below.points(
            policy, measurement, start_seconds=start_seconds, end_seconds=end_seconds, node=node
        )
        mine = [
            row
            for row in self._rows.values()
            if isinstance(row, Point)
            and (row.policy, row.measurement) == (policy, measurement)
            and start_seconds <= row.start_seconds < end_seconds
            and node in (None, dict(row.tags).get("node"))
        ]
        rows = _over(found, mine)
        return sorted(rows, key=lambda point: (point.start_seconds, point.tags))

    async def oldest(self, policy: Policy, measurement: str) -> int | None:
        """Return the start of the oldest row of a measurement, None where it has none."""
        below = await self._below.oldest(policy, measurement)
        mine = [
            row.start_seconds
            for row in self._rows.values()
            if (row.policy, row.measurement) == (policy, measurement)
        ]
        return min([*mine, *([] if below is None else [below])], default=None)


def _key(row: PackedRow | Point) -> tuple[object, ...]:
    if isinstance(row, PackedRow):
        return astuple(row)[:6]
    return row.policy, row.measurement, frozenset(row.tags), row.start_seconds


def _over(found: Sequence[_AnyRow], mine: Sequence[_AnyRow]) -> list[_AnyRow]:
    written = {_key(row) for row in mine}
    result = [row for row in found if _key(row) not in written]
    result.extend(mine)
    return result
