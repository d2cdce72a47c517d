"""What breakers, parallel units, 2N pairs and cooling carry after a failure."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.numbers import not_negative, positive, share
from meterhouse_collector.kpi.parts import not_above, ratio

BREAKER_CONTINUOUS_RATIO: Final = 0.8
WATER_JOULES_PER_LITRE_KELVIN: Final = 4186.0


def breaker_limit_watts(
    *, rated_watts: float, continuous_ratio: float = BREAKER_CONTINUOUS_RATIO
) -> float:
    """Return what a breaker may carry for hours: rating * 0.8 (US NEC, continuous load).

    Raises ``ValueError`` for a negative rating and for a ratio outside 0 to 1.
    """
    not_negative(rated_watts=rated_watts)
    share(continuous_ratio=continuous_ratio)
    return rated_watts * continuous_ratio


def real_power_watts(*, apparent_volt_amperes: float, power_factor_ratio: float) -> float:
    """Return volt-amperes * power factor (reference 1.2, kW from kVA; vector POWER-FACTOR).

    Both limits bind, so compare kVA too. Raises ``ValueError`` for a factor outside 0 to 1.
    """
    not_negative(apparent_volt_amperes=apparent_volt_amperes)
    share(power_factor_ratio=power_factor_ratio)
    return apparent_volt_amperes * power_factor_ratio


class UnitLoad(NamedTuple):
    """The load of each of several equal units: now, and after some have failed."""

    normal_ratio: float
    after_failure_ratio: float | None
    reason: str | None = None


def unit_load(
    *,
    load_volt_amperes: float,
    unit_volt_amperes: float,
    units_count: int,
    failed_count: int = 1,
) -> UnitLoad:
    """Return load / rating of parallel units, before and after a failure (vector UPS-2N).

    The second is None where no unit is left. Raises ``ValueError`` for no units, or for more that
    fail than there are.
    """
    not_negative(load_volt_amperes=load_volt_amperes, failed_count=failed_count)
    positive(unit_volt_amperes=unit_volt_amperes, units_count=units_count)
    not_above(units_count, "units_count", failed_count=failed_count)
    left = units_count - failed_count
    return UnitLoad(
        normal_ratio=load_volt_amperes / (units_count * unit_volt_amperes),
        after_failure_ratio=ratio(load_volt_amperes, left * unit_volt_amperes),
        reason=None if left > 0 else "no unit is left after the failure",
    )


class PhaseLoad(NamedTuple):
    """One phase of a 2N pair: what side A and side B carry."""

    a_watts: float
    b_watts: float
    a_volt_amperes: float
    b_volt_amperes: float


class PairHeadroom(NamedTuple):
    """What the fullest phase of one side still takes after the other side is lost."""

    watts: float | None
    volt_amperes: float | None
    reason: str | None = None


def two_n_headroom(
    *,
    phases: Sequence[PhaseLoad],
    side_phase_watts: float,
    side_phase_volt_amperes: float,
    margin_ratio: float,
) -> PairHeadroom:
    """Return one side less its margin, less A + B, of the worst phase (definitions: Headroom).

    In watts and in volt-amperes, since both bind; volt-amperes add as numbers, which is exact
    where both sides have one power factor and too much otherwise. Ratings are of one phase.
    Raises ``ValueError`` for a margin outside 0 to 1.
    """
    share(margin_ratio=margin_ratio)
    not_negative(side_phase_watts=side_phase_watts, side_phase_volt_amperes=side_phase_volt_amperes)
    for phase in phases:
        not_negative(**phase._asdict())
    if not phases:
        return PairHeadroom(None, None, "no phase was measured")
    return PairHeadroom(
        watts=side_phase_watts * (1 - margin_ratio) - max(p.a_watts + p.b_watts for p in phases),
        volt_amperes=side_phase_volt_amperes * (1 - margin_ratio)
        - max(p.a_volt_amperes + p.b_volt_amperes for p in phases),
    )


def water_heat_watts(*, flow_litres_per_second: float, rise_kelvin: float) -> float:
    """Return the heat that water takes away: mass flow * cp * temperature rise (vector COOL-Q).

    With 1 kg to the litre and cp of water 4.186 kJ/(kg K). Raises ``ValueError`` for an amount
    that is negative or no number.
    """
    not_negative(flow_litres_per_second=flow_litres_per_second, rise_kelvin=rise_kelvin)
    return flow_litres_per_second * rise_kelvin * WATER_JOULES_PER_LITRE_KELVIN


def cooling_headroom_watts(
    *,
    units_count: int,
    redundant_count: int,
    unit_design_day_watts: float,
    flow_litres_per_second: float,
    rise_limit_kelvin: float,
    heat_watts: float,
) -> float:
    """Return min(usable N units, water side) - heat load, on the design day.

    ``unit_design_day_watts`` is what one chiller or cooling unit does at design-day outdoor
    conditions, not its nominal rating; the heat load is IT and the losses inside the hall
    (reference 1.2, cooling headroom). Below zero where it does not suffice. Raises ``ValueError``
    for an amount that is negative or no number.
    """
    not_negative(
        units_count=units_count,
        redundant_count=redundant_count,
        unit_design_day_watts=unit_design_day_watts,
        heat_watts=heat_watts,
    )
    usable = max(0, units_count - redundant_count) * unit_design_day_watts
    water = water_heat_watts(
        flow_litres_per_second=flow_litres_per_second, rise_kelvin=rise_limit_kelvin
    )
    return min(usable, water) - heat_watts


KPIS: Final = (
    Kpi(
        "breaker_limit_watts",
        "watts",
        "rated_watts * continuous_ratio",
        "1",
        "rating * 0.8",
        "US NEC, continuous load",
    ),
    Kpi(
        "real_power_watts",
        "watts",
        "apparent_volt_amperes * power_factor_ratio",
        "1",
        "apparent power * power factor",
        "datacentercriticalfoundation.blogspot.com, July 2008",
    ),
    Kpi(
        "unit_load",
        "by name",
        "load_volt_amperes",
        "unit_volt_amperes * units left",
        "load / rating of the units left",
        "northernpower.co.uk, data centres",
    ),
    Kpi(
        "two_n_headroom",
        "by name",
        "side * (1 - margin_ratio) - (A + B) of the fullest phase",
        "1",
        "one side less margin, less both loads, in watts and volt-amperes",
        "definitions of this project, headroom",
    ),
    Kpi(
        "water_heat_watts",
        "watts",
        "flow_litres_per_second * rise_kelvin * 4186",
        "1",
        "mass flow * cp * temperature rise",
        "cp of water 4.186 kJ/(kg K), 1 kg to the litre",
    ),
    Kpi(
        "cooling_headroom_watts",
        "watts",
        "min(units at N, water side) - heat_watts",
        "1",
        "min(usable units on the design day, water side) - heat load",
        "reference 1.2, cooling headroom",
    ),
)
