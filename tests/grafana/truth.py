"""What every column of a panel of rollups must show, computed from sums alone; None: nothing."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final, NamedTuple

from meterhouse_collector.kpi.compute import Window, kpis
from meterhouse_collector.kpi.live_kpis import LIVE_KPIS
from meterhouse_collector.kpi.pue import EnergyBasis
from meterhouse_collector.kpi.value import KpiValue
from tests.grafana.fleet import Sums

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
