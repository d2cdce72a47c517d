"""The cost of owning hardware: by seconds for what accrues, by annuity for comparing offers.

Straight line is what a statement accrues; an annuity carries interest and never enters return on
investment, payback or total cost of ownership (``definitions.md``).
"""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.value import Reasoned
from meterhouse_collector.money.exact import (
    QUANTUM,
    Number,
    amount,
    positive,
    precise,
    share,
    signed,
)

HOURS_PER_YEAR: Final = Decimal(8760)
_MILLION: Final = Decimal(1_000_000)


class CapitalAccrual(NamedTuple):
    """What hardware costs in a window while it waits, and from when it is in service."""

    delivered_money: Decimal
    in_service_money: Decimal


class CapitalPosition(NamedTuple):
    """Capital committed and spent; per device and per megawatt is of what is committed."""

    committed_money: Decimal
    spent_money: Decimal
    outstanding_money: Decimal
    committed_money_per_devices: Decimal | None
    committed_money_per_megawatts: Decimal | None
    spent_money_per_devices: Decimal | None
    spent_money_per_megawatts: Decimal | None
    reason: str | None


def straight_line_per_second(price: float, salvage: float, life_seconds: float) -> float:
    """Return what one second of life costs: (price - salvage) / life (``definitions.md``).

    In floats for the live path, where an interval is a few seconds; statements use decimals.
    """
    return (price - salvage) / life_seconds


@precise
def straight_line_money(
    *,
    price_money: Number,
    salvage_money: Number,
    life_seconds: Number,
    in_service_seconds: Number,
    begins_seconds: Number,
    ends_seconds: Number,
) -> Decimal:
    """Return what accrues in a window, zero before service and after the end of life.

    Windows that touch add up exactly, and all of life to price less salvage. Instants are in
    seconds of one clock. ``definitions.md``, Capital. Raise ``ValueError`` where the salvage is
    above the price or the window ends before it begins.
    """
    cost = _depreciable(price_money, salvage_money)
    life = positive("life_seconds", life_seconds)
    service = signed("in_service_seconds", in_service_seconds)
    begins, ends = _window(begins_seconds, ends_seconds)
    return _accrued(cost, life, ends - service) - _accrued(cost, life, begins - service)


@precise
def capital_accrual(
    *,
    price_money: Number,
    salvage_money: Number,
    life_seconds: Number,
    delivered_seconds: Number,
    in_service_seconds: Number | None,
    begins_seconds: Number,
    ends_seconds: Number,
) -> CapitalAccrual:
    """Return what accrues in a window, what waits for service apart.

    Hardware ages, and its warranty runs, from delivery: life begins there, at the same price for
    each second, so waiting and service together cost price less salvage and no more. Without an
    ``in_service_seconds`` it still waits. ``definitions.md``, Capital. Raise ``ValueError`` where
    service begins before delivery.
    """
    cost = _depreciable(price_money, salvage_money)
    life = positive("life_seconds", life_seconds)
    delivered = signed("delivered_seconds", delivered_seconds)
    begins, ends = _window(begins_seconds, ends_seconds)
    service = ends
    if in_service_seconds is not None:
        service = signed("in_service_seconds", in_service_seconds)
        if service < delivered:
            raise ValueError(
                f"found in_service_seconds {service}, allowed: from {delivered}, delivery"
            )
    parts_at = (begins, min(max(service, begins), ends), ends)
    first, between, last = (_accrued(cost, life, at - delivered) for at in parts_at)
    return CapitalAccrual(between - first, last - between)


@precise
def straight_line_hour_money(
    *, price_money: Number, salvage_money: Number, life_years: Number
) -> Decimal:
    """Return what an installed hour costs: (price - salvage) / (years * 8760).

    Vector CAPEX.
    """
    cost = _depreciable(price_money, salvage_money)
    return cost / (positive("life_years", life_years) * HOURS_PER_YEAR)


@precise
def capital_recovery_factor_ratio(*, interest_ratio: Number, life_years: Number) -> Decimal:
    """Return CRF = r(1 + r)^n / ((1 + r)^n - 1), and 1 / n at no interest.

    ``interest_ratio`` is for a year. Source: the annuity formula of finance. Vector CAPEX.
    """
    rate, years = amount("interest_ratio", interest_ratio), positive("life_years", life_years)
    if rate == 0:
        return 1 / years
    growth = (1 + rate) ** years
    return rate * growth / (growth - 1)


@precise
def annuity_year_money(
    *,
    price_money: Number,
    salvage_money: Number,
    interest_ratio: Number,
    life_years: Number,
) -> Decimal:
    """Return P * CRF - S * (CRF - r): what a year costs with interest (``definitions.md``)."""
    _depreciable(price_money, salvage_money)
    factor = capital_recovery_factor_ratio(interest_ratio=interest_ratio, life_years=life_years)
    price, salvage = signed("price_money", price_money), signed("salvage_money", salvage_money)
    return price * factor - salvage * (factor - signed("interest_ratio", interest_ratio))


