"""Where the money of a window comes from: what accrues, and the lines of the bill."""

from typing import Final

from meterhouse_collector.explain.model import Entry, Period
from meterhouse_collector.money.billing_month import QUARTER_SECONDS
from meterhouse_collector.settlement.accrual import Accrual, accruals
from meterhouse_collector.settlement.months import bill_of, billed_stretch, read_meters
from meterhouse_collector.settlement.records import read_records
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.store import Store

_BY_JOULES: Final = "joules drawn by devices, the rest of their nodes included"


def accrued(index: SiteIndex, period: Period) -> tuple[Entry, ...]:
    """Return what accrues by time in a window, entry by entry."""
    return tuple(
        Entry(
            kind=entry.kind,
            name=entry.name,
            amount=entry.amount,
            split_by=_split_by(entry),
            reason=entry.reason,
        )
        for entry in accruals(index, period.start_seconds, period.end_seconds)
    )


async def billed(store: Store, index: SiteIndex, start: int) -> tuple[Entry, ...]:
    """Return the lines of the month's bill in one quarter of it, as far as it is known today."""
    stretch = billed_stretch(index.model, [start])
    records = await read_records(store, index.site, *stretch)
    bill = bill_of(index, stretch, records, await read_meters(store, index, stretch))
    at = (start - stretch[0]) // QUARTER_SECONDS
    return tuple(
        Entry(
            kind=line.kind,
            name=f"{line.name} {line.component}",
            amount=line.amounts[at],
            split_by=_BY_JOULES,
            reason=line.reasons.get(at),
        )
        for line in bill.lines
        if at < len(line.amounts)
    )


def _split_by(entry: Accrual) -> str:
    if entry.waits:
        return "nobody's device: it waits for service"
    model = f" of {entry.accelerator_model}" if entry.accelerator_model else ""
    pools = f" in {', '.join(entry.pools)}" if entry.pools else ""
    return f"device-seconds{model}{pools}"
