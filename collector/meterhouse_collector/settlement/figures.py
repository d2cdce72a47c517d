"""The KPIs of a statement, by group and of all."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from meterhouse_collector.kpi.compute import Window, kpis
from meterhouse_collector.kpi.value import KpiValue
from meterhouse_collector.site.index import SiteIndex

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
        "contracted_idle_ratio",
    )
)
# What an engine of several models costs and draws for each goes by the weights that are declared.
_WEIGHTED: Final = frozenset(
    (
        "cost_per_million_output_tokens",
        "cost_per_million_tokens",
        "cost_per_million_computed_tokens",
        "joules_per_output_token",
        "tokens_per_second_per_megawatt",
    )
)
_DECLARED: Final = "estimated by declared weights"


def declared_models(index: SiteIndex, window: tuple[int, int]) -> tuple[str, ...]:
    """Return the served models that share an engine with others at any time of a window."""
    model = index.model
    begun = (model.instant(e.valid_from) for e in model.engine if e.valid_from is not None)
    instants = {window[0], *(at for at in begun if window[0] <= at < window[1])}
    engines = [engine for at in instants for engine in index.dated.engine.at(at).values()]
    return tuple(sorted({m for e in engines if len(e.weights) > 1 for m in e.weights}))


def said_to_be_declared(values: Iterable[KpiValue]) -> tuple[KpiValue, ...]:
    """Return the figures of such a model: those that go by its weights are estimates."""
    return tuple(
        replace(each, label=f"{each.label}, {_DECLARED}") if each.name in _WEIGHTED else each
        for each in values
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
