"""Marks: which quarter of which thing changed after it may have been summed.

A mark stands at its quarter, under its thing and reader, and carries a stamp that is new in each
attempt to write it. It is cleared by a row of its own, ``cleared``, that names the stamp which was
read before the sums were made. So every key has one writer, and last-write-wins cannot lose a
mark: one that was written meanwhile has another stamp than the one that is cleared, and is open.
A crash before the clearing leaves it open, and the same sums are made again
(``docs/decisions/0012-a-mark-is-cleared-by-a-row-of-its-own.md``).

A row and its mark may be seen one after the other, where they lie in two shards, and a write that
failed half may have left its mark alone; it comes again with another stamp. So a mark is worked off
only once its stamp is older than any write takes.
"""

from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from meterhouse_agent import wire
from meterhouse_collector.rows import ClearedRow, DirtyRow, PackedRow, Row, pack
from meterhouse_collector.store import Store

RIPE_SECONDS: Final = 30.0
_DIRTY: Final = msgspec.json.Decoder(DirtyRow)
_CLEARED: Final = msgspec.json.Decoder(ClearedRow)
_NANOSECONDS: Final = 1_000_000_000


class Mark(NamedTuple):
    """One mark as it was read; ``open`` until its own stamp was cleared."""

    kind: wire.ThingKind
    thing: str
    reader: str
    quarter: int
    stamp: int
    open: bool


def stamp_marks(rows: list[Row], stamp: int) -> set[int]:
    """Put a stamp on all marks among rows, a new one for each attempt; return their quarters."""
    quarters = set()
    for position, row in enumerate(rows):
        # Of all rows that are written hardly any is a mark, so this is all that it costs.
        if row.measurement == "dirty" and isinstance(row, PackedRow):
            mark = _DIRTY.decode(row.row)
            rows[position] = replace(row, row=pack(DirtyRow(mark.kind, stamp)))
            quarters.add(row.start_seconds)
    return quarters


def cleared(site: str, mark: Mark) -> PackedRow:
    """Return the row that clears a mark, unless it was written again since it was read."""
    thing = f"{mark.kind}/{mark.thing}"
    row = pack(ClearedRow(mark.stamp))
    return PackedRow("ledger", "cleared", site, thing, mark.reader, mark.quarter, row)


def is_ripe(mark: Mark, now_seconds: float) -> bool:
    """Tell whether the write of a mark is over; one of the future is of a clock set back."""
    age = now_seconds - mark.stamp / _NANOSECONDS
    return not 0 <= age < RIPE_SECONDS


async def read_marks(store: Store, site: str, start_seconds: int, end_seconds: int) -> list[Mark]:
    """Read all marks of the quarters in [start, end), also those that were cleared."""
    rows = await store.packed(
        "ledger", "dirty", start_seconds=start_seconds, end_seconds=end_seconds
    )
    if not rows:
        return []
    done = {
        (row.thing, row.reader, row.start_seconds): _stamp(_CLEARED, row.row)
        for row in await store.packed(
            "ledger", "cleared", start_seconds=start_seconds, end_seconds=end_seconds
        )
        if row.site == site
    }
    marks = []
    for row in rows:
        kind, _, thing = row.thing.partition("/")
        if row.site != site or kind not in ("node", "meter", "engine"):
            continue
        stamp = _stamp(_DIRTY, row.row)
        still = done.get((row.thing, row.reader, row.start_seconds)) != stamp
        marks.append(Mark(kind, thing, row.reader, row.start_seconds, stamp, still))  # type: ignore[arg-type] # one of the kinds
    return marks


def _stamp(
    decoder: msgspec.json.Decoder[DirtyRow] | msgspec.json.Decoder[ClearedRow], text: str
) -> int:
    try:
        return decoder.decode(text).stamp
    except msgspec.MsgspecError:
        # Whatever it was, it says that something changed.
        return 0
