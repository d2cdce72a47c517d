"""What each thing brings to a rollup: the same functions, run for one thing at a time. Pure.

The parts of all things add up to the sums of ``roll_up``, field by field.
"""

from collections.abc import Iterator, Mapping
from itertools import groupby
from math import fsum, isclose
from operator import attrgetter
from typing import Final, Literal, NamedTuple

from meterhouse_collector.kpi.catalogue import ROLLUP_FIELD_NAMES
from meterhouse_collector.kpi.jointly import Branch, Side
from meterhouse_collector.rollup.flow_branches import Thing, flow_branches
from meterhouse_collector.rollup.placing import place
from meterhouse_collector.rollup.pricing import (
    Dues,
    Sums,
    drawn_joules,
    priced,
    put_dues,
    with_dues,
    zero_sums,
)
from meterhouse_collector.rollup.rates import Rates
from meterhouse_collector.rollup.roll_up import add_joules, live_dues, measured, rated_cells
from meterhouse_collector.rollup.serving import Serving, Terms
from meterhouse_collector.rollup.shared_power import shared_watts
from meterhouse_collector.rollup.site_energy import (
    Branches,
    Expected,
    IntervalRows,
    SiteEnergy,
    site_branches,
    site_energy,
)
from meterhouse_collector.site.index import GroupKey, SiteIndex

# A few roundings of sums of floats; a part that was left out is more.
_SAME_RATIO: Final = 1e-13
_NOTHING: Final = Side(None, None, 0.0, billable=False, joint=False)


Parts = Mapping[Thing, Mapping[GroupKey, Sums]]


class Contributions(NamedTuple):
    """The sums by thing and group; those of all things are the rollup.

    The money and joules of what served stand under engines. ``serving_nodes`` is another view of
    the same: what the devices of each node bring to them.
    """

    things: Parts
    serving_nodes: Parts
    groups: Mapping[GroupKey, Sums]
    dues: Dues
    energy: SiteEnergy
    branches: Branches


def contributions(
    interval: IntervalRows,
    index: SiteIndex,
    expected: Expected,
    rates: Rates,
    dues: Dues | None = None,
) -> Contributions:
    """Return what each thing brings to the sums of one interval.

    ``dues`` is what is due for joules, by default as far as it is known live. What no single thing
    brings, as what hangs on several meters together, stands under the site.
    """
    energy = site_energy(interval, index, expected)
    branches = site_branches(interval, index, expected)
    parts, nodes = _parts(interval, index, expected, rates)
    for thing, part in _energy_parts(energy, branches):
        add_joules(parts.setdefault(thing, Terms()), index.site_group, part)
    whole = measured(interval, index, energy, expected, rates)
    for field, found in flow_branches(interval, index, expected, branches).items():
        if whole[index.site_group].get(field):
            for thing, one in found:
                amount = one.factor * ((one.measured or 0.0) + (one.gap or 0.0))
                parts.setdefault(thing, Terms()).add(index.site_group, field, amount)
    things = _sums(parts)
    things[Thing("site", index.site)] = _rest(whole, things)
    known = live_dues(interval, index, energy, rates) if dues is None else dues
    used = drawn_joules(whole.values())
    priced_things = {thing: _due(groups, used, known) for thing, groups in things.items()}
    site = priced_things[Thing("site", index.site)]
    put_dues(site.setdefault(index.site_group, zero_sums()), used, known)
    return Contributions(
        things=priced_things,
        serving_nodes={t: _due(groups, used, known) for t, groups in _sums(nodes).items()},
        groups=priced(whole, index.site_group, known),
        dues=known,
        energy=energy,
        branches=branches,
    )


def _parts(
    interval: IntervalRows, index: SiteIndex, expected: Expected, rates: Rates
) -> tuple[dict[Thing, Terms], dict[Thing, Terms]]:
    """Return the terms of nodes and engines, and what nodes bring to those of engines."""
    serving, by_node = Serving(index), {}
    parts: dict[Thing, Terms] = {}
    rated = rated_cells(interval, index, expected)
    seconds = (second for entry in rated for second in entry.cell.seconds)
    rates = rates._replace(shared_watts=shared_watts(interval, index, expected, seconds))
    for name, cells in groupby(rated, attrgetter("node")):
        terms = parts[Thing("node", name)] = Terms()
        mine = by_node[name] = Serving(index)
        of_node = list(cells)
        place(terms, mine, of_node, rates)
        place(Terms(), serving, of_node, rates)
    for engine in dict.fromkeys((*interval.engines, *serving.held)):
        serving.add_engine(parts.setdefault(Thing("engine", engine), Terms()), engine, interval)
    nodes: dict[Thing, Terms] = {}
    for name, mine in by_node.items():
        serving.add_money_of(nodes.setdefault(Thing("node", name), Terms()), mine, interval)
    return parts, nodes


def _rest(whole: Mapping[GroupKey, Sums], things: Parts) -> dict[GroupKey, Sums]:
    """Return what the sums have beyond those of all things."""
    by_group: dict[GroupKey, list[Sums]] = {}
    for groups in things.values():
        for group, sums in groups.items():
            by_group.setdefault(group, []).append(sums)
    rest: dict[GroupKey, Sums] = {}
    for group, sums in whole.items():
        parts = by_group.get(group, [])
        left = {
            name: sums[name] - brought
            for name in ROLLUP_FIELD_NAMES
            if not isclose(sums[name], brought := fsum(p[name] for p in parts), rel_tol=_SAME_RATIO)
        }
        if left:
            rest[group] = {**zero_sums(), **left}
    return rest


def _due(groups: Mapping[GroupKey, Sums], used: float, dues: Dues) -> dict[GroupKey, Sums]:
    return {group: with_dues(sums, used, dues) for group, sums in groups.items()}


def _energy_parts(energy: SiteEnergy, branches: Branches) -> Iterator[tuple[Thing, SiteEnergy]]:
    """Yield the energy of a site as if it were that of one branch, by the rules of all."""
    billed_is_facility = bool(branches.facility)
    kind: Literal["node", "meter"] = "meter" if branches.it_metered else "node"
    for name, found in branches.facility:
        part = _part(found, energy.facility)
        it = _NOTHING._replace(filled=None if energy.it.filled is None else 0.0)
        billed = part.filled if energy.billed is not None and billed_is_facility else None
        yield (
            Thing("meter", name),
            SiteEnergy(part, it, energy.joint, billed, part.gap),
        )
    for name, found in branches.it:
        part = _part(found, energy.it)
        facility = _NOTHING._replace(filled=None if energy.facility.filled is None else 0.0)
        billed = part.filled if energy.billed is not None and not billed_is_facility else None
        yield (
            Thing(kind, name),
            SiteEnergy(facility, part, energy.joint, billed, part.gap),
        )


def _part(found: Branch, whole: Side) -> Side:
    measured = None if found.measured is None else found.factor * found.measured
    if whole.filled is None:
        return whole._replace(measured=measured)
    gap = found.factor * (found.gap or 0.0)
    filled = (measured or 0.0) + gap
    return whole._replace(measured=measured, filled=filled, gap=gap, estimated=abs(gap))


def _sums(parts: Mapping[Thing, Terms]) -> dict[Thing, dict[GroupKey, Sums]]:
    return {
        thing: {
            group: {**zero_sums(), **{name: fsum(values) for name, values in fields.items()}}
            for group, fields in terms.groups.items()
        }
        for thing, terms in parts.items()
    }
