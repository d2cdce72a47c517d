"""Budgets and contracts: what is spent, where that leads, and what was promised."""

from typing import Final

from grafana_foundation_sdk.builders import table, timeseries

from grafana.boards.capacity import contracted_over_time
from grafana.common import CURRENCY, USED, alerts
from grafana.figures import kpi_tile
from grafana.frame import Board, Placed, Section
from grafana.influxql import GROUP_TAGS, Scope, points_query, quoted, rollup_query, table_query
from grafana.look import PERCENT, PLAIN, Look, Size, colour, dashed, thresholds, united
from grafana.shapes import Said, limited, lines, ranking

_KINDS: Final = (
    "budget_spent",
    "budget_forecast",
    "budget_burn",
    "commitment",
    "ending",
    "delivery",
    "under_delivered",
)
_NO_BUDGET: Final = "the site has no budget"
_RATIO: Final = united(PERCENT, 1)


def board() -> Board:
    """Return the board of budgets and contracts."""
    return Board(
        "meterhouse-budgets",
        "budgets and contracts",
        "What is spent of each budget, how fast, and what contracts promise and deliver.",
        hours=30 * 24,
        resolution="kept",
        variables=("resolution", *GROUP_TAGS),
        sections=(
            Section("Budgets", _budgets()),
            Section("Commitments", _commitments()),
            Section("Contracts", _contracts()),
            Section("Alerts", [Placed(alerts("Alerts of money and contracts", _KINDS), (24, 8))]),
        ),
    )


def _budgets() -> list[Placed]:
    return [
        Placed(_table(), Size.WHOLE),
        Placed(_spend(), Size.HALF),
        Placed(_forecast(), Size.HALF),
        Placed(_burns(), Size.HALF),
        Placed(_burn_over_time(), Size.HALF),
    ]


def _table() -> table.Panel:
    columns = {
        "amount": 'last("amount_money")',
        "spent": quoted("spent_money"),
        "forecast": quoted("forecast_money"),
        "elapsed": quoted("elapsed_ratio"),
    }
    query = table_query(
        columns,
        "event.budget",
        by=("budget",),
        then={
            "amount": "amount",
            "spent": "spent",
            "forecast": "forecast",
            "used": "spent / amount",
            "elapsed": "elapsed",
        },
        only="amount > 0",
    )
    text = (
        "Each budget in its running period, as of the newest quarter hour that is summed: its "
        "amount, spent so far, the forecast of its end = spent + (what time costs + what joules "
        "cost of late) * what is left, spent / amount, and the part of the period that is over. "
        "An empty cell is not known: too little is covered." + CURRENCY
    )
    looks: dict[str, Look] = {"used": [*_RATIO, *USED], "elapsed": _RATIO}
    return ranking(Said("Budgets", text, _NO_BUDGET), query, unit=PLAIN, worst="used", looks=looks)


def _spend() -> timeseries.Panel:
    query = points_query(
        {"spent": 'max("spent_money")', "amount": 'max("amount_money")'},
        "event.budget",
        over_time=True,
        by=("budget",),
    )
    text = "Spent so far in the running period, and its amount." + CURRENCY
    panel = lines(Said("Spend", text, _NO_BUDGET), [query], unit=PLAIN, alias="$tag_budget $col")
    return panel.override_by_regexp(".* amount", [colour("limit"), dashed()])


def _forecast() -> timeseries.Panel:
    query = points_query(
        {"used": 'last("forecast_money")', "amount": 'last("amount_money")'},
        "event.budget",
        over_time=True,
        by=("budget",),
        then={"forecast": "used / amount"},
        only="amount > 0 AND used >= 0",
    )
    text = "Forecast of the period's end / amount. Above 100 % the budget does not hold."
    said = Said("Forecast", text, "no budget, or nothing recent is known")
    panel = lines(said, [query], unit=PERCENT, alias="$tag_budget")
    limited(panel, thresholds((1.0, "bad")))
    return panel


def _burns() -> table.Panel:
    query = table_query(
        {
            "said": 'last("reason")',
            "long": quoted("long_ratio"),
            "short": quoted("short_ratio"),
            "fires at": quoted("limit_ratio"),
        },
        "event.burn",
        by=("budget", "window"),
        then={name: quoted(name) for name in ("long", "short", "fires at")},
    )
    text = (
        "How fast each budget is spent: money of a window / what an even pace would spend in it. "
        "An alert fires where the long and the short window are both beyond what it fires at."
    )
    return ranking(Said("Burn", text, _NO_BUDGET), query, unit=PLAIN, worst="long")


def _burn_over_time() -> timeseries.Panel:
    query = points_query(
        {"long": 'max("long_ratio")'}, "event.burn", over_time=True, by=("budget", "window")
    )
    text = "Burn of the long window of each rule: money / what an even pace would spend in it."
    said = Said("Burn over time", text, _NO_BUDGET)
    return lines(said, [query], unit=PLAIN, alias="$tag_budget $tag_window")


def _commitments() -> list[Placed]:
    query = table_query(
        {
            "used": 'last("used")',
            "committed": quoted("committed"),
            "projected": quoted("projected_ratio"),
            "coverage": quoted("coverage_ratio"),
        },
        "event.commitment",
        by=("commitment", "category"),
    )
    text = (
        "Each commitment in its running interval: spend in money, usage in device-hours; projected "
        "= (used + recent rate * what is left) / committed. Below 100 % some is lost."
    )
    looks: dict[str, Look] = {"projected": _RATIO, "coverage": _RATIO}
    nothing = "the site has no commitment"
    now = ranking(
        Said("Commitments", text, nothing),
        query,
        unit=PLAIN,
        worst="projected",
        ascending=True,
        looks=looks,
    )
    over_time = points_query(
        {"projected": 'last("projected_ratio")'},
        "event.commitment",
        over_time=True,
        by=("commitment",),
    )
    said = Said("Projected use", "The same over time.", nothing)
    trend = lines(said, [over_time], unit=PERCENT, alias="$tag_commitment")
    return [Placed(now, Size.HALF), Placed(trend, Size.HALF)]


def _contracts() -> list[Placed]:
    sold = kpi_tile(
        "delivered_ratio", "Delivered of what is sold", "sold", unit=PERCENT, decimals=2
    )
    bought = kpi_tile(
        "bought_delivered_ratio", "Delivered of what is bought", "bought", unit=PERCENT, decimals=2
    )
    return [
        Placed(sold, Size.TILE),
        Placed(bought, Size.TILE),
        Placed(_by_tenant(), (16, 8)),
        Placed(contracted_over_time("sold"), Size.HALF),
        Placed(contracted_over_time("bought"), Size.HALF),
    ]


def _by_tenant() -> table.Panel:
    query = rollup_query(
        {
            "contracted": "sold_contracted_seconds / 3600",
            "delivered": "sold_delivered_seconds / 3600",
            "not known": "sold_undetermined_seconds / 3600",
            "ratio": "sold_delivered_seconds / promised",
        },
        where="promised > 0",
        scope=Scope.GROUPS,
        terms={"promised": "sold_contracted_seconds - sold_undetermined_seconds"},
        by=("tenant",),
    )
    text = (
        "Device-hours sold to each tenant, delivered in whole units that were up, in units of "
        "unknown state, and delivered / (contracted - not known)."
    )
    said = Said("Sold capacity by tenant", text, "nothing is sold")
    return ranking(
        said, query, unit="h", worst="ratio", ascending=True, looks={"ratio": united(PERCENT, 2)}
    )
