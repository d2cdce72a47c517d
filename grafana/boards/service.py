"""Service: what was served, how fast, and with how much energy."""

from collections.abc import Mapping
from typing import Final

from grafana_foundation_sdk.builders import stat, table, timeseries

from grafana.common import COUNTED, NO_ENGINE, token_rate
from grafana.figures import coverage_tile, kpi_tile, kpi_trend
from grafana.frame import Board, Placed, Section
from grafana.influxql import (
    GROUP_TAGS,
    OF_SITE,
    SOURCE,
    STEP,
    Scope,
    points_query,
    rollup_query,
    table_query,
)
from grafana.look import JOULES, PERCENT, SECONDS, SHORT, Look, Size, colour, united
from grafana.shapes import Said, lines, ranking, tiles
from meterhouse_collector.kpi.catalogue import LATENCIES, QUANTILES
from meterhouse_collector.kpi.value import COVERAGE_FLOOR

_ENGINES: Final = f'{OF_SITE} AND "served_model" =~ /^$served_model$/'
_COUNTS: Final = {
    "within": 'sum("within_requests")',
    "high": 'sum("high_within_requests")',
    "observed": 'sum("observed_requests")',
    "told": 'sum("told_seconds")',
    "installed": 'sum("installed_seconds")',
}
_GOOD: Final = (
    "Of each latency objective of the site model, in the quarter hours that are summed: one at a "
    "time, as histograms do not say which request kept several."
)
_NO_GOODPUT: Final = (
    "no value: no latency objective that engines report, no request, a threshold between buckets, "
    "or coverage below "
    f"{COVERAGE_FLOOR:.0%}"
)
_QUANTILE_LOOKS: Final[dict[str, Look]] = {name: [colour(name)] for name in QUANTILES}


def board() -> Board:
    """Return the board of service."""
    return Board(
        "meterhouse-service",
        "service",
        "Tokens, requests, latency, queues and caches of what serves models.",
        hours=6,
        resolution="live",
        variables=("resolution", *GROUP_TAGS),
        sections=(
            Section("", _figures()),
            Section("Throughput and queues", _throughput()),
            Section("Latency", [Placed(_latency(metric), Size.THIRD) for metric in LATENCIES]),
            Section("Goodput", _goodput()),
            Section("By served model", [Placed(_by_model(), Size.WHOLE)]),
        ),
    )


def _figures() -> list[Placed]:
    success = kpi_tile("success_ratio", "Success", "ratio", unit=PERCENT, decimals=2)
    told = "Share of the engines' device-seconds of which engines told."
    joules = kpi_tile(
        "joules_per_output_token", "Energy per output token", "energy", unit=JOULES, decimals=3
    )
    rate = kpi_tile(
        "tokens_per_second_per_megawatt",
        "Output tokens per second per MW of IT",
        "rate",
        unit=SHORT,
        decimals=1,
    )
    return [
        Placed(success, Size.TILE),
        Placed(coverage_tile("success_ratio", "Engines: coverage", told), Size.TILE),
        Placed(joules, Size.TILE),
        Placed(rate, Size.TILE),
        Placed(_cache(), Size.TILE),
        Placed(_tokens(), Size.TILE),
    ]


def _tokens() -> stat.Panel:
    columns = {"input": "input_tokens", "output": "output_tokens"}
    query = rollup_query(columns, where=COUNTED, scope=Scope.GROUPS)
    text = "As engines report them; input includes what was read from a cache."
    looks = {"input": [colour("input")], "output": [colour("output")]}
    return tiles(Said("Tokens", text, NO_ENGINE), [query], unit=SHORT, decimals=2, looks=looks)


def _cache() -> stat.Panel:
    query = rollup_query(
        {"hits": "cached_input_tokens / input_tokens"},
        where="input_tokens > 0",
        scope=Scope.GROUPS,
    )
    text = "Input tokens served from a cache / input tokens."
    looks = {"hits": [colour("cached")]}
    said = Said("Cache hits", text, "no input tokens")
    return tiles(said, [query], unit=PERCENT, decimals=1, looks=looks)


def _throughput() -> list[Placed]:
    trend = kpi_trend(
        {"success": "success_ratio"},
        "Success over time",
        unit=PERCENT,
        looks={"success": [colour("good")]},
    )
    return [
        Placed(token_rate(), Size.HALF),
        Placed(_requests(), Size.HALF),
        Placed(_queue(), Size.THIRD),
        Placed(trend.max(1), Size.THIRD),
        Placed(_cache_over_time(), Size.THIRD),
    ]


def _requests() -> timeseries.Panel:
    query = rollup_query(
        {
            "succeeded": "requests_succeeded / interval_seconds",
            "failed": "requests_failed / interval_seconds",
        },
        where=f"interval_seconds > 0 AND {COUNTED}",
        scope=Scope.GROUPS_AND_TIME,
        over_time=True,
    )
    text = (
        "Finished requests / seconds. Succeeded is by a stop or by their length: goodput without a "
        "latency objective; that of each objective stands below."
    )
    looks = {"succeeded": [colour("requests")], "failed": [colour("bad")]}
    said = Said("Requests per second", text, NO_ENGINE)
    return lines(said, [query], unit=SHORT, looks=looks)


