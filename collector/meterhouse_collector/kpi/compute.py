"""All KPIs of one set of sums over one window."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

from meterhouse_collector.kpi import capacity_ratios, cost, idle, service_ratios, site_ratios
from meterhouse_collector.kpi.catalogue import LATENCIES, QUANTILES
from meterhouse_collector.kpi.latency import Histogram
from meterhouse_collector.kpi.live_kpis import LIVE_KPIS
from meterhouse_collector.kpi.pue import EnergyBasis, pue
from meterhouse_collector.kpi.value import COVERAGE_FLOOR, KpiValue


class Window(NamedTuple):
    """What a KPI needs to know beside the sums.

    ``observed`` is by latency, of the whole window: quantiles are never taken from sums. It is None
    where the buckets of a window were not read.
    """

    seconds: float
    basis: EnergyBasis
    currency: str
    observed: Mapping[str, Histogram] | None = None


KpiFunction = Callable[[Mapping[str, float], Window, float], KpiValue]


def _pue(sums: Mapping[str, float], window: Window, floor: float) -> KpiValue:
    return pue(sums, window_seconds=window.seconds, basis=window.basis, floor=floor)


def _ref(sums: Mapping[str, float], window: Window, floor: float) -> KpiValue:
    provisional = window.basis.provisional
    return site_ratios.ref(
        sums, window_seconds=window.seconds, floor=floor, provisional=provisional
    )


def _wue(sums: Mapping[str, float], window: Window, floor: float) -> KpiValue:
    category = window.basis.water_category
    return site_ratios.wue(sums, window_seconds=window.seconds, floor=floor, category=category)


def _cost(function: Callable[..., KpiValue]) -> KpiFunction:
    def compute(sums: Mapping[str, float], window: Window, floor: float) -> KpiValue:
        return function(
            sums,
            currency=window.currency,
            floor=floor,
            boundary_metered=window.basis.boundary_metered,
        )

    return compute


def _site(function: Callable[..., KpiValue]) -> KpiFunction:
    def compute(sums: Mapping[str, float], window: Window, floor: float) -> KpiValue:
        return function(sums, window_seconds=window.seconds, floor=floor)

    return compute


def _group(function: Callable[..., KpiValue]) -> KpiFunction:
    def compute(sums: Mapping[str, float], _: Window, floor: float) -> KpiValue:
        return function(sums, floor=floor)

    return compute


def _latency(metric: str, quantile: str) -> KpiFunction:
    def compute(sums: Mapping[str, float], window: Window, floor: float) -> KpiValue:
        return service_ratios.latency(
            sums, window.observed or {}, metric=metric, quantile=quantile, floor=floor
        )

    return compute


FUNCTIONS: Final[dict[str, KpiFunction]] = {
    "pue": _pue,
    "idle_capacity_ratio": _group(idle.idle_capacity_ratio),
    "cost_per_million_output_tokens": _cost(cost.cost_per_million_output_tokens),
    "cost_per_million_tokens": _cost(cost.cost_per_million_tokens),
    "cost_per_million_computed_tokens": _cost(cost.cost_per_million_computed_tokens),
    "availability": _group(capacity_ratios.availability),
    "allocation_ratio": _group(capacity_ratios.allocation_ratio),
    "delivered_ratio": _group(partial(capacity_ratios.delivered_ratio, side="sold")),
    "bought_delivered_ratio": _group(partial(capacity_ratios.delivered_ratio, side="bought")),
    "sold_idle_ratio": _group(partial(idle.idle_by_sale, side="sold")),
    "unsold_idle_ratio": _group(partial(idle.idle_by_sale, side="unsold")),
    "contracted_idle_ratio": _group(idle.contracted_idle_ratio),
    "success_ratio": _group(service_ratios.success_ratio),
    "joules_per_output_token": _group(service_ratios.joules_per_output_token),
    "tokens_per_second_per_megawatt": _group(service_ratios.tokens_per_second_per_megawatt),
    "wue": _wue,
    "wue_source": _site(site_ratios.wue_source),
    "cue": _site(site_ratios.cue),
    "ref": _ref,
    "erf": _site(site_ratios.erf),
    "ups_efficiency": _site(site_ratios.ups_efficiency),
    **{
        f"{metric}_{quantile}_seconds": _latency(metric, quantile)
        for metric in LATENCIES
        for quantile in QUANTILES
    },
}
ROWS: Final = {kpi.name: kpi for kpi in LIVE_KPIS}


def kpis(
    sums: Mapping[str, float], *, window: Window, floor: float = COVERAGE_FLOOR
) -> dict[str, KpiValue]:
    """Return the KPIs that there is a basis for; where one has no value it says why."""
    return {
        name: function(sums, window, floor)
        for name, function in FUNCTIONS.items()
        if lacks(name, window) is None
    }


def kpi(
    name: str, sums: Mapping[str, float], *, window: Window, floor: float = COVERAGE_FLOOR
) -> KpiValue:
    """Return one KPI; without a basis it has no value, and the reason says what the site lacks."""
    lacking = lacks(name, window)
    if lacking is None:
        return FUNCTIONS[name](sums, window, floor)
    return KpiValue(
        name=name,
        unit=ROWS[name].unit,
        label=name,
        value=None,
        numerator=0.0,
        denominator=0.0,
        coverage=0.0,
        reason=lacking,
    )


def lacks(name: str, window: Window) -> str | None:
    """Return why there is no basis for a KPI, None where there is one: only those are shown."""
    row = ROWS[name]
    if row.needs is not None and row.needs not in window.basis.has:
        return f"the site has no {row.needs}"
    if row.of == "latency_quantile" and window.observed is None:
        return "latencies are not read for such a window"
    if row.of == "latency_quantile" and name.rpartition("_p")[0] not in (window.observed or {}):
        return "no engine told of it"
    return None
