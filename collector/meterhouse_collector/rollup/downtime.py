"""What an operator says is down put on a node's cells: time of other states becomes ``unhealthy``.

A silent node is ``unknown`` until somebody says that it is down, and a late word re-states it; what
is drained or in maintenance is ``unhealthy`` unless it computes (``definitions.md``, State of a
device-second). A row names no devices: of a node that is partly down it is what was ``unknown``
first, then what was free, then held. Pure.
"""

from collections.abc import Iterable, Sequence
from math import fsum
from typing import Final

from msgspec.structs import replace

from meterhouse_agent import wire
from meterhouse_collector.rollup.cells import NO_REASONS, Cell
from meterhouse_collector.site.downtime import SaidDown

_PLACES: Final = {state: place for place, state in enumerate(wire.STATES)}
_ACTIVE: Final = _PLACES["active"]
_UNHEALTHY: Final = _PLACES["unhealthy"]
_IDLE: Final = (_PLACES["unknown"], _PLACES["free"], _PLACES["held_idle"])
# What is drained may compute until it is done; what is lost or failed cannot.
MAY_COMPUTE: Final[frozenset[wire.UnhealthyReason]] = frozenset(("planned", "quarantined"))


def put_down(placed: list[Cell], said: Iterable[SaidDown], length_milliseconds: int) -> list[Cell]:
    """Return the cells of a node as what is said of it makes them; each keeps its whole time."""
    devices = fsum(part for cell in placed for part in cell.seconds) * 1000 / length_milliseconds
    # What shows as unhealthy already is what they speak of.
    shown = fsum(cell.seconds[_UNHEALTHY] for cell in placed)
    for each in said:
        down = devices if each.devices is None else min(devices, each.devices)
        needed = down * each.milliseconds / 1000
        meant = min(shown, needed)
        shown, needed = shown - meant, needed - meant
        for state in _IDLE if each.reason in MAY_COMPUTE else (*_IDLE, _ACTIVE):
            there = fsum(cell.seconds[state] for cell in placed)
            if needed > 0 and there > 0:
                part = min(1.0, needed / there)
                placed = [_moved(cell, state, part, each.reason) for cell in placed]
                needed -= there
    return placed


def _moved(cell: Cell, state: int, part: float, reason: wire.UnhealthyReason) -> Cell:
    if cell.seconds[state] == 0:
        return cell
    reasons = list(cell.reasons or NO_REASONS)
    reasons[wire.UNHEALTHY_REASONS.index(reason)] += cell.seconds[state] * part
    return replace(
        cell,
        seconds=_with(cell.seconds, state, part),
        joules=_with(cell.joules, state, part),
        reasons=tuple(reasons),
    )


def _with(amounts: Sequence[float], state: int, part: float) -> tuple[float, ...]:
    result = list(amounts)
    moved = result[state] * part
    result[state] = 0.0 if part == 1.0 else result[state] - moved
    result[_UNHEALTHY] += moved
    return tuple(result)
