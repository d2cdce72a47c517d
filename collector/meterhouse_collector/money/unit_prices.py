"""The price of one kWh at an instant, by the local clock: what bill and live price share."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from meterhouse_collector.money.bill_lines import Amount, NoAmount, total_of
from meterhouse_collector.money.billing_month import QUARTER_SECONDS
from meterhouse_collector.money.decimals import CONTEXT, ZERO, multiply
from meterhouse_collector.site.components import (
    STEP_SECONDS,
    Component,
    Energy,
    Levy,
    Series,
    Tier,
    TierStep,
    TimeOfUse,
)

PER_CENT: Final = Decimal(100)

PriceAt = Callable[[int], Amount]


def by_name(components: Sequence[Component]) -> list[tuple[Component, ...]]:
    """Return the components in their order, windows of one time-of-use schedule together."""
    groups: dict[str, list[Component]] = {}
    for component in components:
        groups.setdefault(component.name, []).append(component)
    return [tuple(group) for group in groups.values()]


def price_of(group: Sequence[Component], zone: ZoneInfo) -> PriceAt | None:
    """Return the price per kWh by quarter hour of a component that has one, tiers apart."""
    first = group[0]
    if isinstance(first, Energy):
        price = first.per_kwh
        return lambda _: price
    if isinstance(first, Series):
        return _series_price(first)
    windows = [component for component in group if isinstance(component, TimeOfUse)]
    return _time_of_use_price(windows, zone) if windows else None


def _time_of_use_price(windows: Sequence[TimeOfUse], zone: ZoneInfo) -> PriceAt:
    def price(start_seconds: int) -> Amount:
        local = datetime.fromtimestamp(start_seconds, zone).replace(tzinfo=None)
        for window in windows:
            if window.contains(local):
                return window.per_kwh
        return NoAmount(f"{windows[0].name}: no price at {local:%a %Y-%m-%d %H:%M} local time")

    return price


def _series_price(series: Series) -> PriceAt:
    prices: dict[int, Decimal] = {}
    for point in series.point:
        begins = int(point.begins.timestamp())
        for start in range(begins, begins + STEP_SECONDS[series.step], QUARTER_SECONDS):
            prices[start] = point.per_kwh

    def price(start_seconds: int) -> Amount:
        start = start_seconds - start_seconds % QUARTER_SECONDS
        found = prices.get(start)
        return NoAmount(f"{series.name}: no price at {start}") if found is None else found

    return price


def tier_cost(steps: Sequence[TierStep], before_kwh: Decimal, kwh: Decimal) -> Decimal:
    """Return what ``kwh`` cost after ``before_kwh`` of the month: each part at its step's price."""
    cost, begins = ZERO, ZERO
    after = CONTEXT.add(before_kwh, kwh)
    for step in steps:
        ends = after if step.up_to_kwh is None else min(step.up_to_kwh, after)
        part = CONTEXT.subtract(ends, max(begins, before_kwh))
        if part > 0:
            cost = CONTEXT.add(cost, multiply(part, step.per_kwh))
        begins = ends
    return cost


def tier_price(steps: Sequence[TierStep], month_kwh: Decimal) -> Decimal:
    """Return the price of the next kWh after so many of the month."""
    for step in steps:
        if step.up_to_kwh is None or month_kwh < step.up_to_kwh:
            return step.per_kwh
    raise ValueError("a last step without up_to_kwh")


def levied(levy: Levy, before: Mapping[tuple[str, str], Amount]) -> Amount:
    """Return per cent of the amounts before it, by (name, kind), that a levy names."""
    base = total_of([a for key, a in before.items() if not {*key}.isdisjoint(levy.of)])
    if isinstance(base, NoAmount):
        return base
    return CONTEXT.divide(multiply(base, levy.per_cent), PER_CENT)


def live_price_per_kwh(
    components: Sequence[Component],
    start_seconds: int,
    zone: ZoneInfo,
    month_kwh: Decimal | None = None,
) -> Amount:
    """Return the price of a kWh in force at an instant: the components per kWh and their levies.

    A tier needs the import of the month so far. What is due per kW or month is not in it: demand
    is shown beside, provisionally.
    """
    amounts: dict[tuple[str, str], Amount] = {}
    for group in by_name(components):
        first = group[0]
        price = price_of(group, zone)
        if price is not None:
            amounts[first.name, first.kind] = price(start_seconds)
        elif isinstance(first, Tier):
            amounts[first.name, first.kind] = (
                NoAmount(f"{first.name}: the month's import so far is not known")
                if month_kwh is None
                else tier_price(first.step, month_kwh)
            )
        elif isinstance(first, Levy):
            amounts[first.name, first.kind] = levied(first, amounts)
    return total_of(list(amounts.values()))
