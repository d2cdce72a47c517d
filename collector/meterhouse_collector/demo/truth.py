"""What the simulated site really did and cost: from closed forms, and reckoned anew.

Physics comes from ``meterhouse-agent truth``. Money is the site's prices on that, by arithmetic of
its own: nothing here comes from what the collector saw or from how it sums.
"""

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from math import fsum
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from meterhouse_collector.site.model import SiteModel

STATES: Final = ("active", "held_idle", "free", "unhealthy", "unknown")
_OVERHEAD: Final = ("free", "unhealthy", "unknown")
_NOT_IN_THE_DEMO: Final = ("rent", "demand", "operations", "water", "carbon")
# It has no certificate, contract or limit, no UPS, no other source, and no meter of heat.
_ZERO: Final = (
    *("renewable_joint_joules", "reserve_seconds", "requests_failed", "ups_joint_seconds"),
    *(f"{kind}_joint_joules" for kind in ("ppa", "on_site", "fuel", "purchased_cooling")),
    *(f"{kind}_joint_joules" for kind in ("storage", "export", "ups_in", "ups_out")),
    *(f"reused_heat_{rest}" for rest in ("joules", "joint_joules", "facility_joint_joules")),
    *("reused_heat_joint_seconds", "water_source_joint_litres", "water_source_it_joint_joules"),
    *("location_carbon_kg", "market_carbon_kg"),
    *("location_unfactored_seconds", "market_unfactored_seconds", "energy_carbon_joint_kg"),
    *("carbon_it_joint_joules", "fuel_carbon_kg", "refrigerant_carbon_kg"),
    *(
        f"{side}_{rest}_seconds"
        for side in ("sold", "bought")
        for rest in ("contracted", "delivered", "undetermined")
    ),
    *("time_per_output_token_observed_requests", "latency_observed_requests"),
    *(f"unhealthy_{reason}_seconds" for reason in ("failed", "planned", "quarantined")),
    *("sold_idle_seconds", "sold_unknown_seconds"),
)
_LINE_BYTES: Final = 64 * 1024 * 1024
_DEADLINE_SECONDS: Final = 120.0


class TruthError(OSError):
    """The simulator did not say what was so; the text says why."""


class Truth(NamedTuple):
    """The same sums and KPIs as the collector's."""

    sums: dict[str, float]
    kpis: dict[str, dict[str, Any]]


class _Holder(Struct, frozen=True):
    holder: str
    milliseconds: dict[str, int]
    millijoules: dict[str, int]


class _Node(Struct, frozen=True):
    node: str
    energy_millijoules: int
    holders: tuple[_Holder, ...]


class _Engine(Struct, frozen=True):
    engine: str
    node: str
    output_tokens: int
    input_tokens: int
    cached_input_tokens: int
    requests: dict[str, int]
    ttft_counts: tuple[int, ...]


class _Totals(Struct, frozen=True):
    facility_joules: int
    it_joules: int
    water_millilitres: int


class _Interval(Struct, frozen=True):
    length_seconds: int
    start_seconds: int
    end_seconds: int
    nodes: tuple[_Node, ...]
    engines: tuple[_Engine, ...]
    totals: _Totals


class Prices(NamedTuple):
    """What the site pays, and which pool each node is in."""

    device_second: float
    joule: float
    currency: str
    pools: dict[str, str]


class _Due(NamedTuple):
    """What a millijoule at a device carries of its node's energy, and of the bill for it."""

    money: float
    joules: float


class _Cost(NamedTuple):
    """What devices cost by time, what they drew, and what that cost."""

    accrued: float = 0.0
    joules: float = 0.0
    energy: float = 0.0

    def plus(self, other: "_Cost", part: float = 1.0) -> "_Cost":
        return _Cost(*(mine + more * part for mine, more in zip(self, other, strict=True)))


def prices_of(model: SiteModel) -> Prices:
    """Return the prices of a site with one kind of hardware and one tariff."""
    (hardware,), (tariff,) = model.hardware, model.tariff
    if tariff.per_kwh is None:
        raise AssertionError("BUG: the demo's tariff has one price")
    spent = hardware.price_per_device - hardware.salvage_per_device
    return Prices(
        device_second=float(spent) / hardware.life,
        joule=float(tariff.per_kwh) / 3.6e6,
        currency=model.currency,
        pools={node: asset.pool for asset in model.asset for node in asset.on_nodes},
    )


