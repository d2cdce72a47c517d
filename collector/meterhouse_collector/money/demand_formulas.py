"""The formulas of demand by name, over plain numbers; the bill calls the same functions.

Power is in kW and a price per kW and month, as contracts state them.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.numbers import not_negative, positive, share
from meterhouse_collector.kpi.value import Reasoned
from meterhouse_collector.money import demand
from meterhouse_collector.money.bill_lines import QuarterEnergy
from meterhouse_collector.money.billing_month import QUARTER_SECONDS
from meterhouse_collector.money.decimals import CONTEXT, ZERO, add, even_share, multiply
from meterhouse_collector.site.components import LocalWindow, Step

INTERVALS: Final[Mapping[int, Step]] = {15: "15m", 30: "30m", 60: "60m"}
HOUR_MINUTES: Final = Decimal(60)


class DemandCharge(NamedTuple):
    """A demand charge, and what it is for."""

    interval_kilowatts: Decimal
    billed_kilowatts: Decimal
    charge_money: Decimal


class MeasuredDemand(NamedTuple):
    """A measured peak; with intervals not measured it is a lower bound."""

    peak_kilowatts: Decimal | None
    peak_begins_seconds: int | None
    unmeasured_count: int
    reason: str | None


class BilledDemand(NamedTuple):
    """What an open month will be billed as far as is known, and which of the three it is."""

    billed_kilowatts: Decimal | None
    binding: str | None
    provisional: bool
    reason: str | None


def demand_charge(
    *,
    interval_kwh: Decimal,
    interval_minutes: Decimal,
    price_money_per_kilowatts: Decimal,
    prior_peak_kilowatts: Decimal = ZERO,
    ratchet_ratio: Decimal = ZERO,
) -> DemandCharge:
    """Return kWh / h of the peak interval, what is billed for it, and the charge of the month.

    Raise ``ValueError`` for an interval of no length and for amounts below zero.
    """
    not_negative(interval_kwh=interval_kwh, price_money_per_kilowatts=price_money_per_kilowatts)
    positive(interval_minutes=interval_minutes)
    kilowatts = CONTEXT.divide(multiply(interval_kwh, HOUR_MINUTES), interval_minutes)
    billed = ratcheted_demand(
        peak_kilowatts=kilowatts,
        prior_peak_kilowatts=prior_peak_kilowatts,
        ratchet_ratio=ratchet_ratio,
    )
    return DemandCharge(kilowatts, billed, demand.demand_charge(billed, price_money_per_kilowatts))


def ratcheted_demand(
    *, peak_kilowatts: Decimal, prior_peak_kilowatts: Decimal, ratchet_ratio: Decimal
) -> Decimal:
    """Return max(peak, ratchet * prior peak); raise ``ValueError`` for a ratchet above 1."""
    not_negative(peak_kilowatts=peak_kilowatts, prior_peak_kilowatts=prior_peak_kilowatts)
    share(ratchet_ratio=ratchet_ratio)
    return demand.ratcheted_demand(peak_kilowatts, prior_peak_kilowatts, ratchet_ratio)


def measured_demand(
    *,
    begins_seconds: int,
    quarters_kwh: Sequence[Decimal | None],
    interval_minutes: int,
    time_zone: str,
) -> MeasuredDemand:
    """Return the peak of UTC quarter hours in intervals that begin on the utility's local clock.

    Raise ``ValueError`` for an interval other than 15, 30 or 60 minutes.
    """
    if interval_minutes not in INTERVALS:
        raise ValueError(f"interval_minutes is {interval_minutes}: 15, 30 or 60")
    step, zone = INTERVALS[interval_minutes], zone_named(time_zone)
    kwh = {q.start_seconds: q.import_kwh for q in quarters_of(begins_seconds, quarters_kwh)}
    peak = demand.measured_peak(kwh, LocalWindow(), step, zone)
    reason = None
    if peak.unmeasured:
        reason = f"intervals not measured, {peak.unmeasured}: a lower bound"
    if peak.kw is None:
        reason = "no interval is measured"
    return MeasuredDemand(peak.kw, peak.begins, peak.unmeasured, reason)


def live_demand(
    *,
    so_far_kilowatts: Decimal | None = None,
    ratchet_kilowatts: Decimal | None = None,
    forecast_kilowatts: Decimal | None = None,
) -> BilledDemand:
    """Return max(so far, ratchet, forecast), which is provisional until the month is over."""
    not_negative(
        so_far_kilowatts=so_far_kilowatts,
        ratchet_kilowatts=ratchet_kilowatts,
        forecast_kilowatts=forecast_kilowatts,
    )
    found = demand.live_demand(so_far_kilowatts, ratchet_kilowatts, forecast_kilowatts)
    if found is None:
        return BilledDemand(None, None, provisional=True, reason="no demand is known")
    return BilledDemand(found.kw, found.binding, found.provisional, None)


def demand_charge_of_quarter(*, charge_money: Decimal, quarters_count: int) -> Decimal:
    """Return what each quarter hour of the billing month bears of a charge spread evenly."""
    not_negative(charge_money=charge_money)
    positive(quarters_count=quarters_count)
    return even_share(charge_money, 0, quarters_count)


def peak_share(*, part_kwh: Decimal, peak_kwh: Decimal) -> Reasoned:
    """Return which part of the peak interval's energy a group drew.

    Raise ``ValueError`` where the part is more than the whole.
    """
    not_negative(part_kwh=part_kwh, peak_kwh=peak_kwh)
    if part_kwh > peak_kwh:
        raise ValueError(f"part_kwh is {part_kwh}: at most {peak_kwh}, the whole")
    value = demand.share_of_peak(part_kwh, peak_kwh)
    return Reasoned(value, "no energy in the peak interval" if value is None else None)


def coincident_peak_charge(
    *, hours_kwh: Sequence[Decimal | None], price_money_per_kilowatts: Decimal
) -> Reasoned:
    """Return the mean power over the hours when the grid peaked times the price per kW."""
    not_negative(price_money_per_kilowatts=price_money_per_kilowatts)
    known = [kwh for kwh in hours_kwh if kwh is not None]
    each_not_negative("hours_kwh", known)
    if not known or len(known) < len(hours_kwh):
        return Reasoned(None, "an hour of the peak is not measured")
    mean = CONTEXT.divide(add(known), Decimal(len(known)))
    return Reasoned(multiply(mean, price_money_per_kilowatts))


def contracted_charge(
    *, contracted_kilovolt_amperes: Decimal, price_money_per_kilovolt_amperes: Decimal
) -> Decimal:
    """Return what a month of contracted power costs, drawn or not."""
    kva, price = contracted_kilovolt_amperes, price_money_per_kilovolt_amperes
    not_negative(contracted_kilovolt_amperes=kva, price_money_per_kilovolt_amperes=price)
    return demand.contracted_charge(kva, price)


def zone_named(name: str) -> ZoneInfo:
    """Return a time zone; raise ``ValueError`` for an unknown one."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"time_zone is {name}: a name of the IANA time zone database") from None


