"""Reads what one figure came from: the rows of a quarter or an interval, and what is stored."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from meterhouse_agent import wire
from meterhouse_collector.explain.decode import decode
from meterhouse_collector.explain.evidence import Evidence
from meterhouse_collector.explain.model import Period
from meterhouse_collector.explain.money import accrued, billed
from meterhouse_collector.explain.request import NoRowsError
from meterhouse_collector.explain.sides import number
from meterhouse_collector.explain.stored import stored_dues, stored_groups, why_it_may_differ
from meterhouse_collector.quarters.marks import Mark, read_marks
from meterhouse_collector.quarters.quarter_rows import Ledger, QuarterRows
from meterhouse_collector.quarters.settle import FILLED_QUARTERS
from meterhouse_collector.rollup.expected import FILLED_SECONDS, latest_known, power_of
from meterhouse_collector.rollup.flow_branches import Thing
from meterhouse_collector.rollup.quarter import QUARTER
from meterhouse_collector.rollup.rates import Rates
from meterhouse_collector.rollup.roll_up import pick_row
from meterhouse_collector.rollup.site_energy import Expected, IntervalRows
from meterhouse_collector.rows import POLICY_DAYS, MeterRow, NodeRow, PackedRow, Policy
from meterhouse_collector.settlement.rates import RateBook
from meterhouse_collector.settlement.records import read_records
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.store import Store

KINDS: Final[tuple[wire.ThingKind, ...]] = ("node", "meter", "engine")
_DAY_SECONDS: Final = 86_400


def price_of(index: SiteIndex, start_seconds: float, rates: Rates) -> str:
    """Say what a joule costs at an instant."""
    price = index.price_per_joule(start_seconds, rates.month_kwh)
    if price is None:
        return f"no price is known: {index.why_no_price(start_seconds, rates.month_kwh)}"
    return f"{number(price)} for each joule billed"


async def rates_at(store: Store, index: SiteIndex, start_seconds: int) -> Rates:
    """Return the rates at an instant, with what its month had imported by then."""
    book = RateBook(index)
    await book.learn(store, start_seconds)
    return book.at(start_seconds)


def is_kept(policy: Policy, period: Period, now_seconds: float) -> bool:
    """Tell whether a policy still keeps the rows of a window."""
    return period.start_seconds >= now_seconds - POLICY_DAYS[policy] * _DAY_SECONDS


async def read_quarter(
    store: Store, index: SiteIndex, period: Period, now_seconds: float, *, money: bool
) -> Evidence:
    """Read what a quarter's figure is made of; a quarter not summed yet is summed here.

    Raises ``NoRowsError`` where nothing is known of it, and ``StoreUnavailableError``.
    """
    start, ledger = period.start_seconds, Ledger(store, index)
    kept = is_kept("ledger", period, now_seconds)
    record = (await read_records(store, index.site, start, start + 1)).get(start)
    marks = await read_marks(store, index.site, start, start + QUARTER) if kept else []
    found, rows_from = await ledger.read_quarter(start), "quarter rows"
    if record is None and not any(found) and kept:
        found, rows_from = await _summed(ledger, start, marks), "rows of the ledger, summed here"
    if record is None and not any(found):
        raise NoRowsError(
            f"nothing is known of site {index.site} from {period.local} ({period.start_utc}): "
            f"no rows of {', '.join(KINDS)} in ledger or quarter, and no record in kept.quarter"
        )
    unread = ledger.unread_rows
    earlier = [
        await ledger.read_quarter(start - k * QUARTER) for k in range(1, FILLED_QUARTERS + 1)
    ]
    stored = await stored_groups(store, index, "kept", period)
    rates = await rates_at(store, index, start)
    waiting = sorted({f"{mark.kind} {mark.thing}" for mark in marks if mark.open})
    return Evidence(
        period=period,
        rows=IntervalRows(start, QUARTER, found.nodes, found.meters, found.engines),
        rows_from=rows_from,
        readers={},
        expected=latest_known(power_of(rows.meters, rows.nodes) for rows in earlier),
        rates=rates,
        dues=stored_dues(stored, index),
        dues_from="the bill of its month so far" if stored else price_of(index, start, rates),
        stored=stored,
        stored_at="kept.rollup" if record is None else f"kept.rollup, revision {record.revision}",
        stored_notes=tuple(why_it_may_differ(record, waiting, index)),
        notes=(f"{unread} rows cannot be read, and are left out",) if unread else (),
        accruals=accrued(index, period) if money else (),
        bill=await billed(store, index, start) if money and record is not None else (),
    )


async def read_interval(
    store: Store, index: SiteIndex, period: Period, *, money: bool
) -> Evidence | None:
    """Read what an interval's figure is made of; None where the ledger has no rows of it."""
    start = period.start_seconds
    by_reader: dict[Thing, dict[str, Any]] = {}
    unread = 0
    for kind in KINDS:
        for row in await packed(store, index, ("ledger", kind), (start, period.end_seconds)):
            decoded = decode(kind, row.row)
            unread += decoded is None
            if decoded is not None:
                by_reader.setdefault(Thing(kind, row.thing), {})[row.reader] = decoded
    if not by_reader:
        return None
    rows = _picked(by_reader, period)
    stored = await stored_groups(store, index, "live", period)
    rates = await rates_at(store, index, start)
    return Evidence(
        period=period,
        rows=rows,
        rows_from="rows of the ledger",
        readers={thing: _readers(found) for thing, found in by_reader.items()},
        expected=await _expected(store, index, rows),
        rates=rates,
        dues=stored_dues(stored, index),
        dues_from=price_of(index, start, rates),
        stored=stored,
        stored_at="live.rollup",
        notes=(f"{unread} rows cannot be read, and are left out",) if unread else (),
        accruals=accrued(index, period) if money else (),
    )


