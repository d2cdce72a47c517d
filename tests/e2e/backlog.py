"""Spools as an outage leaves them: reports that a simulated node made, and nobody has taken."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from meterhouse_agent.accumulate.node import NodeSums
from meterhouse_agent.simulation.fleet import FleetSpec
from meterhouse_agent.sources.simulated import SimulatedSource
from meterhouse_agent.spool import Spool, Spooled, Standing, spool_path
from meterhouse_agent.wire import Inventory, encode, inventory_hash

_GAP_TICKS = 2.5
_SPOOL_BYTES = 1 << 30


async def fill(
    folder: Path, fleet: FleetSpec, nodes: Iterable[str], span: range, *, site: str
) -> int:
    """Write the reports of nodes for intervals by start, read at their ends; return how many."""
    count = 0
    for node in nodes:
        reports, standing, inventories = await _lived(fleet, node, span, site)
        spool = Spool(spool_path(folder, node), _SPOOL_BYTES)
        await spool.open()
        await spool.commit(reports, standing, inventories)
        await spool.close()
        count += len(reports)
    return count


async def _lived(
    fleet: FleetSpec, node: str, span: range, site: str
) -> tuple[list[Spooled], Standing, dict[str, bytes]]:
    source = SimulatedSource(fleet, node)
    await source.open()
    things = source.things()
    inventory = Inventory(
        devices=list(things.devices), meters=list(things.meters), engines=list(things.engines)
    )
    sums = NodeSums(site, node, span.step)
    length = span.step * 1000
    sums.feed(await source.read(span.start * 1000), length * _GAP_TICKS)
    reports = []
    for start in span:
        end = start * 1000 + length
        sums.feed(await source.read(end), length * _GAP_TICKS)
        sums.timeline.read_until(end)
        report = sums.close(start, inventory)
        if report is not None:
            reports.append(Spooled(start, encode(report)))
    standing = Standing(span.stop, sums.kept(), sums.timeline.waiting_spans)
    return reports, standing, {inventory_hash(inventory): msgspec.json.encode(inventory)}
