"""What a statement is made of, read from a store: rollups, meters, registers, month by month."""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from math import fsum
from typing import Final

import msgspec
from msgspec.structs import astuple

from meterhouse_agent import wire
from meterhouse_collector.money.bill_lines import PeakInterval
from meterhouse_collector.money.billing_month import QUARTER_SECONDS
from meterhouse_collector.rollup.points import group_of, sums_of
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.rollup.roll_up import add_sums
from meterhouse_collector.rows import MeterRow, PackedRow
from meterhouse_collector.settlement.account import Sources
from meterhouse_collector.settlement.allocation import Settled, days, joined, settled
from meterhouse_collector.settlement.dues import Bill, Due
from meterhouse_collector.settlement.months import bill_of, billed_stretch, read_meters
from meterhouse_collector.settlement.peaks import demand_peak
from meterhouse_collector.settlement.records import read_records
from meterhouse_collector.settlement.registers import MeterRegister, meter_register
from meterhouse_collector.settlement.revision import model_revision
from meterhouse_collector.settlement.traded import Traded, all_traded, traded
from meterhouse_collector.site.index import GroupKey, SiteIndex
from meterhouse_collector.store import Store

Progress = Callable[[float, str], None]
_METER: Final = msgspec.json.Decoder(MeterRow)
_REGISTER: Final = msgspec.json.Decoder(wire.Register)
_HASHED: Final = ("node", "meter", "engine", "register")
_HOUR_SECONDS: Final = 3600


Kept = dict[int, dict[GroupKey, Sums]]


def silent(_: float, __: str) -> None:
    """Show no progress."""


async def read_sources(
    store: Store, index: SiteIndex, window: tuple[int, int], progress: Progress = silent
) -> Sources:
    """Read all that a statement of a window needs; bills are of whole months, as these are billed.

    Raise ``StoreUnavailableError`` where the store cannot be read.
    """
    bill = await read_bill(store, index, window)
    dues = {due.start_seconds: due for due in bill.dues}
    parts: list[Settled] = []
    sums: dict[GroupKey, list[Sums]] = {}
    trades: list[Traded] = []
    # A day at a time: the rollups of a year would not fit into memory.
    for day in days(index, *window):
        progress((day[0] - window[0]) / (window[1] - window[0]), "reading rollups")
        rows = await read_kept(store, index, day)
        quarters = range(*day, QUARTER_SECONDS)
        parts.append(settled(index, day, rows, [dues[start] for start in quarters]))
        trades.append(traded(day[0], rows))
        for group, found in group_sums(rows).items():
            sums.setdefault(group, []).append(found)
    measured = dict.fromkeys(peak for line in bill.lines for peak in line.peaks)
    peaks = [demand_peak(each, await _drawn(store, index, each)) for each in measured]
    records = await read_records(store, index.site, *window)
    registers = [entry async for entry in _registers(store, index, window)]
    progress(1.0, "summing")
    return Sources(
        sums={group: add_sums(days_sums) for group, days_sums in sums.items()},
        money=joined(parts),
        bill=bill,
        registers=registers,
        revision=max((record.revision for record in records.values()), default=0),
        model_revision=model_revision(index.model),
        traded=all_traded(trades),
        peaks=peaks,
    )


async def _drawn(store: Store, index: SiteIndex, peak: PeakInterval) -> dict[GroupKey, Sums]:
    """Return the sums of the quarter hours of a peak; what is not wholly there is not known."""
    window = (peak.begins_seconds, peak.begins_seconds + peak.length_seconds)
    rows = await read_kept(store, index, window)
    return group_sums(rows) if len(rows) * QUARTER_SECONDS == peak.length_seconds else {}


async def read_kept(store: Store, index: SiteIndex, window: tuple[int, int]) -> Kept:
    """Read the rollups of a window by quarter hour and group, all of them at once."""
    rows: Kept = {}
    points = await store.points("kept", "rollup", start_seconds=window[0], end_seconds=window[1])
    for point in points:
        if ("site", index.site) in point.tags:
            rows.setdefault(point.start_seconds, {})[group_of(point.tags)] = sums_of(point)
    return rows