@precise
def annuity_hour_money(
    *,
    price_money: Number,
    salvage_money: Number,
    interest_ratio: Number,
    life_years: Number,
) -> Decimal:
    """Return what an installed hour costs with interest: the annuity of a year / 8760.

    Vector CAPEX.
    """
    yearly = annuity_year_money(
        price_money=price_money,
        salvage_money=salvage_money,
        interest_ratio=interest_ratio,
        life_years=life_years,
    )
    return yearly / HOURS_PER_YEAR


@precise
def used_hour_money(*, hour_money: Number, utilization_ratio: Number) -> Reasoned:
    """Return what a used hour costs: installed hour / utilization, divided by it just once.

    Vector CAPEX.
    """
    hour = amount("hour_money", hour_money)
    used = share("utilization_ratio", utilization_ratio)
    return Reasoned(hour / used) if used else Reasoned(None, "no hour was used")


@precise
def capital_position(
    *,
    committed_money: Number,
    spent_money: Number,
    usable_devices: Number,
    powered_watts: Number,
) -> CapitalPosition:
    """Return capital committed and spent, per usable device and per megawatt.

    Spending more than was committed is shown as a negative rest, not hidden.
    """
    committed, spent = (
        amount("committed_money", committed_money),
        amount("spent_money", spent_money),
    )
    devices = amount("usable_devices", usable_devices)
    megawatts = amount("powered_watts", powered_watts) / _MILLION
    reasons = [
        text
        for text, number in (("no usable device", devices), ("no power", megawatts))
        if number == 0
    ]
    return CapitalPosition(
        committed_money=committed,
        spent_money=spent,
        outstanding_money=committed - spent,
        committed_money_per_devices=committed / devices if devices else None,
        committed_money_per_megawatts=committed / megawatts if megawatts else None,
        spent_money_per_devices=spent / devices if devices else None,
        spent_money_per_megawatts=spent / megawatts if megawatts else None,
        reason="; ".join(reasons) or None,
    )


def _depreciable(price_money: Number, salvage_money: Number) -> Decimal:
    price, salvage = amount("price_money", price_money), amount("salvage_money", salvage_money)
    if salvage > price:
        raise ValueError(f"found salvage_money {salvage}, allowed: at most {price}, the price")
    return price - salvage


def _window(begins_seconds: Number, ends_seconds: Number) -> tuple[Decimal, Decimal]:
    begins, ends = signed("begins_seconds", begins_seconds), signed("ends_seconds", ends_seconds)
    if ends < begins:
        raise ValueError(f"found ends_seconds {ends}, allowed: from {begins}, where it begins")
    return begins, ends


def _accrued(cost: Decimal, life: Decimal, age: Decimal) -> Decimal:
    """Return what has accrued at an age: as differences of this, windows add up exactly."""
    part = cost * min(max(age, Decimal(0)), life) / life
    return part if part == cost else part.quantize(QUANTUM, rounding=ROUND_HALF_EVEN)


KPIS: Final = (
    Kpi(
        "straight_line_money",
        "currency",
        "(price_money - salvage_money) * overlap of window and life",
        "life_seconds",
        "price less salvage, spread evenly over life",
        "definitions of this project",
    ),
    Kpi(
        "capital_accrual",
        "by name",
        "(price_money - salvage_money) * overlap of window and state",
        "life_seconds",
        "straight line from delivery, split at the start of service",
        "definitions of this project",
    ),
    Kpi(
        "straight_line_hour_money",
        "currency per installed hour",
        "price_money - salvage_money",
        "life_years * 8760",
        "what an installed hour costs, without interest",
        "straight-line depreciation",
    ),
    Kpi(
        "capital_recovery_factor_ratio",
        "ratio per year",
        "r * (1 + r)^n",
        "(1 + r)^n - 1",
        "share of the price that a year of an annuity costs",
        "annuity formula of finance",
    ),
    Kpi(
        "annuity_year_money",
        "currency per year",
        "price * CRF - salvage * (CRF - r)",
        "1",
        "what a year costs with interest",
        "definitions of this project",
    ),
    Kpi(
        "annuity_hour_money",
        "currency per installed hour",
        "annuity_year_money",
        "8760",
        "what an installed hour costs with interest",
        "definitions of this project",
    ),
    Kpi(
        "used_hour_money",
        "currency per used hour",
        "hour_money",
        "utilization_ratio",
        "installed hour / utilization",
        "reference 1.4",
    ),
    Kpi(
        "capital_position",
        "by name",
        "committed_money, spent_money",
        "usable_devices, powered_watts",
        "capital committed and spent, per usable device and per megawatt",
        "definitions of this project",
    ),
)
