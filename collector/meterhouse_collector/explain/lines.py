"""A line for each thing: what it brings to a figure, how it was read, and what was filled. Pure."""

from collections.abc import Iterator, Mapping
from math import fsum
from typing import Final, NamedTuple

from meterhouse_agent import wire
from meterhouse_collector.explain.evidence import Evidence
from meterhouse_collector.explain.model import Line
from meterhouse_collector.explain.request import matches
from meterhouse_collector.explain.sides import Expression, number
from meterhouse_collector.kpi.jointly import Branch
from meterhouse_collector.kpi.value import share
from meterhouse_collector.rollup.contributions import Contributions, Parts
from meterhouse_collector.rollup.flow_branches import Thing
from meterhouse_collector.rollup.site_energy import node_energy
from meterhouse_collector.rollup.worst import worst_method, worst_quality
from meterhouse_collector.rows import EngineRow, NodeRow
from meterhouse_collector.site.index import SiteIndex

_ENERGY: Final = "it_joint_joules"
_UNKNOWN: Final = wire.STATES.index("unknown")


class Asked(NamedTuple):
    """The figure that lines are made for: its sides, the fields that count, and its group."""

    numerator: Expression
    denominator: Expression
    fields: tuple[str, ...]
    group: Mapping[str, str]

    @property
    def of_energy(self) -> bool:
        """Whether it is made of the energy of branches."""
        return _ENERGY in self.fields


class _Read(NamedTuple):
    method: wire.Method | None = None
    quality: wire.Quality | None = None
    covered_ratio: float | None = None


def lines(parts: Parts, asked: Asked, evidence: Evidence, found: Contributions) -> list[Line]:
    """Return the lines of all things that touch a figure, what brings most first."""
    gaps = _gaps(found, evidence) if asked.of_energy else {}
    made = []
    for thing, groups in parts.items():
        mine = [sums for group, sums in groups.items() if matches(group, asked.group)]
        sums = {name: fsum(part[name] for part in mine) for name in asked.fields}
        fields = {name: value for name, value in sums.items() if value != 0}
        brings = any(fields.get(name) for name in _names(asked))
        if not brings and (thing.kind == "site" or not (fields or thing in gaps)):
            continue
        read = _read(thing, evidence, energy=asked.of_energy)
        made.append(
            Line(
                kind=thing.kind,
                thing=thing.name,
                numerator=asked.numerator.value(sums),
                denominator=asked.denominator.value(sums),
                fields=fields,
                readers=evidence.readers.get(thing, ()),
                method=read.method,
                quality=read.quality,
                covered_ratio=read.covered_ratio,
                notes=(*_silence(thing, evidence), *gaps.get(thing, ())),
            )
        )
    return _ranked(made)


def silent(evidence: Evidence, index: SiteIndex) -> tuple[str, ...]:
    """Return what was expected in a window and has no row: meters, nodes, engines."""
    start, rows = evidence.rows.start_seconds, evidence.rows
    plans = index.plans(start)
    holdings = [holding for plan in plans.values() for holding in plan.holdings.values()]
    expected: dict[str, tuple[set[str], Mapping[str, object]]] = {
        "meter": (set(index.metering(start).meters), rows.meters),
        "node": (set(plans), rows.nodes),
        "engine": ({p.engine for h in holdings for p in h.placements if p.engine}, rows.engines),
    }
    return tuple(
        f"{kind} {name}"
        for kind, (names, there) in expected.items()
        for name in sorted(names - there.keys())
    )


def missing_share(branches: tuple[tuple[str, Branch], ...]) -> float | None:
    """Return the share of a side's expected energy that is missing, None where it has no size."""
    sizes = [abs(b.factor * b.expected) for _, b in branches if b.expected is not None]
    if not branches or len(sizes) < len(branches):
        return None
    return share(fsum(abs(b.factor * (b.gap or 0.0)) for _, b in branches), fsum(sizes))


def _names(asked: Asked) -> tuple[str, ...]:
    return (*asked.numerator.names, *asked.denominator.names)


