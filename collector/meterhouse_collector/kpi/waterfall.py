"""The capacity waterfall: from what was contracted down to what computed, in device-seconds."""

from collections.abc import Iterable, Sequence
from math import fsum
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.numbers import not_negative, positive
from meterhouse_collector.kpi.parts import not_above, reasoned
from meterhouse_collector.kpi.value import Reasoned


class Waterfall(NamedTuple):
    """The levels of one interval, or of several added; None is a level that nobody stated.

    ``effective_high_seconds`` takes devices without a known activity as wholly active.
    """

    contracted_seconds: float | None
    delivered_seconds: float | None
    installed_seconds: float
    available_seconds: float
    usable_seconds: float
    known_seconds: float
    allocated_seconds: float | None
    active_seconds: float
    effective_seconds: float | None
    effective_high_seconds: float | None
    stranded_seconds: float


def waterfall(  # noqa: PLR0913 - each level of the waterfall by its name
    *,
    active_seconds: float,
    held_idle_seconds: float,
    free_seconds: float,
    unhealthy_seconds: float,
    unknown_seconds: float,
    contracted_seconds: float | None = None,
    delivered_seconds: float | None = None,
    powerable_seconds: float | None = None,
    allocated_seconds: float | None = None,
    activity_covered_seconds: float = 0.0,
    activity_seconds: float | None = None,
) -> Waterfall:
    """Return the levels of one interval from its five states (definitions: Waterfall).

    installed = the five states; available = installed - unhealthy; usable = min(available,
    powerable); known = usable - unknown, not below 0; stranded = max(0, available - powerable).
    ``activity_seconds`` is the sum of active device-seconds * SM or tensor activity, over the
    ``activity_covered_seconds`` of the active ones for which it is known. Without
    ``powerable_seconds`` no limit is stated and nothing is stranded. Raises ``ValueError`` for an
    amount that is negative or no number, and for more activity than is active.
    """
    not_negative(
        active_seconds=active_seconds,
        held_idle_seconds=held_idle_seconds,
        free_seconds=free_seconds,
        unhealthy_seconds=unhealthy_seconds,
        unknown_seconds=unknown_seconds,
        contracted_seconds=contracted_seconds,
        delivered_seconds=delivered_seconds,
        powerable_seconds=powerable_seconds,
        allocated_seconds=allocated_seconds,
    )
    low, high = _effective(active_seconds, activity_covered_seconds, activity_seconds)
    workable = (active_seconds, held_idle_seconds, free_seconds, unknown_seconds)
    available = fsum(workable)
    usable = available if powerable_seconds is None else min(available, powerable_seconds)
    return Waterfall(
        contracted_seconds=contracted_seconds,
        delivered_seconds=delivered_seconds,
        installed_seconds=fsum((*workable, unhealthy_seconds)),
        available_seconds=available,
        usable_seconds=usable,
        known_seconds=max(0.0, usable - unknown_seconds),
        allocated_seconds=allocated_seconds,
        active_seconds=active_seconds,
        effective_seconds=low,
        effective_high_seconds=high,
        stranded_seconds=available - usable,
    )


def _effective(
    active_seconds: float, covered_seconds: float, activity_seconds: float | None
) -> tuple[float | None, float | None]:
    not_negative(activity_covered_seconds=covered_seconds, activity_seconds=activity_seconds)
    not_above(active_seconds, "active_seconds", activity_covered_seconds=covered_seconds)
    if activity_seconds is None:
        return None, None
    not_above(covered_seconds, "activity_covered_seconds", activity_seconds=activity_seconds)
    return activity_seconds, activity_seconds + max(0.0, active_seconds - covered_seconds)


def add_waterfalls(*, waterfalls: Sequence[Waterfall]) -> Waterfall:
    """Return the levels of several disjoint intervals or groups: each level is their sum.

    What is stranded in one interval is not made good by room in another, so levels are summed and
    never derived from summed states. A level missing in one is missing in the sum. Raises
    ``ValueError`` for an amount that is negative or no number.
    """
    for each in waterfalls:
        not_negative(**each._asdict())
    return Waterfall(
        contracted_seconds=_sum(each.contracted_seconds for each in waterfalls),
        delivered_seconds=_sum(each.delivered_seconds for each in waterfalls),
        installed_seconds=fsum(each.installed_seconds for each in waterfalls),
        available_seconds=fsum(each.available_seconds for each in waterfalls),
        usable_seconds=fsum(each.usable_seconds for each in waterfalls),
        known_seconds=fsum(each.known_seconds for each in waterfalls),
        allocated_seconds=_sum(each.allocated_seconds for each in waterfalls),
        active_seconds=fsum(each.active_seconds for each in waterfalls),
        effective_seconds=_sum(each.effective_seconds for each in waterfalls),
        effective_high_seconds=_sum(each.effective_high_seconds for each in waterfalls),
        stranded_seconds=fsum(each.stranded_seconds for each in waterfalls),
    )


def _sum(levels: Iterable[float | None]) -> float | None:
    known: list[float] = []
    for level in levels:
        if level is None:
            return None
        known.append(level)
    return fsum(known) if known else None


def powerable_devices(*, at_n_watts: float, device_peak_watts: float) -> float:
    """Return how many devices can be powered and cooled at N, always an estimate.

    watts at N / configured peak watts per device (definitions: Waterfall). Raises ``ValueError``
    for a negative limit and for a peak that is not above zero.
    """
    not_negative(at_n_watts=at_n_watts)
    positive(device_peak_watts=device_peak_watts)
    return at_n_watts / device_peak_watts


def useful_ratio(*, useful_seconds: float, held_seconds: float) -> Reasoned:
    """Return the share of held device- or node-seconds that did what they were held for.

    useful / held, in the same unit on both sides: two levels of the waterfall (vector GPU-SWEEP).
    Raises ``ValueError`` for more useful than held.
    """
    not_negative(useful_seconds=useful_seconds, held_seconds=held_seconds)
    not_above(held_seconds, "held_seconds", useful_seconds=useful_seconds)
    return reasoned(useful_seconds, held_seconds, "nothing was held")


KPIS: Final = (
    Kpi(
        "waterfall",
        "by name",
        "device-seconds of the five states",
        "1",
        "available = installed - unhealthy; usable = min(available, powerable); known = usable -"
        " unknown",
        "definitions of this project, waterfall",
    ),
    Kpi(
        "add_waterfalls",
        "by name",
        "each level of disjoint intervals or groups",
        "1",
        "sum of each level",
        "definitions of this project, waterfall",
    ),
    Kpi(
        "powerable_devices",
        "devices",
        "at_n_watts",
        "device_peak_watts",
        "watts at N / configured peak watts of a device",
        "definitions of this project, waterfall",
    ),
    Kpi(
        "useful_ratio",
        "ratio",
        "useful_seconds",
        "held_seconds",
        "useful / held",
        "two levels of the waterfall; public note, GPU sweep",
    ),
)