def _queue() -> timeseries.Panel:
    query = points_query(
        {"running": 'mean("running_requests")', "waiting": 'mean("waiting_requests")'},
        "detail.engine",
        where=_ENGINES,
        over_time=True,
        by=("engine",),
    )
    text = "Requests that run and that wait in each engine: means of what it told."
    said = Said("Queue", text, "no engine told of its queue")
    return lines(said, [query], unit=SHORT, alias="$tag_engine $col")


def _cache_over_time() -> timeseries.Panel:
    query = rollup_query(
        {"hits": "cached_input_tokens / input_tokens"},
        where="input_tokens > 0",
        scope=Scope.GROUPS,
        over_time=True,
    )
    text = "Input tokens served from a cache / input tokens."
    looks = {"hits": [colour("cached")]}
    panel = lines(
        Said("Cache hits over time", text, "no input tokens"), [query], unit=PERCENT, looks=looks
    )
    return panel.min(0).max(1)


def _latency(metric: str) -> timeseries.Panel:
    """Return the quantiles of a latency; stored values, of which only a maximum means anything."""
    columns = ", ".join(f'max("{metric}_{name}_seconds") AS "{name}"' for name in QUANTILES)
    query = (
        f"SELECT {columns} FROM {SOURCE} WHERE $timeFilter AND {Scope.GROUPS.value} "  # noqa: S608 - no input
        f'AND "{metric}_observed_requests" > 0 GROUP BY {STEP} fill(none)'
    )
    text = (
        f"{LATENCIES[metric].capitalize()}: the highest quantile of any group and interval in each "
        "step. Each is from the buckets of all replicas of its group; quantiles are never averaged."
    )
    said = Said(LATENCIES[metric].capitalize(), text, "nothing was observed")
    return lines(said, [query], unit=SECONDS, looks=_QUANTILE_LOOKS)


def _goodput() -> list[Placed]:
    share = tiles(
        Said("Goodput", f"{_GOOD} Requests within the objective / requests.", _NO_GOODPUT),
        [_objectives({"goodput": "within / observed"})],
        unit=PERCENT,
        decimals=2,
        alias="$tag_objective",
    )
    text = f"{_GOOD} Requests within the objective / seconds, each objective by itself."
    rate = lines(
        Said("Goodput over time", text, _NO_GOODPUT),
        [_objectives({"goodput": "within / length"}, over_time=True)],
        unit="reqps",
        alias="$tag_objective",
    )
    return [
        Placed(share, (4, 8)),
        Placed(rate, Size.THIRD),
        Placed(_held_against(), Size.HALF),
    ]


def _objectives(columns: Mapping[str, str], *, over_time: bool = False) -> str:
    """Return the query of objectives whose requests within are exact, and known well enough."""
    return points_query(
        _COUNTS | {"length": 'sum("quarter_seconds")'},
        "event.objective",
        where=_ENGINES,
        over_time=over_time,
        by=("objective",),
        then=columns,
        only=(
            "observed > 0 AND length > 0 AND within >= high "
            f"AND told >= {COVERAGE_FLOOR} * installed"
        ),
    )


def _held_against() -> table.Panel:
    query = table_query(
        _COUNTS | {"threshold": 'last("threshold_seconds")', "wanted": 'last("objective_ratio")'},
        "event.objective",
        where=_ENGINES,
        by=("objective", "served_model", "metric"),
        then={
            "within": "threshold",
            "at least": "within / observed",
            "at most": "high / observed",
            "wanted": "wanted",
            "requests": "observed",
            "coverage": "told / installed",
        },
        only="observed > 0 AND installed > 0",
    )
    text = (
        "Each latency objective: the threshold, the share of requests within it, what is wanted, "
        "and the part of the engines' time of which they told. At least and at most differ where "
        "the threshold is no edge of the server's buckets: then there is no goodput."
    )
    looks: dict[str, Look] = {
        "within": united(SECONDS, 3),
        "at least": united(PERCENT, 2),
        "at most": united(PERCENT, 2),
        "wanted": united(PERCENT, 2),
        "coverage": united(PERCENT, 1),
    }
    said = Said("Latency objectives", text, _NO_GOODPUT)
    return ranking(said, query, unit=SHORT, worst="at least", ascending=True, looks=looks)


def _by_model() -> table.Panel:
    query = rollup_query(
        {
            "output per device-hour": "output_tokens * 3600 / engine_installed_seconds",
            "output": "output_tokens",
            "input": "input_tokens",
            "succeeded": "requests_succeeded",
            "failed": "requests_failed",
            "cache hits": "cached_input_tokens / input_tokens",
        },
        where="engine_installed_seconds > 0 AND input_tokens > 0",
        scope=Scope.GROUPS,
        by=("served_model",),
    )
    text = "Output tokens / device-hours that engines hold, and what they are made of."
    looks = {"cache hits": united(PERCENT, 1)}
    said = Said("Served models", text, NO_ENGINE)
    return ranking(
        said, query, unit=SHORT, worst="output per device-hour", ascending=True, looks=looks
    )
