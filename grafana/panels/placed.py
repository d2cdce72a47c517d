"""What every module of panels needs: a panel with its size, and the formula of a KPI."""

from typing import NamedTuple

from grafana.look import Panel
from meterhouse_collector.kpi.live_kpis import LIVE_KPIS
from meterhouse_collector.kpi.value import COVERAGE_FLOOR


class Placed(NamedTuple):
    """A panel, and its width and height on the grid."""

    panel: Panel
    size: tuple[int, int]


def formula(name: str) -> str:
    """Return the formula and source of a KPI in the catalogue, for a panel's description."""
    kpi = next(kpi for kpi in LIVE_KPIS if kpi.name == name)
    return (
        f"{kpi.formula[0].upper()}{kpi.formula[1:]}. A ratio of sums over the window: "
        f"{kpi.numerator} over {kpi.denominator}. No value where coverage is below "
        f"{COVERAGE_FLOOR:.0%}. Source: {kpi.source}."
    )