def group_sums(rows: Kept) -> dict[GroupKey, Sums]:
    """Return the sums of each group over quarter hours."""
    parts: dict[GroupKey, list[Sums]] = {}
    for groups in rows.values():
        for group, sums in groups.items():
            parts.setdefault(group, []).append(sums)
    return {group: add_sums(found) for group, found in parts.items()}


async def read_bill(store: Store, index: SiteIndex, window: tuple[int, int]) -> Bill:
    """Return the bill of a window, made of the whole months that it touches."""
    quarters = range(*window, QUARTER_SECONDS)
    stretch = billed_stretch(index.model, (quarters[0], quarters[-1]))
    records = await read_records(store, index.site, *stretch)
    whole = bill_of(index, stretch, records, await read_meters(store, index, stretch))
    first = (window[0] - stretch[0]) // QUARTER_SECONDS
    return padded(cut(whole, first, len(quarters)), quarters)


def padded(bill: Bill, quarters: Sequence[int]) -> Bill:
    """Return a bill with an entry for each quarter: what is not done yet has no price."""
    missing = quarters[len(bill.dues) :]
    dues = (*bill.dues, *(Due(start, None, reason="not summed yet") for start in missing))
    return Bill(dues, bill.lines)


def cut(bill: Bill, first: int, count: int) -> Bill:
    """Return the part of a bill that so many quarter hours from a position on have."""
    lines = tuple(
        line._replace(
            amounts=line.amounts[first : first + count],
            originals=line.originals[first : first + count],
            reasons={i - first: r for i, r in line.reasons.items() if first <= i < first + count},
        )
        for line in bill.lines
    )
    return Bill(bill.dues[first : first + count], lines)


async def _quarters_of(
    store: Store, index: SiteIndex, meter: str, window: tuple[int, int]
) -> AsyncIterator[tuple[int, MeterRow]]:
    found = await store.packed(
        "quarter", "meter", start_seconds=window[0], end_seconds=window[1], thing=meter
    )
    for row in found:
        if row.site == index.site:
            yield row.start_seconds, _METER.decode(row.row)


async def _registers(
    store: Store, index: SiteIndex, window: tuple[int, int]
) -> AsyncIterator[MeterRegister]:
    readings: dict[str, dict[str, dict[int, wire.Register]]] = {}
    for end in window:
        found = await store.packed(
            "quarter",
            "register",
            start_seconds=end - QUARTER_SECONDS,
            end_seconds=end + QUARTER_SECONDS,
        )
        for row in found:
            if row.site == index.site:
                reading = _REGISTER.decode(row.row)
                mine = readings.setdefault(row.thing, {}).setdefault(row.reader, {})
                mine[reading.at_milliseconds] = reading
    for meter in sorted(readings.keys() | index.meters.keys()):
        joules: list[float] = []
        litres: list[float] = []
        async for _, quarter in _quarters_of(store, index, meter, window):
            joules += [] if quarter.energy_joules is None else [quarter.energy_joules]
            litres += [] if quarter.volume_litres is None else [quarter.volume_litres]
        yield meter_register(
            meter,
            {reader: list(found.values()) for reader, found in readings.get(meter, {}).items()},
            window,
            fsum(joules or litres) if joules or litres else None,
            unit="litres" if litres else "joules",
        )


async def read_ledger_hash(
    store: Store, index: SiteIndex, window: tuple[int, int], progress: Progress = silent
) -> str:
    """Return the fingerprint of all quarter rows of a window, the same in every store."""
    digest = hashlib.sha256()
    for begins in range(*window, _HOUR_SECONDS):
        progress((begins - window[0]) / (window[1] - window[0]), "hashing the ledger")
        ends = min(begins + _HOUR_SECONDS, window[1])
        for measurement in _HASHED:
            rows = await store.packed(
                "quarter", measurement, start_seconds=begins, end_seconds=ends
            )
            mine = [row for row in rows if row.site == index.site]
            digest.update(ledger_hash(mine).encode())
    return digest.hexdigest()


def ledger_hash(rows: Iterable[PackedRow]) -> str:
    """Return the fingerprint of ledger or quarter rows, in any order."""
    digest = hashlib.sha256()
    for row in sorted(map(astuple, rows)):
        digest.update("\x1f".join(map(str, row)).encode() + b"\x1e")
    return digest.hexdigest()
