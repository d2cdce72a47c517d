"""The catalogue of all formulas: a row for each, kept beside its function."""

from typing import Final

from meterhouse_collector.kpi import catalogue, energy

KPIS: Final = (
    *catalogue.KPIS,
    *energy.KPIS,
)
