"""Availability, allocation and delivery of the sums of a window, each of what is known.

What is unknown is in neither part; the bounds take it as down, idle or not delivered, then not.
"""

from collections.abc import Mapping
from typing import Final, Literal

from meterhouse_collector.kpi import availability as formulas
from meterhouse_collector.kpi import idleness
from meterhouse_collector.kpi.parts import ratio
from meterhouse_collector.kpi.ratios import Bounds, Ratio, kpi_of
from meterhouse_collector.kpi.value import KpiValue, Reasoned, share

Side = Literal["sold", "bought"]
_DELIVERED: Final[Mapping[Side, str]] = {
    "sold": "delivered_ratio",
    "bought": "bought_delivered_ratio",
}


def availability(sums: Mapping[str, float], *, floor: float) -> KpiValue:
    """Return the part of installed device-seconds that were not unhealthy, planned work included.

    The exclusions of a contract are not made here: both sides agree to those by hand.
    """
    installed, down, unknown = (
        sums[name] for name in ("installed_seconds", "unhealthy_seconds", "unknown_seconds")
    )
    up = installed - down - unknown

    def formula() -> Reasoned:
        found = formulas.availability(
            promised_seconds=installed,
            down_seconds=down,
            unknown_seconds=unknown,
            excludes_planned=False,
            excludes_tenant_caused=False,
        )
        return Reasoned(found.ratio, found.reason)

    return kpi_of(
        Ratio(
            name="availability",
            unit="ratio",
            label="installed devices that were not unhealthy",
            # Sums of floats may end a hair below zero.
            numerator=_not_below_zero(up, installed),
            denominator=installed - unknown,
            coverage=share(installed - unknown, installed),
            formula=formula,
            nothing="nothing is known of any installed device",
        ),
        floor,
        Bounds(ratio(max(0.0, up), installed), ratio(max(0.0, installed - down), installed)),
    )


def allocation_ratio(sums: Mapping[str, float], *, floor: float) -> KpiValue:
    """Return the part of available device-seconds that somebody held."""
    allocated = sums["active_seconds"] + sums["held_idle_seconds"]
    known = allocated + sums["free_seconds"]
    unknown = sums["unknown_seconds"]
    return kpi_of(
        Ratio(
            name="allocation_ratio",
            unit="ratio",
            label="available devices that somebody held",
            numerator=allocated,
            denominator=known,
            coverage=share(known, known + unknown),
            formula=lambda: idleness.allocation_ratio(
                allocated_seconds=allocated, available_seconds=known
            ),
            nothing="nothing is known of any available device",
        ),
        floor,
        Bounds(ratio(allocated, known + unknown), ratio(allocated + unknown, known + unknown)),
    )


def delivered_ratio(sums: Mapping[str, float], *, side: Side, floor: float) -> KpiValue:
    """Return what was delivered of what contracts of one side promise, in the units contracted."""
    contracted = sums[f"{side}_contracted_seconds"]
    delivered = sums[f"{side}_delivered_seconds"]
    unknown = sums[f"{side}_undetermined_seconds"]
    known = contracted - unknown
    return kpi_of(
        Ratio(
            name=_DELIVERED[side],
            unit="ratio",
            label=f"capacity delivered of what is {side}",
            numerator=delivered,
            denominator=known,
            coverage=share(known, contracted),
            formula=lambda: formulas.delivered_ratio(
                delivered_seconds=delivered, contracted_seconds=known
            ),
            nothing="nothing is contracted, or nothing is known of it",
        ),
        floor,
        Bounds(ratio(delivered, contracted), ratio(delivered + unknown, contracted)),
    )


def _not_below_zero(amount: float, whole: float) -> float:
    return 0.0 if -1e-9 * whole < amount < 0 else amount
