"""The exchange rates that a statement rests on, and the amounts before they were converted. Pure.

Each rate has its day and source (``definitions.md``, Currency).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date
from decimal import Decimal

from msgspec import Struct

from meterhouse_collector.money.currency import rate_in_force
from meterhouse_collector.money.decimals import add
from meterhouse_collector.money.rounding import round_total
from meterhouse_collector.settlement.accrual import accruals
from meterhouse_collector.settlement.dues import DueLine
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.site.tariff import ExchangeRate


class RateUsed(Struct, frozen=True, kw_only=True):
    """What one unit of a currency is worth from a day on, and who says so."""

    currency: str
    rate: Decimal
    valid_from: date
    source: str


class Original(Struct, frozen=True, kw_only=True):
    """What something cost, or was sold for, in its own currency, as far as that is known."""

    kind: str
    name: str
    currency: str
    money: Decimal


def originals(
    index: SiteIndex, window: tuple[int, int], lines: Iterable[DueLine]
) -> tuple[Original, ...]:
    """Return what a window cost in other currencies, by entry of the site model and by bill line.

    Amounts are in whole minor units of their own currency.
    """
    if not _foreign(index.model):
        return ()
    found: dict[tuple[str, str, str], list[Decimal]] = defaultdict(list)
    for entry in accruals(index, *window):
        if entry.original is not None and entry.currency not in (None, index.model.currency):
            found[entry.kind, entry.name, str(entry.currency)].append(entry.original)
    for line in lines:
        if line.originals:
            known = (amount for amount in line.originals if amount is not None)
            found[line.kind, line.name, line.currency] += known
    return tuple(
        Original(kind=kind, name=name, currency=currency, money=round_total(add(money), currency))
        for (kind, name, currency), money in found.items()
    )


def rates_used(index: SiteIndex, window: tuple[int, int]) -> tuple[RateUsed, ...]:
    """Return the rates to the reporting currency that were in force in a window, or at a purchase.

    Equipment keeps the rate of the day on which it was bought.
    """
    model = index.model
    first, last = model.day(window[0]), model.day(window[1] - 1)
    found: dict[int, ExchangeRate] = {}
    for currency in _foreign(model):
        known = (currency, model.currency)
        for rate in model.exchange_rate:
            pair = (rate.from_currency, rate.to_currency)
            if pair == known and first < rate.valid_from <= last:
                found[id(rate)] = rate
        for day in (first, *_bought(index, currency, last)):
            in_force = rate_in_force(known, day, model.exchange_rate)
            if in_force is not None:
                found[id(in_force)] = in_force
    rates = sorted(found.values(), key=lambda rate: (rate.from_currency, rate.valid_from))
    return tuple(
        RateUsed(
            currency=rate.from_currency,
            rate=rate.rate,
            valid_from=rate.valid_from,
            source=rate.source,
        )
        for rate in rates
    )


def _foreign(model: SiteModel) -> list[str]:
    """Return the other currencies of whatever has a price, in their order."""
    entries = (entry for _, table in model if isinstance(table, tuple) for entry in table)
    named = {getattr(entry, "currency", None) for entry in entries}
    return sorted(name for name in named if name is not None and name != model.currency)


def _bought(index: SiteIndex, currency: str, last: date) -> Iterator[date]:
    for asset in index.model.asset:
        hardware = index.hardware_of(asset) if asset.contract is None else None
        if hardware is not None and hardware.currency == currency and asset.priced_on <= last:
            yield asset.priced_on
    for shared in index.model.shared_equipment:
        day = shared.purchased or shared.in_service
        if shared.currency == currency and day <= last:
            yield day
