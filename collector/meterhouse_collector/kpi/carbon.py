"""Formulas of carbon: by location and by market apart, scope 1, CUE and SCI."""

from collections.abc import Sequence
from math import fsum
from typing import Final, Literal, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.energy import NO_IT
from meterhouse_collector.kpi.numbers import not_negative, positive, share
from meterhouse_collector.kpi.renewable import PROVISIONAL
from meterhouse_collector.kpi.value import Reasoned

JOULES_PER_KWH: Final = 3_600_000.0
SCOPE_2: Final = "GHG Protocol Scope 2 Guidance"
SCI: Final = "SCI 1.1.0; ISO/IEC 21031:2024"

IntensityKind = Literal["average", "marginal"]


class GridEnergy(NamedTuple):
    """Energy from the grid in one interval, with the carbon of the grid then, or None."""

    energy_joules: float
    intensity_kg_per_joule: float | None
    intensity_kind: IntensityKind = "average"


class Contract(NamedTuple):
    """Energy under a contract, and whether its certificates are retired."""

    energy_joules: float
    intensity_kg_per_joule: float
    certificates_retired: bool = False


class Fuel(NamedTuple):
    """Energy of fuel that was burnt, and what its burning emits."""

    energy_joules: float
    intensity_kg_per_joule: float


class Refrigerant(NamedTuple):
    """Refrigerant that leaked, and its global-warming potential in kg CO2e / kg."""

    leaked_kg: float
    warming_potential_ratio: float


class ScopeOne(NamedTuple):
    """What a site emits itself."""

    fuel_kg: float
    refrigerant_kg: float
    total_kg: float


def location_based_carbon(*, intervals: Sequence[GridEnergy]) -> Reasoned:
    """Return the carbon of energy from the grid: the sum over intervals of energy * intensity.

    Without the intensity of an interval there is no value; a marginal intensity is none of an
    inventory. Raise ValueError for it, and for amounts below zero (GHG Protocol Scope 2).
    """
    terms = []
    missing = 0
    for at, (energy, intensity, kind) in enumerate(intervals):
        not_negative(
            **{
                f"intervals.{at}.energy_joules": energy,
                f"intervals.{at}.intensity_kg_per_joule": intensity,
            }
        )
        if kind != "average":
            raise ValueError(f"intervals.{at}.intensity_kind is {kind}: average for an inventory")
        if intensity is None:
            missing += energy > 0
        else:
            terms.append(energy * intensity)
    if missing:
        return Reasoned(None, f"{missing} of {len(intervals)} intervals have no intensity")
    return Reasoned(fsum(terms)) if intervals else Reasoned(None, "no interval")


def market_based_carbon(
    *,
    facility_joules: float,
    contracts: Sequence[Contract],
    residual_kg_per_joule: float | None = None,
) -> Reasoned:
    """Return the carbon of energy by its contracts, the rest at the intensity of the residual mix.

    It is provisional until all certificates are retired. Raise ValueError for amounts below zero
    (GHG Protocol Scope 2).
    """
    not_negative(facility_joules=facility_joules, residual_kg_per_joule=residual_kg_per_joule)
    for at, (energy, intensity, _) in enumerate(contracts):
        not_negative(
            **{
                f"contracts.{at}.energy_joules": energy,
                f"contracts.{at}.intensity_kg_per_joule": intensity,
            }
        )
    rest = fsum((facility_joules, *(-contract.energy_joules for contract in contracts)))
    if rest < 0:
        return Reasoned(None, "more under contract than was drawn: counted twice")
    if rest > 0 and residual_kg_per_joule is None:
        return Reasoned(None, f"{rest} joules are under no contract, without a residual mix")
    terms = [contract.energy_joules * contract.intensity_kg_per_joule for contract in contracts]
    terms.append(rest * (residual_kg_per_joule or 0.0))
    retired = all(contract.certificates_retired for contract in contracts)
    return Reasoned(fsum(terms), None if retired else PROVISIONAL)


def scope_1_carbon(
    *, fuels: Sequence[Fuel] = (), refrigerants: Sequence[Refrigerant] = ()
) -> ScopeOne:
    """Return the carbon of fuel burnt on site, and of refrigerant that leaked by its potential.

    Raise ValueError for amounts below zero (GHG Protocol Corporate Standard).
    """
    for at, (energy, intensity) in enumerate(fuels):
        not_negative(
            **{
                f"fuels.{at}.energy_joules": energy,
                f"fuels.{at}.intensity_kg_per_joule": intensity,
            }
        )
    for at, (leaked, potential) in enumerate(refrigerants):
        not_negative(
            **{
                f"refrigerants.{at}.leaked_kg": leaked,
                f"refrigerants.{at}.warming_potential_ratio": potential,
            }
        )
    burnt = fsum(energy * intensity for energy, intensity in fuels)
    leaks = fsum(leaked * potential for leaked, potential in refrigerants)
    return ScopeOne(burnt, leaks, fsum((burnt, leaks)))


