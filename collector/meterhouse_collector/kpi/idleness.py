"""The formulas of idle capacity, from plain device-seconds."""

from collections.abc import Sequence
from math import fsum, isclose
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.numbers import not_negative
from meterhouse_collector.kpi.parts import not_above, ratio, reasoned
from meterhouse_collector.kpi.value import Reasoned, share


def idle_capacity_ratio(
    *,
    active_seconds: float,
    held_idle_seconds: float,
    free_seconds: float,
    stranded_seconds: float = 0.0,
) -> Reasoned:
    """Return (free - stranded + held_idle) / (active + held_idle + free - stranded).

    A ``free`` that is less than what is stranded counts as none (``definitions.md``). Never show
    it without ``idle_capacity_bounds``: it is of what is known.
    """
    not_negative(active_seconds=active_seconds)
    parts = idle_parts(
        free_seconds=free_seconds,
        held_idle_seconds=held_idle_seconds,
        stranded_seconds=stranded_seconds,
    )
    idle = parts.free_seconds + parts.held_idle_seconds
    return reasoned(idle, active_seconds + idle, "nothing is known of any available device")


def allocation_ratio(*, allocated_seconds: float, available_seconds: float) -> Reasoned:
    """Return allocated / available: what somebody held of what could work (Run:ai: held).

    Raises ``ValueError`` for more allocated than available.
    """
    not_negative(allocated_seconds=allocated_seconds, available_seconds=available_seconds)
    not_above(available_seconds, "available_seconds", allocated_seconds=allocated_seconds)
    return reasoned(allocated_seconds, available_seconds, "no device is available")


class IdleBounds(NamedTuple):
    """The least and the most that may be idle, and how much is known of what is available."""

    low_ratio: float | None
    high_ratio: float | None
    coverage_ratio: float
    reason: str | None = None


def idle_capacity_bounds(
    *, idle_seconds: float, active_seconds: float, unknown_seconds: float, available_seconds: float
) -> IdleBounds:
    """Return the idle-capacity ratio with all ``unknown`` busy, then all idle, and its coverage.

    idle is free - stranded + held_idle; coverage = known / available, where available is
    installed - unhealthy (``definitions.md``). Raises ``ValueError`` for an amount that is
    negative or no number; more unknown than available is a contradiction and has no bounds.
    """
    not_negative(
        idle_seconds=idle_seconds,
        active_seconds=active_seconds,
        unknown_seconds=unknown_seconds,
        available_seconds=available_seconds,
    )
    # Live sums are a hair apart now and then, and must not stop the page.
    if unknown_seconds > available_seconds and not isclose(unknown_seconds, available_seconds):
        return IdleBounds(None, None, 0.0, "more is unknown than available")
    bounded = active_seconds + idle_seconds + unknown_seconds
    return IdleBounds(
        low_ratio=ratio(idle_seconds, bounded),
        high_ratio=ratio(idle_seconds + unknown_seconds, bounded),
        coverage_ratio=share(available_seconds - unknown_seconds, available_seconds),
        reason=None if bounded > 0 else "no device is available",
    )


class IdleParts(NamedTuple):
    """Where idle capacity lies; ``free`` is what is left of it without the stranded part."""

    free_seconds: float
    held_idle_seconds: float
    stranded_seconds: float


def idle_parts(
    *, free_seconds: float, held_idle_seconds: float, stranded_seconds: float
) -> IdleParts:
    """Return the parts of idle capacity: stranded is taken out of free (definitions: Waterfall).

    free + held_idle of the result is the numerator of the idle-capacity ratio. Raises
    ``ValueError`` for an amount that is negative or no number.
    """
    not_negative(
        free_seconds=free_seconds,
        held_idle_seconds=held_idle_seconds,
        stranded_seconds=stranded_seconds,
    )
    return IdleParts(max(0.0, free_seconds - stranded_seconds), held_idle_seconds, stranded_seconds)


class OfContracted(NamedTuple):
    """Idle device-seconds against contracted ones; the bounds take ``unknown`` busy, then idle."""

    ratio: float | None
    high_ratio: float | None
    reason: str | None = None


