"""What is known by hand of the region, and of what devices are made of, over a window. Pure.

Each figure has its source. They stand beside the KPIs, for who asks what the site takes from its
place; of devices and shared equipment it is the embodied carbon that falls to the window.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from math import fsum
from typing import Literal, NamedTuple

from meterhouse_collector.site.carbon import FuelUse
from meterhouse_collector.site.community import GeneratorRun
from meterhouse_collector.site.embodied import embodied_carbon
from meterhouse_collector.site.index import SiteIndex

Kind = Literal[
    "generator_hours",
    "fuel_use",
    "refrigerant_loss",
    "emission_factor",
    "regional_capacity",
    "water_stress",
    "land",
    "local_payment",
    "embodied_carbon",
]


class ByHand(NamedTuple):
    """One figure; ``limit`` is what it is held against, None where there is none."""

    kind: Kind
    name: str
    value: float
    unit: str
    limit: float | None
    source: str


def by_hand(index: SiteIndex, begins_seconds: int, ends_seconds: int) -> list[ByHand]:
    """Return what was in force at the end of a window, what was paid in it, and permits used.

    The hours of a generator are those of the calendar year in which the window ends, until its end.
    """
    return [
        *_generators(index, ends_seconds),
        *_scope_1(index, begins_seconds, ends_seconds),
        *_factors(index, ends_seconds - 1),
        *_in_force(index, ends_seconds - 1),
        *_paid(index, begins_seconds, ends_seconds),
        *(
            ByHand("embodied_carbon", each.name, each.carbon_kg, "kg", None, "site model")
            for each in embodied_carbon(index, begins_seconds, ends_seconds)
        ),
    ]


def _generators(index: SiteIndex, ends_seconds: int) -> Iterator[ByHand]:
    model = index.model
    last = model.day(ends_seconds - 1)
    within = (date(last.year, 1, 1), last + timedelta(days=1))
    for name, generator in index.dated.generator.at(ends_seconds - 1).items():
        runs = [run for run in model.generator_run if run.generator == name and _part(run, within)]
        if runs or generator.permit_hours_per_year is not None:
            hours = fsum(run.hours * _part(run, within) for run in runs)
            sources = ", ".join(dict.fromkeys(run.source for run in runs))
            reasons = ", ".join(sorted({run.reason for run in runs if _part(run, within)}))
            told = f"{name} ({reasons})" if reasons else name
            permit = generator.permit_hours_per_year
            yield ByHand("generator_hours", told, hours, f"hours in {last.year}", permit, sources)


def _scope_1(index: SiteIndex, begins_seconds: int, ends_seconds: int) -> Iterator[ByHand]:
    """Yield what fuel that was burnt and refrigerant that was lost emitted in a window."""
    model = index.model
    for use in model.fuel_use:
        first, last = model.instant(use.begins), model.instant(use.ends)
        lasted = max(0.0, min(last, ends_seconds) - max(first, begins_seconds))
        if lasted > 0:
            kg = use.litres * use.kg_per_litre * lasted / (last - first)
            yield ByHand("fuel_use", _fuelled(index, use), kg, "kg", None, use.source)
    for loss in model.refrigerant_loss:
        if begins_seconds <= model.instant(loss.noticed_on) < ends_seconds:
            name = f"{loss.cooling_unit} ({loss.refrigerant})"
            kg = loss.kg * loss.gwp
            yield ByHand("refrigerant_loss", name, kg, "kg", None, loss.source)


def _fuelled(index: SiteIndex, use: FuelUse) -> str:
    generator = index.dated.generator.get(use.generator, index.model.instant(use.begins))
    return use.generator if generator is None else f"{use.generator} ({generator.fuel})"


def _factors(index: SiteIndex, at_seconds: int) -> Iterator[ByHand]:
    """Yield the emission factors in force: what each covers, and whether it may be revised."""
    for factor in index.dated.emission_factor.at(at_seconds).values():
        words = f"{factor.method}, {factor.signal}, {factor.scope}"
        name = f"{factor.energy_source} ({words}{', provisional' if factor.provisional else ''})"
        unit = "kg per kWh"
        yield ByHand("emission_factor", name, factor.kg_per_kwh, unit, None, factor.source)


def _part(run: GeneratorRun, within: tuple[date, date]) -> float:
    """Return the part of a run's days that is within others."""
    days = (min(run.ends, within[1]) - max(run.begins, within[0])).days
    return max(0, days) / (run.ends - run.begins).days


def _in_force(index: SiteIndex, at_seconds: int) -> Iterator[ByHand]:
    dated = index.dated
    for region in dated.regional_capacity.at(at_seconds).values():
        watts = region.available_watts
        yield ByHand("regional_capacity", region.region, watts, "watts", None, region.source)
    for basin in dated.water_stress.at(at_seconds).values():
        # Above 1 more is taken than comes.
        yield ByHand("water_stress", basin.basin, basin.stress_ratio, "ratio", 1.0, basin.source)
    for land in dated.land.at(at_seconds).values():
        name = f"{land.name} ({land.kind})"
        yield ByHand("land", name, land.square_metres, "square metres", None, land.source)


def _paid(index: SiteIndex, begins_seconds: int, ends_seconds: int) -> Iterator[ByHand]:
    for paid in index.model.local_payment:
        if begins_seconds <= index.model.instant(paid.paid_on) < ends_seconds:
            name = f"{paid.recipient}: {paid.purpose}"
            currency = paid.currency or index.model.currency
            yield ByHand("local_payment", name, float(paid.amount), currency, None, paid.source)
