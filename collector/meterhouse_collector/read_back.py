"""What the store still has of the intervals that were open when the collector ended."""

import logging
from collections.abc import Mapping
from typing import Final

import msgspec

from meterhouse_collector.rollup.points import PART
from meterhouse_collector.rows import EngineRow, MeterRow, NodeRow, PackedRow, Point
from meterhouse_collector.store import Store

_LOG: Final = logging.getLogger(__name__)
_KINDS: Final[Mapping[str, type]] = {"node": NodeRow, "meter": MeterRow, "engine": EngineRow}
ThingRow = NodeRow | MeterRow | EngineRow


async def rollups(store: Store, site: str, begin: int, end: int) -> list[Point]:
    """Return the live rollups of [begin, end) that this collector wrote."""
    points = await store.points("live", "rollup", start_seconds=begin, end_seconds=end)
    mine = {("site", site), ("part", PART)}
    return [point for point in points if mine <= set(point.tags)]


async def ledger_rows(
    store: Store, site: str, window: tuple[int, int]
) -> list[tuple[PackedRow, ThingRow]]:
    """Return the rows of things in a window, packed and not, and log how many cannot be read."""
    found: list[tuple[PackedRow, ThingRow]] = []
    begin, end = window
    for measurement, kind in _KINDS.items():
        decoder: msgspec.json.Decoder[ThingRow] = msgspec.json.Decoder(kind)
        packed = await store.packed("ledger", measurement, start_seconds=begin, end_seconds=end)
        bad = 0
        for row in packed:
            if row.site != site:
                continue
            try:
                found.append((row, decoder.decode(row.row)))
            except msgspec.MsgspecError:
                bad += 1
        if packed:
            _LOG.info("read back %d rows of %s since %d", len(packed) - bad, measurement, begin)
        if bad:
            _LOG.warning("%d rows of %s cannot be read, and are left out", bad, measurement)
    return found
