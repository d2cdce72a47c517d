"""What could be taken back: devices held idle for as long as ``idle_after``, and what they cost."""

import math
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.numbers import not_negative, positive
from meterhouse_collector.kpi.parts import not_above
from meterhouse_collector.money.decimals import add, exact, multiply

IDLE_AFTER_SECONDS: Final = 300.0
# Far below the millisecond that is counted, far above the rounding of seconds since 1970.
_ROUNDING: Final = 1e-5


class HeldInterval(NamedTuple):
    """One interval of one device, or of one holder's devices: how much of it was held idle."""

    start_seconds: float
    held_idle_seconds: float
    device_seconds: float


class Reclaimable(NamedTuple):
    """Device-seconds that had lasted, devices that have at the end, and the longest wait of one."""

    reclaimable_seconds: float
    now_devices: int
    longest_seconds: float


def reclaimable(
    *,
    intervals: Sequence[HeldInterval],
    interval_seconds: float,
    idle_after_seconds: float = IDLE_AFTER_SECONDS,
) -> Reclaimable:
    """Return what of ``held_idle`` has lasted ``idle_after`` or longer (definitions: reclaimable).

    An interval counts when the run it belongs to has lasted so long by its end, so a figure never
    changes by what comes later. The run of a device is broken by any work, and by an interval that
    is missing: what nobody saw has not lasted. Of several devices of one holder only whole ones
    count, as if those that work were always the same ones: at most this much has lasted, so give
    device by device where that is known. Raises ``ValueError`` for intervals out of order and for
    more held idle than there is.
    """
    _check(intervals, interval_seconds, idle_after_seconds)
    needed = max(1, math.ceil(idle_after_seconds / interval_seconds - _ROUNDING))
    counted, longest, ends_seconds = 0, 0, -math.inf
    runs: list[int] = []
    for interval in intervals:
        if not math.isclose(interval.start_seconds, ends_seconds, rel_tol=0, abs_tol=_ROUNDING):
            runs = []
        ends_seconds = interval.start_seconds + interval_seconds
        idle = int(interval.held_idle_seconds / interval_seconds + _ROUNDING)
        # Longest first: whoever stopped idling is taken to be one that began last.
        runs = [run + 1 for run in runs[:idle]] + [1] * max(0, idle - len(runs))
        counted += sum(1 for run in runs if run >= needed)
        longest = max([longest, *runs[:1]])
    return Reclaimable(
        reclaimable_seconds=counted * interval_seconds,
        now_devices=sum(1 for run in runs if run >= needed),
        longest_seconds=longest * interval_seconds,
    )


def _check(
    intervals: Sequence[HeldInterval], interval_seconds: float, idle_after_seconds: float
) -> None:
    positive(interval_seconds=interval_seconds)
    not_negative(idle_after_seconds=idle_after_seconds)
    for each in intervals:
        not_negative(held_idle_seconds=each.held_idle_seconds, device_seconds=each.device_seconds)
        not_above(each.device_seconds, "device_seconds", held_idle_seconds=each.held_idle_seconds)
    for before, after in pairwise(intervals):
        if not after.start_seconds > before.start_seconds:
            raise ValueError(f"start_seconds is {after.start_seconds}: above the one before it")


class Stake(NamedTuple):
    """What idle devices cost per hour: all of it, and the part that ends with giving them back."""

    whole_money: Decimal
    avoidable_money: Decimal


def stake_per_hour(
    *,
    idle_devices: float,
    fixed_per_device_hour_money: Decimal,
    cancellable_per_device_hour_money: Decimal,
    energy_per_device_hour_money: Decimal,
) -> Stake:
    """Return the cost at stake per hour of devices that are held idle or free.

    whole = devices * (fixed + cancellable + energy); avoidable = devices * (cancellable rent +
    energy), the rest is sunk (definitions: Idle-capacity ratio). Energy is that of an idle device.
    Raises ``ValueError`` for an amount that is negative or no number.
    """
    not_negative(
        idle_devices=idle_devices,
        fixed_per_device_hour_money=fixed_per_device_hour_money,
        cancellable_per_device_hour_money=cancellable_per_device_hour_money,
        energy_per_device_hour_money=energy_per_device_hour_money,
    )
    devices = exact(idle_devices)
    avoidable = add((cancellable_per_device_hour_money, energy_per_device_hour_money))
    whole = add((fixed_per_device_hour_money, avoidable))
    return Stake(multiply(devices, whole), multiply(devices, avoidable))


KPIS: Final = (
    Kpi(
        "reclaimable",
        "by name",
        "held_idle_seconds that lasted idle_after_seconds",
        "1",
        "held idle of runs that have lasted idle_after by the end of the interval",
        "definitions of this project, idle-capacity ratio",
    ),
    Kpi(
        "stake_per_hour",
        "by name",
        "idle_devices * money per device-hour",
        "1",
        "devices * (fixed + cancellable + energy); avoidable without fixed",
        "definitions of this project, idle-capacity ratio",
    ),
)
