"""What a colocation contract costs: committed kW, and energy passed through up to a PUE cap."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from meterhouse_collector.money.bill_lines import (
    Amount,
    BillLine,
    Draft,
    NoAmount,
    check_consecutive,
    masked,
)
from meterhouse_collector.money.billing_month import BillingMonth, billing_month
from meterhouse_collector.money.decimals import CONTEXT, ZERO, add, even_share, multiply
from meterhouse_collector.money.unit_prices import live_price_per_kwh
from meterhouse_collector.money.validity import in_force
from meterhouse_collector.site.tariff import Colocation, Tariff

NOT_MEASURED: Final = NoAmount("not measured")


@dataclass(frozen=True, slots=True, kw_only=True)
class HousedEnergy:
    """What a tenant's part of a facility used in a UTC quarter hour; None is not measured.

    ``facility_kwh`` is metered, or the landlord's figure; it already has the PUE in it.
    """

    start_seconds: int
    facility_kwh: Decimal | None
    it_kwh: Decimal | None


def committed_charge(committed_kw: Decimal, price_per_kw: Decimal) -> Decimal:
    """Return what a month of committed power costs, drawn or not."""
    return multiply(committed_kw, price_per_kw)


def passed_through_kwh(
    facility_kwh: Decimal, it_kwh: Decimal | None, pue_cap: Decimal | None
) -> Decimal | None:
    """Return min(facility, cap * IT) kWh; None where there is a cap and IT is not known.

    The cap holds for the sums of a month: a single quarter hour may be above it.
    """
    if pue_cap is None:
        return facility_kwh
    return None if it_kwh is None else min(facility_kwh, multiply(pue_cap, it_kwh))


def colocation_lines(
    quarters: Sequence[HousedEnergy],
    contract: Colocation,
    tariffs: Sequence[Tariff],
    zone: ZoneInfo,
    *,
    currency: str,
) -> list[BillLine]:
    """Return the line of committed power, spread evenly over its month, and that of energy.

    Where energy passes through at a tariff, its price per kWh holds, with its levies. Raise
    ``ValueError`` where the quarter hours do not follow each other.
    """
    check_consecutive([quarter.start_seconds for quarter in quarters])
    months = [billing_month(quarter.start_seconds, zone) for quarter in quarters]
    days = [datetime.fromtimestamp(q.start_seconds, zone).date() for q in quarters]
    holds = [in_force([contract], day) is not None for day in days]
    monthly = committed_charge(contract.committed_kw, contract.per_kw)
    committed: list[Amount] = [
        even_share(monthly, month.position(quarter.start_seconds), month.quarters)
        for quarter, month in zip(quarters, months, strict=True)
    ]
    code = contract.currency or currency
    # A price in another currency would be added up as if it were in this one.
    priced = [tariff for tariff in tariffs if (tariff.currency or currency) == code]
    passed = _passed(quarters, months, holds, contract.pue_cap)
    energy = [
        _energy(quarter, kwh, contract, priced, zone)
        for quarter, kwh in zip(quarters, passed, strict=True)
    ]
    drafts = (
        Draft(contract.name, "committed", committed),
        Draft(contract.name, "passed_through", energy),
    )
    return [masked(draft, holds).line(code) for draft in drafts]


def _passed(
    quarters: Sequence[HousedEnergy],
    months: Sequence[BillingMonth],
    holds: Sequence[bool],
    pue_cap: Decimal | None,
) -> list[Amount]:
    # Above the cap, each quarter hour of the month passes on the same share of its energy.
    members: dict[BillingMonth, list[HousedEnergy]] = {}
    for quarter, month, hold in zip(quarters, months, holds, strict=True):
        if hold:
            members.setdefault(month, []).append(quarter)
    shares = {month: _share(group, pue_cap) for month, group in members.items()}
    passed: list[Amount] = []
    for quarter, month in zip(quarters, months, strict=True):
        share = shares.get(month, ZERO)
        if isinstance(share, NoAmount):
            passed.append(share)
        elif quarter.facility_kwh is None:
            passed.append(NOT_MEASURED)
        else:
            passed.append(multiply(quarter.facility_kwh, share))
    return passed


def _share(quarters: Sequence[HousedEnergy], pue_cap: Decimal | None) -> Amount:
    if pue_cap is None:
        return Decimal(1)
    pairs = [(q.facility_kwh, q.it_kwh) for q in quarters]
    known = [(facility, it) for facility, it in pairs if facility is not None and it is not None]
    if len(known) < len(pairs):
        return NoAmount("the month's PUE is not known, so neither is what its cap passes on")
    facility = add(pair[0] for pair in known)
    passed = passed_through_kwh(facility, add(pair[1] for pair in known), pue_cap)
    if passed is None or facility == 0:
        return Decimal(1)
    return CONTEXT.divide(passed, facility)


def _energy(
    quarter: HousedEnergy,
    kwh: Amount,
    contract: Colocation,
    tariffs: Sequence[Tariff],
    zone: ZoneInfo,
) -> Amount:
    price: Amount | None = contract.per_kwh
    if price is None:
        day = datetime.fromtimestamp(quarter.start_seconds, zone).date()
        named = [tariff for tariff in tariffs if tariff.name == contract.tariff]
        tariff = in_force(named, day)
        if tariff is None:
            return NoAmount(f"{contract.tariff}: no tariff in this currency is in force")
        price = live_price_per_kwh(tariff.components, quarter.start_seconds, zone)
    if isinstance(kwh, NoAmount):
        return kwh
    return price if isinstance(price, NoAmount) else multiply(kwh, price)
