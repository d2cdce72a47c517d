"""Entries of one name follow each other: no overlap, no gap, and no name twice."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from datetime import date
from itertools import pairwise
from operator import attrgetter
from typing import Final, NamedTuple

from meterhouse_collector.settings import Section
from meterhouse_collector.site.model import SiteModel

# What tells entries of one table apart, as keys of the site file; all others go by their name.
KEYS: Final[dict[str, tuple[str, ...]]] = {
    "hardware": ("accelerator_model",),
    "supply": ("source",),
    "exchange_rate": ("from_currency", "to_currency"),
    "token_price": ("served_model", "tenant"),
    "emission_factor": ("energy_source", "method", "signal"),
    "carbon_price": ("kind", "scope"),
    "regional_capacity": ("region",),
    "water_stress": ("basin",),
}
# Events: each stands for itself, and has no name.
EVENTS: Final = (
    "asset",
    "downtime",
    "retire",
    "fuel_use",
    "refrigerant_loss",
    "local_payment",
    "generator_run",
)


class _Step(NamedTuple):
    where: str
    begins: date | None
    ends: date | None


def faults(model: SiteModel) -> Iterator[str]:
    """Return a fault for each name that is there twice, and each gap and overlap of dates."""
    for table, value in model:
        if isinstance(value, tuple) and table not in EVENTS:
            yield from _table(table, KEYS.get(table, ("name",)), value)


def _table(table: str, keys: tuple[str, ...], entries: Sequence[Section]) -> Iterator[str]:
    key: Callable[[Section], Hashable] = attrgetter(*keys)
    groups: dict[Hashable, list[_Step]] = {}
    for position, entry in enumerate(entries):
        begins, ends = getattr(entry, "valid_from", None), getattr(entry, "valid_to", None)
        step = _Step(f"{table}.{position}", begins, ends)
        if begins is not None and ends is not None and ends <= begins:
            yield f"{step.where}.valid_to: found {ends}, allowed: after {begins}"
        groups.setdefault(key(entry), []).append(step)
    for name, steps in groups.items():
        # What has no date holds from ever, and so comes first.
        ordered = sorted(steps, key=lambda step: step.begins or date.min)
        for one, other in pairwise(ordered):
            yield from _follows(keys[0], name, one, other)


def _follows(key: str, name: Hashable, one: _Step, other: _Step) -> Iterator[str]:
    if one.begins == other.begins:
        if other.begins is None:
            found = f"{other.where}.{key}: found {name!r} again"
            yield f"{found}, allowed: each name once, and {one.where} has it"
        else:
            yield (
                f"{other.where}.valid_from: found {other.begins} again, allowed: each date once,"
                f" as {one.where} begins then too"
            )
    elif one.ends is not None and one.ends != other.begins:
        word = "an overlap" if other.begins is None or one.ends > other.begins else "a gap"
        yield (
            f"{one.where}.valid_to: found {one.ends}, {word},"
            f" allowed: {other.begins}, when {other.where} begins"
        )
