"""Panels that stand on more than one board, and the expressions that they share."""

from collections.abc import Iterable
from typing import Final

from grafana_foundation_sdk.builders import bargauge, stat, table, timeseries

from grafana.figures import ENOUGH
from grafana.influxql import (
    OF_SITE,
    Scope,
    points_query,
    quoted,
    rollup_query,
)
from grafana.look import (
    PERCENT,
    PLAIN,
    SHORT,
    WATTS,
    called,
    colour,
    coloured,
    state_looks,
    thresholds,
)
from grafana.shapes import Said, bars, judged, lines, of_now, ranking, stack, tiles
from meterhouse_agent.wire import STATES
from meterhouse_collector.kpi.cost import IDLE_MONEY
from meterhouse_collector.money.kinds import KINDS

ALERT: Final = "\"kind\" = 'alert'"
CURRENCY: Final = " In the currency of the site model."
PRICED: Final = "installed_seconds > unpriced_seconds"
NO_PRICE: Final = "no value: nothing has a price"
NO_ENGINE: Final = "no engine"
HOURS: Final = " / 3600"
# Without an engine there is nothing to count, which is not the same as having counted none.
COUNTED: Final = "(engine_installed_seconds + input_tokens + output_tokens) > 0"
IDLE_COST: Final = f"({' + '.join(IDLE_MONEY)})"
# What carries nearly all that it can, and what carries more.
NEAR: Final = thresholds((0.9, "warning"), (1.0, "bad"))
USED: Final = coloured((0.9, "warning"), (1.0, "bad"))
PER_HOUR: Final = "3600 * "


def state_money(state: str) -> str:
    """Return what devices in a state cost, all kinds together."""
    return " + ".join(f"{state}_{kind}_money" for kind in KINDS)


def kind_money(kind: str) -> str:
    """Return what was paid for one kind of cost, all states together."""
    return " + ".join(f"{state}_{kind}_money" for state in STATES)


ALL_MONEY: Final = f"({' + '.join(state_money(state) for state in STATES)})"


def states() -> timeseries.Panel:
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
    said = Said("States of the fleet", text, "nothing was rolled up")
    return stack(said, [query], unit=SHORT, looks=state_looks())


def matrix() -> bargauge.Panel:
    """Return the money of the window: kinds of active, then the other states, and the total."""
    others = STATES[1:]
    columns = {f"active_{kind}": f"active_{kind}_money" for kind in KINDS}
    columns |= {state: state_money(state) for state in others}
    columns["total"] = ALL_MONEY
    query = rollup_query(columns, where=PRICED, scope=Scope.GROUPS)
    text = (
        "Cost of the window: capital, rent and operations by device-seconds, the other kinds by "
        "the joules drawn in each state. Kinds of active, then each other state whole; together "
        "they are the total. Live money: statements re-rate it from quarters." + CURRENCY
    )
    looks = {f"active_{kind}": [colour(kind), called(f"active: {kind}")] for kind in KINDS}
    looks |= {state: list(look) for state, look in state_looks().items() if state != "active"}
    said = Said("Where the money went", text, NO_PRICE)
    return bars(said, [query], unit=PLAIN, decimals=2, looks=looks)


def money_per_hour() -> stat.Panel:
    """Return what everything and what idle devices cost per hour."""
    query = rollup_query(
        {
            "all": f"{PER_HOUR}{ALL_MONEY} / interval_seconds",
            "idle": f"{PER_HOUR}{IDLE_COST} / interval_seconds",
        },
        where=f"interval_seconds > 0 AND {PRICED}",
        scope=Scope.GROUPS_AND_TIME,
    )
    text = (
        "Money of the window / its seconds * 3600: of all devices, and of those that were "
        "held_idle or free. What has no price is not in it." + CURRENCY
    )
    looks = {"all": [colour("money")], "idle": [colour("held_idle")]}
    said = Said("Money per hour", text, NO_PRICE)
    return tiles(said, [query], unit=PLAIN, decimals=2, looks=looks)


def priced() -> stat.Panel:
    """Return the part of installed device-seconds that has a price."""
    query = rollup_query(
        {"priced": "(installed_seconds - unpriced_seconds) / installed_seconds"},
        where="installed_seconds > 0",
        scope=Scope.GROUPS,
    )
    text = "Share of installed device-seconds with a price of hardware and of energy."
    said = Said("Money: coverage", text, "no device installed")
    panel = tiles(said, [query], unit=PERCENT, decimals=1)
    judged(panel, ENOUGH)
    return panel


