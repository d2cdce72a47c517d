"""What each contract for capacity comes to: delivered, to pay or to be paid, and credited. Pure.

Rent accrues by the contract alone, whatever was delivered (``definitions.md``, Asset register).
What take-or-pay and service credits leave of it stands here beside it, to be set against the
supplier's invoice, or to be the revenue of what is sold.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from math import fsum
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from meterhouse_collector.kpi.parts import ratio
from meterhouse_collector.money.billing_month import billing_month
from meterhouse_collector.money.decimals import CONTEXT, ZERO, add
from meterhouse_collector.money.delivery import prepayment_draw_down
from meterhouse_collector.money.rounding import round_total
from meterhouse_collector.settlement.accrual import contract_money, contract_rate
from meterhouse_collector.settlement.contract_due import MonthDue, month_due
from meterhouse_collector.settlement.outages import Counted, counted_all, outage_notes
from meterhouse_collector.settlement.traded import NOBODY, Quarters, Traded
from meterhouse_collector.site.base import until_next
from meterhouse_collector.site.contracts import CapacityContract
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.model import SiteModel


class ContractTotal(Struct, frozen=True, kw_only=True):
    """A contract over a window; seconds are device-seconds, ``low`` takes ``unknown`` as down.

    ``rate_money`` is what accrues by the rate, ``original_rate_money`` the same in the contract's
    ``currency``. ``due`` is what take-or-pay and credits leave of it; without it there is a
    ``reason``. A credit of a month that is not over is ``provisional``. ``counted`` is without what
    the contract excludes, and decides what is credited; of planned maintenance and what the tenant
    caused stands all that was entered.
    """

    name: str
    side: Literal["bought", "sold"]
    tenant: str
    contracted_seconds: float
    low_seconds: float
    high_seconds: float
    rate_money: Decimal | None
    low_due_money: Decimal | None
    high_due_money: Decimal | None
    high_credit_money: Decimal | None
    provisional: bool
    reason: str | None
    notes: tuple[str, ...]
    counterparty: str = ""
    currency: str = ""
    original_rate_money: Decimal | None = None
    planned_seconds: float = 0.0
    tenant_caused_seconds: float = 0.0
    excluded_seconds: float = 0.0
    counted_low_seconds: float | None = None
    counted_high_seconds: float | None = None

    @property
    def ratios(self) -> tuple[float | None, float | None]:
        """Delivered of contracted, with all that is unknown down, then up."""
        whole = self.contracted_seconds
        return ratio(self.low_seconds, whole), ratio(self.high_seconds, whole)

    @property
    def counted_ratios(self) -> tuple[float | None, float | None]:
        """The same without what the contract excludes; None where that is not known."""
        low, high = self.counted_low_seconds, self.counted_high_seconds
        if low is None or high is None:
            return None, None
        due = self.contracted_seconds - self.excluded_seconds
        return ratio(low, due), ratio(high, due)


def contract_totals(
    index: SiteIndex, window: tuple[int, int], traded: Traded
) -> tuple[ContractTotal, ...]:
    """Return what each contract that is in force in a window comes to, in whole minor units."""
    contracts = until_next(index.model.contract, lambda contract: contract.name)
    return tuple(
        _total(index.model, contract, held, traded, contracts)
        for contract in contracts
        if (held := _held(index.model, contract, window)) is not None
    )


def _held(
    model: SiteModel, contract: CapacityContract, window: tuple[int, int]
) -> tuple[int, int] | None:
    """Return the part of a window in which a contract is in force."""
    begins = max(window[0], int(model.instant(contract.valid_from)))
    ends = window[1]
    if contract.valid_to is not None:
        ends = min(ends, int(model.instant(contract.valid_to)))
    return (begins, ends) if begins < ends else None


def _total(
    model: SiteModel,
    contract: CapacityContract,
    held: tuple[int, int],
    traded: Traded,
    contracts: Sequence[CapacityContract],
) -> ContractTotal:
    tenant = contract.tenant or NOBODY
    quarters = traded.quarters.get((contract.side, tenant), {})
    mine = {start: found for start, found in quarters.items() if held[0] <= start < held[1]}
    others = [
        other.name
        for other in contracts
        if other is not contract
        and (other.side, other.tenant) == (contract.side, contract.tenant)
        and _held(model, other, held) is not None
    ]
    low = fsum(found.delivered for found in mine.values())
    total = ContractTotal(
        name=contract.name,
        side=contract.side,
        tenant=tenant,
        counterparty=contract.counterparty,
        currency=contract.currency or model.currency,
        original_rate_money=_original(model, contract, held),
        contracted_seconds=fsum(found.contracted for found in mine.values()),
        low_seconds=low,
        high_seconds=low + fsum(found.undetermined for found in mine.values()),
        rate_money=None,
        low_due_money=None,
        high_due_money=None,
        high_credit_money=None,
        provisional=bool(contract.credit) and not _whole_months(model, contract, held),
        reason=None,
        notes=tuple(_notes(model, contract, held)),
    )
    if others:
        reason = f"what it delivered is kept together with that of {', '.join(others)}"
        return msgspec.structs.replace(total, reason=reason)
    return _priced(
        model, contract, held, mine, _excluded(total, counted_all(model, contract, mine))
    )


def _original(model: SiteModel, contract: CapacityContract, held: tuple[int, int]) -> Decimal:
    currency = contract.currency or model.currency
    return round_total(contract_money(model, contract, *held), currency)


def _excluded(total: ContractTotal, counts: Counted) -> ContractTotal:
    return msgspec.structs.replace(
        total,
        planned_seconds=counts.planned,
        tenant_caused_seconds=counts.tenant_caused,
        excluded_seconds=total.contracted_seconds - counts.due,
        counted_low_seconds=counts.low,
        counted_high_seconds=counts.high,
    )


def _priced(
    model: SiteModel,
    contract: CapacityContract,
    held: tuple[int, int],
    quarters: Quarters,
    total: ContractTotal,
) -> ContractTotal:
    parts: list[MonthDue] = []
    for begins, ends in _months(model, held):
        month = {start: found for start, found in quarters.items() if begins <= start < ends}
        day = model.day(begins)
        rate = contract_rate(model, contract, begins, ends)
        if rate.amount is None:
            return msgspec.structs.replace(total, reason=rate.reason)
        if rate.amount == 0:
            continue
        if not any(found.contracted for found in month.values()):
            reason = f"nothing is summed of what it delivered from {day} on"
            return msgspec.structs.replace(total, reason=reason)
        parts.append(month_due(model, contract, rate.amount, month))
    sums = [round_total(add(column), model.currency) for column in zip(*parts, strict=True)]
    rate_money, low, high, credit = sums or [ZERO] * len(MonthDue._fields)
    return msgspec.structs.replace(
        total,
        rate_money=rate_money,
        low_due_money=low,
        high_due_money=high,
        high_credit_money=credit,
    )


def _months(model: SiteModel, held: tuple[int, int]) -> Iterator[tuple[int, int]]:
    zone = ZoneInfo(model.time_zone)
    begins = held[0]
    while begins < held[1]:
        ends = min(held[1], billing_month(begins, zone).ends)
        yield begins, ends
        begins = ends


def _whole_months(model: SiteModel, contract: CapacityContract, held: tuple[int, int]) -> bool:
    zone = ZoneInfo(model.time_zone)
    own = model.instant(contract.valid_from)
    last = model.day(held[1] - 1) + timedelta(days=1)
    return (held[0] in (own, billing_month(held[0], zone).begins)) and (
        held[1] == billing_month(held[1] - 1, zone).ends or last == contract.valid_to
    )


def _notes(model: SiteModel, contract: CapacityContract, held: tuple[int, int]) -> Iterator[str]:
    name = contract.name
    yield from outage_notes(model, contract, held)
    if contract.includes_energy:
        yield f"{name}: energy is included"
    if contract.prepayment:
        yield _prepaid(model, contract, held)


class Prepaid(NamedTuple):
    """What was paid ahead until an instant, and what is left of it, in the contract's currency."""

    paid: Decimal
    left: Decimal


def prepaid(model: SiteModel, contract: CapacityContract, until_seconds: int) -> Prepaid:
    """Return the prepayments of a contract, drawn down month by month at its rate."""
    begins = int(model.instant(contract.valid_from))
    left, paid = ZERO, ZERO
    for since, until in _months(model, (begins, until_seconds)):
        known = add(p.amount for p in contract.prepayment if model.instant(p.paid_on) < until)
        left, paid = CONTEXT.add(left, CONTEXT.subtract(known, paid)), known
        charge = contract_money(model, contract, since, until)
        left = prepayment_draw_down(prepaid_money=left, charges_money=[charge]).balance_money
    return Prepaid(paid, left)


def _prepaid(model: SiteModel, contract: CapacityContract, held: tuple[int, int]) -> str:
    """Say what is left of the prepayments."""
    currency = contract.currency or model.currency
    paid, left = prepaid(model, contract, held[1])
    paid, left = round_total(paid, currency), round_total(left, currency)
    return (
        f"{contract.name}: of {paid:,} {currency} paid ahead {left:,} are left at the end; it is"
        " cash, and what it pays for accrues once"
    )
