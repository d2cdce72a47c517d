"""The trees of meters, power and needs have no loop, and pairs are pairs."""

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from math import inf

from meterhouse_collector.site.dated import DatedTables
from meterhouse_collector.site.model import SiteModel


def faults(model: SiteModel) -> Iterator[str]:
    """Return a fault for each loop of a tree, and each pair that is none."""
    dated = DatedTables(model)
    found: dict[str, None] = {}
    for at_seconds in (-inf, *dated.meter.instants):
        parents = {m.name: _one(m.parent) for m in dated.meter.at(at_seconds).values()}
        found.update(dict.fromkeys(_loops(model, "meter", "parent", parents)))
    for at_seconds in (-inf, *dated.power.instants):
        parents = {p.name: _one(p.parent) for p in dated.power.at(at_seconds).values()}
        found.update(dict.fromkeys(_loops(model, "power", "parent", parents)))
    needs = {coming.name: coming.needs for coming in model.pipeline}
    found.update(dict.fromkeys(_loops(model, "pipeline", "needs", needs)))
    yield from found
    yield from _pairs(model)


def _one(name: str | None) -> tuple[str, ...]:
    return () if name is None else (name,)


def _loops(
    model: SiteModel, table: str, key: str, graph: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    positions = {entry.name: n for n, entry in enumerate(getattr(model, table))}
    left = dict(graph)
    while True:
        try:
            TopologicalSorter(left).prepare()
        except CycleError as error:
            loop: list[str] = error.args[1]
        else:
            return
        first = min(positions[name] for name in loop)
        yield f"{table}.{first}.{key}: found a loop, {' → '.join(loop)}, allowed: none"
        for name in loop:
            left.pop(name, None)


def _pairs(model: SiteModel) -> Iterator[str]:
    pairs = {node.name: node.pair for node in model.power}
    for position, node in enumerate(model.power):
        if node.pair is None or node.pair not in pairs:
            continue
        if node.pair == node.name or pairs[node.pair] != node.name:
            yield (
                f"power.{position}.pair: found {node.pair!r}, allowed: another whose pair is"
                f" {node.name!r}"
            )
