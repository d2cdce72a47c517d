"""What was delivered of what a contract promises, in time and in the unit contracted."""

from collections.abc import Sequence
from math import fsum
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.numbers import not_negative, share
from meterhouse_collector.kpi.parts import not_above, ratio, reasoned
from meterhouse_collector.kpi.value import Reasoned


class Availability(NamedTuple):
    """The available share of what counts; the bounds take ``unknown`` as down, then as up."""

    ratio: float | None
    low_ratio: float | None
    high_ratio: float | None
    counted_seconds: float
    down_seconds: float
    reason: str | None = None


def availability(
    *,
    promised_seconds: float,
    down_seconds: float,
    planned_seconds: float = 0.0,
    tenant_caused_seconds: float = 0.0,
    unknown_seconds: float = 0.0,
    excludes_planned: bool,
    excludes_tenant_caused: bool,
) -> Availability:
    """Return up / (up + down) over the time that counts under a contract, with bounds.

    ``down``, ``planned`` and ``tenant_caused`` are disjoint. What the contract excludes leaves the
    denominator; what it does not exclude is down. ``unknown`` is neither up nor down: the ratio is
    of what is known, the bounds are of all (definitions: Contracts; reference 1.3). Raises
    ``ValueError`` where the parts are more than was promised.
    """
    parts = {
        "down_seconds": down_seconds,
        "planned_seconds": planned_seconds,
        "tenant_caused_seconds": tenant_caused_seconds,
        "unknown_seconds": unknown_seconds,
    }
    not_negative(promised_seconds=promised_seconds, **parts)
    not_above(promised_seconds, "promised_seconds", all_parts_seconds=fsum(parts.values()))
    excluded = (
        planned_seconds if excludes_planned else 0.0,
        tenant_caused_seconds if excludes_tenant_caused else 0.0,
    )
    counted = max(0.0, promised_seconds - fsum(excluded))
    down = fsum((down_seconds, planned_seconds, tenant_caused_seconds)) - fsum(excluded)
    up = max(0.0, counted - down - unknown_seconds)
    return Availability(
        ratio=ratio(up, up + down),
        low_ratio=ratio(up, counted),
        high_ratio=ratio(min(counted, up + unknown_seconds), counted),
        counted_seconds=counted,
        down_seconds=down,
        reason=None if up + down > 0 else "nothing is known of the time that counts",
    )


def allowed_down_seconds(*, availability_ratio: float, period_seconds: float) -> float:
    """Return how long something promised at a ratio may be down in a period.

    (1 - availability) * period (glennklockwood.com, availability; vector AVAIL). Raises
    ``ValueError`` for a ratio outside 0 to 1 and a period below 0.
    """
    share(availability_ratio=availability_ratio)
    not_negative(period_seconds=period_seconds)
    return (1 - availability_ratio) * period_seconds


class UnitGroup(NamedTuple):
    """Units alike (each a device, node, rack or fabric group): what is wrong in each of them."""

    units_count: float
    failed_devices: float
    unknown_devices: float = 0.0


class Delivered(NamedTuple):
    """Whole units delivered against contracted; the bounds take ``unknown`` as failed, then not."""

    low_ratio: float | None
    high_ratio: float | None
    low_count: float
    high_count: float
    reason: str | None = None


def delivered_units(
    *, contracted_count: float, groups: Sequence[UnitGroup], tolerated_devices: float = 0.0
) -> Delivered:
    """Return the units that were delivered, in the unit contracted (definitions: Contracts).

    A unit counts as delivered while at most ``tolerated_devices`` of its devices have failed: 80
    failed devices of 8,000 can be 8 % of 8-device nodes. More than contracted is not delivered.
    Multiply by the length of an interval for unit-seconds. Raises ``ValueError`` for an amount
    that is negative or no number.
    """
    not_negative(contracted_count=contracted_count, tolerated_devices=tolerated_devices)
    for group in groups:
        not_negative(
            units_count=group.units_count,
            failed_devices=group.failed_devices,
            unknown_devices=group.unknown_devices,
        )
    high = fsum(g.units_count for g in groups if g.failed_devices <= tolerated_devices)
    low = fsum(
        g.units_count for g in groups if g.failed_devices + g.unknown_devices <= tolerated_devices
    )
    low, high = min(low, contracted_count), min(high, contracted_count)
    return Delivered(
        low_ratio=ratio(low, contracted_count),
        high_ratio=ratio(high, contracted_count),
        low_count=low,
        high_count=high,
        reason=None if contracted_count > 0 else "nothing is contracted",
    )


def delivered_ratio(*, delivered_seconds: float, contracted_seconds: float) -> Reasoned:
    """Return delivered / contracted, in device- or unit-seconds.

    Sum of available * dt over sum of contracted * dt, per side, bought or sold (reference 1.4).
    Raises ``ValueError`` for an amount that is negative or no number.
    """
    not_negative(delivered_seconds=delivered_seconds, contracted_seconds=contracted_seconds)
    return reasoned(delivered_seconds, contracted_seconds, "nothing is contracted")


KPIS: Final = (
    Kpi(
        "allowed_down_seconds",
        "seconds",
        "(1 - availability_ratio) * period_seconds",
        "1",
        "(1 - availability) * period",
        "glennklockwood.com, availability",
    ),
    Kpi(
        "delivered_units",
        "by name",
        "units_count with failed_devices <= tolerated_devices",
        "contracted_count",
        "whole units delivered / units contracted",
        "definitions of this project, contracts",
    ),
)
