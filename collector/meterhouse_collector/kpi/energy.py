"""Formulas of energy: what a site drew over what its IT drew."""

from typing import Final

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.numbers import not_negative
from meterhouse_collector.kpi.value import Reasoned

BELOW_ONE: Final = "below 1: a meter of the boundary is missing, or one is wrong"


def pue(*, facility_joules: float, it_joules: float, battery_unmetered: bool = False) -> Reasoned:
    """Return facility energy / IT energy; below 1 alarms unless a battery discharges unmetered.

    Raise ValueError for energy below zero (ISO/IEC 30134-2; reference 4.1).
    """
    not_negative(facility_joules=facility_joules, it_joules=it_joules)
    if it_joules == 0:
        return Reasoned(None, "no IT energy")
    value = facility_joules / it_joules
    return Reasoned(value, BELOW_ONE if value < 1 and not battery_unmetered else None)


KPIS: Final[tuple[Kpi, ...]] = ()
