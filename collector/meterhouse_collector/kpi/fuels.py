"""The formula of the energy in fuels."""

from math import fsum
from typing import Final

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.numbers import not_negative

JOULES_PER_KWH: Final = 3_600_000.0
DIESEL_KWH_PER_LITRE: Final = 9.9
NATURAL_GAS_KWH_PER_M3: Final = 10.5
HYDROGEN_KWH_PER_KG: Final = 38.9
BIOETHANOL_KWH_PER_LITRE: Final = 6.0


def fuel_energy(
    *,
    diesel_litres: float = 0.0,
    natural_gas_m3: float = 0.0,
    hydrogen_kg: float = 0.0,
    bioethanol_litres: float = 0.0,
) -> float:
    """Return the energy in fuels, as it counts in the energy of a facility.

    Raise ValueError for amounts below zero (factors of EN 50600-4). Vector FUEL-CONV.
    """
    not_negative(
        diesel_litres=diesel_litres,
        natural_gas_m3=natural_gas_m3,
        hydrogen_kg=hydrogen_kg,
        bioethanol_litres=bioethanol_litres,
    )
    return JOULES_PER_KWH * fsum(
        (
            diesel_litres * DIESEL_KWH_PER_LITRE,
            natural_gas_m3 * NATURAL_GAS_KWH_PER_M3,
            hydrogen_kg * HYDROGEN_KWH_PER_KG,
            bioethanol_litres * BIOETHANOL_KWH_PER_LITRE,
        )
    )


KPIS: Final = (
    Kpi(
        "fuel_energy",
        "joules",
        "amounts of fuel * their energy",
        "1",
        "diesel 9.9 kWh/l + natural gas 10.5 kWh/m3 + hydrogen 38.9 kWh/kg + bioethanol 6 kWh/l",
        "EN 50600-4 factsheet, ictfootprint.eu",
    ),
)
