"""All KPIs of one set of sums over one window."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from meterhouse_collector.kpi import cost, idle
from meterhouse_collector.kpi.pue import EnergyBasis, pue
from meterhouse_collector.kpi.value import COVERAGE_FLOOR, KpiValue


class Window(NamedTuple):
    """What a KPI needs to know beside the sums."""

    seconds: float
    basis: EnergyBasis
    currency: str
    battery_unmetered: bool = False


KpiFunction = Callable[[Mapping[str, float], Window, float], KpiValue]


def _pue(sums: Mapping[str, float], window: Window, floor: float) -> KpiValue:
    return pue(
        sums,
        window_seconds=window.seconds,
        basis=window.basis,
        floor=floor,
        battery_unmetered=window.battery_unmetered,
    )


def _idle(sums: Mapping[str, float], _: Window, floor: float) -> KpiValue:
    return idle.idle_capacity_ratio(sums, floor=floor)


def _cost(function: Callable[..., KpiValue]) -> KpiFunction:
    def compute(sums: Mapping[str, float], window: Window, floor: float) -> KpiValue:
        return function(
            sums,
            currency=window.currency,
            floor=floor,
            boundary_metered=window.basis.boundary_metered,
        )

    return compute


FUNCTIONS: Final[dict[str, KpiFunction]] = {
    "pue": _pue,
    "idle_capacity_ratio": _idle,
    "cost_per_million_output_tokens": _cost(cost.cost_per_million_output_tokens),
    "cost_per_million_tokens": _cost(cost.cost_per_million_tokens),
    "cost_per_million_computed_tokens": _cost(cost.cost_per_million_computed_tokens),
}


def kpis(
    sums: Mapping[str, float], *, window: Window, floor: float = COVERAGE_FLOOR
) -> dict[str, KpiValue]:
    """Return every KPI of the catalogue; where it has no value it says why."""
    return {name: function(sums, window, floor) for name, function in FUNCTIONS.items()}
