"""Panels of capacity: the idle-capacity ratio with its bounds, and the states of the fleet."""

from typing import Final

from grafana.influxql import Scope, not_below_zero, rollup_query
from grafana.look import PERCENT, SHORT, Panel, Size, called, colour, lines, override, stack, tiles
from grafana.panels.placed import Placed, formula
from meterhouse_agent.wire import STATES
from meterhouse_collector.kpi.value import COVERAGE_FLOOR

# What is stranded is taken out of what is free, and no more than that.
_IDLE: Final = f"{not_below_zero('free_seconds - stranded_seconds')} + held_idle_seconds"
_TERMS: Final = {
    "idle": _IDLE,
    "known": f"active_seconds + {_IDLE}",
    "available": "installed_seconds - unhealthy_seconds",
}
_ENOUGH: Final = f"known > 0 AND available - unknown_seconds >= {COVERAGE_FLOOR} * available"
_BOUNDED: Final = "known + unknown_seconds > 0"
_NO_RATIO: Final = f"no value: coverage below {COVERAGE_FLOOR:.0%}, or no device available"
_RATIO: Final = {"ratio": "idle / known"}
_BOUNDS: Final = {
    "low": "idle / (known + unknown_seconds)",
    "high": "(idle + unknown_seconds) / (known + unknown_seconds)",
}
_BOUNDS_TEXT: Final = (
    " Low takes every unknown device-second as busy, high as idle. Coverage: known / available, "
    "where available is installed less unhealthy."
)


def panels() -> list[Placed]:
    """Return the tiles of the idle-capacity ratio, its bounds and its coverage."""
    return [Placed(_ratio(), Size.TILE), Placed(_bounds(), Size.WIDEST_TILE)]


def states() -> Placed:
    """Return the devices in each state over time."""
    query = rollup_query(
        {state: f"{state}_seconds / interval_seconds" for state in STATES},
        where="interval_seconds > 0",
        scope=Scope.GROUPS_AND_TIME,
        over_time=True,
    )
    text = (
        "Mean number of devices in each state: device-seconds / seconds. The five add up to what "
        "is installed; a silent device is unknown, never gone."
    )
    no_value = "nothing was rolled up"
    panel = stack("States of the fleet", text, [query], unit=SHORT, no_value=no_value)
    override(panel, {state: [colour(state), called(state.replace("_", " "))] for state in STATES})
    return Placed(panel, (14, 9))


def trend() -> Placed:
    """Return the ratio and its bounds over time."""
    queries = [_query(_RATIO, _ENOUGH, over_time=True), _query(_BOUNDS, _BOUNDED, over_time=True)]
    text = formula("idle_capacity_ratio") + _BOUNDS_TEXT
    panel = lines("Idle capacity over time", text, queries, unit=PERCENT, no_value=_NO_RATIO)
    bound = colour("unknown")
    override(panel, {"ratio": [colour("held_idle")], "low": [bound], "high": [bound]})
    return Placed(panel.min(0).max(1), Size.THIRD)


def _ratio() -> Panel:
    return tiles(
        "Idle capacity",
        formula("idle_capacity_ratio"),
        [_query(_RATIO, _ENOUGH)],
        unit=PERCENT,
        decimals=1,
        no_value=_NO_RATIO,
    )


def _bounds() -> Panel:
    bounds = _query(_BOUNDS, _BOUNDED)
    coverage = _query({"coverage": "(available - unknown_seconds) / available"}, "available > 0")
    return tiles(
        "Idle capacity: bounds and coverage",
        formula("idle_capacity_ratio") + _BOUNDS_TEXT,
        [bounds, coverage],
        unit=PERCENT,
        decimals=1,
        no_value="no device available",
    )


def _query(columns: dict[str, str], where: str, *, over_time: bool = False) -> str:
    return rollup_query(columns, where=where, scope=Scope.GROUPS, over_time=over_time, terms=_TERMS)
