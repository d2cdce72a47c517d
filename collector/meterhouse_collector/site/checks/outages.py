"""Outages of contracts lie within them, and none is there twice or of more than was contracted."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from meterhouse_collector.site.base import until_next
from meterhouse_collector.site.contracts import CapacityContract, Outage
from meterhouse_collector.site.model import SiteModel


class _Entry(NamedTuple):
    where: str
    outage: Outage
    begins: float
    ends: float
    units: int


def faults(model: SiteModel) -> Iterator[str]:
    """Return a fault for each outage beyond its contract, and each that another one denies."""
    for position, contract in enumerate(until_next(model.contract, lambda each: each.name)):
        entries = [
            _entry(model, contract, f"contract.{position}.outage.{number}", outage)
            for number, outage in enumerate(contract.outage)
        ]
        for entry in entries:
            yield from _within(model, contract, entry)
        yield from _overlaps(model, contract, entries)


def _entry(model: SiteModel, contract: CapacityContract, where: str, outage: Outage) -> _Entry:
    begins, ends = outage.begins.timestamp(), outage.ends.timestamp()
    contracted = contract.units_on(model.day(begins))
    return _Entry(where, outage, begins, ends, outage.units or contracted)


def _within(model: SiteModel, contract: CapacityContract, entry: _Entry) -> Iterator[str]:
    first = model.instant(contract.valid_from)
    if entry.begins < first:
        yield (
            f"{entry.where}.begins: found {entry.outage.begins}, allowed: within {contract.name},"
            f" from {contract.valid_from} on"
        )
        return
    if contract.valid_to is not None and entry.ends > model.instant(contract.valid_to):
        yield (
            f"{entry.where}.ends: found {entry.outage.ends}, allowed: within {contract.name},"
            f" until {contract.valid_to}"
        )
    contracted = contract.units_on(model.day(entry.begins))
    if entry.units > contracted or contracted == 0:
        found = f"found {entry.units} units" if contracted else "found an outage"
        allowed = f"at most {contracted}" if contracted else "none where nothing is contracted"
        day = model.day(entry.begins)
        yield f"{entry.where}: {found} on {day}, allowed: {allowed}"


def _overlaps(
    model: SiteModel, contract: CapacityContract, entries: Sequence[_Entry]
) -> Iterator[str]:
    """Yield what would be left out twice; of two reasons both may be, of different units."""
    for one, other in combinations(entries, 2):
        since, until = max(one.begins, other.begins), min(one.ends, other.ends)
        if since >= until:
            continue
        found = f"{other.where}.begins: found {other.outage.begins}, while {one.where} lasts"
        if one.outage.reason == other.outage.reason:
            yield f"{found}, allowed: one entry at a time for a reason, with the units of both"
        elif one.units + other.units > contract.units_on(model.day(since)):
            yield f"{found}, allowed: no more units in both than are contracted"
