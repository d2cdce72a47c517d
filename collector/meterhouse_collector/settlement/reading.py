"""What a statement is made of, read from a store: rollups, meters, registers, month by month."""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from math import fsum
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from meterhouse_agent import wire
from meterhouse_collector.money.billing_month import QUARTER_SECONDS, BillingMonth, billing_month
from meterhouse_collector.rollup.points import group_of, sums_of
from meterhouse_collector.rows import MeterRow, PackedRow, Point
from meterhouse_collector.settlement.allocation import days, settled
from meterhouse_collector.settlement.dues import Bill, site_bill
from meterhouse_collector.settlement.inputs import Meters, billed_meters, site_quarters
from meterhouse_collector.settlement.statement import MeterRegister, Sources, meter_register
from meterhouse_collector.site.index import GroupKey, SiteIndex
from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.store import Store

Progress = Callable[[float, str], None]
_METER: Final = msgspec.json.Decoder(MeterRow)
_REGISTER: Final = msgspec.json.Decoder(wire.Register)
# A register is reported each quarter hour, and at every reset.
_REGISTER_BEFORE_SECONDS: Final = 86_400


class Kept(NamedTuple):
    """The rollups of a window by quarter hour and group, and the highest revision among them."""

    rows: dict[int, dict[GroupKey, dict[str, float]]]
    revision: int


def silent(_: float, __: str) -> None:
    """Show no progress."""


async def read_sources(
    store: Store, index: SiteIndex, window: tuple[int, int], progress: Progress = silent
) -> Sources:
    """Read all that a statement of a window needs; bills are of whole months, as these are billed.

    Raise ``StoreUnavailableError`` where the store cannot be read.
    """
    kept = await read_kept(store, index, window, progress)
    bill = await read_bill(store, index, window, kept)
    registers = [entry async for entry in _registers(store, index, window)]
    progress(1.0, "summing")
    return Sources(
        rows=kept.rows,
        money=settled(index, window, kept.rows, bill.dues),
        bill=bill,
        registers=registers,
        revision=kept.revision,
        model_revision=model_revision(index.model),
    )


async def read_kept(
    store: Store, index: SiteIndex, window: tuple[int, int], progress: Progress = silent
) -> Kept:
    """Read the rollups of a window, a day at a time."""
    rows: dict[int, dict[GroupKey, dict[str, float]]] = {}
    revision = 0
    for begins, ends in days(index, *window):
        progress((begins - window[0]) / (window[1] - window[0]), "reading rollups")
        points = await store.points("kept", "rollup", start_seconds=begins, end_seconds=ends)
        for point in _mine(points, index):
            revision = max(revision, int(point.fields.get("revision", 0)))
            rows.setdefault(point.start_seconds, {})[group_of(point.tags)] = sums_of(point)
    return Kept(rows, revision)


async def read_bill(store: Store, index: SiteIndex, window: tuple[int, int], kept: Kept) -> Bill:
    """Return the bill of a window, made of the whole months that it touches."""
    begins, ends = billed_window(index.model, window)
    rows = dict(kept.rows)
    for part in ((begins, window[0]), (window[1], ends)):
        if part[0] < part[1]:
            rows.update((await read_kept(store, index, part)).rows)
    # What has not been yet has no rollup, and no bill either.
    last = max((start for start in rows if start < ends), default=begins) + QUARTER_SECONDS
    starts = range(begins, max(last, window[1]), QUARTER_SECONDS)
    meters = await read_meters(store, index, (begins, starts.stop))
    whole = site_bill(index.model, site_quarters(index, starts, rows, meters))
    first, count = starts.index(window[0]), (window[1] - window[0]) // QUARTER_SECONDS
    return cut(whole, first, count)


def cut(bill: Bill, first: int, count: int) -> Bill:
    """Return the part of a bill that so many quarter hours from a position on have."""
    lines = tuple(
        line._replace(
            amounts=line.amounts[first : first + count],
            reasons={i - first: r for i, r in line.reasons.items() if first <= i < first + count},
        )
        for line in bill.lines
    )
    return Bill(bill.dues[first : first + count], lines)


def billed_window(model: SiteModel, window: tuple[int, int]) -> tuple[int, int]:
    """Return a window widened to the local months that are billed."""
    zone = ZoneInfo(model.time_zone)
    first: BillingMonth = billing_month(window[0], zone)
    last: BillingMonth = billing_month(window[1] - 1, zone)
    return first.begins, last.ends


async def read_meters(store: Store, index: SiteIndex, window: tuple[int, int]) -> Meters:
    """Read the quarter rows of the meters that a bill names."""
    meters: dict[int, dict[str, MeterRow]] = {}
    for name in sorted(billed_meters(index)):
        async for start, row in _quarters_of(store, index, name, window):
            meters.setdefault(start, {})[name] = row
    return meters


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
    found = await store.packed(
        "quarter",
        "register",
        start_seconds=window[0] - _REGISTER_BEFORE_SECONDS,
        end_seconds=window[1] + 1,
    )
    readings: dict[str, list[wire.Register]] = {}
    for row in found:
        if row.site == index.site:
            readings.setdefault(row.thing, []).append(_REGISTER.decode(row.row))
    for meter in sorted(readings.keys() | index.meters.keys()):
        amounts: list[float] = []
        async for _, quarter in _quarters_of(store, index, meter, window):
            known = (quarter.energy_joules, quarter.volume_litres)
            amounts += [value for value in known if value is not None]
        ordered = sorted(readings.get(meter, ()), key=lambda reading: reading.at_milliseconds)
        yield meter_register(meter, ordered, window, fsum(amounts) if amounts else None)


def _mine(points: Iterable[Point], index: SiteIndex) -> Iterable[Point]:
    return (point for point in points if ("site", index.site) in point.tags)


def model_revision(model: SiteModel) -> str:
    """Return the fingerprint of a site model: the same for the same tables."""
    return hashlib.sha256(model.model_dump_json().encode()).hexdigest()[:12]


def ledger_hash(rows: Iterable[PackedRow]) -> str:
    """Return the fingerprint of ledger or quarter rows, in any order."""
    digest = hashlib.sha256()
    for row in sorted(rows):
        digest.update("\x1f".join(map(str, row)).encode() + b"\x1e")
    return digest.hexdigest()