def _ranked(made: list[Line]) -> list[Line]:
    """Return what brings most first, to the side of which it is the larger part."""
    over = fsum(abs(line.numerator) for line in made)
    under = fsum(abs(line.denominator) for line in made)

    def rank(line: Line) -> tuple[float, str, str]:
        parts = share(abs(line.numerator), over), share(abs(line.denominator), under)
        return -max(parts), line.kind, line.thing

    return sorted(made, key=rank)


def _silence(thing: Thing, evidence: Evidence) -> Iterator[str]:
    rows: Mapping[str, Mapping[str, object]] = {
        "node": evidence.rows.nodes,
        "meter": evidence.rows.meters,
        "engine": evidence.rows.engines,
    }
    if thing.kind in rows and thing.name not in rows[thing.kind]:
        yield "silent: no row in this window"


def _gaps(found: Contributions, evidence: Evidence) -> dict[Thing, list[str]]:
    notes: dict[Thing, list[str]] = {}
    it_kind = "meter" if found.branches.it_metered else "node"
    sides = (("facility", "meter", found.branches.facility), ("IT", it_kind, found.branches.it))
    for side, kind, branches in sides:
        for name, branch in branches:
            thing = Thing(kind, name)  # type: ignore[arg-type] # one of the two above
            told = (
                [f"{side} side"]
                if branch.factor == 1
                else [f"{side} side, times {number(branch.factor)}"]
            )
            told += _filled(branch, _watts(thing, evidence))
            notes.setdefault(thing, []).append("; ".join(told))
    return notes


def _watts(thing: Thing, evidence: Evidence) -> float | None:
    known = evidence.expected
    watts = known.meter_watts if thing.kind == "meter" else known.node_watts
    return watts.get(thing.name)


def _filled(branch: Branch, watts: float | None) -> Iterator[str]:
    if branch.measured is not None:
        yield f"measured {number(branch.measured)} J"
    if branch.expected is None:
        yield "a gap of unknown size: nothing says what it would have drawn"
        return
    if not branch.gap:
        return
    if branch.nameplate:
        by = "its nameplate peak"
    elif watts is not None:
        by = f"the last known {number(watts)} W"
    else:
        by = "the mean of what was read"
    yield f"filled {number(branch.gap)} J by {by}"


def _read(thing: Thing, evidence: Evidence, *, energy: bool) -> _Read:
    rows = evidence.rows
    if thing.kind == "meter" and (meter := rows.meters.get(thing.name)) is not None:
        covered = meter.covered_milliseconds / meter.length_milliseconds
        return _Read(meter.energy_method, meter.quality, covered)
    if thing.kind == "node" and (node := rows.nodes.get(thing.name)) is not None:
        return _read_node(node, energy=energy)
    if thing.kind == "engine" and (engine := rows.engines.get(thing.name)) is not None:
        return _read_engine(engine, rows.length_seconds)
    return _Read() if thing.kind == "site" else _Read(None, "missing", 0.0)


def _read_node(row: NodeRow, *, energy: bool) -> _Read:
    method: wire.Method | None = None
    quality: wire.Quality | None = None
    for part in row.shares:
        method = worst_method(method, part.energy_method)
        quality = worst_quality(quality, part.energy_quality)
    if not energy:
        milliseconds = sum(sum(part.milliseconds) for part in row.shares)
        unknown = sum(part.milliseconds[_UNKNOWN] for part in row.shares)
        return _Read(method, quality, share(milliseconds - unknown, milliseconds))
    _, covered = node_energy(row, 0)
    if row.energy_joules is not None:
        method, quality = row.energy_method, "ok"
    return _Read(method, quality, covered)


def _read_engine(row: EngineRow, length_seconds: int) -> _Read:
    quality: wire.Quality | None = None
    for served in row.served:
        quality = worst_quality(quality, served.quality)
    covered = min((served.covered_milliseconds for served in row.served), default=0)
    return _Read("counter", quality, covered / (length_seconds * 1000))