def cue(*, carbon_kg: float, it_joules: float) -> Reasoned:
    """Return the carbon of all energy, on-site fuel included, in kg / kWh of IT energy.

    Raise ValueError for amounts below zero (ISO/IEC 30134-8).
    """
    not_negative(carbon_kg=carbon_kg, it_joules=it_joules)
    if it_joules == 0:
        return Reasoned(None, NO_IT)
    return Reasoned(carbon_kg / (it_joules / JOULES_PER_KWH))


def cue_of_grid(*, intensity_kg_per_joule: float, pue_ratio: float) -> float:
    """Return CUE where the grid is the only source: its intensity * PUE, in kg / kWh.

    Raise ValueError for an intensity below zero or a PUE below 1 (Green Grid WP32).
    Vector CUE-ELEC.
    """
    not_negative(intensity_kg_per_joule=intensity_kg_per_joule)
    if not pue_ratio >= 1:
        raise ValueError(f"pue_ratio is {pue_ratio}: at least 1")
    return intensity_kg_per_joule * JOULES_PER_KWH * pue_ratio


def sci_embodied(
    *,
    total_embodied_kg: float,
    reserved_seconds: float,
    lifespan_seconds: float,
    reserved_share_ratio: float = 1.0,
) -> float:
    """Return the embodied carbon that falls to a task: TE * (TiR / EL) * (RR / ToR).

    Raise ValueError for amounts below zero, a share above 1, or more time than the lifespan
    (SCI 1.1.0). Vector SCI-EMBODIED.
    """
    not_negative(total_embodied_kg=total_embodied_kg, reserved_seconds=reserved_seconds)
    positive(lifespan_seconds=lifespan_seconds)
    share(reserved_share_ratio=reserved_share_ratio)
    if reserved_seconds > lifespan_seconds:
        raise ValueError("reserved_seconds: more than lifespan_seconds")
    return total_embodied_kg * (reserved_seconds / lifespan_seconds) * reserved_share_ratio


def sci(
    *,
    energy_joules: float,
    intensity_kg_per_joule: float,
    intensity_kind: Literal["average", "short-run marginal", "long-run marginal", "market-based"],
    embodied_kg: float,
    functional_units_count: float,
) -> Reasoned:
    """Return (energy * intensity + embodied carbon) / functional units, in kg for each unit.

    The energy is of all reserved hardware, its idle time and the facility's share included. Raise
    ValueError for a market-based intensity, which SCI forbids, and for amounts below zero
    (SCI 1.1.0; ISO/IEC 21031:2024).
    """
    if intensity_kind == "market-based":
        raise ValueError("intensity_kind is market-based: SCI forbids it")
    not_negative(
        energy_joules=energy_joules,
        intensity_kg_per_joule=intensity_kg_per_joule,
        embodied_kg=embodied_kg,
        functional_units_count=functional_units_count,
    )
    if functional_units_count == 0:
        return Reasoned(None, "no functional unit")
    operational = energy_joules * intensity_kg_per_joule
    return Reasoned((operational + embodied_kg) / functional_units_count)


KPIS: Final = (
    Kpi(
        "location_based_carbon",
        "kg",
        "energy_joules * intensity_kg_per_joule",
        "1",
        "sum over intervals of energy from the grid * average intensity of the grid",
        f"{SCOPE_2}, location-based",
    ),
    Kpi(
        "market_based_carbon",
        "kg",
        "energy of contracts * their intensity + the rest * residual_kg_per_joule",
        "1",
        "sum over contracts of energy * intensity + the rest * residual mix",
        f"{SCOPE_2}, market-based",
    ),
    Kpi(
        "scope_1_carbon",
        "kg",
        "energy_joules * intensity_kg_per_joule + leaked_kg * warming_potential_ratio",
        "1",
        "sum of fuel * its intensity + sum of leaked refrigerant * its warming potential",
        "GHG Protocol Corporate Standard",
    ),
    Kpi(
        "cue_of_grid",
        "kg per kWh",
        "intensity_kg_per_joule * facility energy",
        "it energy",
        "intensity of the grid in kg per kWh * PUE, where the grid is the only source",
        "Green Grid WP32",
    ),
    Kpi(
        "sci_embodied",
        "kg",
        "total_embodied_kg * reserved_seconds * reserved_share_ratio",
        "lifespan_seconds",
        "TE * (TiR / EL) * (RR / ToR)",
        SCI,
    ),
    Kpi(
        "sci",
        "kg per functional unit",
        "energy_joules * intensity_kg_per_joule + embodied_kg",
        "functional_units_count",
        "(energy * intensity + embodied carbon) / functional units",
        SCI,
    ),
)
