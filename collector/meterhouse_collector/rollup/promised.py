"""What contracts promise and what of it was up, in the units contracted; reserves of pools. Pure.

A unit is down while any of its devices is: 80 failed devices of 8,000 can be 8 % of 8-device nodes
(definitions: Contracts). All is counted in device-seconds, so that contracts of several units add
up. What a contract excludes is down here as well: both sides must agree to it, so the contract says
it by hand, and ``settlement.outages`` takes it out.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from math import fsum
from typing import Final, NamedTuple

from meterhouse_agent import wire
from meterhouse_collector.rollup.downtime import MAY_COMPUTE
from meterhouse_collector.rollup.serving import Fields, Terms
from meterhouse_collector.rollup.site_energy import IntervalRows
from meterhouse_collector.rows import NodeRow
from meterhouse_collector.site.contracts import CapacityContract
from meterhouse_collector.site.downtime import SaidDown
from meterhouse_collector.site.index import GroupKey, Plan, SiteIndex

_ACTIVE: Final = wire.STATES.index("active")
_UNHEALTHY: Final = wire.STATES.index("unhealthy")
_UNKNOWN: Final = wire.STATES.index("unknown")


class Down(NamedTuple):
    """How long a unit was surely down, and how long it is not known, in milliseconds."""

    down: float
    unclear: float


class Up(NamedTuple):
    """Device-seconds of the whole units that were up: at least, and at most; of one unit all."""

    low: float
    high: float
    devices_per_unit: float


def node_down(row: NodeRow | None, length_milliseconds: int) -> Down:
    """Return how long a node had a device down: what its row says, or by its device time.

    Within an interval devices are taken to be down one after the other, which is exact for those
    that are down all the while. A quarter's row sums this over its intervals.
    """
    if row is None:
        return Down(0, length_milliseconds)
    if row.down_milliseconds is not None:
        return Down(row.down_milliseconds, row.unclear_milliseconds or 0)
    unhealthy = sum(share.milliseconds[_UNHEALTHY] for share in row.shares)
    unknown = sum(share.milliseconds[_UNKNOWN] for share in row.shares)
    length = row.length_milliseconds
    down = min(length, unhealthy)
    return Down(down, min(length, unhealthy + unknown) - down)


def said_to_be_down(
    found: Down, said: Iterable[SaidDown], length_milliseconds: int, at_rest_milliseconds: int
) -> Down:
    """Return how long a node had a device down, with what an operator says of it.

    ``at_rest_milliseconds`` is the device time without computing: what may compute until it is done
    is down for no more than that.
    """
    told = (
        min(each.milliseconds, at_rest_milliseconds)
        if each.reason in MAY_COMPUTE
        else each.milliseconds
        for each in said
    )
    down = max(found.down, min(length_milliseconds, fsum(told)))
    return Down(down, min(length_milliseconds, max(down, found.down + found.unclear)) - down)


def _at_rest_milliseconds(row: NodeRow | None, plan: Plan, length_milliseconds: int) -> int:
    active = 0 if row is None else sum(share.milliseconds[_ACTIVE] for share in row.shares)
    return max(0, len(plan.slots) * length_milliseconds - active)


def add_promised(terms: Terms, index: SiteIndex, interval: IntervalRows) -> None:
    """Add what is contracted and delivered, and what pools keep in reserve."""
    at, length = interval.start_seconds, interval.length_seconds
    for name, pool in index.dated.pool.at(at).items():
        if pool.reserve_devices > 0:
            group = GroupKey(index.site, pool.cluster, name, pool.tenant)
            terms.add(group, "reserve_seconds", float(pool.reserve_devices * length))
    contracts = index.dated.contract.at(at).values()
    _add_sold(terms, frozenset(p for c in contracts if c.side == "sold" for p in c.pools))
    for same in _alike(contracts):
        contract = same[0]
        units = sum(each.units_on(index.model.day(at)) for each in same)
        up = _up(contract, terms.groups, index, interval)
        contracted = units * up.devices_per_unit * length
        low, high = min(up.low, contracted), min(up.high, contracted)
        group = (
            GroupKey(index.site, tenant=contract.tenant) if contract.tenant else index.site_group
        )
        terms.add(group, f"{contract.side}_contracted_seconds", contracted)
        terms.add(group, f"{contract.side}_delivered_seconds", low)
        terms.add(group, f"{contract.side}_undetermined_seconds", high - low)


def _add_sold(terms: Terms, pools: Collection[str]) -> None:
    """Add what is idle and what is unknown in pools that a contract sells."""
    for group in [group for group in terms.groups if group.pool in pools]:
        fields = terms.fields(group)
        free = fields["free_seconds"]
        if fields["stranded_seconds"]:
            # More may be stranded than is free; what is held idle is idle all the same.
            free = [max(0.0, fsum(free) - fsum(fields["stranded_seconds"]))]
        fields["sold_idle_seconds"] += free + fields["held_idle_seconds"]
        fields["sold_unknown_seconds"] += fields["unknown_seconds"]


def _alike(contracts: Iterable[CapacityContract]) -> list[list[CapacityContract]]:
    """Gather contracts for the same devices: together they promise what there is once."""
    found: dict[object, list[CapacityContract]] = defaultdict(list)
    for each in contracts:
        found[each.side, each.tenant, each.unit, frozenset(each.pools)].append(each)
    return list(found.values())


def _up(
    contract: CapacityContract,
    groups: Mapping[GroupKey, Fields],
    index: SiteIndex,
    interval: IntervalRows,
) -> Up:
    if contract.unit == "device":
        mine = [fields for group, fields in groups.items() if group.pool in contract.pools]
        installed, unhealthy, unknown = (
            fsum(value for fields in mine for value in fields.get(f"{name}_seconds", ()))
            for name in ("installed", "unhealthy", "unknown")
        )
        high = max(0.0, installed - unhealthy)
        return Up(max(0.0, high - unknown), high, 1.0)
    plans = index.plans(interval.start_seconds)
    length = interval.length_seconds * 1000
    said = index.said_down(interval.start_seconds, interval.length_seconds)
    units: dict[str, list[str]] = defaultdict(list)
    for node, plan in plans.items():
        if _is_in(plan, contract.pools):
            units[_unit(contract.unit, node, plan)].append(node)
    if not units:
        return Up(0.0, 0.0, 1.0)
    lows: list[float] = []
    highs: list[float] = []
    devices = 0
    for nodes in units.values():
        count = sum(len(plans[node].slots) for node in nodes)
        parts = {node: node_down(interval.nodes.get(node), length) for node in nodes}
        for node in said.keys() & parts.keys():
            at_rest = _at_rest_milliseconds(interval.nodes.get(node), plans[node], length)
            parts[node] = said_to_be_down(parts[node], said[node], length, at_rest)
        down, unclear = _together(parts.values(), length)
        lows.append(count * (length - down - unclear) / 1000)
        highs.append(count * (length - down) / 1000)
        devices += count
    return Up(fsum(lows), fsum(highs), devices / len(units))


def _is_in(plan: Plan, pools: Collection[str]) -> bool:
    placements = (p for holding in plan.holdings.values() for p in holding.placements)
    return any(placement.group.pool in pools for placement in placements)


def _unit(unit: str, node: str, plan: Plan) -> str:
    """Return the name of the unit that a node is in; one that is in none is a unit of its own."""
    asset = plan.slots[0].asset
    name = {"rack": asset.rack, "fabric_group": asset.fabric_group}.get(unit)
    return f"node {node}" if name is None else f"{unit} {name}"


def _together(parts: Iterable[Down], length: int) -> Down:
    """Return how long any of several was down: surely as long as one, at most one by one."""
    found = list(parts)
    down = max(part.down for part in found)
    if len(found) == 1:
        return found[0]
    return Down(down, min(length, fsum(part.down + part.unclear for part in found)) - down)
