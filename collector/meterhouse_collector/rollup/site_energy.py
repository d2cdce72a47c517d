"""The energy of a whole site in one interval: what PUE and the energy bill are made of."""

from collections.abc import Mapping, Sequence
from math import fsum
from typing import Final, NamedTuple

from meterhouse_agent import wire
from meterhouse_collector.kpi.jointly import Branch, Side, at_peak, branch, side
from meterhouse_collector.rollup.fuel import fuel_joules
from meterhouse_collector.rollup.meter_sides import MEASURED, energy_branches, energy_side
from meterhouse_collector.rows import EngineRow, MeterRow, NodeRow
from meterhouse_collector.site.index import SiteIndex

__all__ = ["MEASURED", "Expected", "IntervalRows", "SiteEnergy", "node_energy", "site_energy"]

# A node, what it measured, and of which part of the interval.
_Known = tuple[str, float | None, float]
_UNKNOWN: Final = wire.STATES.index("unknown")


class IntervalRows(NamedTuple):
    """One row per thing of one interval, whoever read it."""

    start_seconds: int
    length_seconds: int
    nodes: Mapping[str, NodeRow]
    meters: Mapping[str, MeterRow]
    engines: Mapping[str, EngineRow]


class Expected(NamedTuple):
    """The last known mean power of meters and nodes: what a gap is filled with."""

    meter_watts: Mapping[str, float]
    node_watts: Mapping[str, float]


class Branches(NamedTuple):
    """The branches of both sides by name: of meters, or of nodes where the IT side has no meter."""

    facility: tuple[tuple[str, Branch], ...]
    it: tuple[tuple[str, Branch], ...]
    it_metered: bool


class SiteEnergy(NamedTuple):
    """Both sides of a site; ``billed`` is what the tariff applies to, None where not known."""

    facility: Side
    it: Side
    joint: bool
    billed: float | None
    billed_gap: float


def site_energy(interval: IntervalRows, index: SiteIndex, expected: Expected) -> SiteEnergy:
    """Sum both sides of one interval, which counts jointly as ``definitions.md`` says.

    The grid bills what its meters of the boundary count, and neither what the site generates nor
    what it stores. Without them the bill is that of the IT energy: too small, and labelled so.
    """
    tree, length = index.metering(interval.start_seconds), interval.length_seconds
    watts = expected.meter_watts
    branches = list(energy_branches(tree.facility, interval.meters, length, watts))
    fuel = fuel_joules(index, interval.start_seconds, length) if branches else {}
    facility = side((found for _, found in branches), tuple(fuel.values()))
    if tree.it:
        equipment = energy_side(tree.it, interval.meters, length, watts)
    else:
        equipment = _node_side(interval, index, expected.node_watts)
    boundary = {term.meter.name for term in tree.facility if term.meter.role == "boundary"}
    imported = side(found for name, found in branches if name in boundary)
    billed = imported if boundary else equipment
    return SiteEnergy(
        facility=facility,
        it=equipment,
        joint=facility.joint and equipment.joint,
        billed=billed.filled if billed.billable else None,
        billed_gap=billed.gap,
    )


def site_branches(interval: IntervalRows, index: SiteIndex, expected: Expected) -> Branches:
    """Return what is summed for both sides of one interval, gaps and expectations with it."""
    tree = index.metering(interval.start_seconds)
    meters, length, watts = interval.meters, interval.length_seconds, expected.meter_watts
    if tree.it:
        equipment = [*energy_branches(tree.it, meters, length, watts)]
    else:
        equipment = _nodes(interval, index, expected.node_watts)
    facility = energy_branches(tree.facility, meters, length, watts)
    return Branches(tuple(facility), tuple(equipment), it_metered=bool(tree.it))


def _node_side(interval: IntervalRows, index: SiteIndex, watts: Mapping[str, float]) -> Side:
    """Sum what ``_nodes`` yields; of most of a large site nothing but the energy is needed."""
    plans = index.plans(interval.start_seconds)
    rows, length = interval.nodes, interval.length_seconds
    whole: list[float] = []
    rest: list[_Known] = [(node, None, 0.0) for node in plans.keys() - rows.keys()]
    for node, row in rows.items():
        plan = plans.get(node)
        energy, covered = node_energy(row, 0 if plan is None else len(plan.slots))
        if energy is not None and covered >= 1.0:
            whole.append(energy)
        else:
            rest.append((node, energy, covered))
    found = [branch(energy, covered, watts.get(node), length) for node, energy, covered in rest]
    return side(_weighed(interval, index, rest, found, whole), whole)


def _nodes(
    interval: IntervalRows, index: SiteIndex, watts: Mapping[str, float]
) -> list[tuple[str, Branch]]:
    plans = index.plans(interval.start_seconds)
    rows, length = interval.nodes, interval.length_seconds
    known: list[_Known] = []
    for node in plans.keys() | rows.keys():
        row, plan = rows.get(node), plans.get(node)
        devices = 0 if plan is None else len(plan.slots)
        energy, covered = (None, 0.0) if row is None else node_energy(row, devices)
        known.append((node, energy, covered))
    found = [branch(energy, covered, watts.get(node), length) for node, energy, covered in known]
    weighed = _weighed(interval, index, known, found, ())
    return [(node, each) for (node, _, _), each in zip(known, weighed, strict=True)]


def _weighed(
    interval: IntervalRows,
    index: SiteIndex,
    known: Sequence[_Known],
    found: list[Branch],
    whole: Sequence[float],
) -> list[Branch]:
    """Return nodes with the peak of their devices where nothing else is known of a small part.

    A node that is silent for hours must not take the whole site with it; of a larger part the peak
    would be a guess.
    """
    if all(each.expected is not None for each in found):
        return found
    at, length = interval.start_seconds, interval.length_seconds
    hardware, plans = index.dated.hardware.at(at), index.plans(at)

    def peak_watts(node: str) -> float | None:
        slots = plans[node].slots if node in plans else ()
        peaks = [
            None if (priced := hardware.get(slot.accelerator_model)) is None else priced.peak_watts
            for slot in slots
        ]
        stated = [peak for peak in peaks if peak is not None]
        return fsum(stated) if slots and len(stated) == len(slots) else None

    weighed = [
        at_peak(each, covered, peak_watts(node), length)
        for each, (node, _, covered) in zip(found, known, strict=True)
    ]
    return weighed if side(weighed, whole).joint else found


def node_energy(row: NodeRow, devices: int) -> tuple[float | None, float]:
    """Return a node's IT energy and the part of the interval it covers: whole, or its parts.

    ``devices`` is how many are registered: a quarter's row lacks the intervals that nobody told.
    """
    if row.energy_joules is not None:
        return row.energy_joules, row.host_covered_milliseconds / row.length_milliseconds
    parts: list[float] = []
    total = unknown = 0
    for share in row.shares:
        milliseconds = share.milliseconds
        total += sum(milliseconds)
        unknown += milliseconds[_UNKNOWN]
        parts += [part for part in share.joules if part is not None]
    if row.cpu_energy_joules is not None:
        parts.append(row.cpu_energy_joules)
    if not parts:
        return None, 0.0
    known = total - unknown + min(unknown, row.spanned_milliseconds)
    total = max(total, devices * row.length_milliseconds)
    return fsum(parts), known / total if total > 0 else 1.0
