"""The rollup: one interval of ledger rows summed into the finest groups.

Pure, and every sum is an exact one (``math.fsum``), so neither the order of rows nor that of
groups changes a digit. Money here is live and in floats; statements compute theirs in decimals.
"""

from collections.abc import Iterable, Iterator, Mapping
from math import fsum
from operator import itemgetter
from typing import Final, TypeVar

from meterhouse_agent import wire
from meterhouse_collector.kpi.catalogue import ROLLUP_FIELD_NAMES
from meterhouse_collector.kpi.jointly import branch
from meterhouse_collector.money.energy import bill
from meterhouse_collector.money.kinds import SECONDS_KINDS
from meterhouse_collector.rollup.cells import cells, weights, with_gap
from meterhouse_collector.rollup.downtime import put_down
from meterhouse_collector.rollup.observed import quantile_fields
from meterhouse_collector.rollup.placing import (
    Fitting,
    RatedCell,
    fitting_shares,
    place,
    place_shares,
)
from meterhouse_collector.rollup.pricing import Dues, Sums, priced, zero_sums
from meterhouse_collector.rollup.promised import add_promised
from meterhouse_collector.rollup.rates import NO_RATES, Rates
from meterhouse_collector.rollup.serving import Serving, Terms
from meterhouse_collector.rollup.shared_power import shared_watts
from meterhouse_collector.rollup.site_energy import Expected, IntervalRows, SiteEnergy, site_energy
from meterhouse_collector.rollup.site_flows import site_flows
from meterhouse_collector.rollup.stranded import add_stranded
from meterhouse_collector.rows import EngineRow, MeterRow, NodeRow
from meterhouse_collector.shares import METHODS
from meterhouse_collector.site.index import GroupKey, SiteIndex

ThingRow = TypeVar("ThingRow", NodeRow, MeterRow, EngineRow)

NOTHING_EXPECTED: Final = Expected({}, {})
_MEASURED: Final[frozenset[wire.Method]] = frozenset({"counter", "integrated"})
_UNKNOWN: Final = wire.STATES.index("unknown")
_fields_of: Final = itemgetter(*ROLLUP_FIELD_NAMES)


def add_sums(parts: Iterable[Mapping[str, float]]) -> Sums:
    """Add sums over intervals or groups, field by field and exactly."""
    columns = zip(*map(_fields_of, parts), strict=True)
    return {**zero_sums(), **dict(zip(ROLLUP_FIELD_NAMES, map(fsum, columns), strict=False))}


def by_group(intervals: Iterable[Mapping[GroupKey, Sums]]) -> dict[GroupKey, Sums]:
    """Add the sums of intervals, group by group."""
    parts: dict[GroupKey, list[Sums]] = {}
    for sums in intervals:
        for group, fields in sums.items():
            parts.setdefault(group, []).append(fields)
    return {group: add_sums(rows) if len(rows) > 1 else rows[0] for group, rows in parts.items()}


def pick_row(rows: Mapping[str, ThingRow]) -> ThingRow:
    """Take one of the rows of several readers for one thing in one interval.

    The highest coverage first, then measured before interpolated, then the first reader's name.
    """
    if len(rows) == 1:
        return next(iter(rows.values()))
    return min(rows.items(), key=lambda entry: (*_preference(entry[1]), entry[0]))[1]


def _preference(row: NodeRow | MeterRow | EngineRow) -> tuple[float, int]:
    if isinstance(row, MeterRow):
        unread = row.energy_joules is None and row.volume_litres is None
        covered = 0 if unread else row.covered_milliseconds
        return -covered, _rank(row.energy_method)
    if isinstance(row, EngineRow):
        return -sum(served.covered_milliseconds for served in row.served), 0
    known = sum(sum(share.milliseconds) - share.milliseconds[_UNKNOWN] for share in row.shares)
    return -(known + row.host_covered_milliseconds), _rank(row.energy_method)


def _rank(method: wire.Method) -> int:
    return 0 if method in _MEASURED else METHODS.index(method)


def roll_up(
    interval: IntervalRows,
    index: SiteIndex,
    expected: Expected = NOTHING_EXPECTED,
    rates: Rates = NO_RATES,
) -> dict[GroupKey, Sums]:
    """Sum one interval into the finest groups; a registered node without a row is ``unknown``.

    The energy bill is that of the price in force at its start, and ``rates`` add the rest.
    """
    energy = site_energy(interval, index, expected)
    groups = measured(interval, index, energy, expected, rates)
    return priced(groups, index.site_group, live_dues(interval, index, energy, rates))


def live_dues(interval: IntervalRows, index: SiteIndex, energy: SiteEnergy, rates: Rates) -> Dues:
    """Return what is due for the joules of one interval, as far as it is known live."""
    price = index.price_per_joule(interval.start_seconds, rates.month_kwh)
    length = interval.length_seconds
    return Dues(
        energy=bill(energy.billed, price),
        demand=rates.demand_per_second * length,
        water=rates.water_per_second * length,
        carbon=rates.carbon_per_second * length,
        estimated_energy=energy.billed_gap * (price or 0.0),
    )


