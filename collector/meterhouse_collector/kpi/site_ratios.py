"""Water, carbon, renewable energy, heat and losses of the sums of a window.

Where IT energy is the denominator, coverage is weighted by it; else it is the time that counts.
"""

from collections.abc import Mapping
from typing import Final, Literal

from meterhouse_collector.kpi import carbon, renewable, water
from meterhouse_collector.kpi.losses import ups_efficiency as efficiency
from meterhouse_collector.kpi.pue import it_coverage
from meterhouse_collector.kpi.ratios import Ratio, kpi_of
from meterhouse_collector.kpi.value import KpiValue, share

_NOT_JOINT: Final = "no interval has all of its meters"


def wue(
    sums: Mapping[str, float],
    *,
    window_seconds: float,
    floor: float,
    category: Literal[1, 2, 3] | None = None,
) -> KpiValue:
    """Return the water taken in per kWh of IT energy, with its category where one is stated."""
    stated = "" if category is None else f", category {category}"
    litres, joules = sums["water_joint_litres"], sums["water_it_joint_joules"]
    return kpi_of(
        Ratio(
            name="wue",
            unit="litres per kWh",
            label=f"water of the site per IT energy{stated}",
            numerator=litres,
            denominator=joules,
            coverage=it_coverage(sums, "water_it_joint_joules", window_seconds),
            formula=lambda: water.wue(water_litres=litres, it_joules=joules),
            nothing=_NOT_JOINT,
        ),
        floor,
    )


def wue_source(sums: Mapping[str, float], *, window_seconds: float, floor: float) -> KpiValue:
    """Return the water taken in, and that of making the energy, per kWh of IT energy.

    Of each interval WUE + litres per kWh of its energy * PUE, summed before it is divided.
    """
    litres, joules = sums["water_source_joint_litres"], sums["water_source_it_joint_joules"]
    return kpi_of(
        Ratio(
            name="wue_source",
            unit="litres per kWh",
            label="water of the site and of its energy per IT energy, estimated",
            numerator=litres,
            denominator=joules,
            coverage=it_coverage(sums, "water_source_it_joint_joules", window_seconds),
            formula=lambda: water.wue(water_litres=litres, it_joules=joules),
            nothing=f"{_NOT_JOINT}, and a factor for all that was bought",
        ),
        floor,
    )


def cue(sums: Mapping[str, float], *, window_seconds: float, floor: float) -> KpiValue:
    """Return the carbon of all energy by location, fuel included, per kWh of IT energy."""
    kg, joules = sums["energy_carbon_joint_kg"], sums["carbon_it_joint_joules"]
    unfactored = sums["location_unfactored_seconds"]
    nothing = _NOT_JOINT
    if unfactored > 0:
        nothing = f"{unfactored:g} seconds have no emission factor"
    return kpi_of(
        Ratio(
            name="cue",
            unit="kg per kWh",
            label="carbon by location per IT energy",
            numerator=kg,
            denominator=joules,
            coverage=it_coverage(sums, "carbon_it_joint_joules", window_seconds),
            formula=lambda: carbon.cue(carbon_kg=kg, it_joules=joules),
            nothing=nothing,
        ),
        floor,
    )


def ref(
    sums: Mapping[str, float], *, window_seconds: float, floor: float, provisional: bool
) -> KpiValue:
    """Return the renewable part of facility energy, provisional until certificates are retired."""
    part, whole = sums["renewable_joint_joules"], sums["sources_joint_joules"]
    return kpi_of(
        Ratio(
            name="ref",
            unit="ratio",
            label="renewable part of facility energy",
            numerator=part,
            denominator=whole,
            coverage=_time_coverage(sums, "sources_joint_seconds", window_seconds),
            formula=lambda: renewable.ref(
                renewable_joules=part,
                facility_joules=whole,
                certificates_retired=not provisional,
            ),
            nothing=_NOT_JOINT,
        ),
        floor,
    )


def erf(sums: Mapping[str, float], *, window_seconds: float, floor: float) -> KpiValue:
    """Return the part of the facility energy that is used again outside."""
    part, whole = sums["reused_heat_joint_joules"], sums["reused_heat_facility_joint_joules"]
    return kpi_of(
        Ratio(
            name="erf",
            unit="ratio",
            label="reused part of facility energy",
            numerator=part,
            denominator=whole,
            coverage=_time_coverage(sums, "reused_heat_joint_seconds", window_seconds),
            formula=lambda: renewable.erf(reused_joules=part, facility_joules=whole),
            nothing=_NOT_JOINT,
        ),
        floor,
    )


def ups_efficiency(sums: Mapping[str, float], *, window_seconds: float, floor: float) -> KpiValue:
    """Return what came out of the UPS / what went in."""
    into, out = sums["ups_in_joint_joules"], sums["ups_out_joint_joules"]
    return kpi_of(
        Ratio(
            name="ups_efficiency",
            unit="ratio",
            label="energy out of the UPS per energy in",
            numerator=out,
            denominator=into,
            coverage=_time_coverage(sums, "ups_joint_seconds", window_seconds),
            formula=lambda: efficiency(input_joules=into, output_joules=out),
            nothing=_NOT_JOINT,
        ),
        floor,
    )


def _time_coverage(sums: Mapping[str, float], field: str, window_seconds: float) -> float:
    return share(sums[field], max(window_seconds, sums["interval_seconds"]))
