"""The idle-capacity ratio: how much of what could work did not."""

from collections.abc import Mapping

from meterhouse_collector.kpi.value import COVERAGE_FLOOR, KpiValue, below_floor, share


def idle_capacity_ratio(sums: Mapping[str, float], *, floor: float = COVERAGE_FLOOR) -> KpiValue:
    """Return (free - stranded + held_idle) / (active + held_idle + free - stranded).

    The bounds take all ``unknown`` as busy, then as idle; the coverage is known / available
    (``definitions.md``). A ``free`` that is less than what is stranded counts as none.
    """
    free = max(0.0, sums["free_seconds"] - sums["stranded_seconds"])
    idle = free + sums["held_idle_seconds"]
    known = sums["active_seconds"] + idle
    unknown = sums["unknown_seconds"]
    available = sums["installed_seconds"] - sums["unhealthy_seconds"]
    coverage = share(available - unknown, available)
    bounded = known + unknown
    reason = None
    if available <= 0:
        reason = "no device is available"
    elif known <= 0:
        reason = "nothing is known of any available device"
    reason = reason or below_floor(coverage, floor)
    return KpiValue(
        name="idle_capacity_ratio",
        unit="ratio",
        label="idle share of usable capacity",
        value=idle / known if reason is None else None,
        numerator=idle,
        denominator=known,
        coverage=coverage,
        reason=reason,
        low=idle / bounded if bounded > 0 else None,
        high=(idle + unknown) / bounded if bounded > 0 else None,
    )