def quarters_of(begins_seconds: int, kwh: Sequence[Decimal | None]) -> list[QuarterEnergy]:
    """Return consecutive quarter hours; raise ``ValueError`` for what is none."""
    return [
        QuarterEnergy(start_seconds=begins_seconds + position * QUARTER_SECONDS, import_kwh=each)
        for position, each in enumerate(kwh)
    ]


def each_not_negative(name: str, amounts: Sequence[Decimal]) -> None:
    """Raise ``ValueError`` that names each amount of a list below zero or not finite."""
    not_negative(**{f"{name}.{position}": amount for position, amount in enumerate(amounts)})


KPIS: Final = (
    Kpi(
        "demand_charge",
        "by name",
        "max(interval_kwh / h, ratchet_ratio * prior_peak_kilowatts) * price per kW",
        "1",
        "kWh / h of the utility's interval, what is billed, and the charge of the month",
        "USDA FS tech tip on demand charges; vector DEMAND",
    ),
    Kpi(
        "ratcheted_demand",
        "kilowatts",
        "max(peak_kilowatts, ratchet_ratio * prior_peak_kilowatts)",
        "1",
        "the measured peak, or a share of an earlier one where that is more",
        "USDA FS tech tip on demand charges",
    ),
    Kpi(
        "measured_demand",
        "by name",
        "kWh of the interval with the most",
        "hours of the interval",
        "the highest mean power in intervals of the utility's local clock",
        "reference 4.5; definitions of this project, energy bill",
    ),
    Kpi(
        "live_demand",
        "by name",
        "max(so_far_kilowatts, ratchet_kilowatts, forecast_kilowatts)",
        "1",
        "what an open month will be billed as far as is known",
        "definitions of this project, demand charge",
    ),
    Kpi(
        "demand_charge_of_quarter",
        "currency",
        "charge_money",
        "quarters_count",
        "the charge spread evenly over the quarter hours of its billing month",
        "definitions of this project, demand charge",
    ),
    Kpi(
        "peak_share",
        "ratio of the peak interval",
        "part_kwh",
        "peak_kwh",
        "a group's share of the energy in the peak interval",
        "definitions of this project, demand charge",
    ),
    Kpi(
        "coincident_peak_charge",
        "currency",
        "sum of hours_kwh",
        "hours",
        "mean power in the hours when the grid peaked * price per kW",
        "definitions of this project, energy bill",
    ),
    Kpi(
        "contracted_charge",
        "currency",
        "contracted_kilovolt_amperes * price per kVA",
        "1",
        "contracted power * price, drawn or not",
        "definitions of this project, energy bill",
    ),
)