def token_rate() -> timeseries.Panel:
    """Return tokens per second over time."""
    query = rollup_query(
        {"input": "input_tokens / interval_seconds", "output": "output_tokens / interval_seconds"},
        where=f"interval_seconds > 0 AND {COUNTED}",
        scope=Scope.GROUPS_AND_TIME,
        over_time=True,
    )
    text = "Tokens / seconds, as engines report them; input includes what was read from a cache."
    looks = {"input": [colour("input")], "output": [colour("output")]}
    return lines(Said("Tokens per second", text, NO_ENGINE), [query], unit=SHORT, looks=looks)


def alerts(title: str, kinds: Iterable[str] = (), *, of_nodes: bool = False) -> table.Panel:
    """Return the alerts that fire, as far as their rule is of one of these kinds."""
    where = f"{OF_SITE} AND {ALERT}"
    if of_nodes:
        where += ' AND "node" =~ /^$node$/'
    fields = ("name", "severity", "rule_kind", "value", "limit", "unit", "labels")
    shown = ", ".join(f'"{name}" AS "{name}"' for name in fields)
    # The last point of each alert is found by its fingerprint.
    inner = (
        f'SELECT last("state") AS "state", {shown} FROM "event"."event" '  # noqa: S608 - no input
        f'WHERE $timeFilter AND {where} GROUP BY "alert"'
    )
    condition = "\"state\" = 'firing'"
    if chosen := "|".join(kinds):
        condition += f' AND "rule_kind" =~ /^({chosen})$/'
    outer = ", ".join(quoted(name) for name in fields)
    query = f"SELECT {outer} FROM ({inner}) WHERE {condition}"  # noqa: S608 - no input
    text = (
        "The last state of each alert in the window, where that is firing. What is open is written "
        "again in every quarter hour, so a window of half an hour shows all of it."
    )
    return ranking(Said(title, text, "none"), query, unit=PLAIN, worst="severity", ascending=True)


def open_alerts() -> stat.Panel:
    """Return how many alerts fire and how many are pending."""
    columns = {"firing": 'last("alerts_firing")', "pending": 'last("alerts_pending")'}
    query = points_query(columns, "live.collector")
    said = Said(
        "Open alerts",
        "Alerts of the collector that fire, and that are pending, at the end of the window.",
        "the collector says nothing",
    )
    panel = tiles(said, [query], unit=PLAIN, decimals=0)
    judged(panel, thresholds((1, "bad")))
    return of_now(panel)


def limits_used() -> bargauge.Panel:
    """Return the part of each limit of the power path that is used, the failure included."""
    query = points_query(
        {"allowed": 'last("limit_watts")', "load": quoted("load_watts")},
        "live.limit",
        by=("kind", "limit"),
        then={"used": "load / allowed"},
        only="allowed > 0 AND load >= 0",
    )
    text = (
        "Load at each limit after the failure that it must survive / what the limit allows, at the "
        "end of the window. Above 100 % it does not hold."
    )
    panel = bars(
        Said("Power against limits", text, "no limit with a known load"),
        [query],
        unit=PERCENT,
        decimals=1,
        alias="$tag_kind: $tag_limit",
    )
    judged(panel, NEAR)
    return of_now(panel.max(1))


def headroom() -> stat.Panel:
    """Return the IT power that still fits."""
    query = points_query(
        {
            "said": 'last("binding")',
            "it": quoted("it_watts"),
            "at most": quoted("high_it_watts"),
        },
        "live.headroom",
        then={"it": quoted("it"), "at most": quoted("at most")},
        only='"at most" > 0 OR "at most" <= 0',
    )
    text = (
        "The least of (limit - load after the failure) / marginal ratio over all limits, at the "
        "end of the window. Where a load is not known there is only an upper bound."
    )
    said = Said("Headroom for IT", text, "no limit with a known load")
    looks = {"it": [colour("it"), called("IT")], "at most": [colour("bound")]}
    return of_now(tiles(said, [query], unit=WATTS, decimals=0, looks=looks))
