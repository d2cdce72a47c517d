"""Limits: grid, UPS after one failure, cooling, and how much more fits."""

from typing import Final

from grafana_foundation_sdk.builders import stat, table, timeseries

from grafana.common import NEAR, USED, alerts, headroom, limits_used
from grafana.frame import Board, Placed, Section
from grafana.influxql import OF_SITE, Scope, points_query, quoted, rollup_query, table_query
from grafana.look import (
    CELSIUS,
    PERCENT,
    SHORT,
    WATTS,
    Look,
    Size,
    called,
    colour,
    coloured,
    dashed,
    united,
)
from grafana.shapes import Said, limited, lines, of_now, ranking, words
from meterhouse_collector.site.sensors import TEMPERATURE_KINDS

_KINDS: Final = (
    "demand",
    "headroom",
    "load",
    "cooling",
    "on_battery",
    "generator_running",
    "supply_lost",
    "temperature_out_of_class",
    "leak",
    "breaker_open",
)
_WARM: Final = f'{OF_SITE} AND "kind" =~ /^({"|".join(TEMPERATURE_KINDS)})$/'
# Within a degree of a bound it is nearly out of it.
_OUT: Final = coloured((-1.0, "warning"), (0.0, "bad"))
_NO_SENSOR: Final = "no sensor of inlet air or coolant told of itself"
_NO_LIMIT: Final = "no limit with a known load"
_NO_GRID: Final = "the site has no grid connection"
_NO_INCREMENT: Final = "no increment is promised"


def board() -> Board:
    """Return the board of limits."""
    return Board(
        "meterhouse-limits",
        "limits",
        "How far grid, UPS and cooling carry, after a failure too, and until when.",
        hours=24,
        resolution="live",
        variables=("resolution",),
        sections=(
            Section("", _now()),
            Section("Grid", _grid()),
            Section("Temperatures of the halls", _temperatures()),
            Section("Coming", _coming()),
            Section("Alerts", [Placed(alerts("Alerts of limits", _KINDS), Size.WHOLE)]),
        ),
    )


def _now() -> list[Placed]:
    return [
        Placed(headroom(), Size.WIDE_TILE),
        Placed(_binding(), Size.WIDE_TILE),
        Placed(limits_used(), Size.WIDE_TILE),
        Placed(_table(), Size.HALF),
        Placed(_used(), Size.HALF),
        Placed(_headroom_over_time(), Size.HALF),
        Placed(_stranded(), Size.HALF),
    ]


def _binding() -> stat.Panel:
    query = table_query(
        {"binds": 'last("binding")', "but": quoted("reason")}, "live.headroom", by=("site",)
    )
    text = "The limit at which least IT power still fits, and what is not known of others."
    return of_now(words(Said("What binds", text, _NO_LIMIT), query))


def _table() -> table.Panel:
    query = table_query(
        {
            "allowed": 'last("limit_watts")',
            "load": quoted("load_watts"),
            "fits IT": quoted("it_headroom_watts"),
        },
        "live.limit",
        by=("kind", "limit"),
        then={
            "load": "load",
            "allowed": "allowed",
            "used": "load / allowed",
            "fits IT": '"fits IT"',
        },
        only="allowed > 0",
    )
    text = (
        "Each limit of the power path at the end of the window: the load after the failure that it "
        "must survive (of a pair each carries both), what it allows less its margin, load / "
        "allowed, and (allowed - load) / marginal ratio. Without a load it is not known."
    )
    looks: dict[str, Look] = {"used": [*united(PERCENT, 1), *USED]}
    panel = ranking(Said("Limits", text, _NO_LIMIT), query, unit=WATTS, worst="used", looks=looks)
    return of_now(panel)


def _used() -> timeseries.Panel:
    query = points_query(
        {"load": 'max("load_watts")', "allowed": 'min("limit_watts")'},
        "live.limit",
        over_time=True,
        by=("kind", "limit"),
        then={"used": "load / allowed"},
        only="allowed > 0 AND load >= 0",
    )
    text = "The highest load in each step / what the limit allows."
    said = Said("Limits over time", text, _NO_LIMIT)
    panel = lines(said, [query], unit=PERCENT, alias="$tag_kind: $tag_limit").min(0)
    limited(panel, NEAR)
    return panel


def _headroom_over_time() -> timeseries.Panel:
    query = points_query(
        {"it": 'min("it_watts")', "at most": 'min("high_it_watts")'},
        "live.headroom",
        over_time=True,
    )
    text = "The least IT power that still fitted in each step; without all loads an upper bound."
    looks: dict[str, Look] = {
        "it": [colour("it"), called("IT")],
        "at most": [colour("bound")],
    }
    said = Said("Headroom for IT over time", text, _NO_LIMIT)
    return lines(said, [query], unit=WATTS, looks=looks)