def measured(
    interval: IntervalRows,
    index: SiteIndex,
    energy: SiteEnergy,
    expected: Expected,
    rates: Rates,
) -> dict[GroupKey, Sums]:
    """Sum one interval without what joules cost: what was measured, and what time costs."""
    terms = Terms()
    add_time(terms, index, interval, energy, rates)
    add_joules(terms, index.site_group, energy)
    for name, amount in site_flows(interval, index, energy, expected):
        terms.add(index.site_group, name, amount)
    serving = Serving(index)
    at, length = interval.start_seconds, interval.length_seconds
    said = index.said_down(at, length)
    fitting, others = fitting_shares(interval, index.plans(at), expected, said)
    rated = _rated(others, interval, index, expected)
    rates = rates._replace(
        shared_watts=shared_watts(interval, index, expected, _device_seconds(fitting, rated))
    )
    place_shares(terms, serving, fitting, rates)
    place(terms, serving, rated, rates)
    serving.add_to(terms, interval)
    add_stranded(terms.groups, index, at, length)
    add_promised(terms, index, interval)
    groups = {group: _sums(fields) for group, fields in terms.groups.items()}
    for group, buckets in serving.buckets.items():
        groups[group].update(quantile_fields(buckets.merged()))
    return groups


def _device_seconds(fitting: Fitting, rated: Iterable[RatedCell]) -> Iterator[float]:
    for _, shares in fitting.values():
        yield from (sum(share.milliseconds) / 1000 for share in shares)
    for entry in rated:
        yield from entry.cell.seconds


def _sums(fields: dict[str, list[float]]) -> Sums:
    sums = zero_sums()
    for name, values in fields.items():
        sums[name] = fsum(values)
    return sums


def rated_cells(interval: IntervalRows, index: SiteIndex, expected: Expected) -> list[RatedCell]:
    """Return the cells of all nodes, node by node, also of those that are silent."""
    silent = [name for name in index.plans(interval.start_seconds) if name not in interval.nodes]
    return _rated((*interval.nodes, *silent), interval, index, expected)


def _rated(
    nodes: Iterable[str], interval: IntervalRows, index: SiteIndex, expected: Expected
) -> list[RatedCell]:
    length = interval.length_seconds
    rated: list[RatedCell] = []
    plans = index.plans(interval.start_seconds)
    said = index.said_down(interval.start_seconds, length)
    for node in nodes:
        row = interval.nodes.get(node)
        placed = cells(row, plans.get(node), index, length * 1000)
        if node in said:
            placed = put_down(placed, said[node], length * 1000)
        whole = None if row is None else row.energy_joules
        watts = expected.node_watts.get(node)
        if whole is None and watts is None:
            # Of the node itself nothing is measured or expected: it is what its devices are.
            rated += [RatedCell(node, cell, cell.joules, None) for cell in placed]
            continue
        measured = weights(placed, whole)
        filled = with_gap(placed, measured, node_gap(row, watts, length))
        rated.extend(
            RatedCell(node, cell, part, None if whole is None else sum(known))
            for cell, part, known in zip(placed, filled, measured, strict=True)
        )
    return rated


def node_gap(row: NodeRow | None, watts: float | None, length_seconds: int) -> float:
    """Return the joules that a metered node drew, as is expected, while nobody measured it.

    It goes on drawing while it is silent; without this the others would pay for it.
    """
    measured = None if row is None else row.energy_joules
    if row is None or measured is None:
        if row is not None and any(part is not None for s in row.shares for part in s.joules):
            # Its devices are measured, and it is not: what else it draws is nowhere known.
            return 0.0
        return branch(None, 0.0, watts, length_seconds).gap or 0.0
    covered = row.host_covered_milliseconds / row.length_milliseconds
    return branch(measured, covered, watts, length_seconds).gap or 0.0


def add_time(
    terms: Terms,
    index: SiteIndex,
    interval: IntervalRows,
    energy: SiteEnergy,
    rates: Rates,
) -> None:
    """Add the seconds of a site and what they cost beside its devices."""
    group, length = index.site_group, float(interval.length_seconds)
    terms.add(group, "interval_seconds", length)
    if energy.it.filled is None:
        terms.add(group, "pue_unexpected_seconds", length)
    if energy.joint and energy.it.filled is not None and energy.facility.filled is not None:
        terms.add(group, "pue_joint_seconds", length)
    if energy.billed is None:
        terms.add(group, "unbilled_seconds", length)
    for kind, per_second in zip(SECONDS_KINDS, rates.unplaced, strict=True):
        if per_second != 0:
            # Somebody pays it, though it is nobody's device.
            terms.add(group, f"unknown_{kind}_money", per_second * length)


def add_joules(terms: Terms, group: GroupKey, energy: SiteEnergy) -> None:
    """Add the joules of a site, or of one branch of it."""
    for name, side in (("facility_joules", energy.facility), ("it_joules", energy.it)):
        if side.measured is not None:
            terms.add(group, name, side.measured)
    if energy.it.filled is not None:
        terms.add(group, "it_expected_joules", energy.it.filled)
    if energy.joint and energy.it.filled is not None and energy.facility.filled is not None:
        terms.add(group, "facility_joint_joules", energy.facility.filled)
        terms.add(group, "it_joint_joules", energy.it.filled)
        terms.add(group, "estimated_joint_joules", energy.facility.estimated + energy.it.estimated)
    if energy.billed is not None:
        terms.add(group, "billed_joules", energy.billed)
        terms.add(group, "estimated_billed_joules", energy.billed_gap)
