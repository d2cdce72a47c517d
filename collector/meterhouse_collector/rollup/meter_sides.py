"""The meters of a sum in one interval, with what fills their gaps. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal

from meterhouse_agent import wire
from meterhouse_collector.kpi.jointly import Branch, Side, at_peak, branch, side
from meterhouse_collector.rows import MeterRow
from meterhouse_collector.site.meters import Term

MEASURED: Final[frozenset[wire.Quality]] = frozenset({"ok", "estimated"})
_NO_WATTS: Final[Mapping[str, float]] = {}


def energy_branches(
    terms: Iterable[Term],
    rows: Mapping[str, MeterRow],
    length_seconds: int,
    watts: Mapping[str, float],
) -> Iterator[tuple[str, Branch]]:
    """Yield each meter of energy; a gap has its last known power, else its own mean, its peak."""
    for meter, factor in terms:
        row = rows.get(meter.name)
        energy, covered = _read(row, "energy_joules")
        found = branch(energy, covered, watts.get(meter.name), length_seconds)
        found = at_peak(found, covered, meter.peak_watts, length_seconds)
        yield meter.name, found._replace(factor=factor)


def energy_side(
    terms: Iterable[Term],
    rows: Mapping[str, MeterRow],
    length_seconds: int,
    watts: Mapping[str, float] = _NO_WATTS,
) -> Side:
    """Sum meters of energy."""
    return side(found for _, found in energy_branches(terms, rows, length_seconds, watts))


def volume_side(terms: Iterable[Term], rows: Mapping[str, MeterRow], length_seconds: int) -> Side:
    """Sum meters of litres."""
    return side(found for _, found in volume_branches(terms, rows, length_seconds))


def volume_branches(
    terms: Iterable[Term], rows: Mapping[str, MeterRow], length_seconds: int
) -> Iterator[tuple[str, Branch]]:
    """Yield each meter of litres; a gap has the mean of the rest, a silent meter says nothing."""
    for meter, factor in terms:
        litres, covered = _read(rows.get(meter.name), "volume_litres")
        yield meter.name, branch(litres, covered, None, length_seconds)._replace(factor=factor)


def _read(
    row: MeterRow | None, quantity: Literal["energy_joules", "volume_litres"]
) -> tuple[float | None, float]:
    """Return what a meter counted and the part of the interval that is."""
    if row is None or row.quality not in MEASURED:
        return None, 0.0
    amount = row.energy_joules if quantity == "energy_joules" else row.volume_litres
    return amount, 0.0 if amount is None else row.covered_milliseconds / row.length_milliseconds
