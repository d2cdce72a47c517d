"""The rollup: one interval of ledger rows summed into the finest groups.

Pure, and every sum is an exact one (``math.fsum``), so neither the order of rows nor that of
groups changes a digit. Money here is live and in floats; statements compute theirs in decimals.
"""

from collections.abc import Iterable, Mapping
from math import fsum
from typing import Final, NamedTuple, TypeVar

from meterhouse_agent import wire
from meterhouse_collector.kpi.catalogue import ROLLUP_FIELD_NAMES
from meterhouse_collector.money.energy import bill
from meterhouse_collector.rollup.cells import (
    STATE_FIELDS,
    ZEROS,
    Cell,
    Five,
    cells,
    divided,
    weights,
)
from meterhouse_collector.rollup.serving import Serving, Terms
from meterhouse_collector.rollup.site_energy import Expected, IntervalRows, SiteEnergy, site_energy
from meterhouse_collector.rows import EngineRow, MeterRow, NodeRow
from meterhouse_collector.shares import METHODS
from meterhouse_collector.site.index import GroupKey, SiteIndex

Sums = dict[str, float]
ThingRow = TypeVar("ThingRow", NodeRow, MeterRow, EngineRow)

NOTHING_EXPECTED: Final = Expected({}, {})
_MEASURED: Final[frozenset[wire.Method]] = frozenset({"counter", "integrated"})
_UNKNOWN: Final = wire.STATES.index("unknown")


class _Rated(NamedTuple):
    cell: Cell
    weights: Five
    metered: bool


def zero_sums() -> Sums:
    """Return sums of nothing: what overwrites a group that has vanished."""
    return dict.fromkeys(ROLLUP_FIELD_NAMES, 0.0)


def add_sums(parts: Iterable[Mapping[str, float]]) -> Sums:
    """Add sums over intervals or groups, field by field and exactly."""
    rows = list(parts)
    return {name: fsum(row[name] for row in rows) for name in ROLLUP_FIELD_NAMES}


def pick_row(rows: Mapping[str, ThingRow]) -> ThingRow:
    """Take one of the rows of several readers for one thing in one interval.

    The highest coverage first, then measured before interpolated, then the first reader's name.
    """
    if len(rows) == 1:
        return next(iter(rows.values()))
    return min(rows.items(), key=lambda entry: (*_preference(entry[1]), entry[0]))[1]


def _preference(row: NodeRow | MeterRow | EngineRow) -> tuple[float, int]:
    if isinstance(row, MeterRow):
        covered = row.covered_milliseconds if row.energy_joules is not None else 0
        return -covered, _rank(row.energy_method)
    if isinstance(row, EngineRow):
        return -sum(served.covered_milliseconds for served in row.served), 0
    known = sum(sum(share.milliseconds) - share.milliseconds[_UNKNOWN] for share in row.shares)
    return -(known + row.host_covered_milliseconds), _rank(row.energy_method)


def _rank(method: wire.Method) -> int:
    return 0 if method in _MEASURED else METHODS.index(method)


def roll_up(
    interval: IntervalRows, index: SiteIndex, expected: Expected = NOTHING_EXPECTED
) -> dict[GroupKey, Sums]:
    """Sum one interval into the finest groups; a registered node without a row is ``unknown``."""
    energy = site_energy(interval, index, expected)
    rated = _rated(interval, index, expected)
    price = index.price_per_joule(interval.start_seconds)
    whole_bill = bill(energy.billed, price)
    terms = Terms()
    _site(terms, index, interval, energy, price)
    used = fsum(part for entry in rated for part in entry.weights)
    if whole_bill is not None and used == 0:
        # Somebody pays it, though nothing says which device drew it.
        terms.add(index.site_group, "unknown_energy_money", whole_bill)
    serving = Serving(index)
    for entry in rated:
        _place(terms, serving, entry, _energy_money(entry.weights, used, whole_bill))
    serving.add_to(terms, interval)
    return {group: _sums(fields) for group, fields in terms.groups.items()}


def _sums(fields: dict[str, list[float]]) -> Sums:
    sums = zero_sums()
    for name, values in fields.items():
        sums[name] = fsum(values)
    return sums


def _rated(interval: IntervalRows, index: SiteIndex, expected: Expected) -> list[_Rated]:
    start, length = interval.start_seconds, interval.length_seconds
    rated: list[_Rated] = []
    plans = index.plans(start)
    silent = [name for name in plans if name not in interval.nodes]
    for node in (*interval.nodes, *silent):
        row = interval.nodes.get(node)
        plan = plans.get(node)
        placed = cells(row, plan, index, length * 1000)
        whole = None if row is None else row.energy_joules
        if row is None and node in expected.node_watts:
            # It goes on drawing while it is silent; without this the others would pay for it.
            whole = expected.node_watts[node] * length
        metered = row is not None and row.energy_joules is not None
        rated.extend(
            _Rated(cell, part, metered)
            for cell, part in zip(placed, weights(placed, whole), strict=True)
        )
    return rated


def _site(
    terms: Terms,
    index: SiteIndex,
    interval: IntervalRows,
    energy: SiteEnergy,
    price: float | None,
) -> None:
    group, length = index.site_group, float(interval.length_seconds)
    terms.add(group, "interval_seconds", length)
    for name, side in (("facility_joules", energy.facility), ("it_joules", energy.it)):
        if side.measured is not None:
            terms.add(group, name, side.measured)
    if energy.it.filled is None:
        terms.add(group, "pue_unexpected_seconds", length)
    else:
        terms.add(group, "it_expected_joules", energy.it.filled)
    if energy.joint and energy.it.filled is not None and energy.facility.filled is not None:
        terms.add(group, "facility_joint_joules", energy.facility.filled)
        terms.add(group, "it_joint_joules", energy.it.filled)
        terms.add(group, "pue_joint_seconds", length)
    if energy.billed is not None and price is not None:
        terms.add(group, "estimated_energy_money", energy.billed_gap * price)


def _energy_money(drawn: Five, used: float, whole_bill: float | None) -> Five | None:
    """Return the part of the bill that a cell's energy has by state; None where none is known."""
    if whole_bill is None:
        return None
    return divided(drawn, used, whole_bill) if used > 0 else ZEROS


def _place(terms: Terms, serving: Serving, entry: _Rated, energy: Five | None) -> None:
    """Add a cell to its groups; money without a price is left out and its seconds counted."""
    cell, due = entry.cell, energy or ZEROS
    capital = cell.capital_per_second
    installed = sum(cell.seconds)
    rate = 0.0 if capital is None else capital
    money = [seconds * rate + part for seconds, part in zip(cell.seconds, due, strict=True)]
    priced = capital is not None and energy is not None
    by_state = zip(STATE_FIELDS, cell.seconds, cell.joules, due, strict=True)
    states = [state for state in by_state if state[1] or state[2] or state[3]]
    for placement in cell.placements:
        fields, part = terms.fields(placement.group), placement.weight
        fields["installed_seconds"].append(installed * part)
        for names, seconds, joules, paid in states:
            if seconds != 0:
                fields[names[0]].append(seconds * part)
                if capital is not None:
                    fields[names[2]].append(seconds * part * capital)
            if joules != 0:
                fields[names[1]].append(joules * part)
            if paid != 0:
                fields[names[3]].append(paid * part)
        if entry.metered:
            fields["node_energy_joules"].append(sum(entry.weights) * part)
        if cell.unmetered:
            fields["unmetered_seconds"].append(installed * part)
        if not priced:
            fields["unpriced_seconds"].append(installed * part)
        serving.place(placement, cell.seconds, money, priced=priced)
