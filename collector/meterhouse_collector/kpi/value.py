"""The value of a KPI, with what it was divided from and how far to trust it."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

COVERAGE_FLOOR: Final = 0.95


class Reasoned(NamedTuple):
    """What a formula found; without a value there is a reason, with one it is an alarm."""

    value: float | Decimal | None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KpiValue:
    """A KPI over a window; without a ``value`` there is a ``reason``, and never a zero instead.

    A value may have a reason too, where it stands but alarms. ``low`` and ``high`` bound what the
    value would be if all were known.
    """

    name: str
    unit: str
    label: str
    value: float | None
    numerator: float
    denominator: float
    coverage: float
    reason: str | None = None
    low: float | None = None
    high: float | None = None


def share(part: float, whole: float) -> float:
    """Return a coverage: of nothing, nothing is covered."""
    return part / whole if whole > 0 else 0.0


def below_floor(coverage: float, floor: float) -> str | None:
    """Return the reason why a coverage is too low for a value, or None where it is not."""
    if coverage >= floor:
        return None
    return f"coverage {coverage:.1%} is below {floor:.0%}"
