"""What the scenario's site did since yesterday, made up: quarters that nobody measured.

They give the day's charts a past, and the budget something that was spent. Pure but for ``store``.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import cos, fsum, pi
from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.money.kinds import KINDS
from meterhouse_collector.rollup.points import kept_points
from meterhouse_collector.rollup.roll_up import roll_up
from meterhouse_collector.rollup.site_energy import IntervalRows
from meterhouse_collector.rows import EngineRow, MeterRow, NodeRow, Point, Served, Share
from meterhouse_collector.site.devices import ENGINE_PREFIX
from meterhouse_collector.site.index import Plan, SiteIndex
from meterhouse_collector.store import Store

QUARTER: Final = wire.QUARTER_SECONDS
_DAY_SECONDS: Final = 86_400
_LENGTH: Final = QUARTER * 1000
# As the simulated fleet is by default: active, held and idle, and the rest of a node.
_WATTS: Final = (420.0, 90.0, 75.0, 0.0, 0.0)
_HOST_WATTS: Final = 800.0
_TOKENS_PER_ACTIVE_SECOND: Final = 640.0
_READ_PER_WRITTEN: Final = 4
_CACHED: Final = 0.3
_BATCH: Final = 500


def quarters(index: SiteIndex, now_seconds: float) -> Iterator[Point]:
    """Yield the kept rows since yesterday's midnight (UTC), up to the last whole quarter."""
    now = int(now_seconds)
    begins = now // _DAY_SECONDS * _DAY_SECONDS - _DAY_SECONDS
    for start in range(begins, now // QUARTER * QUARTER, QUARTER):
        yield from kept_points(start, roll_up(_rows(index, start), index))


def spent(points: Sequence[Point]) -> float:
    """Return what the quarters cost in all."""
    names = [f"{state}_{kind}_money" for state in wire.STATES for kind in KINDS]
    return fsum(float(point.fields[name]) for point in points for name in names)


async def store(points: Sequence[Point], into: Store) -> None:
    """Write the quarters into a store that is not open yet."""
    await into.open()
    try:
        for first in range(0, len(points), _BATCH):
            await into.write(points[first : first + _BATCH])
    finally:
        await into.close()


def _busy(start: int) -> float:
    """Return the share of devices that work: most in the afternoon, least at night (UTC)."""
    return 0.62 - 0.2 * cos(2 * pi * (start % _DAY_SECONDS - 3 * 3600) / _DAY_SECONDS)


def _rows(index: SiteIndex, start: int) -> IntervalRows:
    plans = index.plans(start)
    nodes = {
        name: _node(plan, _busy(start + 1800 * at)) for at, (name, plan) in enumerate(plans.items())
    }
    drawn = fsum(row.energy_joules or 0.0 for row in nodes.values()) + 400.0 * QUARTER
    facility = drawn * 1.27 + 1500.0 * QUARTER
    meters = {
        "utility": _meter(energy_joules=facility),
        "it-pdu": _meter(energy_joules=drawn),
        "water": _meter(volume_litres=facility * 5e-7),
    }
    return IntervalRows(start, QUARTER, nodes, meters, dict(_engines(index, start, nodes)))


def _meter(*, energy_joules: float | None = None, volume_litres: float | None = None) -> MeterRow:
    return MeterRow(_LENGTH, _LENGTH, energy_joules=energy_joules, volume_litres=volume_litres)


def _node(plan: Plan, busy: float) -> NodeRow:
    shares = []
    for (model, holder), holding in plan.holdings.items():
        whole = holding.devices * _LENGTH
        active = round(whole * busy)
        held = (whole - active) * 3 // 4
        rest = whole - active - held
        times = (active, held, rest, 0, 0)
        if holder.startswith(ENGINE_PREFIX):
            times = (active, held + rest, 0, 0, 0)
        joules = [watts * time / 1000 for watts, time in zip(_WATTS, times, strict=True)]
        five = (joules[0], joules[1], joules[2], joules[3], joules[4])
        shares.append(Share(model, holder, times, five, "counter", "ok"))
    devices = fsum(part for share in shares for part in share.joules if part is not None)
    return NodeRow(
        _LENGTH,
        tuple(shares),
        host_covered_milliseconds=_LENGTH,
        energy_joules=devices + _HOST_WATTS * QUARTER,
    )


def _engines(
    index: SiteIndex, start: int, nodes: Mapping[str, NodeRow]
) -> Iterator[tuple[str, EngineRow]]:
    for name, engine in index.dated.engine.at(start).items():
        active = fsum(
            share.milliseconds[0] / 1000
            for node in {device.partition("/")[0] for device in engine.devices}
            for share in nodes[node].shares
            if share.holder == ENGINE_PREFIX + name
        )
        written = round(active * _TOKENS_PER_ACTIVE_SECOND)
        read = written * _READ_PER_WRITTEN
        (served_model,) = engine.weights
        served = Served(served_model, _LENGTH, read, round(read * _CACHED), written)
        yield name, EngineRow(_LENGTH, (served,))
