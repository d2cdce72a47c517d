"""Cells put into the sums of their groups, all at once that differ in their amounts alone.

Of a large site most do: to work column by column instead of cell by cell costs a third. Every
amount stays a term of its own, so that the sums are the same to the last digit. Pure.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import Struct

from meterhouse_collector.rollup.cells import STATE_FIELDS, Cell, Five
from meterhouse_collector.rollup.rates import ZERO_RATES, BySeconds, Rates
from meterhouse_collector.rollup.serving import Fields, Serving, Terms

# Placements by their id: to hash all of them each time would cost more than to look twice at some.
_Alike = tuple[int, float | None, bool, bool]


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


def place(terms: Terms, serving: Serving, entries: Iterable[RatedCell], rates: Rates) -> None:
    """Add cells to their groups; money without a price is left out and its seconds counted."""
    alike: dict[_Alike, list[RatedCell]] = {}
    for entry in entries:
        cell = entry.cell
        no_meter = entry.measured_joules is None
        key = (id(cell.placements), cell.capital_per_second, cell.unmetered, no_meter)
        found = alike.get(key)
        if found is None:
            alike[key] = [entry]
        else:
            found.append(entry)
    for same in alike.values():
        _place_alike(terms, serving, same, rates)


def _place_alike(terms: Terms, serving: Serving, entries: list[RatedCell], rates: Rates) -> None:
    first = entries[0]
    capital, unmetered = first.cell.capital_per_second, first.cell.unmetered
    seconds = [entry.cell.seconds for entry in entries]
    drawn = [entry.weights for entry in entries]
    installed = list(map(sum, seconds))
    measured = [e.measured_joules for e in entries if e.measured_joules is not None]
    columns = _columns(seconds, [entry.cell.joules for entry in entries], drawn)
    for placement in first.cell.placements:
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