def idle_of_contracted(
    *, idle_seconds: float, unknown_seconds: float, contracted_seconds: float
) -> OfContracted:
    """Return idle / contracted, and (idle + unknown) / contracted as its upper bound.

    The first is the lower bound too, since what is contracted is known whatever is silent. It may
    pass 1 where more is installed than contracted (definitions: Idle-capacity ratio). Raises
    ``ValueError`` for an amount that is negative or no number.
    """
    not_negative(
        idle_seconds=idle_seconds,
        unknown_seconds=unknown_seconds,
        contracted_seconds=contracted_seconds,
    )
    return OfContracted(
        ratio=ratio(idle_seconds, contracted_seconds),
        high_ratio=ratio(idle_seconds + unknown_seconds, contracted_seconds),
        reason=None if contracted_seconds > 0 else "nothing is contracted",
    )


class IdleGroup(NamedTuple):
    """One group of devices: sold to a tenant by contract, or not; idle without the stranded."""

    sold: bool
    idle_seconds: float
    known_seconds: float


class IdleBySale(NamedTuple):
    """The idle share of sold and of unsold devices; both are of all known, so they add up."""

    sold_ratio: float | None
    unsold_ratio: float | None
    sold_idle_seconds: float
    unsold_idle_seconds: float
    reason: str | None = None


def idle_by_sale(*, groups: Sequence[IdleGroup]) -> IdleBySale:
    """Return the idle-capacity ratio split by contract into sold and unsold.

    idle of sold / known of all, and idle of unsold / known of all: their sum is the whole ratio
    (definitions: Idle-capacity ratio). Raises ``ValueError`` for an amount that is negative or no
    number, and for more that is idle than known.
    """
    for group in groups:
        not_negative(idle_seconds=group.idle_seconds, known_seconds=group.known_seconds)
        not_above(group.known_seconds, "known_seconds", idle_seconds=group.idle_seconds)
    known = fsum(group.known_seconds for group in groups)
    sold = fsum(group.idle_seconds for group in groups if group.sold)
    unsold = fsum(group.idle_seconds for group in groups if not group.sold)
    reason = None if known > 0 else "nothing is known of any available device"
    return IdleBySale(ratio(sold, known), ratio(unsold, known), sold, unsold, reason)


class Reserve(NamedTuple):
    """What a pool keeps free on purpose, what it is short of that, and what is free beyond."""

    reserved_seconds: float
    short_seconds: float
    beyond_seconds: float


def pool_reserve(*, free_seconds: float, reserve_seconds: float) -> Reserve:
    """Return the declared reserve of a pool as far as it is free; it stays in the idle ratio.

    It is shown apart, and takes nothing away (definitions: Idle-capacity ratio). Raises
    ``ValueError`` for an amount that is negative or no number.
    """
    not_negative(free_seconds=free_seconds, reserve_seconds=reserve_seconds)
    reserved = min(free_seconds, reserve_seconds)
    return Reserve(reserved, reserve_seconds - reserved, free_seconds - reserved)


KPIS: Final = (
    Kpi(
        "idle_capacity_bounds",
        "by name",
        "idle_seconds; idle_seconds + unknown_seconds",
        "active_seconds + idle_seconds + unknown_seconds",
        "all unknown busy, then all idle; coverage = known / available",
        "definitions of this project, idle-capacity ratio",
    ),
    Kpi(
        "idle_parts",
        "by name",
        "free_seconds - stranded_seconds; held_idle_seconds",
        "1",
        "stranded is taken out of free",
        "definitions of this project, waterfall",
    ),
    Kpi(
        "idle_of_contracted",
        "by name",
        "idle_seconds; idle_seconds + unknown_seconds",
        "contracted_seconds",
        "idle / contracted, and with all unknown idle",
        "definitions of this project, idle-capacity ratio",
    ),
    Kpi(
        "idle_by_sale",
        "by name",
        "idle_seconds of sold groups; of unsold groups",
        "known_seconds of all groups",
        "idle of a part / known of all",
        "definitions of this project, idle-capacity ratio",
    ),
    Kpi(
        "pool_reserve",
        "by name",
        "min(free_seconds, reserve_seconds)",
        "1",
        "reserve as far as it is free, shown apart",
        "definitions of this project, idle-capacity ratio",
    ),
)