def _stranded() -> timeseries.Panel:
    query = rollup_query(
        {"stranded": "stranded_seconds / interval_seconds"},
        where="interval_seconds > 0",
        scope=Scope.SITE,
        over_time=True,
    )
    text = (
        "Devices that are available beyond what can be powered and cooled at N, estimated by the "
        "peak power of each: device-seconds / seconds. What cooling carries "
        "is counted here, at its design day."
    )
    said = Said("Stranded by power and cooling", text, "nothing was rolled up")
    return lines(said, [query], unit=SHORT, looks={"stranded": [colour("limit")]})


def _grid() -> list[Placed]:
    query = table_query(
        {
            "contracted": 'last("contracted_watts")',
            "projected": quoted("projected_watts"),
            "known": quoted("known_seconds"),
            "elapsed": quoted("elapsed_seconds"),
        },
        "live.demand",
        by=("connection",),
        then={
            "projected": "projected",
            "contracted": "contracted",
            "used": "projected / contracted",
            "known": "known",
            "elapsed": "elapsed",
        },
        only="contracted > 0",
    )
    text = (
        "The running demand interval of each grid connection: its mean if the power of the last "
        "minute stays, what is contracted, and of how many of its seconds the energy is known."
    )
    looks: dict[str, Look] = {
        "used": [*united(PERCENT, 1), *USED],
        "known": united("s", 0),
        "elapsed": united("s", 0),
    }
    now = ranking(Said("Demand", text, _NO_GRID), query, unit=WATTS, worst="used", looks=looks)
    return [Placed(of_now(now), Size.HALF), Placed(_demand(), Size.HALF)]


def _demand() -> timeseries.Panel:
    query = points_query(
        {"projected": 'max("projected_watts")', "contracted": 'min("contracted_watts")'},
        "live.demand",
        over_time=True,
        by=("connection",),
    )
    text = "The highest projected mean of a demand interval in each step, and what is contracted."
    said = Said("Demand over time", text, _NO_GRID)
    panel = lines(said, [query], unit=WATTS, alias="$tag_connection $col")
    return panel.override_by_regexp(".* contracted", [colour("limit"), dashed()])


def _temperatures() -> list[Placed]:
    query = table_query(
        {
            "said": 'last("temperature_celsius")',
            "least": quoted("low_celsius"),
            "most": quoted("high_celsius"),
        },
        "detail.sensor",
        by=("cluster", "sensor", "kind"),
        where=_WARM,
        then={
            "last": "said",
            "from": "least",
            "to": "most",
            "too warm by": "said - most",
            "too cold by": "least - said",
        },
        only="said > 0 OR said <= 0",
    )
    text = (
        "The last mean temperature of each sensor in the window, what its class or the site model "
        "allows, and by how much it is out of that; below 0 it is within."
    )
    looks: dict[str, Look] = {"too warm by": _OUT, "too cold by": _OUT}
    said = Said("Temperatures of the halls", text, _NO_SENSOR)
    now = ranking(said, query, unit=CELSIUS, worst="too warm by", looks=looks)
    return [Placed(now, Size.HALF), Placed(_temperatures_over_time(), Size.HALF)]


def _temperatures_over_time() -> timeseries.Panel:
    query = points_query(
        {
            "mean": 'mean("temperature_celsius")',
            "at most": 'min("high_celsius")',
            "at least": 'max("low_celsius")',
        },
        "detail.sensor",
        where=_WARM,
        over_time=True,
        by=("sensor",),
    )
    text = (
        "Mean temperature of each sensor of inlet air and of coolant in each step; dashed what its "
        "class or the site model allows."
    )
    said = Said("Temperatures of the halls over time", text, _NO_SENSOR)
    panel = lines(said, [query], unit=CELSIUS, alias="$tag_sensor $col")
    return panel.override_by_regexp(".* at (most|least)", [colour("limit"), dashed()])


def _coming() -> list[Placed]:
    query = table_query(
        {"power": 'last("added_watts")', "days": quoted("due_in_days")},
        "event.increment",
        by=("connection", "increment"),
        where=OF_SITE,
    )
    text = (
        "More power that is promised for a grid connection, and the days until the date that was "
        "said last; below 0 it is late."
    )
    looks: dict[str, Look] = {"days": united("d", 0)}
    said = Said("Next increments", text, _NO_INCREMENT)
    coming = ranking(said, query, unit=WATTS, worst="days", ascending=True, looks=looks)
    runway = table_query(
        {
            "month": 'last("month")',
            "binds": quoted("binding"),
            "then": quoted("next_month"),
            "and then": quoted("next_binding"),
        },
        "event.runway",
        by=("site",),
    )
    words_of = (
        "The first month in which planned load passes a limit, what binds then, and what would "
        "bind next: peak of the year + devices promised * their peak * marginal ratio, against the "
        "limits with their increments. Written once a quarter hour."
    )
    return [
        Placed(coming, Size.HALF),
        Placed(words(Said("Runway", words_of, "no limit with a known load"), runway), Size.HALF),
    ]
