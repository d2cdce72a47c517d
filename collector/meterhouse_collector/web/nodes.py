"""The nodes of one interval, from its ledger rows: states, power, tokens, and what an hour costs.

Pure. Capital is each node's own by the register. What else goes by device-seconds is its pool's,
and what goes by joules is the site's, at the rate that the interval's sums have: so the nodes of a
site come to what the site costs.
"""

from collections.abc import Mapping, Sequence
from math import fsum
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from meterhouse_agent import wire
from meterhouse_collector.money.kinds import JOULES_KINDS
from meterhouse_collector.rollup.cells import Cell, cells
from meterhouse_collector.rollup.downtime import put_down
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.rollup.roll_up import NOTHING_EXPECTED
from meterhouse_collector.rollup.shared_power import shared_watts
from meterhouse_collector.rollup.site_energy import IntervalRows
from meterhouse_collector.rows import EngineRow, NodeRow
from meterhouse_collector.site.index import GroupKey, Plan, SiteIndex

_BY_TIME: Final = ("rent", "operations")
_HOUR_SECONDS: Final = 3600


class NodeView(Struct, frozen=True, kw_only=True):
    """One node over one interval; what is not known is None.

    ``states`` are in devices, ``power_watts`` is the node's own where something meters it, else
    that of its devices alone, which ``whole_node`` tells apart.
    """

    name: str
    pool: str
    cluster: str
    tenant: str
    devices: int
    states: dict[wire.State, float]
    power_watts: float | None
    whole_node: bool
    output_tokens_per_second: float | None
    money_per_hour: float | None
    heard: bool
    registered: bool


class Nodes(Struct, frozen=True, kw_only=True):
    """The nodes of one interval; without one the list is empty."""

    currency: str
    start_seconds: int | None = None
    length_seconds: int | None = None
    list: Sequence[NodeView] = ()


class Rates(NamedTuple):
    """What a device-second of a pool and a drawn joule cost beside capital, in an interval."""

    per_device_second: Mapping[str, float]
    per_joule: float | None
    shared_watts: float = 0.0


def rates_of(groups: Mapping[GroupKey, Sums]) -> Rates:
    """Return the rates of one interval's sums; without drawn joules they have no price."""
    money: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    for group, sums in groups.items():
        by_time = [sums[f"{state}_{kind}_money"] for kind in _BY_TIME for state in wire.STATES]
        money.setdefault(group.pool, []).extend(by_time)
        seconds.setdefault(group.pool, []).append(sums["installed_seconds"])
    drawn = fsum(sums[f"{s}_drawn_joules"] for sums in groups.values() for s in wire.STATES)
    spent = fsum(
        sums[f"{state}_{kind}_money"]
        for sums in groups.values()
        for kind in JOULES_KINDS
        for state in wire.STATES
    )
    return Rates(
        {
            pool: fsum(parts) / whole
            for pool, parts in money.items()
            if (whole := fsum(seconds[pool])) > 0
        },
        spent / drawn if drawn > 0 else None,
    )


def node_views(
    rows: IntervalRows, groups: Mapping[GroupKey, Sums], index: SiteIndex
) -> list[NodeView]:
    """Return every registered or reporting node of an interval, by cluster, pool and name."""
    installed = (sums["installed_seconds"] for sums in groups.values())
    watts = shared_watts(rows, index, NOTHING_EXPECTED, installed)
    rates = rates_of(groups)._replace(shared_watts=watts)
    plans = index.plans(rows.start_seconds)
    said = index.said_down(rows.start_seconds, rows.length_seconds)
    tokens = _tokens(rows.engines, index, rows.start_seconds)
    found = []
    for name in sorted({*plans, *rows.nodes}):
        row, plan = rows.nodes.get(name), plans.get(name)
        parts = cells(row, plan, index, rows.length_seconds * 1000)
        if name in said:
            parts = put_down(parts, said[name], rows.length_seconds * 1000)
        if parts:
            view = _view(name, rows, plan, parts, rates)
            written = tokens.get(name)
            if written is not None:
                rate = written / rows.length_seconds
                view = replace(view, output_tokens_per_second=rate)
            found.append(view)
    return sorted(found, key=lambda view: (view.cluster, view.pool, view.name))


def _view(
    name: str, over: IntervalRows, plan: Plan | None, parts: list[Cell], rates: Rates
) -> NodeView:
    row, length = over.nodes.get(name), over.length_seconds
    group = parts[0].placements[0].group
    joules, whole = (None, False) if row is None else _joules(row)
    seconds = [fsum(part.seconds[place] for part in parts) for place in range(len(wire.STATES))]
    return NodeView(
        name=name,
        pool=group.pool,
        cluster=group.cluster,
        tenant=group.tenant,
        devices=round(fsum(seconds) / length),
        states={s: each / length for s, each in zip(wire.STATES, seconds, strict=True)},
        power_watts=None if joules is None else joules / length,
        whole_node=whole,
        output_tokens_per_second=None,
        money_per_hour=_money(parts, joules, rates, length),
        heard=row is not None,
        registered=plan is not None,
    )


def _joules(row: NodeRow) -> tuple[float | None, bool]:
    if row.energy_joules is not None:
        return row.energy_joules, True
    measured = [part for share in row.shares for part in share.joules if part is not None]
    return (fsum(measured) if measured else None), False


def _money(parts: list[Cell], joules: float | None, rates: Rates, length: int) -> float | None:
    """Return money per hour, or None where a device, its pool or what was drawn has no price."""
    terms, shared = [], 0.0
    for cell in parts:
        seconds = fsum(cell.seconds)
        shared += seconds * rates.shared_watts
        by_time = rates.per_device_second.get(cell.placements[0].group.pool)
        if cell.capital_per_second is None or by_time is None:
            return None
        terms.append(seconds * (cell.capital_per_second + by_time))
    if joules is None or rates.per_joule is None:
        return None
    terms.append((joules + shared) * rates.per_joule)
    return fsum(terms) * _HOUR_SECONDS / length


def _tokens(
    engines: Mapping[str, EngineRow], index: SiteIndex, at_seconds: float
) -> dict[str, float]:
    """Return the output tokens of each node: those of an engine by its devices on it."""
    found: dict[str, list[float]] = {}
    for name, row in engines.items():
        written = [each.output_tokens for each in row.served if each.output_tokens is not None]
        engine = index.dated.engine.get(name, at_seconds)
        if not written or engine is None:
            continue
        on = [device.partition("/")[0] for device in engine.devices]
        for node in dict.fromkeys(on):
            found.setdefault(node, []).append(sum(written) * on.count(node) / len(on))
    return {node: fsum(parts) for node, parts in found.items()}
