"""What a device does all day: one byte per block, drawn from a stable hash of seed and name.

Byte 0 is ``free``, 1 is ``held_idle``, 2 to 255 are ``active`` from low to high utilization.
A job slot (15 minutes unless configured) is busy, held or free as a whole, weighted by the day
curve; in a busy slot each block has a utilization of its own, and now and then waits for data.
"""

import hashlib
from typing import Final

from meterhouse_agent.simulation.fleet import (
    UTILIZATION_MAX_PER_MILLE,
    UTILIZATION_MIN_PER_MILLE,
    FleetSpec,
    active_milliwatts,
)
from meterhouse_agent.simulation.steps import Grid

FREE: Final = 0
HELD_IDLE: Final = 1
_LOWEST_ACTIVE: Final = 2
_BYTE_VALUES: Final = 256
_WAITING_VALUES: Final = 16
_DRAW_BYTES: Final = 2
_DRAW_VALUES: Final = 65_536
# Air passes a node's devices in turn, so that each is a degree warmer than the one before.
AIR_PLACES: Final = 8
_AIR_CELSIUS: Final = 27
_RISE_CELSIUS: Final = 45
_THROTTLED_CELSIUS: Final = 77
_THROTTLED_POWER_PERCENT: Final = 97


class Tables:
    """What each byte of a pattern is worth, for one fleet."""

    def __init__(self, spec: FleetSpec) -> None:
        codes = range(_BYTE_VALUES)
        self.utilization_per_mille = tuple(_utilization(code) for code in codes)
        self.power_milliwatts = tuple(_power(spec, code) for code in codes)
        self.active = tuple(int(code >= _LOWEST_ACTIVE) for code in codes)
        self.held_idle = tuple(int(code == HELD_IDLE) for code in codes)
        self.active_milliwatts = tuple(
            power if code >= _LOWEST_ACTIVE else 0
            for code, power in enumerate(self.power_milliwatts)
        )
        self.held_idle_milliwatts = tuple(
            power if code == HELD_IDLE else 0 for code, power in enumerate(self.power_milliwatts)
        )
        most = spec.max_power_watts * 1000
        self.throttled_power = tuple(
            int(100 * power >= _THROTTLED_POWER_PERCENT * most) for power in self.power_milliwatts
        )
        self.air = tuple(Air(self, place, most) for place in range(AIR_PLACES))


class Air:
    """What each byte of a pattern is worth to a device at one place in a node's stream of air."""

    def __init__(self, tables: Tables, place: int, max_milliwatts: int) -> None:
        self.temperature_celsius = tuple(
            _AIR_CELSIUS + place + _RISE_CELSIUS * power // max_milliwatts
            for power in tables.power_milliwatts
        )
        self.throttled_thermal = tuple(
            int(celsius >= _THROTTLED_CELSIUS) for celsius in self.temperature_celsius
        )
        self.throttled = tuple(map(max, tables.throttled_power, self.throttled_thermal))


def _utilization(code: int) -> int:
    if code < _LOWEST_ACTIVE:
        return 0
    step, steps = code - _LOWEST_ACTIVE, _BYTE_VALUES - 1 - _LOWEST_ACTIVE
    span = UTILIZATION_MAX_PER_MILLE - UTILIZATION_MIN_PER_MILLE
    return UTILIZATION_MIN_PER_MILLE + step * span // steps


def _power(spec: FleetSpec, code: int) -> int:
    if code == HELD_IDLE:
        return spec.held_power_watts * 1000
    return active_milliwatts(spec, _utilization(code))


def pattern(spec: FleetSpec, node: str, device: str, *, engine_held: bool) -> tuple[Grid, bytes]:
    """Return where a device's blocks lie and what it does in each; an engine's is never free."""
    count = spec.period_seconds // spec.block_seconds
    per_job = spec.job_seconds // spec.block_seconds
    jobs = -(-count // per_job)
    name = f"{spec.seed}/{node}/{device}".encode()
    drawn = hashlib.shake_256(name).digest(_DRAW_BYTES * (jobs + 1) + count)
    draws = [int.from_bytes(drawn[at : at + 2], "big") for at in range(0, 2 * jobs + 2, 2)]
    offset = draws.pop() % spec.block_seconds
    blocks = drawn[_DRAW_BYTES * (jobs + 1) :]
    free = bytes([HELD_IDLE if engine_held else FREE])
    parts = []
    for job, draw in enumerate(draws):
        part = blocks[job * per_job : (job + 1) * per_job]
        busy, held = _thresholds(spec, job, jobs)
        if draw < busy:
            parts.append(part.translate(_BUSY))
        else:
            parts.append((bytes([HELD_IDLE]) if draw < held else free) * len(part))
    grid = Grid(block=spec.block_seconds * 1000, count=count, offset=offset * 1000)
    return grid, b"".join(parts)


def _thresholds(spec: FleetSpec, job: int, jobs: int) -> tuple[int, int]:
    curve = spec.day_curve_per_mille[job * len(spec.day_curve_per_mille) // jobs]
    busy = _DRAW_VALUES * spec.busy_per_mille * curve // 1_000_000
    return busy, busy + (_DRAW_VALUES - busy) * spec.held_per_mille // 1000


def _busy_code(value: int) -> int:
    if value < _WAITING_VALUES:
        return HELD_IDLE
    steps = _BYTE_VALUES - 1 - _WAITING_VALUES
    return _LOWEST_ACTIVE + (value - _WAITING_VALUES) * (_BYTE_VALUES - 1 - _LOWEST_ACTIVE) // steps


_BUSY: Final = bytes(_busy_code(value) for value in range(_BYTE_VALUES))
