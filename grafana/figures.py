"""The KPIs of the catalogue as queries and panels: formula, coverage and bounds by one table.

Numerator and denominator are those of the catalogue; here stands what a KPI is multiplied by, and
which part of what must be known for it to have a value.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from grafana_foundation_sdk.builders import stat, timeseries

from grafana.influxql import Scope, greater, not_below_zero, rollup_query
from grafana.look import PERCENT, Look, thresholds
from grafana.shapes import Said, judged, lines, tiles
from meterhouse_collector.kpi.live_kpis import LIVE_KPIS
from meterhouse_collector.kpi.value import COVERAGE_FLOOR

_SIZED: Final = "interval_seconds - pue_unexpected_seconds"
_WHOLE: Final = greater("0.001 * ($__to - $__from)", "interval_seconds")
_PER_KWH: Final = "3600000 * "
_PER_MILLION: Final = "1000000 * "
_KPIS: Final = {kpi.name: kpi for kpi in LIVE_KPIS}
# What is stranded is taken out of what is free, and no more than that.
IDLE: Final = f"{not_below_zero('free_seconds - stranded_seconds')} + held_idle_seconds"
_NOT_DOWN: Final = "installed_seconds - unhealthy_seconds"


# Below the floor a figure has no value.
ENOUGH: Final = thresholds((COVERAGE_FLOOR, "good"), base="bad")


class Basis(NamedTuple):
    """What a KPI is multiplied by, the rows it is of, and the part of a whole that it covers."""

    covered: str
    whole: str
    nothing: str
    factor: str = ""
    scope: Scope = Scope.GROUPS
    low: str = ""
    high: str = ""
    numerator: str = ""
    denominator: str = ""


def _of_energy(field: str, nothing: str, factor: str = "") -> Basis:
    """Return the basis of what is covered by IT energy, and by time where that is unknown."""
    covered = f"{field} * ({_SIZED})"
    return Basis(covered, "it_expected_joules * seconds", nothing, factor, Scope.SITE)


def _of_time(field: str, nothing: str) -> Basis:
    return Basis(field, "seconds", nothing, scope=Scope.SITE)


def _of_engines(field: str, nothing: str, factor: str = "") -> Basis:
    return Basis(field, "engine_installed_seconds", nothing, factor)


def _delivered(side: str) -> Basis:
    contracted = f"{side}_contracted_seconds"
    return Basis(
        f"{contracted} - {side}_undetermined_seconds",
        contracted,
        "nothing is contracted",
        low=f"{side}_delivered_seconds / {contracted}",
        high=f"({side}_delivered_seconds + {side}_undetermined_seconds) / {contracted}",
    )


def _by_sale(numerator: str, unknown: str) -> Basis:
    return Basis(
        "denominator",
        "denominator + unknown_seconds",
        "no device available",
        low="numerator / (denominator + unknown_seconds)",
        high=f"(numerator + {unknown}) / (denominator + unknown_seconds)",
        numerator=numerator,
        denominator=f"active_seconds + {IDLE}",
    )


_NO_TOKENS: Final = "no tokens, or tokens or prices are missing"
_NO_METERS: Final = "no interval has all of its meters"
BASES: Final[Mapping[str, Basis]] = {
    "pue": _of_energy("it_joint_joules", "no boundary meter"),
    "idle_capacity_ratio": Basis(
        f"{_NOT_DOWN} - unknown_seconds",
        _NOT_DOWN,
        "no device available",
        low="numerator / (denominator + unknown_seconds)",
        high="(numerator + unknown_seconds) / (denominator + unknown_seconds)",
        numerator=IDLE,
        denominator=f"active_seconds + {IDLE}",
    ),
    "cost_per_million_output_tokens": _of_engines(
        "engine_covered_seconds", _NO_TOKENS, _PER_MILLION
    ),
    "cost_per_million_tokens": _of_engines("engine_covered_seconds", _NO_TOKENS, _PER_MILLION),
    "cost_per_million_computed_tokens": _of_engines(
        "engine_computed_covered_seconds", _NO_TOKENS, _PER_MILLION
    ),
    "availability": Basis(
        "installed_seconds - unknown_seconds",
        "installed_seconds",
        "no device installed",
        low="numerator / installed_seconds",
        high=f"({_NOT_DOWN}) / installed_seconds",
    ),
    "allocation_ratio": Basis(
        "denominator",
        "denominator + unknown_seconds",
        "no device available",
        low="numerator / (denominator + unknown_seconds)",
        high="(numerator + unknown_seconds) / (denominator + unknown_seconds)",
    ),
    "delivered_ratio": _delivered("sold"),
    "bought_delivered_ratio": _delivered("bought"),
    "sold_idle_ratio": _by_sale("sold_idle_seconds", "sold_unknown_seconds"),
    "unsold_idle_ratio": _by_sale(
        f"{IDLE} - sold_idle_seconds", "(unknown_seconds - sold_unknown_seconds)"
    ),
    "contracted_idle_ratio": Basis(
        f"{_NOT_DOWN} - unknown_seconds",
        _NOT_DOWN,
        "nothing is contracted",
        low="numerator / denominator",
        high="(numerator + unknown_seconds) / denominator",
        numerator=IDLE,
    ),
    "success_ratio": _of_engines("engine_told_seconds", "no request finished"),
    "joules_per_output_token": _of_engines("served_covered_seconds", "no tokens"),
    "tokens_per_second_per_megawatt": _of_engines(
        "served_covered_seconds", "no tokens", _PER_MILLION
    ),
    "wue": _of_energy("water_it_joint_joules", _NO_METERS, _PER_KWH),
    "wue_source": _of_energy("water_source_it_joint_joules", _NO_METERS, _PER_KWH),
    "cue": _of_energy("carbon_it_joint_joules", _NO_METERS, _PER_KWH),
    "ref": _of_time("sources_joint_seconds", _NO_METERS),
    "erf": _of_time("reused_heat_joint_seconds", _NO_METERS),
    "ups_efficiency": _of_time("ups_joint_seconds", _NO_METERS),
}


def formula(name: str) -> str:
    """Return the formula and source of a KPI in the catalogue, for a panel's description."""
    kpi = _KPIS[name]
    return (
        f"{kpi.formula[0].upper()}{kpi.formula[1:]}. A ratio of sums over the window: "
        f"{kpi.numerator} over {kpi.denominator}. No value where coverage is below "
        f"{COVERAGE_FLOOR:.0%}. Source: {kpi.source}."
    )


