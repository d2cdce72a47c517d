"""What each tariff with tiers has billed of a month so far: what its live price follows."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from meterhouse_collector.money.billing_month import QUARTER_SECONDS
from meterhouse_collector.money.decimals import CONTEXT, ZERO
from meterhouse_collector.settlement.inputs import site_quarters
from meterhouse_collector.settlement.months import month_of, read_meters
from meterhouse_collector.settlement.records import read_records
from meterhouse_collector.settlement.supplies import connected, quarter_energy
from meterhouse_collector.site.components import Tier
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.store import Store

# The running quarter, and those that ended and wait for late rows.
_NOT_YET_KEPT: Final = 3


class Imported(NamedTuple):
    """The kWh of a month by tariff, and until when every quarter of it is known."""

    month_begins: int
    until: Mapping[str, tuple[int, Decimal]]


def tiered(index: SiteIndex) -> frozenset[str]:
    """Return the tariffs whose price depends on the import of the month."""
    return frozenset(
        tariff.name
        for tariff in index.model.tariff
        if any(isinstance(component, Tier) for component in tariff.components)
    )


async def read_imported(store: Store, index: SiteIndex, at_seconds: float) -> Imported:
    """Read the kept quarters of the month of an instant; nothing is read for a site without tiers.

    Raises ``StoreUnavailableError``.
    """
    month = month_of(index.model, int(at_seconds))
    names = tiered(index)
    if not names:
        return Imported(month.begins, {})
    stretch = month.begins, min(month.ends, int(at_seconds) + 1)
    records = await read_records(store, index.site, *stretch)
    meters = await read_meters(store, index, stretch)
    starts = range(month.begins, max(records, default=-1) + 1, QUARTER_SECONDS)
    quarters = site_quarters(index, starts, records, meters)
    energies = [quarter_energy(index.model, quarter) for quarter in quarters]
    found = {}
    for name in names:
        billed = connected(index.model, name, quarters, energies)
        found[name] = _unbroken(month.begins, [each.import_kwh for each in billed])
    return Imported(month.begins, found)


def month_imports(index: SiteIndex, known: Imported, start_seconds: int) -> Mapping[str, Decimal]:
    """Return the kWh of the month before a quarter hour by tariff, without what is not known.

    Only the last quarters, which wait for late rows, may be missing.
    """
    begins = month_of(index.model, start_seconds).begins
    since = start_seconds - _NOT_YET_KEPT * QUARTER_SECONDS
    if begins != known.month_begins:
        # Of a month that has just begun nothing is kept yet.
        return dict.fromkeys(tiered(index), ZERO) if begins >= since else {}
    return {name: kwh for name, (until, kwh) in known.until.items() if until >= since}


def _unbroken(begins: int, amounts: Sequence[Decimal | None]) -> tuple[int, Decimal]:
    until, total = begins, ZERO
    for amount in amounts:
        if amount is None:
            break
        total = CONTEXT.add(total, amount)
        until += QUARTER_SECONDS
    return until, total
