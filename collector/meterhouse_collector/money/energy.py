"""The cost of energy; floats are exact enough live, statements use decimals."""

from typing import Final

JOULES_PER_KWH: Final = 3_600_000.0


def bill(facility_joules: float | None, price_per_joule: float | None) -> float | None:
    """Return boundary energy times the tariff, never times a PUE; None where either is unknown."""
    if facility_joules is None or price_per_joule is None:
        return None
    return facility_joules * price_per_joule
