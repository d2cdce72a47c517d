"""The formulas of the energy bill by name, over plain numbers; the bill calls the same functions.

Money is per kWh and kW, as contracts state it. What cannot be said has None and a reason.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.numbers import not_negative
from meterhouse_collector.kpi.value import Reasoned
from meterhouse_collector.money import colocation, currency, rounding, unit_prices
from meterhouse_collector.money.decimals import add, multiply
from meterhouse_collector.money.demand_formulas import (
    each_not_negative,
    quarters_of,
    zone_named,
)
from meterhouse_collector.money.energy_bill import tariff_lines
from meterhouse_collector.site.components import TierStep
from meterhouse_collector.site.tariff import ExchangeRate, Tariff


class TariffBill(NamedTuple):
    """A bill with its lines by name; ``total_money`` is None where a quarter has no price."""

    total_money: Decimal | None
    known_money: Decimal
    lines_money: Mapping[str, Decimal | None]
    provisional: bool
    reason: str | None


class ColocationCharge(NamedTuple):
    """What a month of colocation costs; energy is None where the PUE cap cannot be applied."""

    committed_money: Decimal
    passed_through_kwh: Decimal | None
    energy_money: Decimal | None
    total_money: Decimal | None
    reason: str | None


class RoundedLines(NamedTuple):
    """Lines in whole minor units, and the total that they sum to."""

    lines_money: tuple[Decimal, ...]
    total_money: Decimal


class TierPrice(NamedTuple):
    """The price of import up to so many kWh in a month; the last has no end."""

    price_money_per_kwh: Decimal
    up_to_kwh: Decimal | None = None


class DatedRate(NamedTuple):
    """What one unit of a currency is in another, from a day."""

    from_currency: str
    to_currency: str
    rate: Decimal
    valid_from: date
    source: str


def energy_cost(
    *, intervals_kwh: Sequence[Decimal | None], prices_money_per_kwh: Sequence[Decimal | None]
) -> Reasoned:
    """Return the sum of metered kWh times the price of each interval; prices may be negative.

    An interval without energy or price makes the sum unknown. Metered energy of a facility has its
    PUE in it. Raise ``ValueError`` for lists of different lengths and for energy below zero.
    """
    each_not_negative("intervals_kwh", [kwh for kwh in intervals_kwh if kwh is not None])
    if len(intervals_kwh) != len(prices_money_per_kwh):
        raise ValueError(f"prices_money_per_kwh has no price for each of {len(intervals_kwh)}")
    costs = []
    for position, pair in enumerate(zip(intervals_kwh, prices_money_per_kwh, strict=True)):
        kwh, price = pair
        if kwh is None or price is None:
            what = "energy" if kwh is None else "price"
            return Reasoned(None, f"interval {position} has no {what}")
        costs.append(multiply(kwh, price))
    return Reasoned(add(costs)) if costs else Reasoned(None, "no intervals")


def tier_cost(*, before_kwh: Decimal, energy_kwh: Decimal, steps: Sequence[TierPrice]) -> Decimal:
    """Return what energy costs after so much in the month: each part at the price of its step."""
    not_negative(before_kwh=before_kwh, energy_kwh=energy_kwh)
    tiers = [TierStep(up_to_kwh=s.up_to_kwh, per_kwh=s.price_money_per_kwh) for s in steps]
    ends = [step.up_to_kwh for step in tiers]
    if not tiers or ends[-1] is not None or None in ends[:-1]:
        raise ValueError("steps: up_to_kwh in every step but the last is needed")
    bounds = [end for end in ends if end is not None]
    if bounds != sorted(set(bounds)):
        raise ValueError("steps: up_to_kwh that rises is needed")
    return unit_prices.tier_cost(tiers, before_kwh, energy_kwh)


def tariff_bill(
    *, begins_seconds: int, quarters_kwh: Sequence[Decimal | None], time_zone: str, tariff: Tariff
) -> TariffBill:
    """Return what the import of consecutive UTC quarter hours costs by a tariff of components.

    Raise ``ValueError`` for a start off the quarter hour, an unknown zone or energy below zero.
    """
    quarters = quarters_of(begins_seconds, quarters_kwh)
    lines = tariff_lines(quarters, [tariff], zone_named(time_zone), currency="XXX")
    totals = [line.total for line in lines]
    known = [total for total in totals if total is not None]
    reasons = [reason for line in lines for reason in line.reasons.values()]
    return TariffBill(
        total_money=add(known) if len(known) == len(totals) > 0 else None,
        known_money=add(line.known for line in lines),
        lines_money={line.name: line.total for line in lines},
        provisional=any(line.provisional for line in lines),
        reason=reasons[0] if reasons else None if quarters else "no quarter hours",
    )


def colocation_charge(
    *,
    committed_kilowatts: Decimal,
    price_money_per_kilowatts: Decimal,
    facility_kwh: Decimal,
    price_money_per_kwh: Decimal,
    it_kwh: Decimal | None = None,
    pue_cap_ratio: Decimal | None = None,
) -> ColocationCharge:
    """Return committed kW * rate, and min(facility, cap * IT) kWh * price, of one month.

    Facility energy is metered and is never multiplied by a PUE. Raise ``ValueError`` for amounts
    below zero and a cap below 1.
    """
    not_negative(
        committed_kilowatts=committed_kilowatts,
        price_money_per_kilowatts=price_money_per_kilowatts,
        facility_kwh=facility_kwh,
        it_kwh=it_kwh,
        price_money_per_kwh=price_money_per_kwh,
    )
    if pue_cap_ratio is not None and pue_cap_ratio < 1:
        raise ValueError(f"pue_cap_ratio is {pue_cap_ratio}: at least 1")
    committed = colocation.committed_charge(committed_kilowatts, price_money_per_kilowatts)
    passed = colocation.passed_through_kwh(facility_kwh, it_kwh, pue_cap_ratio)
    if passed is None:
        return ColocationCharge(committed, None, None, None, "a PUE cap needs IT energy")
    energy = multiply(passed, price_money_per_kwh)
    return ColocationCharge(committed, passed, energy, add((committed, energy)), None)


def convert_currency(
    *,
    amount_money: Decimal,
    from_currency: str,
    to_currency: str,
    on: date,
    rates: Sequence[DatedRate],
) -> Reasoned:
    """Return an amount at the rate in force on a day; without a rate there is no amount."""
    entries = [ExchangeRate(**rate._asdict()) for rate in rates]
    found = currency.convert_currency(amount_money, (from_currency, to_currency), on, entries)
    return Reasoned(found.amount, found.reason)


def largest_remainder(*, lines_money: Sequence[Decimal], currency: str) -> RoundedLines:
    """Return lines in the currency's minor unit that sum to their rounded total.

    Raise ``ValueError`` for a code that has no minor unit in ISO 4217.
    """
    rounded = rounding.largest_remainder(lines_money, currency)
    return RoundedLines(rounded, add(rounded))


KPIS: Final = (
    Kpi(
        "energy_cost",
        "currency",
        "sum of intervals_kwh * prices_money_per_kwh",
        "1",
        "metered kWh * the price of each interval, never times a PUE",
        "definitions of this project, energy bill; reference 1.4",
    ),
    Kpi(
        "tier_cost",
        "currency",
        "sum of kWh in each step * its price",
        "1",
        "energy by the import of the month so far",
        "definitions of this project, energy bill",
    ),
    Kpi(
        "tariff_bill",
        "by name",
        "sum of the components' amounts",
        "1",
        "what import costs by a tariff of components, by line",
        "definitions of this project, energy bill",
    ),
    Kpi(
        "colocation_charge",
        "by name",
        "committed_kilowatts * rate + min(facility_kwh, pue_cap_ratio * it_kwh) * price",
        "1",
        "committed power, and energy passed through up to a PUE cap, of a month",
        "definitions of this project, energy bill",
    ),
    Kpi(
        "convert_currency",
        "currency",
        "amount_money * rate in force",
        "1",
        "an amount at the rate of its day, never inverted or crossed",
        "definitions of this project, currency",
    ),
    Kpi(
        "largest_remainder",
        "by name",
        "lines_money",
        "minor unit of the currency",
        "lines rounded down, and the missing units to the largest remainders",
        "Hare and Niemeyer's method; ISO 4217",
    ),
)