def no_value(name: str) -> str:
    """Return what it means that a KPI shows nothing."""
    return f"no value: {BASES[name].nothing}, or coverage below {COVERAGE_FLOOR:.0%}"


def kpi_query(name: str, column: str, *, over_time: bool = False, by: Sequence[str] = ()) -> str:
    """Return the query of a KPI, which gives no row where it has no value."""
    basis = BASES[name]
    enough = (
        f"denominator > 0 AND numerator + 0.000000001 * denominator >= 0 "
        f"AND covered >= {COVERAGE_FLOOR} * whole"
    )
    return rollup_query(
        {column: f"{basis.factor}numerator / denominator"},
        where=enough,
        scope=basis.scope,
        over_time=over_time,
        terms=_terms(name, over_time=over_time),
        by=by,
    )


def bounds_query(name: str, *, over_time: bool = False) -> str:
    """Return the query of what a KPI would be if all were known: as little, and as much."""
    basis = BASES[name]
    divisor = basis.low.rsplit(" / ", 1)[1]
    return rollup_query(
        {"low": basis.low, "high": basis.high},
        where=f"{divisor.strip('()')} > 0",
        scope=basis.scope,
        over_time=over_time,
        terms=_terms(name, over_time=over_time),
    )


def coverage_query(name: str, column: str = "coverage") -> str:
    """Return the query of the part that a KPI is known of."""
    return rollup_query(
        {column: "covered / whole"},
        where="whole > 0",
        scope=BASES[name].scope,
        terms=_terms(name, over_time=False),
    )


def _terms(name: str, *, over_time: bool) -> dict[str, str]:
    kpi, basis = _KPIS[name], BASES[name]
    numerator = basis.numerator or kpi.numerator
    denominator = basis.denominator or kpi.denominator
    whole = "interval_seconds" if over_time else _WHOLE
    return {
        "numerator": numerator,
        "denominator": denominator,
        "covered": basis.covered.replace("denominator", denominator),
        "whole": basis.whole.replace("denominator", denominator).replace("seconds", f"({whole})")
        if basis.scope is Scope.SITE
        else basis.whole.replace("denominator", denominator),
    }


def kpi_tile(
    name: str,
    title: str,
    column: str,
    *,
    unit: str,
    decimals: int,
    more: str = "",
    looks: Mapping[str, Look] | None = None,
) -> stat.Panel:
    """Return the tile of a KPI over the whole window."""
    said = Said(title, formula(name) + more, no_value(name))
    return tiles(said, [kpi_query(name, column)], unit=unit, decimals=decimals, looks=looks)


def coverage_tile(name: str, title: str, text: str) -> stat.Panel:
    """Return the tile of the coverage of a KPI."""
    said = Said(title, text, BASES[name].nothing)
    panel = tiles(said, [coverage_query(name)], unit=PERCENT, decimals=1)
    judged(panel, ENOUGH)
    return panel


def bounds_tile(name: str, title: str, text: str) -> stat.Panel:
    """Return the tile of the bounds of a KPI and of its coverage."""
    said = Said(title, formula(name) + text, BASES[name].nothing)
    return tiles(said, [bounds_query(name), coverage_query(name)], unit=PERCENT, decimals=1)


def kpi_trend(
    names: Mapping[str, str],
    title: str,
    *,
    unit: str,
    looks: Mapping[str, Look] | None = None,
    more: str = "",
    bounds: str | None = None,
) -> timeseries.Panel:
    """Return KPIs, by their column, over time; ``bounds`` names the one whose bounds are shown."""
    queries = [kpi_query(name, column, over_time=True) for column, name in names.items()]
    if bounds is not None:
        queries.append(bounds_query(bounds, over_time=True))
    said = Said(
        title,
        " ".join(formula(name) for name in names.values()) + more,
        no_value(next(iter(names.values()))),
    )
    return lines(said, queries, unit=unit, looks=looks)