async def packed(
    store: Store,
    index: SiteIndex,
    where: tuple[Policy, str],
    window: tuple[int, int],
    thing: str | None = None,
) -> list[PackedRow]:
    """Read the packed rows of this site in a window."""
    found = await store.packed(*where, start_seconds=window[0], end_seconds=window[1], thing=thing)
    return [row for row in found if row.site == index.site]


async def _summed(ledger: Ledger, start: int, marks: Sequence[Mark]) -> QuarterRows:
    found = QuarterRows({}, {}, {})
    by_kind: Mapping[str, dict[str, Any]] = dict(zip(KINDS, found, strict=True))
    for row in await ledger.sum_whole(start, marks, _go_on):
        by_kind[row.measurement][row.thing] = decode(row.measurement, row.row)
    return found


async def _go_on() -> None:
    await asyncio.sleep(0)


def _picked(by_reader: Mapping[Thing, Mapping[str, Any]], period: Period) -> IntervalRows:
    length = period.end_seconds - period.start_seconds
    rows = IntervalRows(period.start_seconds, length, {}, {}, {})
    into: Mapping[str, Any] = {"node": rows.nodes, "meter": rows.meters, "engine": rows.engines}
    for thing, found in by_reader.items():
        into[thing.kind][thing.name] = pick_row(found)
    return rows


def _readers(found: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the readers of a thing, the one whose row counts first."""
    taken = pick_row(found)
    return tuple(sorted(found, key=lambda reader: (found[reader] is not taken, reader)))


async def _expected(store: Store, index: SiteIndex, rows: IntervalRows) -> Expected:
    """Return the last known power of what has a gap in an interval; nothing else needs one."""
    start = rows.start_seconds
    tree, plans = index.metering(start), index.plans(start)
    meters = {term.meter.name for term in (*tree.facility, *tree.it)}
    gaps = [("meter", name) for name in sorted(meters) if not _whole(rows.meters.get(name))]
    gaps += [("node", name) for name in sorted(plans) if not _whole(rows.nodes.get(name))]
    before: list[Expected] = []
    for kind, name in gaps:
        found = await packed(
            store, index, ("ledger", kind), (start - FILLED_SECONDS, start), thing=name
        )
        for row in reversed(found):
            power = _power(name, decode(kind, row.row))
            if power is not None:
                before.append(power)
                break
    return latest_known(before)


def _whole(row: MeterRow | NodeRow | None) -> bool:
    if row is None or row.energy_joules is None:
        return False
    if isinstance(row, MeterRow):
        return row.covered_milliseconds >= row.length_milliseconds
    return row.host_covered_milliseconds >= row.length_milliseconds


def _power(name: str, row: MeterRow | NodeRow | None) -> Expected | None:
    if row is None:
        return None
    found = power_of({name: row}, {}) if isinstance(row, MeterRow) else power_of({}, {name: row})
    return found if any(found) else None
