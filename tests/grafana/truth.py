"""What every column of a panel of rollups must show, computed from sums alone; None: nothing."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final, NamedTuple

from meterhouse_collector.kpi.compute import Window, kpis
from meterhouse_collector.kpi.live_kpis import LIVE_KPIS
from meterhouse_collector.kpi.pue import EnergyBasis
from meterhouse_collector.kpi.value import KpiValue
from tests.grafana.fleet import STATES, Sums

Truth = Callable[[Sums, float], float | None]
PRICE: Final = 0.5
KINDS: Final = ("capital", "rent", "energy", "demand", "operations", "water", "carbon")
SOURCES: Final = (
    "grid",
    "ppa",
    "on_site",
    "fuel",
    "purchased_cooling",
    "storage",
    "export",
)


class Shown(NamedTuple):
    """The columns of a panel, and of which rows they are: of a site, or of chosen groups.

    ``by`` is the tag that tells its rows or series apart; ``timed`` takes the time of the site.
    """

    columns: Mapping[str, Truth]
    over_time: bool = False
    of_site: bool = False
    timed: bool = False
    by: str | None = None


BASIS: Final = EnergyBasis(
    boundary_metered=True,
    it_metered=True,
    category=2,
    slowest_step_seconds=5.0,
    has=frozenset(kpi.needs for kpi in LIVE_KPIS if kpi.needs is not None),
)


def values(s: Sums, window: float) -> dict[str, KpiValue]:
    """Return the KPIs as the collector computes them."""
    return _values(tuple(s.items()), window)


@cache
def _values(s: tuple[tuple[str, float], ...], window: float) -> dict[str, KpiValue]:
    return kpis(dict(s), window=Window(window, BASIS, "EUR"))


def kpi(name: str) -> Truth:
    return lambda s, window: values(s, max(window, s["interval_seconds"]))[name].value


def over_time(name: str) -> Truth:
    """Return a KPI over a step, of which only what was rolled up counts."""
    return lambda s, _: values(s, s["interval_seconds"] or 60.0)[name].value


def low(name: str) -> Truth:
    return lambda s, window: values(s, window)[name].low


def high(name: str) -> Truth:
    return lambda s, window: values(s, window)[name].high


def coverage(name: str, whole: str) -> Truth:
    """Return the coverage of a KPI, where there is something to be covered."""
    return lambda s, window: values(s, window)[name].coverage if s[whole] > 0 else None


def ratio(numerator: float, denominator: float, *, covered: bool = True) -> float | None:
    return numerator / denominator if denominator > 0 and covered else None


def idle(s: Sums) -> float:
    return max(0.0, s["free_seconds"] - s["stranded_seconds"]) + s["held_idle_seconds"]


def available(s: Sums) -> float:
    return s["installed_seconds"] - s["unhealthy_seconds"]


def money(s: Sums, *states: str) -> float:
    return sum(s[f"{state}_{kind}_money"] for state in states for kind in KINDS)


def priced(s: Sums) -> bool:
    return s["installed_seconds"] > s["unpriced_seconds"]


def spent(*states: str) -> Truth:
    return lambda s, _: money(s, *states) if priced(s) else None


def of_kind(kind: str, *states: str) -> Truth:
    return lambda s, _: sum(s[f"{state}_{kind}_money"] for state in states) if priced(s) else None


def per_hour(*states: str) -> Truth:
    return lambda s, _: ratio(3600 * money(s, *states), s["interval_seconds"], covered=priced(s))


def per_second(name: str, seconds: str = "interval_seconds") -> Truth:
    return lambda s, _: ratio(s[name], s[seconds])


def has_engine(s: Sums) -> bool:
    return s["engine_installed_seconds"] + s["input_tokens"] + s["output_tokens"] > 0


def engine_rate(name: str) -> Truth:
    return lambda s, _: ratio(s[name], s["interval_seconds"], covered=has_engine(s))


def counted(name: str) -> Truth:
    return lambda s, _: s[name] if has_engine(s) else None


def where(name: str, positive: str, factor: float = 1.0) -> Truth:
    return lambda s, _: s[name] * factor if s[positive] > 0 else None


def hours(truth: Callable[[Sums], float], positive: Callable[[Sums], float]) -> Truth:
    return lambda s, _: truth(s) / 3600 if positive(s) > 0 else None


def sold(s: Sums) -> bool:
    covered = s["engine_covered_seconds"] >= 0.95 * s["engine_installed_seconds"] > 0
    return covered and s["serving_output_tokens"] * PRICE > 0


def revenue(s: Sums) -> float:
    return s["serving_output_tokens"] * PRICE / 1e6


def sale(truth: Callable[[Sums], float]) -> Truth:
    return lambda s, _: truth(s) if sold(s) else None


def installed(s: Sums) -> float:
    return s["installed_seconds"]


def could(s: Sums) -> float:
    return s["active_seconds"] + idle(s) if available(s) > 0 else 0.0


def table_of_idle(tag: str) -> Shown:
    return Shown(
        {
            "idle ratio": lambda s, _: ratio(idle(s), could(s)),
            "idle": hours(idle, could),
            "held idle": hours(lambda s: s["held_idle_seconds"], could),
            "unhealthy": hours(lambda s: s["unhealthy_seconds"], could),
            "unknown": hours(lambda s: s["unknown_seconds"], could),
            "installed": hours(installed, could),
            "coverage": lambda s, _: ratio(
                available(s) - s["unknown_seconds"], available(s), covered=could(s) > 0
            ),
        },
        by=tag,
    )


def contracted(side: str) -> Shown:
    def rate(name: str) -> Truth:
        return lambda s, _: ratio(
            s[f"{side}_{name}_seconds"],
            s["interval_seconds"],
            covered=s[f"{side}_contracted_seconds"] > 0,
        )

    columns = {"contracted": rate("contracted"), "delivered": rate("delivered")}
    return Shown(columns | {"unknown": rate("undetermined")}, over_time=True, timed=True)


def bounds(name: str, whole: str) -> Shown:
    return Shown({"low": low(name), "high": high(name), "coverage": coverage(name, whole)})


def engine_ratio(part: str, whole: str) -> Truth:
    return lambda s, _: ratio(s[part], s[whole])


JOULES_PER_KWH: Final = 3.6e6
MONEY: Final = {
    "PUE, interim": Shown({"pue": kpi("pue")}, of_site=True),
    "PUE: coverage": Shown({"coverage": coverage("pue", "it_expected_joules")}, of_site=True),
    "PUE over time, interim": Shown({"pue": over_time("pue")}, over_time=True, of_site=True),
    "Cost per million output tokens": Shown({"cost": kpi("cost_per_million_output_tokens")}),
    "Cost per million tokens": Shown({"all": kpi("cost_per_million_tokens")}),
    "Cost per million computed tokens": Shown(
        {"computed": kpi("cost_per_million_computed_tokens")}
    ),
    "Cost: coverage": Shown(
        {"coverage": coverage("cost_per_million_output_tokens", "engine_installed_seconds")}
    ),
    "Cost per million output tokens over time": Shown(
        {"cost": over_time("cost_per_million_output_tokens")}, over_time=True
    ),
    "Cost per million tokens over time": Shown(
        {
            "output": over_time("cost_per_million_output_tokens"),
            "all": over_time("cost_per_million_tokens"),
            "computed": over_time("cost_per_million_computed_tokens"),
        },
        over_time=True,
    ),
    "Money per hour": Shown(
        {"all": per_hour(*STATES), "idle": per_hour("held_idle", "free")}, timed=True
    ),
    "Money: coverage": Shown(
        {
            "priced": lambda s, _: ratio(
                s["installed_seconds"] - s["unpriced_seconds"], s["installed_seconds"]
            )
        }
    ),
    "Where the money went": Shown(
        {
            **{f"active_{kind}": of_kind(kind, "active") for kind in KINDS},
            **{state: spent(state) for state in STATES[1:]},
            "total": spent(*STATES),
        }
    ),
    "Money per hour by state": Shown(
        {state: per_hour(state) for state in STATES}, over_time=True, timed=True
    ),
    "Money by kind": Shown(
        {kind: of_kind(kind, *STATES) for kind in KINDS} | {"total": spent(*STATES)}
    ),
    "Cost of idle capacity": Shown(
        {kind: of_kind(kind, "held_idle", "free") for kind in KINDS}
        | {"total": spent("held_idle", "free")}
    ),
    "Cost by served model": Shown(
        {
            "cost per M output": kpi("cost_per_million_output_tokens"),
            "money": lambda s, w: s["serving_money"] if _costed(s, w) else None,
            "output tokens": lambda s, w: s["serving_output_tokens"] if _costed(s, w) else None,
            "input tokens": lambda s, w: s["serving_input_tokens"] if _costed(s, w) else None,
            "coverage": lambda s, w: ratio(
                s["engine_covered_seconds"], s["engine_installed_seconds"], covered=_costed(s, w)
            ),
        },
        by="served_model",
    ),
    "Cost by accelerator model": Shown(
        {
            "per device-hour": lambda s, _: ratio(
                3600 * money(s, *STATES), s["installed_seconds"], covered=priced(s)
            ),
            "money": spent(*STATES),
            "idle": spent("held_idle", "free"),
            "device-hours": lambda s, _: s["installed_seconds"] / 3600 if priced(s) else None,
        },
        by="accelerator_model",
    ),
    "Margin": Shown({"margin": sale(lambda s: 1 - s["serving_money"] / revenue(s))}),
    "Revenue, cost and margin": Shown(
        {
            "revenue": sale(revenue),
            "cost": sale(lambda s: s["serving_money"]),
            "margin": sale(lambda s: revenue(s) - s["serving_money"]),
        }
    ),
    "Break-even, output tokens per second": Shown(
        {
            "break-even": sale(lambda s: s["serving_money"] / PRICE * 1e6 / s["interval_seconds"]),
            "now": sale(lambda s: s["serving_output_tokens"] / s["interval_seconds"]),
        },
        timed=True,
    ),
}


def _costed(s: Sums, window: float) -> bool:
    return values(s, window)["cost_per_million_output_tokens"].value is not None


CAPACITY: Final = {
    "Idle capacity": Shown({"ratio": kpi("idle_capacity_ratio")}),
    "Idle capacity: bounds and coverage": Shown(
        {
            "low": low("idle_capacity_ratio"),
            "high": high("idle_capacity_ratio"),
            "coverage": lambda s, w: (
                values(s, w)["idle_capacity_ratio"].coverage if available(s) > 0 else None
            ),
        }
    ),
    "Idle capacity over time": Shown(
        {
            "ratio": over_time("idle_capacity_ratio"),
            "low": low("idle_capacity_ratio"),
            "high": high("idle_capacity_ratio"),
        },
        over_time=True,
    ),
    "Idle capacity by pool": Shown(
        {"ratio": over_time("idle_capacity_ratio")}, over_time=True, by="pool"
    ),
    "Allocation": Shown({"ratio": kpi("allocation_ratio")}),
    "Availability": Shown({"ratio": kpi("availability")}),
    "Availability: bounds and coverage": bounds("availability", "installed_seconds"),
    "Reserve and stranded": Shown(
        {"reserve": per_second("reserve_seconds"), "stranded": per_second("stranded_seconds")},
        over_time=True,
        timed=True,
    ),
    "Waterfall": Shown(
        {
            "bought": hours(lambda s: s["bought_contracted_seconds"], installed),
            "bought, delivered": hours(lambda s: s["bought_delivered_seconds"], installed),
            "sold": hours(lambda s: s["sold_contracted_seconds"], installed),
            "sold, delivered": hours(lambda s: s["sold_delivered_seconds"], installed),
            "installed": hours(installed, installed),
            "available": hours(available, installed),
            "usable": hours(lambda s: available(s) - s["stranded_seconds"], installed),
            "known": hours(
                lambda s: max(0.0, available(s) - s["stranded_seconds"] - s["unknown_seconds"]),
                installed,
            ),
            "allocated": hours(lambda s: s["active_seconds"] + s["held_idle_seconds"], installed),
            "active": hours(lambda s: s["active_seconds"], installed),
        }
    ),
    "States of the fleet": Shown(
        {state: per_second(f"{state}_seconds") for state in STATES}, over_time=True, timed=True
    ),
    "By pool": table_of_idle("pool"),
    "By tenant": table_of_idle("tenant"),
    "By cluster": table_of_idle("cluster"),
    "By accelerator model": table_of_idle("accelerator_model"),
    "Delivered of what is sold": Shown({"sold": kpi("delivered_ratio")}),
    "Delivered of what is bought": Shown({"bought": kpi("bought_delivered_ratio")}),
    "Sold: bounds and coverage": bounds("delivered_ratio", "sold_contracted_seconds"),
    "Bought: bounds and coverage": bounds("bought_delivered_ratio", "bought_contracted_seconds"),
    "Contracted and delivered: sold": contracted("sold"),
    "Contracted and delivered: bought": contracted("bought"),
    "Sold capacity by tenant": Shown(
        {
            name: (
                lambda s, _, field=field: (
                    s[f"sold_{field}_seconds"] / 3600
                    if s["sold_contracted_seconds"] > s["sold_undetermined_seconds"]
                    else None
                )
            )
            for name, field in (
                ("contracted", "contracted"),
                ("delivered", "delivered"),
                ("not known", "undetermined"),
            )
        }
        | {
            "ratio": lambda s, _: ratio(
                s["sold_delivered_seconds"],
                s["sold_contracted_seconds"] - s["sold_undetermined_seconds"],
            )
        },
        by="tenant",
    ),
}
SERVICE: Final = {
    "Tokens": Shown({"input": counted("input_tokens"), "output": counted("output_tokens")}),
    "Tokens per second, mean": Shown(
        {"input": engine_rate("input_tokens"), "output": engine_rate("output_tokens")}, timed=True
    ),
    "Tokens per second": Shown(
        {"input": engine_rate("input_tokens"), "output": engine_rate("output_tokens")},
        over_time=True,
        timed=True,
    ),
    "Requests per second": Shown(
        {
            "succeeded": engine_rate("requests_succeeded"),
            "failed": engine_rate("requests_failed"),
        },
        over_time=True,
        timed=True,
    ),
    "Success": Shown({"ratio": kpi("success_ratio")}),
    "Success over time": Shown({"success": over_time("success_ratio")}, over_time=True),
    "Engines: coverage": Shown({"coverage": coverage("success_ratio", "engine_installed_seconds")}),
    "Energy per output token": Shown({"energy": kpi("joules_per_output_token")}),
    "Output tokens per second per MW of IT": Shown({"rate": kpi("tokens_per_second_per_megawatt")}),
    "Cache hits": Shown({"hits": engine_ratio("cached_input_tokens", "input_tokens")}),
    "Cache hits over time": Shown(
        {"hits": engine_ratio("cached_input_tokens", "input_tokens")}, over_time=True
    ),
    "Served models": Shown(
        {
            "output per device-hour": lambda s, _: ratio(
                3600 * s["output_tokens"],
                s["engine_installed_seconds"],
                covered=s["input_tokens"] > 0,
            ),
            "output": where("output_tokens", "input_tokens"),
            "input": where("input_tokens", "input_tokens"),
            "succeeded": where("requests_succeeded", "input_tokens"),
            "failed": where("requests_failed", "input_tokens"),
            "cache hits": engine_ratio("cached_input_tokens", "input_tokens"),
        },
        by="served_model",
    ),
}
