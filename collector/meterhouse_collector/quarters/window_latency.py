"""What engines observed of latencies over a window: buckets of quarters, then of the ledger."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from meterhouse_collector.quarters.quarter_rows import READER
from meterhouse_collector.rollup.observed import Observed, add_observed, observed
from meterhouse_collector.rollup.quarter import QUARTER
from meterhouse_collector.rollup.roll_up import pick_row
from meterhouse_collector.rows import EngineRow, PackedRow
from meterhouse_collector.store import Store

# All engines of a longer window are more rows than a question is worth.
WINDOW_SECONDS_MAX: Final = 86_400 + QUARTER
_ROWS: Final = msgspec.json.Decoder(EngineRow)


async def window_observed(
    store: Store, site: str, start_seconds: int, end_seconds: int
) -> Observed | None:
    """Return what was observed over a window that begins with a quarter; None of a long one.

    Whole quarters come from their rows; what is not summed yet comes from the ledger. Raises
    ``StoreUnavailableError`` where it cannot be read.
    """
    if end_seconds - start_seconds > WINDOW_SECONDS_MAX:
        return None
    mine, told = await window_rows(store, site, start_seconds, end_seconds)
    return await asyncio.to_thread(
        lambda: add_observed((observed(decoded_rows(mine)), observed(decoded_rows(told))))
    )


async def window_rows(
    store: Store, site: str, start_seconds: int, end_seconds: int
) -> tuple[list[PackedRow], list[PackedRow]]:
    """Return the rows of engines over a window: of whole quarters, and of the ledger after them.

    Raises ``StoreUnavailableError``.
    """
    kept = await store.packed(
        "quarter", "engine", start_seconds=start_seconds, end_seconds=end_seconds
    )
    mine = [
        row
        for row in kept
        if (row.site, row.reader) == (site, READER) and row.start_seconds + QUARTER <= end_seconds
    ]
    ended = max((row.start_seconds + QUARTER for row in mine), default=start_seconds)
    rest = await store.packed("ledger", "engine", start_seconds=ended, end_seconds=end_seconds)
    return mine, [row for row in rest if row.site == site]


def decoded_rows(rows: Iterable[PackedRow]) -> Iterator[EngineRow]:
    """Return one row for each engine and time, whoever read it; what cannot be read is left."""
    by_interval: dict[tuple[str, int], dict[str, EngineRow]] = {}
    for row in rows:
        try:
            decoded = _ROWS.decode(row.row)
        except msgspec.MsgspecError:
            continue
        by_interval.setdefault((row.thing, row.start_seconds), {})[row.reader] = decoded
    return (pick_row(readers) for readers in by_interval.values())
