"""The idle-capacity ratio of the sums of a window: how much of what could work did not."""

from collections.abc import Mapping
from typing import Final, Literal

from meterhouse_collector.kpi import idleness
from meterhouse_collector.kpi.parts import ratio
from meterhouse_collector.kpi.ratios import Bounds, Ratio, kpi_of
from meterhouse_collector.kpi.value import COVERAGE_FLOOR, KpiValue, Reasoned, below_floor, share

Sale = Literal["sold", "unsold"]
_LABELS: Final[Mapping[Sale, str]] = {
    "sold": "idle share of usable capacity, in pools that a contract sells",
    "unsold": "idle share of usable capacity, in pools that no contract sells",
}


def idle_capacity_ratio(sums: Mapping[str, float], *, floor: float = COVERAGE_FLOOR) -> KpiValue:
    """Return the idle-capacity ratio with its bounds for all that is unknown, and its coverage."""
    idle, available = _idle(sums), _available(sums)
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
        label=_label("idle share of usable capacity", sums),
        value=float(value) if value is not None and reason is None else None,
        numerator=idle,
        denominator=sums["active_seconds"] + idle,
        coverage=bounds.coverage_ratio,
        reason=reason,
        low=bounds.low_ratio,
        high=bounds.high_ratio,
    )


def idle_by_sale(sums: Mapping[str, float], *, side: Sale, floor: float) -> KpiValue:
    """Return the idle-capacity ratio of what is sold by contract, or of the rest: they add up."""
    idle, active = _idle(sums), sums["active_seconds"]
    # What is stranded in one group may be more than is free there.
    sold = min(idle, max(0.0, sums["sold_idle_seconds"]))
    part = sold if side == "sold" else idle - sold
    unknown = sums["unknown_seconds"]
    mine = min(unknown, sums["sold_unknown_seconds"])
    mine = mine if side == "sold" else unknown - mine
    whole = active + idle + unknown

    def formula() -> Reasoned:
        # Active ones count once, in either group.
        found = idleness.idle_by_sale(
            groups=[
                idleness.IdleGroup(sold=True, idle_seconds=sold, known_seconds=sold),
                idleness.IdleGroup(
                    sold=False, idle_seconds=idle - sold, known_seconds=active + idle - sold
                ),
            ]
        )
        value = found.sold_ratio if side == "sold" else found.unsold_ratio
        return Reasoned(value, found.reason)

    return kpi_of(
        Ratio(
            name=f"{side}_idle_ratio",
            unit="ratio",
            label=_label(_LABELS[side], sums),
            numerator=part,
            denominator=active + idle,
            coverage=share(active + idle, whole),
            formula=formula,
            nothing="nothing is known of any available device",
        ),
        floor,
        Bounds(ratio(part, whole), ratio(part + mine, whole)),
    )


def contracted_idle_ratio(sums: Mapping[str, float], *, floor: float) -> KpiValue:
    """Return what was idle against what contracts buy, with all that is unknown busy, then idle."""
    idle, contracted = _idle(sums), sums["bought_contracted_seconds"]
    unknown, available = sums["unknown_seconds"], _available(sums)
    found = idleness.idle_of_contracted(
        idle_seconds=idle, unknown_seconds=unknown, contracted_seconds=contracted
    )
    return kpi_of(
        Ratio(
            name="contracted_idle_ratio",
            unit="ratio",
            label=_label("idle capacity of what is bought by contract", sums),
            numerator=idle,
            denominator=contracted,
            coverage=share(available - unknown, available),
            formula=lambda: Reasoned(found.ratio, found.reason),
            nothing="nothing is contracted",
        ),
        floor,
        Bounds(found.ratio, found.high_ratio),
    )


def _label(label: str, sums: Mapping[str, float]) -> str:
    # Limits are in watts: how many devices they carry goes by what each may draw at most.
    return f"{label}; stranded is estimated" if sums["stranded_seconds"] > 0 else label


def _idle(sums: Mapping[str, float]) -> float:
    parts = idleness.idle_parts(
        free_seconds=sums["free_seconds"],
        held_idle_seconds=sums["held_idle_seconds"],
        stranded_seconds=sums["stranded_seconds"],
    )
    return parts.free_seconds + parts.held_idle_seconds


def _available(sums: Mapping[str, float]) -> float:
    # Sums of floats may end a hair below zero where every device was unhealthy.
    return max(0.0, sums["installed_seconds"] - sums["unhealthy_seconds"])
