"""The bill of a scenario by quarter hour, from its prices and what its meters counted."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from tests.month.physics import Quarter
from tests.month.scenario import (
    DEMAND_HOURS,
    DEMAND_PER_KW,
    FIXED_PER_MONTH,
    FLAT_AFTER,
    FLAT_BEFORE,
    LAST_TIER,
    NETWORK_LEVY_PER_CENT,
    OFF_HOURS_PER_KWH,
    PEAK_HOURS,
    PEAK_HOURS_PER_KWH,
    QUARTER,
    SERIES_LEVY_PER_CENT,
    TIERS,
    WATER_PER_CUBIC_METRE,
    ZONE,
    Scenario,
    instant,
    spot_price,
)

_JOULES_PER_KWH = 3_600_000
_SATURDAY = 5


class Due(NamedTuple):
    """What one quarter hour costs, by kind."""

    energy: Decimal
    demand: Decimal
    water: Decimal

    @property
    def total(self) -> Decimal:
        """All kinds."""
        return self.energy + self.demand + self.water


def month_of(scenario: Scenario) -> tuple[int, int]:
    """Return the local month that a scenario begins."""
    first = scenario.first.replace(day=1)
    return instant(first), instant((first + timedelta(days=32)).replace(day=1))


def dues(scenario: Scenario, quarters: Sequence[Quarter]) -> list[Due]:
    """Return what each quarter hour costs, from the first of the month on.

    The peak is that of the quarters that there are: an open month owes what it has come to.
    """
    begins, ends = month_of(scenario)
    assert quarters[0].start == begins
    count = (ends - begins) // QUARTER
    changed = instant(scenario.changed)
    peak = max(
        (
            quarter.utility / _JOULES_PER_KWH * 4
            for quarter in quarters
            if _in_demand(quarter.start)
        ),
        default=None,
    )
    demand = Decimal(0) if peak is None else peak * DEMAND_PER_KW / count
    used = Decimal(0)
    found = []
    for quarter in quarters:
        kwh = quarter.utility / _JOULES_PER_KWH
        spot = kwh * spot_price(quarter.start)
        hours = kwh * (PEAK_HOURS_PER_KWH if _at_peak(quarter.start) else OFF_HOURS_PER_KWH)
        tier = _tier(used + kwh) - _tier(used)
        used += kwh
        energy = (
            spot
            + spot * SERIES_LEVY_PER_CENT / 100
            + FIXED_PER_MONTH / count
            + (hours + tier) * (1 + NETWORK_LEVY_PER_CENT / 100)
            + kwh * (FLAT_BEFORE if quarter.start < changed else FLAT_AFTER)
        )
        found.append(Due(energy, demand, quarter.water / 1000 * WATER_PER_CUBIC_METRE))
    return found


def _tier(kwh: Decimal) -> Decimal:
    """Return what the first kWh of a month cost in all."""
    cost, before = Decimal(0), Decimal(0)
    for up_to, price in TIERS:
        cost += max(Decimal(0), min(kwh, up_to) - before) * price
        before = up_to
    return cost + max(Decimal(0), kwh - before) * LAST_TIER


def _at_peak(at: int) -> bool:
    local = datetime.fromtimestamp(at, ZONE)
    return local.weekday() < _SATURDAY and PEAK_HOURS[0] <= local.hour < PEAK_HOURS[1]


def _in_demand(at: int) -> bool:
    local = datetime.fromtimestamp(at, ZONE)
    return local.weekday() < _SATURDAY and DEMAND_HOURS[0] <= local.hour < DEMAND_HOURS[1]
