"""Money: what a token costs, where the money goes, and what would have to be earned."""

from typing import Final

from grafana_foundation_sdk.builders import bargauge, stat, table, timeseries

from grafana.boards.overview import cost_coverage, cost_tile
from grafana.common import (
    ALL_MONEY,
    CURRENCY,
    HOURS,
    IDLE_COST,
    NO_PRICE,
    PER_HOUR,
    PRICED,
    alerts,
    kind_money,
    matrix,
    money_per_hour,
    priced,
    state_money,
)
from grafana.figures import BASES, formula, kpi_tile, kpi_trend, no_value
from grafana.frame import Board, Placed, Section
from grafana.influxql import GROUP_TAGS, Scope, rollup_query
from grafana.look import PERCENT, PLAIN, SHORT, Look, Size, colour, leading_to, state_looks, united
from grafana.shapes import Said, bars, ranking, stack, tiles
from meterhouse_agent.wire import STATES
from meterhouse_collector.kpi.value import COVERAGE_FLOOR
from meterhouse_collector.money.kinds import KINDS

_KINDS: Final = ("cost_per_million_tokens", "idle_cost")
_COSTS: Final = {
    "output": "cost_per_million_output_tokens",
    "all": "cost_per_million_tokens",
    "computed": "cost_per_million_computed_tokens",
}
_COST_LOOKS: Final[dict[str, Look]] = {
    "output": [colour("output")],
    "all": [colour("input")],
    "computed": [colour("cached")],
}
_REVENUE: Final = "serving_output_tokens * ${price:raw} / 1000000"
_ENOUGH: Final = (
    "revenue > 0 AND engine_installed_seconds > 0 AND "
    f"engine_covered_seconds >= {COVERAGE_FLOOR} * engine_installed_seconds"
)
_NO_SALE: Final = "no value: no price is given at the top, or no tokens"


def board() -> Board:
    """Return the board of cost."""
    return Board(
        "meterhouse-cost",
        "cost",
        "What a token costs, what idle capacity costs, and where the money goes.",
        hours=7 * 24,
        resolution="kept",
        variables=("resolution", *GROUP_TAGS, "price"),
        sections=(
            Section("", _tokens()),
            Section("Where the money goes", _money()),
            Section("By model", [Placed(_by_served(), Size.HALF), Placed(_by_device(), Size.HALF)]),
            Section("Break-even and margin", _margin()),
            Section("Alerts", [Placed(alerts("Alerts of cost", _KINDS), Size.WHOLE)]),
        ),
    )


def _tokens() -> list[Placed]:
    titles = {
        "all": "Cost per million tokens",
        "computed": "Cost per million computed tokens",
    }
    placed = [
        Placed(
            kpi_tile(
                _COSTS[column],
                title,
                column,
                unit=PLAIN,
                decimals=2,
                more=CURRENCY,
                looks={column: _COST_LOOKS[column]},
            ),
            Size.TILE,
        )
        for column, title in titles.items()
    ]
    trend = kpi_trend(
        _COSTS, "Cost per million tokens over time", unit=PLAIN, looks=_COST_LOOKS, more=CURRENCY
    )
    return [
        Placed(cost_tile(), Size.TILE),
        *placed,
        Placed(cost_coverage(), Size.TILE),
        Placed(money_per_hour(), Size.TILE),
        Placed(priced(), Size.TILE),
        Placed(trend.decimals(3), Size.WHOLE),
    ]


def _money() -> list[Placed]:
    return [
        Placed(matrix(), (10, 10)),
        Placed(_over_time(), (14, 10)),
        Placed(_by_kind(), Size.HALF),
        Placed(_idle(), Size.HALF),
    ]


def _over_time() -> timeseries.Panel:
    query = rollup_query(
        {state: f"{PER_HOUR}({state_money(state)}) / interval_seconds" for state in STATES},
        where=f"interval_seconds > 0 AND {PRICED}",
        scope=Scope.GROUPS_AND_TIME,
        over_time=True,
    )
    text = (
        "Money per hour by the state of the devices, all kinds together: money / seconds * 3600."
        + CURRENCY
    )
    return stack(
        Said("Money per hour by state", text, NO_PRICE), [query], unit=PLAIN, looks=state_looks()
    )


def _by_kind() -> bargauge.Panel:
    query = rollup_query(
        {kind: kind_money(kind) for kind in KINDS} | {"total": ALL_MONEY},
        where=PRICED,
        scope=Scope.GROUPS,
    )
    text = (
        "Cost of the window by kind, all states together. Water and carbon only where they are "
        "invoiced." + CURRENCY
    )
    looks = {kind: [colour(kind)] for kind in KINDS}
    said = Said("Money by kind", text, NO_PRICE)
    return bars(said, [query], unit=PLAIN, decimals=2, looks=looks)


