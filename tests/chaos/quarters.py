"""What the steward kept of a run, and the same made again from the ledger alone."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from meterhouse_collector.quarters.settle import Settlement
from meterhouse_collector.rollup.quarter import QUARTER
from meterhouse_collector.rows import EngineRow, MeterRow, NodeRow, PackedRow, Point, Row
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.store import Rejection, Store
from meterhouse_collector.store.overlay import OverlayStore

_KINDS: Final[Mapping[str, type[Any]]] = {"node": NodeRow, "meter": MeterRow, "engine": EngineRow}
Amounts = dict[tuple[str, str], list[float]]


class Kept(NamedTuple):
    """Quarters that hold rows: their sums by thing and quantity, and their rollups.

    ``differences`` are where another settlement of the same ledger comes to something else, and
    ``compared`` is of how many rows.
    """

    quarters: tuple[int, ...]
    amounts: Mapping[tuple[str, str], Sequence[float]]
    rollups: Mapping[int, Sequence[Mapping[str, float | int | str | bool]]]
    differences: list[str]
    compared: int

    def amount(self, thing: str, quantity: str) -> float:
        """Return what all quarters of a thing sum to."""
        # Whole thousandths, which no instrument here divides, sum without an error.
        return sum(round(amount * 1e6) for amount in self.amounts.get((thing, quantity), ())) / 1e6


class _Written(OverlayStore):
    """Remembers what is written, and shows it over the store below."""

    def __init__(self, below: Store) -> None:
        super().__init__(below)
        self.written: dict[tuple[object, ...], PackedRow | Point] = {}

    async def write(self, rows: Sequence[Row]) -> list[Rejection]:
        for row in rows:
            if isinstance(row, PackedRow):
                key = (row.policy, row.measurement, row.thing, row.reader, row.start_seconds)
                self.written[key] = row
            elif isinstance(row, Point):
                self.written[_key(row)] = row
        return await super().write(rows)


async def read_kept(store: Store, index: SiteIndex, quarters: Iterable[int]) -> Kept:
    """Read what is kept of quarters, and make it again without writing it."""
    wanted = tuple(sorted(quarters))
    amounts: Amounts = defaultdict(list)
    rollups: dict[int, list[Mapping[str, float | int | str | bool]]] = defaultdict(list)
    there: dict[tuple[object, ...], PackedRow | Point] = {}
    for start in wanted:
        end = start + QUARTER
        for kind, row_type in _KINDS.items():
            for row in await store.packed("quarter", kind, start_seconds=start, end_seconds=end):
                there["quarter", kind, row.thing, row.reader, row.start_seconds] = row
                _add(amounts, row.thing, msgspec.json.decode(row.row, type=row_type))
        for point in await store.points("kept", "rollup", start_seconds=start, end_seconds=end):
            there[_key(point)] = point
            rollups[start].append(point.fields)
    again = _Written(store)
    await Settlement(again, index).quarters(wanted)
    made = {
        key: row
        for key, row in again.written.items()
        if (key[0], key[1]) in {*(("quarter", kind) for kind in _KINDS), ("kept", "rollup")}
    }
    differences = [
        f"{key}: kept, and made again: {_difference(there.get(key), made.get(key))}"
        for key in sorted({*there, *made}, key=str)
        if _fields(there.get(key)) != _fields(made.get(key))
    ]
    return Kept(wanted, amounts, rollups, differences, len(made))


def _key(point: Point) -> tuple[object, ...]:
    return (point.policy, point.measurement, tuple(sorted(point.tags)), point.start_seconds)


def _fields(row: PackedRow | Point | None) -> Mapping[str, object]:
    if row is None:
        return {}
    return {"row": row.row} if isinstance(row, PackedRow) else row.fields


def _difference(kept: PackedRow | Point | None, made: PackedRow | Point | None) -> str:
    one, other = _fields(kept), _fields(made)
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return ", ".join(f"{name} {one.get(name)}, {other.get(name)}" for name in names)


def _add(amounts: Amounts, thing: str, row: NodeRow | MeterRow | EngineRow) -> None:
    """Add a quarter of one thing under the names that the truth has for its quantities."""
    match row:
        case NodeRow():
            amounts[thing, "node"].append(row.energy_joules or 0.0)
            joules = (each for share in row.shares for each in share.joules if each is not None)
            amounts[thing, "devices"] += joules
        case MeterRow():
            amounts[thing, "energy_joules"].append(row.energy_joules or 0.0)
            amounts[thing, "volume_litres"].append(row.volume_litres or 0.0)
        case EngineRow():
            for served in row.served:
                for name in ("input_tokens", "cached_input_tokens", "output_tokens"):
                    amounts[thing, name].append(getattr(served, name) or 0)
                for reason, count in served.requests.items():
                    amounts[thing, f"requests:{reason}"].append(count)
