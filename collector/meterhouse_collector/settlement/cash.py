"""What cash adds to what accrues by joules, rent and operations: purchases, and what is paid ahead.

Capital is spent on the day of its purchase, rent that a prepayment covers on the day of that, and
what it costs to take equipment out on the day it is retired.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from meterhouse_collector.money.bill_lines import NoAmount
from meterhouse_collector.money.currency import convert_currency
from meterhouse_collector.money.decimals import CONTEXT, add, multiply
from meterhouse_collector.settlement.capacity import prepaid
from meterhouse_collector.site.base import until_next
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.site.places import Asset

# In the model's currency, or why not.
_Paid = Decimal | NoAmount


def cash_beyond_accrual(
    index: SiteIndex, begins: int, ends: int, *, is_paid_for: Callable[[str], bool], whole: bool
) -> Decimal | NoAmount:
    """Return what is paid in a window beside all that accrues but capital, in the site's currency.

    ``is_paid_for`` tells the pools that it is asked of; what all share counts only for the
    ``whole``. Below zero, where more rent was covered by a prepayment than was paid ahead.
    """
    amounts: list[Decimal] = []
    for paid in _all(index, begins, ends, is_paid_for=is_paid_for, whole=whole):
        if isinstance(paid, NoAmount):
            return paid
        amounts.append(paid)
    return add(amounts)


def _all(
    index: SiteIndex, begins: int, ends: int, *, is_paid_for: Callable[[str], bool], whole: bool
) -> Iterator[_Paid]:
    model = index.model
    mine = [each for each in model.asset if each.contract is None and is_paid_for(each.pool)]
    for paid in (*_devices(index, mine), *(_shared(model) if whole else ())):
        at = model.instant(paid.day)
        if begins <= at < ends:
            if isinstance(paid.money, NoAmount):
                yield paid.money
            else:
                yield _converted(model, paid.money, paid.currency, at)
    for contract in until_next(model.contract, lambda each: each.name):
        if (
            contract.side == "bought"
            and contract.prepayment
            and all(map(is_paid_for, contract.pools))
        ):
            left = [prepaid(model, contract, at).left for at in (begins, ends)]
            # What is left at the end and was not at the beginning is paid and does not accrue yet.
            yield _converted(model, CONTEXT.subtract(left[1], left[0]), contract.currency, ends)


class _Payment(NamedTuple):
    day: date
    money: _Paid
    currency: str | None


def _devices(index: SiteIndex, assets: Iterable[Asset]) -> Iterator[_Payment]:
    for asset in assets:
        hardware = index.hardware_of(asset)
        if hardware is None:
            why = NoAmount(f"{asset.accelerator_model}: no price on {asset.priced_on}")
            yield _Payment(asset.priced_on, why, None)
            continue
        count, currency = Decimal(asset.all_devices), hardware.currency
        yield _Payment(asset.priced_on, multiply(hardware.price_per_device, count), currency)
        if asset.retired is not None:
            money = multiply(hardware.decommissioning_per_device, count)
            yield _Payment(asset.retired, money, currency)


def _shared(model: SiteModel) -> Iterator[_Payment]:
    for shared in model.shared_equipment:
        day = shared.purchased or shared.in_service
        yield _Payment(day, shared.price, shared.currency)
        if shared.retired is not None:
            yield _Payment(shared.retired, shared.decommissioning, shared.currency)


def _converted(model: SiteModel, money: Decimal, currency: str | None, at_seconds: float) -> _Paid:
    known = (currency or model.currency, model.currency)
    found = convert_currency(money, known, model.day(at_seconds), model.exchange_rate)
    return NoAmount(found.reason or "no rate") if found.amount is None else found.amount
