"""Cells put into the sums of their groups, all at once that differ in their amounts alone.

Of a large site most do: to work column by column instead of cell by cell costs a third. Every
amount stays a term of its own, so that the sums are the same to the last digit. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from meterhouse_agent import wire
from meterhouse_collector.rollup.cells import REASON_FIELDS, STATE_FIELDS, Cell, Five, Four
from meterhouse_collector.rollup.rates import ZERO_RATES, BySeconds, Rates
from meterhouse_collector.rollup.serving import Fields, Serving, Terms
from meterhouse_collector.rollup.site_energy import Expected, IntervalRows
from meterhouse_collector.rows import Share
from meterhouse_collector.site.downtime import SaidOf
from meterhouse_collector.site.index import Holding, Placement, Plan

_SECONDS: Final = 1.0 / 1000.0
_FREE: Final = wire.STATES.index("free")


class RatedCell(Struct, frozen=True, gc=False):
    """A cell of a node with the energy that follows its devices, by state.

    ``measured_joules`` is what of it the meter of the node counted, None without one.
    """

    node: str
    cell: Cell
    weights: Five
    measured_joules: float | None


class _Column(NamedTuple):
    """One state of many cells, and the names of its fields."""

    names: tuple[str, ...]
    seconds: Sequence[float]
    joules: Sequence[float]
    drawn: Sequence[float]


class _Alike(NamedTuple):
    """Cells that differ in their amounts alone, row by row."""

    placements: tuple[Placement, ...]
    capital_per_second: float | None
    unmetered: bool
    seconds: Sequence[Five]
    joules: Sequence[Five]
    drawn: Sequence[Five]
    measured: Sequence[float] = ()


Fitting = Mapping[tuple[int, float | None, bool], tuple[Holding, list[Share]]]


def fitting_shares(
    interval: IntervalRows, plans: Mapping[str, Plan], expected: Expected, said: SaidOf
) -> tuple[Fitting, list[str]]:
    """Return the shares that are just what the register has, and the nodes with anything else.

    Of the former neither time nor energy is to be moved: they are their cells as they are. Of a
    node that is ``said`` to be down they are not.
    """
    length, watts, rows = interval.length_seconds * 1000, expected.node_watts, interval.nodes
    fitting: dict[tuple[int, float | None, bool], tuple[Holding, list[Share]]] = {}
    others = [node for node in plans if node not in rows]
    for node, row in rows.items():
        plan = plans.get(node)
        found = None
        apart = row.energy_joules is not None or node in watts or node in said
        if plan is not None and not apart:
            found = _holdings_of(row.shares, plan.holdings, length)
        if found is None:
            others.append(node)
            continue
        for share, holding in zip(row.shares, found, strict=True):
            missing = share.energy_quality == "missing"
            key = (id(holding.placements), holding.capital_per_second, missing)
            same = fitting.get(key)
            if same is None:
                fitting[key] = (holding, [share])
            else:
                same[1].append(share)
    return fitting, others


def _holdings_of(
    shares: Sequence[Share], holdings: Mapping[tuple[str, str], Holding], length: int
) -> list[Holding] | None:
    """Return the holding of each share, None where any does not fit or a holding lacks one."""
    found = []
    for share in shares:
        holding = holdings.get((share.accelerator_model, share.holder))
        times = share.milliseconds
        if holding is None or sum(times) != holding.devices * length:
            return None
        if times[_FREE] and holding.placements[0].engine:
            # The engine was put on these devices after the row was written.
            return None
        if share.unhealthy_milliseconds is not None:
            # Reasons have fields of their own, and are seldom.
            return None
        found.append(holding)
    return found if len(found) == len(holdings) else None


def place_shares(terms: Terms, serving: Serving, fitting: Fitting, rates: Rates) -> None:
    """Add shares that fit to their groups, as ``place`` does with their cells."""
    for (_, capital, unmetered), (holding, shares) in fitting.items():
        times = zip(*[share.milliseconds for share in shares], strict=True)
        seconds = list(zip(*[[time * _SECONDS for time in state] for state in times], strict=True))
        states = zip(*[share.joules for share in shares], strict=True)
        joules = list(zip(*map(_measured, states), strict=True))
        alike = _Alike(holding.placements, capital, unmetered, seconds, joules, joules)
        _place_alike(terms, serving, alike, rates)


def _measured(joules: tuple[float | None, ...]) -> list[float]:
    return [0.0 if amount is None else amount for amount in joules]


def place(terms: Terms, serving: Serving, entries: Iterable[RatedCell], rates: Rates) -> None:
    """Add cells to their groups; money without a price is left out and its seconds counted."""
    # Placements by their id: to hash all of them would cost more than to look twice at some.
    alike: dict[tuple[int, float | None, bool, bool], list[RatedCell]] = {}
    for entry in entries:
        cell = entry.cell
        if cell.reasons is not None:
            _add_reasons(terms, cell.placements, cell.reasons)
        no_meter = entry.measured_joules is None
        key = (id(cell.placements), cell.capital_per_second, cell.unmetered, no_meter)
        found = alike.get(key)
        if found is None:
            alike[key] = [entry]
        else:
            found.append(entry)
    for same in alike.values():
        first = same[0].cell
        alike_cells = _Alike(
            first.placements,
            first.capital_per_second,
            first.unmetered,
            seconds=[entry.cell.seconds for entry in same],
            joules=[entry.cell.joules for entry in same],
            drawn=[entry.weights for entry in same],
            measured=[e.measured_joules for e in same if e.measured_joules is not None],
        )
        _place_alike(terms, serving, alike_cells, rates)


def _place_alike(terms: Terms, serving: Serving, alike: _Alike, rates: Rates) -> None:
    placements, capital, unmetered, seconds, joules, drawn, measured = alike
    installed = list(map(sum, seconds))
    if rates.shared_watts:
        drawn = [
            _with_shared(*each, rates.shared_watts) for each in zip(drawn, seconds, strict=True)
        ]
    columns = _columns(seconds, joules, drawn)
    for placement in placements:
        group, part = placement.group, placement.weight
        fields = terms.fields(group)
        shared = rates.devices.get((group.pool, group.accelerator_model), ZERO_RATES)
        known = capital is not None and shared is not None
        more = shared or ZERO_RATES
        per_second = ((capital or 0.0) + more[0], more[1], more[2])
        placed = [amount * part for amount in installed]
        fields["installed_seconds"] += placed
        for column in columns:
            _add_state(fields, column, part, per_second)
        if measured:
            fields["node_energy_joules"] += [joules * part for joules in measured]
        if unmetered:
            fields["unmetered_seconds"] += placed
        if not known:
            fields["unpriced_seconds"] += placed
        rate = sum(per_second) if known else None
        metered = bool(measured) or not unmetered
        serving.place(placement, seconds, drawn, per_second=rate, metered=metered)


def _with_shared(drawn: Five, seconds: Five, watts: float) -> Five:
    a, b, c, d, e = (joules + time * watts for joules, time in zip(drawn, seconds, strict=True))
    return a, b, c, d, e


def _add_reasons(terms: Terms, placements: Iterable[Placement], reasons: Four) -> None:
    for name, seconds in zip(REASON_FIELDS, reasons, strict=True):
        for placement in placements if seconds > 0 else ():
            terms.add(placement.group, name, seconds * placement.weight)


def _columns(
    seconds: Sequence[Five], joules: Sequence[Five], drawn: Sequence[Five]
) -> list[_Column]:
    by_state = zip(
        STATE_FIELDS,
        zip(*seconds, strict=True),
        zip(*joules, strict=True),
        zip(*drawn, strict=True),
        strict=True,
    )
    return [_Column(*state) for state in by_state]


def _add_state(fields: Fields, column: _Column, part: float, rates: BySeconds) -> None:
    names, seconds, joules, drawn = column
    # What was no time adds nothing, and most of a fleet was in few states.
    if any(seconds):
        placed = [amount * part for amount in seconds]
        fields[names[0]] += placed
        for name, rate in zip(names[3:], rates, strict=True):
            if rate != 0:
                fields[name] += [amount * rate for amount in placed]
    if any(joules):
        fields[names[1]] += [amount * part for amount in joules]
    if any(drawn):
        fields[names[2]] += [amount * part for amount in drawn]
