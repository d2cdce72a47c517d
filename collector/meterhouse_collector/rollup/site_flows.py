"""Water, heat, sources and carbon of a site in one interval: the fields beside those of PUE. Pure.

An amount that is divided by another counts in the intervals in which both are known, by the rule of
PUE; where the site has no such meter there is nothing to add.
"""

from collections.abc import Iterator
from typing import Final, get_args

from meterhouse_collector.rollup import emitted
from meterhouse_collector.rollup.meter_sides import energy_side, volume_side
from meterhouse_collector.rollup.site_energy import Expected, IntervalRows, SiteEnergy
from meterhouse_collector.rollup.supply import (
    Kind,
    Supplied,
    joules_of,
    renewable_joules,
    supplied,
)
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.meters import MeterTree

Amount = tuple[str, float]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)


def site_flows(
    interval: IntervalRows, index: SiteIndex, energy: SiteEnergy, expected: Expected
) -> Iterator[Amount]:
    """Yield the fields of the site group and their terms."""
    at, tree = interval.start_seconds, index.metering(interval.start_seconds)
    yield from _losses(interval, tree, expected)
    yield from _reused(interval, tree, energy, expected)
    yield from _scope_1(interval, index)
    supplies = supplied(interval, index, energy, expected)
    if supplies is not None:
        yield from _sources(interval, index, supplies, energy)
        yield from _carbon(interval, index, supplies, energy)
    litres = None if supplies is None else emitted.source_litres(supplies, index, at)
    yield from _water(interval, tree, energy, litres)


def _it_joules(energy: SiteEnergy) -> float | None:
    return energy.it.filled if energy.it.joint else None


def _losses(interval: IntervalRows, tree: MeterTree, expected: Expected) -> Iterator[Amount]:
    """Yield what went into and came out of the UPS, where both are known."""
    inputs, outputs = tree.role("ups_in"), tree.role("ups_out")
    if not inputs or not outputs:
        return
    meters, length, watts = interval.meters, interval.length_seconds, expected.meter_watts
    into, out = (energy_side(terms, meters, length, watts) for terms in (inputs, outputs))
    if into.joint and out.joint and into.filled is not None and out.filled is not None:
        yield "ups_in_joint_joules", into.filled
        yield "ups_out_joint_joules", out.filled
        yield "ups_joint_seconds", float(length)


def _reused(
    interval: IntervalRows, tree: MeterTree, energy: SiteEnergy, expected: Expected
) -> Iterator[Amount]:
    terms = tree.role("heat_reuse")
    if not terms:
        return
    found = energy_side(terms, interval.meters, interval.length_seconds, expected.meter_watts)
    if found.measured is not None:
        yield "reused_heat_joules", found.measured
    facility = energy.facility
    if found.joint and facility.joint and found.filled is not None and facility.filled is not None:
        yield "reused_heat_joint_joules", found.filled
        yield "reused_heat_facility_joint_joules", facility.filled
        yield "reused_heat_joint_seconds", float(interval.length_seconds)


def _sources(
    interval: IntervalRows,
    index: SiteIndex,
    supplies: tuple[Supplied, ...],
    energy: SiteEnergy,
) -> Iterator[Amount]:
    at, length = interval.start_seconds, float(interval.length_seconds)
    for kind in KINDS:
        if (joules := joules_of(supplies, kind)) != 0:
            yield f"{kind}_joint_joules", joules
    yield "renewable_joint_joules", renewable_joules(supplies)
    yield "renewable_joint_joules", emitted.certified_joules(index.model, at, length)
    yield "sources_joint_joules", energy.facility.filled or 0.0
    yield "sources_joint_seconds", length


def _carbon(
    interval: IntervalRows,
    index: SiteIndex,
    supplies: tuple[Supplied, ...],
    energy: SiteEnergy,
) -> Iterator[Amount]:
    """Yield scope 2 by both methods; CUE takes that by location, and fuel burnt, over IT energy."""
    at, length = interval.start_seconds, float(interval.length_seconds)
    if not index.model.emission_factor:
        return
    location = emitted.scope_2_kg(supplies, index, at, "location")
    market = emitted.scope_2_kg(supplies, index, at, "market")
    for method, kg in (("location", location), ("market", market)):
        if kg is None:
            yield f"{method}_unfactored_seconds", length
        else:
            yield f"{method}_carbon_kg", kg
    it_joules = _it_joules(energy)
    if location is not None and it_joules is not None:
        yield "energy_carbon_joint_kg", location + emitted.fuel_kg(index.model, at, length)
        yield "carbon_it_joint_joules", it_joules


def _scope_1(interval: IntervalRows, index: SiteIndex) -> Iterator[Amount]:
    at, length = interval.start_seconds, float(interval.length_seconds)
    if index.model.fuel_use:
        yield "fuel_carbon_kg", emitted.fuel_kg(index.model, at, length)
    if index.model.refrigerant_loss:
        yield "refrigerant_carbon_kg", emitted.refrigerant_kg(index.model, at, length)


def _water(
    interval: IntervalRows, tree: MeterTree, energy: SiteEnergy, litres: float | None
) -> Iterator[Amount]:
    """Yield what the site took in, and with it ``litres`` of making its energy where known."""
    terms = tree.role("water")
    if not terms:
        return
    found = volume_side(terms, interval.meters, interval.length_seconds)
    if found.measured is not None:
        yield "water_litres", found.measured
    it_joules = _it_joules(energy)
    if not found.joint or found.filled is None or it_joules is None:
        return
    yield "water_joint_litres", found.filled
    yield "water_it_joint_joules", it_joules
    if litres is not None:
        yield "water_source_joint_litres", found.filled + litres
        yield "water_source_it_joint_joules", it_joules
