"""The KPIs of a statement, by group and of all."""

from collections.abc import Mapping
from typing import Final

from meterhouse_collector.kpi.compute import Window, kpis
from meterhouse_collector.kpi.value import KpiValue

TOTAL: Final = "total"
# Of meters, certificates and contracts of the whole site: no group has any.
SITE_FIGURES: Final = frozenset(
    (
        "pue",
        "wue",
        "wue_source",
        "cue",
        "ref",
        "erf",
        "ups_efficiency",
        "bought_delivered_ratio",
    )
)


def figures_of(
    groups: Mapping[str, Mapping[str, float]],
    whole: Mapping[str, float] | None,
    window: Window,
) -> dict[str, tuple[KpiValue, ...]]:
    """Return the KPIs that the site has a basis for: of each group, and of the whole as ``total``.

    Without ``whole`` nothing was measured, and nothing has a figure.
    """
    figures = {
        name: tuple(
            value for kpi, value in kpis(sums, window=window).items() if kpi not in SITE_FIGURES
        )
        for name, sums in groups.items()
    }
    if whole is not None:
        figures[TOTAL] = tuple(kpis(whole, window=window).values())
    return figures
