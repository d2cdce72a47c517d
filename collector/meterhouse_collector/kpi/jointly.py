"""When an interval counts for both sides of PUE, and what fills its gaps (``definitions.md``)."""

from collections.abc import Iterable, Sequence
from math import fsum
from typing import Final, NamedTuple

MISSING_SHARE_MAX: Final = 0.01


class Branch(NamedTuple):
    """A meter or node of one side; ``expected`` is of the whole interval, ``gap`` of its hole.

    Both are None where nothing is known of the hole; ``nameplate`` says that only the peak is.
    """

    measured: float | None
    expected: float | None
    gap: float | None
    nameplate: bool = False
    factor: float = 1.0


class Side(NamedTuple):
    """Facility or IT energy: as measured, with gaps filled where their size is known.

    ``gap`` is what fills them, less where something is subtracted; ``estimated`` is its whole size.
    """

    measured: float | None
    filled: float | None
    gap: float
    billable: bool
    joint: bool
    estimated: float = 0.0


def branch(
    energy: float | None, covered: float, watts: float | None, length_seconds: float
) -> Branch:
    """Return a branch of an interval: its gap filled by the last known power, or its own mean."""
    if energy is not None and covered >= 1.0:
        return Branch(energy, energy, 0.0)
    if watts is not None:
        expected = watts * length_seconds
    elif energy is not None and covered > 0.0:
        expected = energy / covered
    else:
        return Branch(energy, None, None)
    gap = expected * (1.0 - covered)
    return Branch(energy, (energy or 0.0) + gap, gap)


def at_peak(found: Branch, covered: float, peak_watts: float | None, seconds: float) -> Branch:
    """Return a branch whose hole nobody knows, filled with the most it can draw where stated."""
    if found.expected is not None or peak_watts is None:
        return found
    peak = peak_watts * seconds
    return Branch(found.measured, peak, peak * (1.0 - covered), nameplate=True)


def side(entries: Iterable[Branch], whole: Sequence[float] = ()) -> Side:
    """Sum one side, which counts where what is missing is at most 1 % of what is expected.

    ``whole`` is the energy of more branches, which were measured all the time.
    """
    branches = list(entries)
    known = [branch.factor * b for branch in branches if (b := branch.measured) is not None]
    known += whole
    measured = fsum(known) if known else None
    gaps = [branch.factor * b for branch in branches if (b := branch.gap) is not None]
    expectations = [branch.factor * b for branch in branches if (b := branch.expected) is not None]
    if (not known and not branches) or len(expectations) < len(branches):
        return Side(measured, None, 0.0, billable=False, joint=False)
    size = fsum(map(abs, (*expectations, *whole)))
    estimated = fsum(map(abs, gaps))
    joint = estimated <= MISSING_SHARE_MAX * size
    gap = fsum(gaps)
    # A bill may rest on the last known power of much, but on a nameplate only within the limit.
    billable = joint or not any(branch.nameplate for branch in branches)
    filled = fsum([*known, gap])
    return Side(measured, filled, gap, billable=billable, joint=joint, estimated=estimated)
