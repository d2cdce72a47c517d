"""The idle-capacity ratio of the sums of a window: how much of what could work did not."""

from collections.abc import Mapping

from meterhouse_collector.kpi import idleness
from meterhouse_collector.kpi.value import COVERAGE_FLOOR, KpiValue, below_floor


def idle_capacity_ratio(sums: Mapping[str, float], *, floor: float = COVERAGE_FLOOR) -> KpiValue:
    """Return the idle-capacity ratio with its bounds for all that is unknown, and its coverage."""
    parts = idleness.idle_parts(
        free_seconds=sums["free_seconds"],
        held_idle_seconds=sums["held_idle_seconds"],
        stranded_seconds=sums["stranded_seconds"],
    )
    idle = parts.free_seconds + parts.held_idle_seconds
    # Sums of floats may end a hair below zero where every device was unhealthy.
    available = max(0.0, sums["installed_seconds"] - sums["unhealthy_seconds"])
    bounds = idleness.idle_capacity_bounds(
        idle_seconds=idle,
        active_seconds=sums["active_seconds"],
        unknown_seconds=sums["unknown_seconds"],
        available_seconds=available,
    )
    value, reason = idleness.idle_capacity_ratio(
        active_seconds=sums["active_seconds"],
        held_idle_seconds=sums["held_idle_seconds"],
        free_seconds=sums["free_seconds"],
        stranded_seconds=sums["stranded_seconds"],
    )
    if available <= 0:
        reason = "no device is available"
    reason = reason or below_floor(bounds.coverage_ratio, floor)
    return KpiValue(
        name="idle_capacity_ratio",
        unit="ratio",
        label="idle share of usable capacity",
        value=float(value) if value is not None and reason is None else None,
        numerator=idle,
        denominator=sums["active_seconds"] + idle,
        coverage=bounds.coverage_ratio,
        reason=reason,
        low=bounds.low_ratio,
        high=bounds.high_ratio,
    )
