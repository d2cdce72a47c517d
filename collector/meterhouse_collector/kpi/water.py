"""Formulas of water: litres for each kWh of IT energy."""

from typing import Final

from meterhouse_collector.kpi.energy import NO_IT
from meterhouse_collector.kpi.numbers import not_negative
from meterhouse_collector.kpi.value import Reasoned

JOULES_PER_KWH: Final = 3_600_000.0


def wue(*, water_litres: float, it_joules: float) -> Reasoned:
    """Return the water a site takes in, in litres / kWh of IT energy; m3 / MWh is the same number.

    Raise ValueError for amounts below zero (ISO/IEC 30134-9; Green Grid WP35).
    """
    not_negative(water_litres=water_litres, it_joules=it_joules)
    if it_joules == 0:
        return Reasoned(None, NO_IT)
    return Reasoned(water_litres / (it_joules / JOULES_PER_KWH))


def wue_source(*, wue_litres_per_kwh: float, grid_litres_per_kwh: float, pue_ratio: float) -> float:
    """Return WUE + the water of the grid's energy * PUE: an estimate, as the grid's factor is.

    Raise ValueError for amounts below zero or a PUE below 1 (Green Grid WP35).
    """
    not_negative(wue_litres_per_kwh=wue_litres_per_kwh, grid_litres_per_kwh=grid_litres_per_kwh)
    if not pue_ratio >= 1:
        raise ValueError(f"pue_ratio is {pue_ratio}: at least 1")
    return wue_litres_per_kwh + grid_litres_per_kwh * pue_ratio
