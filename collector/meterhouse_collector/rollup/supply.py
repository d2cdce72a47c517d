"""Where the energy of a site came from in one interval, by kind of source. Pure.

What a source's meters count is its own; the grid gave the rest. So the kinds add up to the facility
energy: grid + PPA + on site + fuel + purchased cooling + storage - export.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from math import fsum
from typing import Final, Literal, NamedTuple

from meterhouse_collector.kpi.jointly import MISSING_SHARE_MAX
from meterhouse_collector.money.decimals import exact
from meterhouse_collector.money.grid_rest import grid_rest
from meterhouse_collector.rollup.fuel import fuel_joules
from meterhouse_collector.rollup.meter_sides import energy_side
from meterhouse_collector.rollup.site_energy import Expected, IntervalRows, SiteEnergy
from meterhouse_collector.site.carbon import EnergySource
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.meters import MeterTree, Term
from meterhouse_collector.site.power import Meter

Kind = Literal["grid", "ppa", "on_site", "fuel", "purchased_cooling", "storage", "export"]
# Energy that somebody else made: scope 2 (GHG Protocol). What is made on site is scope 1.
BOUGHT: Final[tuple[Kind, ...]] = ("grid", "ppa", "purchased_cooling")
_BY_ROLE: Final[Mapping[str, Kind]] = {
    "generator": "fuel",
    "storage": "storage",
    "purchased_cooling": "purchased_cooling",
}


class Supplied(NamedTuple):
    """The energy of one source, or of what no source names; an export counts what left."""

    kind: Kind
    source: EnergySource | None
    joules: float


def supplied(
    interval: IntervalRows, index: SiteIndex, energy: SiteEnergy, expected: Expected
) -> tuple[Supplied, ...] | None:
    """Return the energy of every source, None where more than 1 % of the whole is missing."""
    if not energy.facility.joint or energy.facility.filled is None:
        return None
    missing_max = MISSING_SHARE_MAX * abs(energy.facility.filled)
    tree = index.metering(interval.start_seconds)
    sources = index.dated.energy_source.at(interval.start_seconds).values()
    found: list[Supplied] = []
    for kind, source, terms in (*_of_sources(sources, tree), *_of_nobody(sources, tree)):
        side = energy_side(terms, interval.meters, interval.length_seconds, expected.meter_watts)
        if side.filled is None or abs(side.gap) > missing_max:
            return None
        found.append(Supplied(kind, source, side.filled))
    found += _burnt(interval, index)
    rest = grid_rest(exact(energy.facility.filled), ((p.kind, exact(p.joules)) for p in found))
    grids = [source for source in sources if source.kind == "grid"]
    # Of several grids the one without meters has the rest.
    unmetered = [source for source in grids if not source.meters]
    found.append(Supplied("grid", next(iter((*unmetered, *grids)), None), float(rest)))
    return tuple(found)


def joules_of(supplies: Iterable[Supplied], kind: Kind) -> float:
    """Return the energy of one kind of source."""
    return fsum(each.joules for each in supplies if each.kind == kind)


def renewable_joules(supplies: Iterable[Supplied]) -> float:
    """Return the sum of each source's energy * its renewable part; what left counts for nobody."""
    return fsum(
        max(0.0, each.joules) * each.source.renewable_ratio
        for each in supplies
        if each.source is not None and each.kind != "export"
    )


def _of_sources(
    sources: Iterable[EnergySource], tree: MeterTree
) -> Iterator[tuple[Kind, EnergySource | None, list[Term]]]:
    """Yield what sources have meters in force for."""
    factors = {term.meter.name: abs(term.factor) for term in tree.facility}
    for source in sources:
        named = [name for name in source.meters if name not in tree.by_fuel]
        meters = [tree.meters[name] for name in named if name in tree.meters]
        if meters:
            terms = [Term(m, factors.get(m.name, _own_factor(m))) for m in meters]
            yield source.kind, source, terms


def _burnt(interval: IntervalRows, index: SiteIndex) -> Iterator[Supplied]:
    """Yield fuel that counts in place of what its generator gave; its source is of its meters."""
    at = interval.start_seconds
    generators, sources = index.dated.generator.at(at), index.dated.energy_source.at(at).values()
    for name, joules in fuel_joules(index, at, interval.length_seconds).items():
        meters = set(generators[name].meters)
        yield Supplied("fuel", next((s for s in sources if meters & {*s.meters}), None), joules)


def _of_nobody(
    sources: Iterable[EnergySource], tree: MeterTree
) -> Iterator[tuple[Kind, EnergySource | None, list[Term]]]:
    """Yield meters of the boundary that no source names, by their role; the grid has the rest.

    Of one that meters of sources are behind it is what these do not count.
    """
    named = {name for source in sources for name in source.meters} - tree.by_fuel
    for term in tree.facility:
        role = term.meter.role
        if term.meter.name in named:
            continue
        if role in _BY_ROLE:
            behind = (
                Term(meter, -_own_factor(meter)) for meter in _named_behind(tree, term, named)
            )
            yield _BY_ROLE[role], None, [term, *behind]
        elif role == "boundary" and term.meter.sign == -1 and term.meter.parent is None:
            yield "export", None, [Term(term.meter, abs(term.factor))]


def _named_behind(tree: MeterTree, term: Term, named: Collection[str]) -> Iterator[Meter]:
    waiting = [*tree.children(term.meter.name)]
    while waiting:
        meter = waiting.pop()
        if meter.name in named and meter.role == term.meter.role:
            yield meter
        else:
            waiting += tree.children(meter.name)


def _own_factor(meter: Meter) -> float:
    return meter.part * (meter.factor or 1.0)
