"""A KPI from two sums and the formula that divides them, with its coverage and its bounds."""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

from meterhouse_collector.kpi.value import KpiValue, Reasoned, below_floor

TOO_LARGE: Final = "too large for a number: next to nothing stands below the line"


class Ratio(NamedTuple):
    """Two sums and how they become a KPI; ``nothing`` says what a denominator of zero means."""

    name: str
    unit: str
    label: str
    numerator: float
    denominator: float
    coverage: float
    formula: Callable[[], Reasoned]
    nothing: str


class Bounds(NamedTuple):
    """What the value would be if all were known."""

    low: float | None = None
    high: float | None = None


def kpi_of(ratio: Ratio, floor: float, bounds: Bounds = Bounds()) -> KpiValue:  # noqa: B008 - a constant
    """Return the KPI; with nothing to divide by, or too little of it known, it has a reason."""
    reason = below_floor(ratio.coverage, floor)
    if ratio.denominator <= 0:
        reason = ratio.nothing
    elif ratio.numerator < 0:
        reason = f"{ratio.numerator:g} is below 0: a meter is wrong, or has the wrong sign"
    value = None
    if reason is None:
        found = ratio.formula()
        value, reason = (None if found.value is None else float(found.value)), found.reason
        if value is not None and not math.isfinite(value):
            value, reason = None, TOO_LARGE
    return KpiValue(
        name=ratio.name,
        unit=ratio.unit,
        label=ratio.label,
        value=value,
        numerator=ratio.numerator,
        denominator=ratio.denominator,
        coverage=ratio.coverage,
        reason=reason,
        low=bounds.low,
        high=bounds.high,
    )
