"""Reports turned into ledger rows: who held a node's devices, in which state, for how long.

Every function is pure, and ``node_row`` runs for every report of every node.
"""

from collections.abc import Sequence
from math import fsum
from operator import add
from typing import Final

from msgspec.structs import replace

from meterhouse_agent import wire
from meterhouse_collector.rows import (
    EngineRow,
    MeterRow,
    NodeRow,
    ReasonMilliseconds,
    Served,
    Share,
)
from meterhouse_collector.site.devices import ENGINE_PREFIX, Grouping, Part
from meterhouse_collector.site.index import SiteIndex

METHODS: Final[tuple[wire.Method, ...]] = (
    "counter",
    "integrated",
    "interpolated",
    "estimated",
    "nameplate",
)
_RANKS: Final[dict[wire.Method, int]] = {method: rank for rank, method in enumerate(METHODS)}
_PLACES: Final[dict[wire.State, int]] = {state: place for place, state in enumerate(wire.STATES)}
_HELD_IDLE: Final = wire.STATES.index("held_idle")
_FREE: Final = wire.STATES.index("free")
_UNKNOWN: Final = wire.STATES.index("unknown")
_REASONS: Final[dict[str, int]] = {r: place for place, r in enumerate(wire.UNHEALTHY_REASONS)}

Milliseconds = Sequence[int]
Joules = Sequence[float | None]


class ReportError(ValueError):
    """A report that contradicts itself or its inventory; the text says how."""


def node_row(report: wire.Report, inventory: wire.Inventory, index: SiteIndex) -> NodeRow:
    """Turn a report into its node's ledger row; raise ``ReportError`` where it cannot be true.

    What a device's states leave of the interval is ``unknown``, and so is the whole interval of a
    registered device that the inventory lacks.
    """
    grouping = index.grouping(report.node, inventory, report.start_seconds)
    length = report.length_seconds * 1000
    shares: tuple[Share, ...] = ()
    if grouping.parts:
        columns = report.accelerators or wire.Accelerators()
        shares = _shares(columns, grouping, length)
        if columns.unhealthy_reasons:
            parts = zip(shares, grouping.parts, strict=True)
            shares = tuple(_with_reasons(share, part, columns) for share, part in parts)
    host = report.host
    if host is None:
        return NodeRow(length, shares)
    _check_covered("host", host.covered_milliseconds, length)
    return NodeRow(
        length_milliseconds=length,
        shares=shares,
        host_covered_milliseconds=host.covered_milliseconds,
        energy_joules=host.energy_joules,
        energy_method=host.energy_method,
        cpu_energy_joules=host.cpu_energy_joules,
    )


def _shares(accelerators: wire.Accelerators, grouping: Grouping, length: int) -> tuple[Share, ...]:
    milliseconds, joules = accelerators.state_milliseconds, accelerators.state_joules
    devices = grouping.devices
    times = list(milliseconds.values())
    columns: list[Sequence[float | None]] = [*times, *joules.values()]
    for column in columns:
        if len(column) != devices:
            raise ReportError(f"a column of {len(column)} entries for {devices} devices")
    methods = accelerators.energy_method
    if not isinstance(methods, str) and len(methods) != devices:
        raise ReportError(f"{len(methods)} energy methods for {devices} devices")
    longest = _longest(times)
    if longest > length:
        raise ReportError(f"states of {longest} ms in an interval of {length} ms")
    if grouping.whole:
        return (_share(grouping.parts[0], milliseconds, joules, methods, length),)
    shares = []
    for part in grouping.parts:
        mine = part.columns
        shares.append(
            _share(
                part,
                {state: [values[i] for i in mine] for state, values in milliseconds.items()},
                {state: [values[i] for i in mine] for state, values in joules.items()},
                methods if isinstance(methods, str) else [methods[i] for i in mine],
                length,
            )
        )
    return tuple(shares)


def _with_reasons(share: Share, part: Part, accelerators: wire.Accelerators) -> Share:
    times = accelerators.state_milliseconds.get("unhealthy", [])
    found = [0, 0, 0, 0]
    for column in part.columns if times else ():
        reason = accelerators.unhealthy_reasons.get(column, "").partition(":")[0]
        if reason in _REASONS:
            found[_REASONS[reason]] += times[column]
    failed, lost, planned, quarantined = found
    told: ReasonMilliseconds = (failed, lost, planned, quarantined)
    return replace(share, unhealthy_milliseconds=told) if any(told) else share


def _share(
    part: Part,
    milliseconds: "dict[wire.State, list[int]]",
    joules: "dict[wire.State, list[float | None]]",
    methods: wire.Method | Sequence[wire.Method],
    length: int,
) -> Share:
    times, missing = [0, 0, 0, 0, 0], part.missing > 0
    energies: list[float | None] = [None, None, None, None, None]
    for state, energy in joules.items():
        energies[_PLACES[state]] = _sum(energy)
    for state, time in milliseconds.items():
        place = _PLACES[state]
        times[place] = total = sum(time)
        if total > 0 and not missing:
            missing = energies[place] is None or _lacks(time, joules[state])
    uncovered = (len(part.columns) + part.missing) * length - sum(times)
    times[_UNKNOWN] += uncovered
    if part.holder.startswith(ENGINE_PREFIX):
        # What an engine holds is allocated, whether or not its process is up.
        times[_HELD_IDLE] += times[_FREE]
        times[_FREE] = 0
        energies[_HELD_IDLE] = _plus(energies[_HELD_IDLE], energies[_FREE])
        energies[_FREE] = None
    return Share(
        part.accelerator_model,
        part.holder,
        tuple(times),  # type: ignore[arg-type] # they are five
        tuple(energies),  # type: ignore[arg-type] # the same
        methods if isinstance(methods, str) else _worst(methods),
        "missing" if missing or uncovered > 0 else "ok",
    )


