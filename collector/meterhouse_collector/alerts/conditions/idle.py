"""Idle capacity: its ratio, what could be reclaimed of it, and what that costs per hour."""

from decimal import Decimal
from math import fsum
from typing import Final, NamedTuple

from meterhouse_agent import wire
from meterhouse_collector.alerts.held import Held
from meterhouse_collector.alerts.known import (
    LiveKnown,
    observed,
    scope_labels,
    scope_sums,
    within,
)
from meterhouse_collector.alerts.state import Observation
from meterhouse_collector.kpi import idle
from meterhouse_collector.kpi.reclaimable import stake_per_hour
from meterhouse_collector.money.decimals import CONTEXT, ZERO, exact, multiply
from meterhouse_collector.money.kinds import JOULES_KINDS, SECONDS_KINDS
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.site.targets import Scope, Threshold

_HOUR_SECONDS: Final = Decimal(3600)


def idle_ratio(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold the idle-capacity ratio of the last window against a threshold."""
    kpi = idle.idle_capacity_ratio(scope_sums(known.groups, threshold.scope))
    about = scope_labels(known.model.name, threshold.scope)
    evidence = {"coverage_ratio": kpi.coverage}
    if kpi.low is not None and kpi.high is not None:
        evidence |= {"low_ratio": kpi.low, "high_ratio": kpi.high}
    return [observed(threshold, about, kpi.value, "ratio", reason=kpi.reason, **evidence)]


def reclaimable_ratio(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold reclaimable devices / available ones against a threshold.

    Fires by what is known to be reclaimable, and clears only where what may be is below as well.
    """
    about = scope_labels(known.model.name, threshold.scope)
    held = _held(known, threshold.scope)
    sums = scope_sums(known.latest, threshold.scope)
    available = _available_devices(sums, known.latest_seconds)
    if available is None:
        reason = "no device is available"
        return [observed(threshold, about, None, "ratio", reason=reason)]
    low = min(1.0, held.low_devices / available)
    return [
        observed(
            threshold,
            about,
            low,
            "ratio",
            low=low,
            high=min(1.0, held.high_devices / available),
            reclaimable_devices=held.low_devices,
            at_most_devices=held.high_devices,
            available_devices=available,
        )
    ]


def reclaimable_cost(threshold: Threshold, known: LiveKnown) -> list[Observation]:
    """Hold what reclaimable devices cost per hour against a threshold."""
    about = scope_labels(known.model.name, threshold.scope)
    unit = f"{known.model.currency} per hour"
    held = _held(known, threshold.scope)
    sums = scope_sums(known.groups, threshold.scope)
    if sums["installed_seconds"] <= 0:
        return [observed(threshold, about, None, unit, reason="no device is installed")]
    if sums["unpriced_seconds"] > 0:
        reason = f"{sums['unpriced_seconds']:g} device-seconds have no price"
        return [observed(threshold, about, None, unit, reason=reason)]
    low, high = (_per_hour(sums, devices) for devices in (held.low_devices, held.high_devices))
    return [
        observed(
            threshold,
            about,
            low.whole,
            unit,
            low=low.whole,
            high=high.whole,
            reclaimable_devices=held.low_devices,
            at_most_devices=held.high_devices,
            energy_money_per_hour=low.energy,
        )
    ]


def _held(known: LiveKnown, scope: Scope) -> Held:
    found = [
        held
        for group, held in known.held.items()
        if within(scope, cluster=group.cluster, pool=group.pool, tenant=group.tenant)
    ]
    return Held(fsum(h.low_devices for h in found), fsum(h.high_devices for h in found))


def _available_devices(sums: Sums, seconds: float) -> float | None:
    if seconds <= 0:
        return None
    devices = (sums["installed_seconds"] - sums["unhealthy_seconds"]) / seconds
    return devices if devices > 0 else None


class _PerHour(NamedTuple):
    """What some idle devices cost per hour, and the part of it that is energy."""

    whole: float
    energy: float


def _per_hour(sums: Sums, devices: float) -> _PerHour:
    """Price devices that are held idle: time costs all alike, energy as was drawn while idle."""
    fixed = fsum(sums[f"{state}_{kind}_money"] for kind in SECONDS_KINDS for state in wire.STATES)
    drawn = fsum(sums[f"held_idle_{kind}_money"] for kind in JOULES_KINDS)
    stake = stake_per_hour(
        idle_devices=devices,
        fixed_per_device_hour_money=_rate(fixed, sums["installed_seconds"]),
        cancellable_per_device_hour_money=ZERO,
        energy_per_device_hour_money=_rate(drawn, sums["held_idle_seconds"]),
    )
    return _PerHour(float(stake.whole_money), float(stake.avoidable_money))


def _rate(money: float, seconds: float) -> Decimal:
    if seconds <= 0:
        return ZERO
    return multiply(CONTEXT.divide(exact(money), exact(seconds)), _HOUR_SECONDS)