def _idle() -> bargauge.Panel:
    columns = {kind: f"held_idle_{kind}_money + free_{kind}_money" for kind in KINDS} | {
        "total": IDLE_COST
    }
    query = rollup_query(columns, where=PRICED, scope=Scope.GROUPS)
    text = (
        "What held_idle and free devices cost in the window, by kind. Of it energy and what can be "
        "cancelled is avoidable, the rest is sunk." + CURRENCY
    )
    looks = {kind: [colour(kind)] for kind in KINDS}
    said = Said("Cost of idle capacity", text, NO_PRICE)
    return bars(said, [query], unit=PLAIN, decimals=2, looks=looks)


def _by_served() -> table.Panel:
    basis = BASES["cost_per_million_output_tokens"]
    query = rollup_query(
        {
            "cost per M output": "1000000 * serving_money / serving_output_tokens",
            "money": "serving_money",
            "output tokens": "serving_output_tokens",
            "input tokens": "serving_input_tokens",
            "coverage": "engine_covered_seconds / engine_installed_seconds",
        },
        where=(
            "serving_output_tokens > 0 AND engine_installed_seconds > 0 AND "
            f"{basis.covered} >= {COVERAGE_FLOOR} * {basis.whole}"
        ),
        scope=Scope.GROUPS,
        by=("served_model",),
    )
    name = "cost_per_million_output_tokens"
    said = Said("Cost by served model", formula(name) + CURRENCY, no_value(name))
    looks: dict[str, Look] = {
        "served_model": [leading_to("service", "served_model")],
        "coverage": united(PERCENT, 1),
        "output tokens": united(SHORT),
        "input tokens": united(SHORT),
    }
    return ranking(said, query, unit=PLAIN, worst="cost per M output", looks=looks)


def _by_device() -> table.Panel:
    query = rollup_query(
        {
            "per device-hour": f"{PER_HOUR}{ALL_MONEY} / installed_seconds",
            "money": ALL_MONEY,
            "idle": IDLE_COST,
            "device-hours": f"installed_seconds{HOURS}",
        },
        where=f"installed_seconds > 0 AND {PRICED}",
        scope=Scope.GROUPS,
        by=("accelerator_model",),
    )
    text = (
        "All money / installed device-hours, all of it, what held_idle and free devices cost, and "
        "installed device-hours." + CURRENCY
    )
    said = Said("Cost by accelerator model", text, NO_PRICE)
    tag = "accelerator_model"
    looks: dict[str, Look] = {tag: [leading_to("capacity", tag)]}
    return ranking(said, query, unit=PLAIN, worst="money", looks=looks)


def _margin() -> list[Placed]:
    terms = {"revenue": _REVENUE}
    margin = rollup_query(
        {"margin": "(revenue - serving_money) / revenue"},
        where=_ENOUGH,
        scope=Scope.GROUPS,
        terms=terms,
    )
    earned = rollup_query(
        {"revenue": "revenue", "cost": "serving_money", "margin": "revenue - serving_money"},
        where=_ENOUGH,
        scope=Scope.GROUPS,
        terms=terms,
    )
    even = rollup_query(
        {
            "break-even": "serving_money * serving_output_tokens / (revenue * interval_seconds)",
            "now": "serving_output_tokens / interval_seconds",
        },
        where=f"interval_seconds > 0 AND revenue * interval_seconds > 0 AND {_ENOUGH}",
        scope=Scope.GROUPS_AND_TIME,
        terms=terms,
    )
    text = (
        "If a million output tokens sell for the price given at the top: revenue = output tokens * "
        "price / 1e6, margin = (revenue - cost of what served) / revenue. The cost per million "
        "output tokens itself is the price at which it is 0."
    )
    rate = (
        "Output tokens per second at which revenue at the price given at the top pays for what "
        "served, cost unchanged: cost / price * 1e6 / seconds; and what there were."
    )
    return [
        Placed(_tile(Said("Margin", text, _NO_SALE), margin, PERCENT), Size.WIDE_TILE),
        Placed(
            _tile(Said("Revenue, cost and margin", text + CURRENCY, _NO_SALE), earned, PLAIN),
            Size.WIDE_TILE,
        ),
        Placed(
            _tile(Said("Break-even, output tokens per second", rate, _NO_SALE), even, SHORT),
            Size.WIDE_TILE,
        ),
    ]


def _tile(said: Said, query: str, unit: str) -> stat.Panel:
    looks = {"cost": [colour("money")], "now": [colour("output")], "break-even": [colour("limit")]}
    return tiles(said, [query], unit=unit, decimals=2, looks=looks)