def _longest(times: Sequence[Milliseconds]) -> int:
    """Return the most that the states of one device come to."""
    if len(times) == 1:
        return max(times[0]) if times[0] else 0
    by_device = map(add, *times) if len(times) == 2 else map(sum, zip(*times, strict=True))  # noqa: PLR2004 - most often there are two
    return max(by_device, default=0)


def _sum(values: Joules) -> float | None:
    if None not in values:
        return fsum(values) if values else None  # type: ignore[arg-type] # no None
    measured = [value for value in values if value is not None]
    return fsum(measured) if measured else None


def _plus(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return one if other is None else other
    return one + other


def _lacks(times: Milliseconds, energies: Joules) -> bool:
    if None not in energies:
        return False
    return any(e is None and t > 0 for t, e in zip(times, energies, strict=True))


def _worst(methods: Sequence[wire.Method]) -> wire.Method:
    return max(methods, key=_RANKS.__getitem__, default="counter")


def _check_covered(thing: str, covered: int, length: int) -> None:
    if covered > length:
        raise ReportError(f"{thing}: {covered} ms covered of an interval of {length} ms")


def meter_row(meter: wire.Meter, length_seconds: int) -> MeterRow:
    """Turn one meter of a report into its ledger row.

    Raises ``ReportError`` for one that covers more than the interval or counts two quantities.
    """
    length = length_seconds * 1000
    _check_covered(f"meter {meter.meter}", meter.covered_milliseconds, length)
    _check_quantity(meter)
    return MeterRow(
        length_milliseconds=length,
        covered_milliseconds=meter.covered_milliseconds,
        energy_joules=meter.energy_joules,
        volume_litres=meter.volume_litres,
        energy_method=meter.energy_method,
        quality=meter.quality,
        power_watts=meter.power_watts,
        power_watts_max=meter.power_watts_max,
    )


def _check_quantity(meter: wire.Meter) -> None:
    energy = meter.energy_joules is not None or meter.power_watts is not None
    volume = meter.volume_litres is not None
    for register in meter.registers:
        if (register.register_joules is None) == (register.register_litres is None):
            raise ReportError(
                f"meter {meter.meter}: a register says either register_joules or register_litres"
            )
        energy |= register.register_joules is not None
        volume |= register.register_litres is not None
    if energy and volume:
        raise ReportError(f"meter {meter.meter} reports energy and a volume: one of them is wrong")


def meter_rows(report: wire.Report) -> dict[str, MeterRow]:
    """Turn the meters of a report into ledger rows; raise ``ReportError`` for one there twice."""
    result: dict[str, MeterRow] = {}
    for meter in report.meters:
        if meter.meter in result:
            raise ReportError(f"meter {meter.meter} twice")
        result[meter.meter] = meter_row(meter, report.length_seconds)
    return result


def sensors_of(report: wire.Report) -> dict[str, wire.Sensor]:
    """Return the sensors of a report by name; raise ``ReportError`` for a contradiction."""
    result: dict[str, wire.Sensor] = {}
    for sensor in report.sensors:
        name, covered = f"sensor {sensor.sensor}", sensor.covered_milliseconds
        _check_covered(name, covered, report.length_seconds * 1000)
        if sensor.sensor in result:
            raise ReportError(f"{name} twice")
        if sensor.contact_milliseconds is not None and sensor.contact_milliseconds > covered:
            raise ReportError(f"{name}: its contact meant alarm for longer than it was read")
        mean, most = sensor.temperature_celsius, sensor.temperature_celsius_max
        if mean is not None and most is not None and most < mean:
            raise ReportError(f"{name}: a mean of {mean:g} above its maximum, {most:g}")
        result[sensor.sensor] = sensor
    return result


def engine_row(engines: Sequence[wire.Engine], length_seconds: int) -> EngineRow:
    """Turn all that a report says of one engine into its ledger row."""
    length = length_seconds * 1000
    served: dict[str, Served] = {}
    for engine in engines:
        _check_covered(f"engine {engine.engine}", engine.covered_milliseconds, length)
        if engine.served_model in served:
            raise ReportError(f"engine {engine.engine}: {engine.served_model!r} twice")
        served[engine.served_model] = Served(
            served_model=engine.served_model,
            covered_milliseconds=engine.covered_milliseconds,
            input_tokens=engine.input_tokens,
            cached_input_tokens=engine.cached_input_tokens,
            output_tokens=engine.output_tokens,
            requests=engine.requests,
            running_requests=engine.running_requests,
            waiting_requests=engine.waiting_requests,
            latency=engine.latency,
            quality=engine.quality,
        )
    return EngineRow(length_milliseconds=length, served=tuple(served.values()))


def engine_rows(report: wire.Report) -> dict[str, EngineRow]:
    """Turn the engines of a report into ledger rows."""
    engines: dict[str, list[wire.Engine]] = {}
    for engine in report.engines:
        engines.setdefault(engine.engine, []).append(engine)
    return {name: engine_row(parts, report.length_seconds) for name, parts in engines.items()}
