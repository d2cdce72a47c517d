"""The catalogue of all formulas: a row for each, kept beside its function."""

from typing import Final

from meterhouse_collector.kpi import (
    carbon,
    catalogue,
    energy,
    eu_core,
    fuels,
    joint_pue,
    losses,
    renewable,
    token_energy,
    water,
)
from meterhouse_collector.money import (
    burn,
    capital,
    cash_flow,
    contract,
    cost,
    delivery,
    margin,
    matrix,
    sizing,
)

KPIS: Final = (
    *catalogue.KPIS,
    *energy.KPIS,
    *joint_pue.KPIS,
    *eu_core.KPIS,
    *renewable.KPIS,
    *water.KPIS,
    *losses.KPIS,
    *carbon.KPIS,
    *fuels.KPIS,
    *token_energy.KPIS,
    *burn.KPIS,
    *capital.KPIS,
    *cash_flow.KPIS,
    *contract.KPIS,
    *cost.KPIS,
    *delivery.KPIS,
    *margin.KPIS,
    *matrix.KPIS,
    *sizing.KPIS,
)
