"""The wall board: what the site draws, makes, leaves idle, and pays for a token."""

from typing import Final

from grafana_foundation_sdk.builders import stat, timeseries

from grafana.common import (
    COUNTED,
    CURRENCY,
    NO_ENGINE,
    alerts,
    headroom,
    limits_used,
    matrix,
    money_per_hour,
    open_alerts,
    priced,
    states,
    token_rate,
)
from grafana.figures import bounds_tile, coverage_tile, kpi_tile, kpi_trend
from grafana.frame import Board, Placed, Section
from grafana.influxql import GROUP_TAGS, Scope, rollup_query
from grafana.look import PERCENT, PLAIN, SHORT, WATTS, Size, called, colour
from grafana.shapes import Said, lines, tiles

BOUNDS: Final = (
    " Low takes every unknown device-second as busy, high as idle. Coverage: known / available, "
    "where available is installed less unhealthy."
)
INTERIM: Final = (
    " Interim (iPUE): only a trailing year is called PUE. Where no meter reads IT energy it is "
    "that of the nodes, and this an upper bound. A window shorter than four steps of the slowest "
    "meter says nothing."
)
_SIZED: Final = "interval_seconds - pue_unexpected_seconds"
_PUE: Final = {"pue": [called("iPUE")]}


def board() -> Board:
    """Return the first board."""
    return Board(
        "meterhouse-overview",
        "overview",
        "What the site draws, what it makes, what stands idle, and what it costs.",
        hours=1,
        resolution="live",
        variables=("resolution", *GROUP_TAGS),
        sections=(Section("", _figures()), Section("", _trends())),
    )


def _figures() -> list[Placed]:
    return [
        Placed(pue_tile(), Size.TILE),
        Placed(pue_coverage(), Size.TILE),
        Placed(idle_tile(), Size.TILE),
        Placed(idle_bounds(), Size.WIDEST_TILE),
        Placed(cost_tile(), Size.TILE),
        Placed(cost_coverage(), Size.TILE),
        Placed(money_per_hour(), Size.WIDE_TILE),
        Placed(priced(), Size.TILE),
        Placed(open_alerts(), Size.TILE),
        Placed(_tokens(), Size.WIDE_TILE),
        Placed(headroom(), Size.WIDE_TILE),
        Placed(limits_used(), Size.WIDE_TILE),
    ]


def _trends() -> list[Placed]:
    cost = "cost_per_million_output_tokens"
    return [
        Placed(states(), (14, 9)),
        Placed(matrix(), (10, 9)),
        Placed(power(), Size.HALF),
        Placed(token_rate(), Size.HALF),
        Placed(pue_trend(), Size.THIRD),
        Placed(idle_trend(), Size.THIRD),
        Placed(
            kpi_trend(
                {"cost": cost},
                "Cost per million output tokens over time",
                unit=PLAIN,
                looks={"cost": [colour("output")]},
                more=CURRENCY,
            ).decimals(2),
            Size.THIRD,
        ),
        Placed(alerts("Alerts"), Size.WHOLE),
    ]


def pue_tile() -> stat.Panel:
    """Return the tile of PUE."""
    return kpi_tile("pue", "PUE, interim", "pue", unit=PLAIN, decimals=3, more=INTERIM, looks=_PUE)


def pue_coverage() -> stat.Panel:
    """Return the tile of the coverage of PUE."""
    text = (
        "Share of the window's expected IT energy that counts for PUE, times the share of its time "
        "in which something was expected."
    )
    return coverage_tile("pue", "PUE: coverage", text)


def pue_trend() -> timeseries.Panel:
    """Return PUE over time; a minute at least, because meters have steps."""
    looks = {"pue": [colour("facility"), called("iPUE")]}
    title = "PUE over time, interim"
    return kpi_trend({"pue": "pue"}, title, unit=PLAIN, looks=looks).interval("1m")


def idle_tile() -> stat.Panel:
    """Return the tile of the idle-capacity ratio."""
    return kpi_tile("idle_capacity_ratio", "Idle capacity", "ratio", unit=PERCENT, decimals=1)


def idle_bounds() -> stat.Panel:
    """Return the bounds and the coverage of the idle-capacity ratio."""
    return bounds_tile("idle_capacity_ratio", "Idle capacity: bounds and coverage", BOUNDS)


def idle_trend() -> timeseries.Panel:
    """Return the idle-capacity ratio and its bounds over time."""
    bound = [colour("bound")]
    panel = kpi_trend(
        {"ratio": "idle_capacity_ratio"},
        "Idle capacity over time",
        unit=PERCENT,
        looks={"ratio": [colour("held_idle")], "low": bound, "high": bound},
        more=BOUNDS,
        bounds="idle_capacity_ratio",
    )
    return panel.min(0).max(1)


def cost_tile() -> stat.Panel:
    """Return the tile of the cost per million output tokens."""
    return kpi_tile(
        "cost_per_million_output_tokens",
        "Cost per million output tokens",
        "cost",
        unit=PLAIN,
        decimals=2,
        more=CURRENCY,
    )


def cost_coverage() -> stat.Panel:
    """Return the tile of the coverage of the cost per token."""
    text = "Share of the engines' device-seconds whose tokens and cost are known."
    return coverage_tile("cost_per_million_output_tokens", "Cost: coverage", text)


def power() -> timeseries.Panel:
    """Return the power of facility and IT over time."""
    facility = rollup_query(
        {"facility": "facility_joint_joules / pue_joint_seconds"},
        where="pue_joint_seconds > 0",
        scope=Scope.SITE,
        over_time=True,
    )
    equipment = rollup_query(
        {"it": f"it_expected_joules / ({_SIZED})"},
        where=f"{_SIZED} > 0",
        scope=Scope.SITE,
        over_time=True,
    )
    text = (
        "Mean power. Facility: joules / seconds of the intervals that count for PUE. IT: joules, "
        "gaps filled by expectation, / seconds of the intervals whose energy is known or expected."
    )
    looks = {"facility": [colour("facility")], "it": [colour("it"), called("IT")]}
    said = Said("Power", text, "no energy was measured")
    return lines(said, [facility, equipment], unit=WATTS, looks=looks)


def _tokens() -> stat.Panel:
    columns = {
        "input": "input_tokens / interval_seconds",
        "output": "output_tokens / interval_seconds",
    }
    query = rollup_query(
        columns, where=f"interval_seconds > 0 AND {COUNTED}", scope=Scope.GROUPS_AND_TIME
    )
    text = "Mean over the window, as engines report them; input includes what came from a cache."
    looks = {"input": [colour("input")], "output": [colour("output")]}
    said = Said("Tokens per second, mean", text, NO_ENGINE)
    return tiles(said, [query], unit=SHORT, decimals=1, looks=looks)
