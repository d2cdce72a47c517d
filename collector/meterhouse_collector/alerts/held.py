"""For how long devices have been held idle: what ``reclaimable`` says, interval by interval.

Counted twice: ``low`` of what is known, ``high`` where all that is not known counts as idle. So
silence neither fires an alert nor ends one, and neither does a restart.
"""

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

from meterhouse_agent import wire
from meterhouse_collector.rollup.site_energy import IntervalRows
from meterhouse_collector.rows import NodeRow
from meterhouse_collector.site.downtime import wholly_down
from meterhouse_collector.site.index import GroupKey, SiteIndex
from meterhouse_collector.site.register import Placement, Plan

_HELD_IDLE: Final = wire.STATES.index("held_idle")
_UNKNOWN: Final = wire.STATES.index("unknown")
# Longer than any ``idle_after``: the run of a device that nobody watched before.
_FOR_EVER: Final = 2**40
# Far below the millisecond that is counted, far above the rounding of seconds.
_ROUNDING: Final = 1e-5

_Holding = tuple[str, str, str]


class Held(NamedTuple):
    """Devices of a group that have been held idle for ``idle_after``: at least, and at most."""

    low_devices: float = 0.0
    high_devices: float = 0.0


class _Runs(NamedTuple):
    low: list[int]
    high: list[int]


class _Count(NamedTuple):
    """Device-seconds of one node's devices of one model and holder."""

    holding: _Holding
    idle_seconds: float
    unknown_seconds: float


def continued(runs: list[int], devices: int, fresh: int = 1) -> list[int]:
    """Return the runs, in intervals, after one more in which so many devices were idle.

    Longest first: whoever stopped idling is taken to be one that began last, so this is at most
    what has lasted (``kpi/reclaimable.py``). Those that begin have a run of ``fresh``.
    """
    kept = [run + 1 for run in runs[:devices]]
    return sorted(kept + [fresh] * (devices - len(kept)), reverse=True)


class HeldRuns:
    """Takes the rows of each interval once, in their order."""

    def __init__(self, index: SiteIndex) -> None:
        self._index = index
        self._runs: dict[_Holding, _Runs] = {}
        self._ends_seconds: int | None = None
        self._length_seconds = 0

    def add(self, rows: IntervalRows) -> None:
        """Take an interval; after a hole nothing is known of what was before."""
        if self._ends_seconds != rows.start_seconds:
            self._runs = {}
            fresh = _FOR_EVER
        else:
            fresh = 1
        self._ends_seconds = rows.start_seconds + rows.length_seconds
        self._length_seconds = rows.length_seconds
        runs: dict[_Holding, _Runs] = {}
        nothing = _Runs([], [])
        for count in self._counts(rows):
            before = self._runs.get(count.holding, nothing)
            low = math.floor(count.idle_seconds / rows.length_seconds + _ROUNDING)
            maybe = count.idle_seconds + count.unknown_seconds
            high = math.floor(maybe / rows.length_seconds + _ROUNDING)
            if high > 0:
                runs[count.holding] = _Runs(
                    continued(before.low, low), continued(before.high, high, fresh)
                )
        self._runs = runs

    def _counts(self, rows: IntervalRows) -> Iterator[_Count]:
        plans = self._index.plans(rows.start_seconds)
        # What is down is not held, and of that nothing is unknown.
        down = wholly_down(self._index.said_down(rows.start_seconds, rows.length_seconds))
        for name, row in rows.nodes.items():
            if name not in down:
                yield from _counts(name, row, plans.get(name), rows.length_seconds)
        for name in plans.keys() - rows.nodes.keys() - down:
            for (model, holder), holding in plans[name].holdings.items():
                silent = float(holding.devices * rows.length_seconds)
                yield _Count((name, model, holder), 0.0, silent)

    def held(self) -> dict[GroupKey, Held]:
        """Return what is reclaimable now, by group; a pool says after what time."""
        if self._ends_seconds is None:
            return {}
        at_seconds = self._ends_seconds - self._length_seconds
        found: dict[GroupKey, Held] = {}
        needed: dict[str, int] = {}
        for (node, model, holder), runs in self._runs.items():
            plan = self._index.plan(node, at_seconds)
            for placement in self._placements(plan, model, holder):
                group, weight = placement.group, placement.weight
                if group.pool not in needed:
                    needed[group.pool] = self._needed(group.pool, at_seconds)
                low, high = (
                    weight * sum(1 for run in each if run >= needed[group.pool]) for each in runs
                )
                before = found.get(group, Held())
                found[group] = Held(before.low_devices + low, before.high_devices + high)
        return found

    def _placements(self, plan: Plan | None, model: str, holder: str) -> tuple[Placement, ...]:
        holding = None if plan is None else plan.holdings.get((model, holder))
        if holding is None:
            return (Placement(self._index.unregistered_group(model), "", 1.0),)
        return holding.placements

    def _needed(self, pool: str, at_seconds: float) -> int:
        entry = self._index.dated.pool.get(pool, at_seconds)
        seconds = 300.0 if entry is None else entry.idle_after
        return max(1, math.ceil(seconds / self._length_seconds - _ROUNDING))


def _counts(name: str, row: NodeRow, plan: Plan | None, length_seconds: int) -> Iterator[_Count]:
    lacking = {} if plan is None else {key: h.devices for key, h in plan.holdings.items()}
    for share in row.shares:
        milliseconds, key = share.milliseconds, (share.accelerator_model, share.holder)
        # What is installed and not in the row is not known, either.
        rest = lacking.pop(key, 0) * length_seconds - sum(milliseconds) / 1000
        unknown = milliseconds[_UNKNOWN] / 1000 + max(0.0, rest)
        yield _Count((name, *key), milliseconds[_HELD_IDLE] / 1000, unknown)
    for key, devices in lacking.items():
        yield _Count((name, *key), 0.0, float(devices * length_seconds))
