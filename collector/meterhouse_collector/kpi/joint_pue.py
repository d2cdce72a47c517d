"""PUE over intervals from plain series of branches, some of them with gaps."""

from collections.abc import Sequence
from math import fsum
from typing import Final, Literal, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.energy import MORE_OUT, NO_IT, pue
from meterhouse_collector.kpi.jointly import Branch, Side, branch, side
from meterhouse_collector.kpi.numbers import not_negative, positive
from meterhouse_collector.kpi.pue_label import Category, pue_label, too_short
from meterhouse_collector.kpi.value import COVERAGE_FLOOR, Reasoned, below_floor
from meterhouse_collector.kpi.value import share as part_of

LAST_HOUR_SECONDS: Final = 3600.0


class Series(NamedTuple):
    """A meter or node, its energy in each interval, None where it is missing.

    An IT meter has a category; nodes have none.
    """

    name: str
    side: Literal["facility", "it"]
    joules: Sequence[float | None]
    factor: float = 1.0
    category: Category | None = None


class JointPue(NamedTuple):
    """PUE with the joint sums it was divided from, and how much of the IT energy they cover."""

    pue_ratio: float | None
    facility_joint_joules: float
    it_joint_joules: float
    filled_joules: float
    coverage_ratio: float
    joint_intervals_count: int
    label: str
    reason: str | None


def joint_pue(
    *,
    interval_seconds: float,
    branches: Sequence[Series],
    slowest_step_seconds: float = 0.0,
    battery_unmetered: bool = False,
) -> JointPue:
    """Return facility / IT energy over the intervals that count for both sides.

    An interval counts where the branches missing on either side carry at most 1 % of its expected
    energy; these are filled from their own last hour. A mixed cut has its most upstream category.
    There is no value under 95 % coverage, nor over less than four steps of the slowest meter
    (``definitions.md``, PUE). Raise ValueError for series of different lengths, energy below zero.
    Vector PUE-WEIGHT.
    """
    positive(interval_seconds=interval_seconds)
    not_negative(slowest_step_seconds=slowest_step_seconds)
    count = _length(branches)
    window = count * interval_seconds
    facility = [_side(branches, "facility", at, interval_seconds) for at in range(count)]
    equipment = [_side(branches, "it", at, interval_seconds) for at in range(count)]
    joint = [(f, i) for f, i in zip(facility, equipment, strict=True) if f.joint and i.joint]
    above = fsum(f.filled for f, _ in joint if f.filled is not None)
    below = fsum(i.filled for _, i in joint if i.filled is not None)
    expected = [i.filled for i in equipment if i.filled is not None]
    # Of intervals whose size is unknown energy says nothing: time does.
    coverage = part_of(below, fsum(expected)) * part_of(len(expected), count)
    reason = too_short(window, slowest_step_seconds) or _no_value(above, below, coverage, joint)
    found = Reasoned(None, reason)
    if reason is None:
        found = pue(facility_joules=above, it_joules=below, battery_unmetered=battery_unmetered)
    categories = [each.category for each in branches if each.side == "it" and each.category]
    return JointPue(
        pue_ratio=None if found.value is None else float(found.value),
        facility_joint_joules=above,
        it_joint_joules=below,
        filled_joules=fsum(f.gap + i.gap for f, i in joint),
        coverage_ratio=coverage,
        joint_intervals_count=len(joint),
        label=pue_label(window, min(categories, default=None), it_metered=bool(categories)),
        reason=found.reason,
    )


def _no_value(
    above: float, below: float, coverage: float, joint: Sequence[tuple[Side, Side]]
) -> str | None:
    if not joint:
        return "no interval has both facility and IT energy"
    if below <= 0:
        return NO_IT
    if above < 0:
        return MORE_OUT
    return below_floor(coverage, COVERAGE_FLOOR)


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
