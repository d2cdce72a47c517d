"""PUE over intervals from plain series of branches, some of them with gaps."""

from collections.abc import Sequence
from math import fsum
from typing import Final, Literal, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.energy import MORE_OUT, NO_IT, pue
from meterhouse_collector.kpi.jointly import Branch, Side, branch, side
from meterhouse_collector.kpi.numbers import not_negative, positive
from meterhouse_collector.kpi.value import COVERAGE_FLOOR, below_floor
from meterhouse_collector.kpi.value import share as part_of

LAST_HOUR_SECONDS: Final = 3600.0


class Series(NamedTuple):
    """A meter or node, its energy in each interval, None where it is missing."""

    name: str
    side: Literal["facility", "it"]
    joules: Sequence[float | None]
    factor: float = 1.0


class JointPue(NamedTuple):
    """PUE with the joint sums it was divided from, and how much of the IT energy they cover."""

    pue_ratio: float | None
    facility_joint_joules: float
    it_joint_joules: float
    filled_joules: float
    coverage_ratio: float
    joint_intervals_count: int
    reason: str | None


def joint_pue(*, interval_seconds: float, branches: Sequence[Series]) -> JointPue:
    """Return facility / IT energy over the intervals that count for both sides.

    An interval counts where the branches missing on either side carry at most 1 % of its expected
    energy; these are filled from their own last hour. Under 95 % coverage there is no value
    (``definitions.md``, PUE). Raise ValueError for series of different lengths, energy below zero.
    """
    positive(interval_seconds=interval_seconds)
    count = _length(branches)
    facility = [_side(branches, "facility", at, interval_seconds) for at in range(count)]
    equipment = [_side(branches, "it", at, interval_seconds) for at in range(count)]
    joint = [
        (f, i)
        for f, i in zip(facility, equipment, strict=True)
        if f.joint and i.joint and f.filled is not None and i.filled is not None
    ]
    above = fsum(f.filled for f, _ in joint if f.filled is not None)
    below = fsum(i.filled for _, i in joint if i.filled is not None)
    expected = [i.filled for i in equipment if i.filled is not None]
    # Of intervals whose size is unknown energy says nothing: time does.
    coverage = part_of(below, fsum(expected)) * part_of(len(expected), count)
    return _found(above, below, coverage, joint)


def _found(
    above: float, below: float, coverage: float, joint: Sequence[tuple[Side, Side]]
) -> JointPue:
    reason = None
    if not joint:
        reason = "no interval has both facility and IT energy"
    elif below <= 0:
        reason = NO_IT
    elif above < 0:
        reason = MORE_OUT
    reason = reason or below_floor(coverage, COVERAGE_FLOOR)
    value = None
    if reason is None:
        found = pue(facility_joules=above, it_joules=below)
        value, reason = (None if found.value is None else float(found.value)), found.reason
    return JointPue(
        pue_ratio=value,
        facility_joint_joules=above,
        it_joint_joules=below,
        filled_joules=fsum(f.gap + i.gap for f, i in joint),
        coverage_ratio=coverage,
        joint_intervals_count=len(joint),
        reason=reason,
    )


def _length(branches: Sequence[Series]) -> int:
    lengths = {len(each.joules) for each in branches}
    if len(lengths) != 1:
        raise ValueError("branches: joules of one and the same number of intervals")
    for each in branches:
        not_negative(**{f"{each.name}.{at}": joules for at, joules in enumerate(each.joules)})
    return lengths.pop()


def _side(branches: Sequence[Series], name: str, at: int, seconds: float) -> Side:
    return side(_branch(each, at, seconds) for each in branches if each.side == name)


def _branch(series: Series, at: int, seconds: float) -> Branch:
    energy = series.joules[at]
    recent = max(0, at - int(LAST_HOUR_SECONDS // seconds))
    known = [each for each in series.joules[recent:at] if each is not None]
    watts = fsum(known) / (len(known) * seconds) if known else None
    covered = 0.0 if energy is None else 1.0
    return branch(energy, covered, watts, seconds)._replace(factor=series.factor)


KPIS: Final = (
    Kpi(
        "joint_pue",
        "by name",
        "facility_joint_joules",
        "it_joint_joules",
        "sum of facility energy / sum of IT energy, over intervals that miss at most 1 % of a side",
        "definitions of this project; ISO/IEC 30134-2, current edition",
    ),
)