async def read_truth(config: Path, start: int, end: int, prices: Prices) -> Truth:
    """Ask the simulator what was so from start to end, and reckon what it cost."""
    terms: dict[str, list[float]] = defaultdict(list)
    async with asyncio.timeout(_DEADLINE_SECONDS):
        async for interval in _intervals(config, start, end):
            for name, value in _terms(interval, prices):
                terms[name].append(value)
    sums = {name: fsum(values) for name, values in terms.items()}
    return Truth(sums, _kpis(sums, prices.currency))


async def _intervals(config: Path, start: int, end: int) -> AsyncIterator[_Interval]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "meterhouse_agent", "truth", "-c", str(config), "--each"),
        *("--from", str(start), "--to", str(end)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=_LINE_BYTES,
    )
    if process.stdout is None or process.stderr is None:
        raise AssertionError("BUG: both were asked for")
    try:
        async for line in process.stdout:
            yield msgspec.json.decode(line, type=_Interval)
        said = (await process.stderr.read(4096)).decode(errors="replace").strip()
        if await process.wait() != 0:
            raise TruthError(f"the simulator did not tell the truth: {said}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _terms(interval: _Interval, prices: Prices) -> Iterator[tuple[str, float]]:
    seconds = float(interval.end_seconds - interval.start_seconds)
    facility, equipment = interval.totals.facility_joules, interval.totals.it_joules
    litres = interval.totals.water_millilitres / 1000
    for name, value in (
        *(("interval_seconds", seconds), ("pue_joint_seconds", seconds)),
        *(("facility_joules", facility), ("facility_joint_joules", facility)),
        *(("it_joules", equipment), ("it_joint_joules", equipment)),
        *(("it_expected_joules", equipment), ("water_it_joint_joules", equipment)),
        *(("water_litres", litres), ("water_joint_litres", litres)),
        *(("grid_joint_joules", facility), ("sources_joint_joules", facility)),
        *(("sources_joint_seconds", seconds), *((name, 0) for name in _ZERO)),
        # Nothing is missing, stranded or without a price where all is known.
        *(("stranded_seconds", 0), ("unmetered_seconds", 0), ("unpriced_seconds", 0)),
        *(("pue_unexpected_seconds", 0), ("estimated_joint_joules", 0)),
        ("estimated_energy_money", 0),
        *(("billed_joules", facility), ("estimated_billed_joules", 0), ("unbilled_seconds", 0)),
        *((f"{state}_{kind}_money", 0) for state in STATES for kind in _NOT_IN_THE_DEMO),
        *((f"due_{kind}_money", 0) for kind in ("demand", "water", "carbon")),
        *(("due_energy_money", facility * prices.joule), ("unpriced_energy_seconds", 0)),
    ):
        yield name, float(value)
    drawn = sum(node.energy_millijoules for node in interval.nodes)
    per_millijoule = facility * prices.joule / drawn
    dues = {node.node: _due(node, per_millijoule) for node in interval.nodes}
    for node in interval.nodes:
        yield "node_energy_joules", node.energy_millijoules / 1000
        for holder in node.holders:
            yield from _held(holder, prices, dues[node.node])
    yield from _serving(interval, prices, dues)


def _due(node: _Node, per_millijoule: float) -> _Due:
    """Return what a millijoule at one of the node's devices carries: all that its node drew."""
    drawn = node.energy_millijoules / sum(sum(h.millijoules.values()) for h in node.holders)
    return _Due(money=drawn * per_millijoule, joules=drawn / 1000)


def _held(holder: _Holder, prices: Prices, due: _Due) -> Iterator[tuple[str, float]]:
    # A simulated device is unhealthy where it fell off the bus.
    yield "unhealthy_lost_seconds", holder.milliseconds["unhealthy"] / 1000
    for state in STATES:
        seconds = holder.milliseconds[state] / 1000
        yield "installed_seconds", seconds
        yield f"{state}_seconds", seconds
        yield f"{state}_joules", holder.millijoules[state] / 1000
        yield f"{state}_drawn_joules", holder.millijoules[state] * due.joules
        yield f"{state}_capital_money", seconds * prices.device_second
        yield f"{state}_energy_money", holder.millijoules[state] * due.money


def _cost(holder: _Holder, states: tuple[str, ...], prices: Prices, due: _Due) -> _Cost:
    seconds = sum(holder.milliseconds[state] for state in states) / 1000
    energy = sum(holder.millijoules[state] for state in states)
    return _Cost(seconds * prices.device_second, energy * due.joules, energy * due.money)


def _serving(
    interval: _Interval, prices: Prices, dues: dict[str, _Due]
) -> Iterator[tuple[str, float]]:
    """Yield what served: an engine's devices, and by its held share what idles in its pool."""
    engines = {engine.engine: engine for engine in interval.engines}
    held: dict[str, float] = defaultdict(float)
    overhead: dict[str, _Cost] = defaultdict(_Cost)
    for node in interval.nodes:
        pool = prices.pools[node.node]
        for holder in node.holders:
            if holder.holder in engines:
                held[pool] += sum(holder.milliseconds.values())
            else:
                held[pool] += holder.milliseconds["active"] + holder.milliseconds["held_idle"]
                cost = _cost(holder, _OVERHEAD, prices, dues[node.node])
                overhead[pool] = overhead[pool].plus(cost)
    for node in interval.nodes:
        pool = prices.pools[node.node]
        for holder in node.holders:
            if holder.holder in engines:
                mine = sum(holder.milliseconds.values())
                cost = _cost(holder, STATES, prices, dues[node.node])
                cost = cost.plus(overhead[pool], mine / held[pool])
                yield from _served(engines[holder.holder], mine / 1000, cost)


def _served(engine: _Engine, seconds: float, cost: _Cost) -> Iterator[tuple[str, float]]:
    computed = engine.input_tokens - engine.cached_input_tokens + engine.output_tokens
    for name, value in (
        *(("engine_installed_seconds", seconds), ("engine_covered_seconds", seconds)),
        ("engine_computed_covered_seconds", seconds),
        *(("output_tokens", engine.output_tokens), ("input_tokens", engine.input_tokens)),
        ("cached_input_tokens", engine.cached_input_tokens),
        ("requests_succeeded", sum(engine.requests.values())),
        ("time_to_first_token_observed_requests", sum(engine.ttft_counts)),
        *(("engine_told_seconds", seconds), ("served_covered_seconds", seconds)),
        *(("served_output_tokens", engine.output_tokens), ("served_drawn_joules", cost.joules)),
        *((f"serving_{which}money", cost.accrued + cost.energy) for which in ("", "computed_")),
        *((f"serving_{which}accrued_money", cost.accrued) for which in ("", "computed_")),
        *((f"serving_{which}drawn_joules", cost.joules) for which in ("", "computed_")),
        ("serving_output_tokens", engine.output_tokens),
        ("serving_input_tokens", engine.input_tokens),
        ("serving_computed_tokens", computed),
    ):
        yield name, float(value)


def _kpis(sums: dict[str, float], currency: str) -> dict[str, dict[str, Any]]:
    idle = sums["free_seconds"] + sums["held_idle_seconds"]
    money, read = sums["serving_money"], sums["serving_input_tokens"]
    written, computed = sums["serving_output_tokens"], sums["serving_computed_tokens"]
    tokens = f"{currency} per million tokens"
    up = sums["installed_seconds"] - sums["unhealthy_seconds"]
    held, ended = sums["active_seconds"] + sums["held_idle_seconds"], sums["requests_succeeded"]
    joules = sums["served_drawn_joules"]
    return {
        "availability": _kpi(up, sums["installed_seconds"], "ratio"),
        "allocation_ratio": _kpi(held, held + sums["free_seconds"], "ratio"),
        "success_ratio": _kpi(ended, ended + sums["requests_failed"], "ratio"),
        "joules_per_output_token": _kpi(joules, written, "joules per token"),
        "tokens_per_second_per_megawatt": _kpi(
            written, joules, "tokens per second per megawatt", 1e6
        ),
        "wue": _kpi(
            sums["water_joint_litres"], sums["water_it_joint_joules"], "litres per kWh", 3.6e6
        ),
        "pue": _kpi(sums["facility_joules"], sums["it_joules"], "ratio"),
        "idle_capacity_ratio": _kpi(idle, idle + sums["active_seconds"], "ratio"),
        "cost_per_million_output_tokens": _kpi(money, written, tokens, 1e6),
        "cost_per_million_tokens": _kpi(money, read + written, tokens, 1e6),
        "cost_per_million_computed_tokens": _kpi(money, computed, tokens, 1e6),
    }


def _kpi(numerator: float, denominator: float, unit: str, scale: float = 1.0) -> dict[str, Any]:
    known = denominator > 0
    return {
        "value": scale * numerator / denominator if known else None,
        "unit": unit,
        "numerator": numerator,
        "denominator": denominator,
        "coverage": 1.0,
        "reason": None if known else "nothing to divide by",
    }
