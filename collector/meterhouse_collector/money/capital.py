"""The cost of owning hardware; floats are exact enough live, statements use decimals."""

import math
from typing import Final

SECONDS_PER_HOUR: Final = 3600.0
HOURS_PER_YEAR: Final = 8760.0


def straight_line_per_second(price: float, salvage: float, life_seconds: float) -> float:
    """Return what one second of life costs: (price - salvage) / life (``definitions.md``)."""
    return (price - salvage) / life_seconds


def straight_line_between(
    price: float,
    salvage: float,
    life_seconds: float,
    in_service: float,
    window: tuple[float, float],
) -> float:
    """Return what accrues in a window, zero before service and after the end of life."""
    begins = max(window[0], in_service)
    ends = min(window[1], in_service + life_seconds)
    return straight_line_per_second(price, salvage, life_seconds) * max(0.0, ends - begins)


def capital_recovery_factor(rate: float, years: float) -> float:
    """Return CRF = r(1 + r)^n / ((1 + r)^n - 1), and 1 / n at no interest."""
    if rate == 0:
        return 1.0 / years
    growth = math.pow(1.0 + rate, years)
    return rate * growth / (growth - 1.0)


def annuity_per_year(price: float, salvage: float, rate: float, years: float) -> float:
    """Return P * CRF - S * (CRF - r): what a year costs with interest (``definitions.md``)."""
    factor = capital_recovery_factor(rate, years)
    return price * factor - salvage * (factor - rate)
