"""Meterhouse itself: how much it knows, how late, and what it did not take."""

from typing import Final

from grafana_foundation_sdk.builders import bargauge, stat, timeseries

from grafana.common import alerts, open_alerts
from grafana.figures import ENOUGH, coverage_query
from grafana.frame import Board, Placed, Section
from grafana.influxql import GROUP_TAGS, points_query
from grafana.look import PERCENT, PLAIN, SECONDS, SHORT, Look, Size, colour, thresholds
from grafana.shapes import Said, bars, judged, lines, of_now, tiles
from meterhouse_collector.kpi.value import COVERAGE_FLOOR

_SOURCE: Final = "live.collector"
_SILENT: Final = "the collector says nothing"
_KINDS: Final = (
    "coverage",
    "node_silent",
    "meter_stale",
    "spool_filling",
    "store_down",
    "collector_behind",
)
_COVERED: Final = {
    "PUE": "pue",
    "idle capacity": "idle_capacity_ratio",
    "cost per token": "cost_per_million_output_tokens",
    "sold": "delivered_ratio",
    "engines": "success_ratio",
    "water": "wue",
    "sources": "ref",
    "UPS": "ups_efficiency",
}


def board() -> Board:
    """Return the board of the meters' own state."""
    return Board(
        "meterhouse-meterhouse",
        "Meterhouse itself",
        "Coverage, freshness, lateness, spools and refused reports.",
        hours=6,
        resolution="live",
        variables=("resolution", *GROUP_TAGS),
        sections=(
            Section("", _figures()),
            Section("Reports", _reports()),
            Section("Quarter hours", _quarters()),
            Section("Alerts", [Placed(alerts("Alerts of the metering", _KINDS), Size.WHOLE)]),
        ),
    )


def _figures() -> list[Placed]:
    fresh = _last(
        Said(
            "Freshness",
            "How long ago the newest interval that is rolled up ended, at the end of the window.",
            _SILENT,
        ),
        {"rolled up": "freshness_seconds", "quarter": "quarter_age_seconds"},
        SECONDS,
    )
    nodes = _last(
        Said(
            "Nodes",
            "Nodes of the register and of telemetry, and those without a report for three "
            "intervals, at the end of the window.",
            _SILENT,
        ),
        {"nodes": "nodes", "silent": "silent_nodes"},
        PLAIN,
    )
    spool = _last(
        Said(
            "Spool depth",
            "Reports that wait in the agents' spools, and in the collector for the store.",
            _SILENT,
        ),
        {"agents": "spool_reports", "collector": "pending_reports"},
        PLAIN,
    )
    links = _last(
        Said(
            "Connections", "1 while the store takes rows, and while the broker is there.", _SILENT
        ),
        {"store": "store_up", "broker": "connected"},
        PLAIN,
    )
    judged(links, thresholds((1, "good"), base="bad"))
    return [
        Placed(fresh, Size.TILE),
        Placed(nodes, Size.TILE),
        Placed(spool, Size.TILE),
        Placed(links, Size.TILE),
        Placed(_lateness(), Size.TILE),
        Placed(open_alerts(), Size.TILE),
        Placed(_coverage(), Size.HALF),
        Placed(_refused_by_reason(), Size.HALF),
    ]


def _last(said: Said, fields: dict[str, str], unit: str) -> stat.Panel:
    columns = {name: f'last("{field}")' for name, field in fields.items()}
    looks: dict[str, Look] = {"silent": [colour("unknown")]}
    query = points_query(columns, _SOURCE)
    return of_now(tiles(said, [query], unit=unit, decimals=0, looks=looks))


def _lateness() -> stat.Panel:
    query = points_query(
        {"late": 'sum("late_seconds")', "reports": 'sum("reports")'},
        _SOURCE,
        then={"mean": "late / reports"},
        only="reports > 0",
    )
    text = "From the end of a report's interval to its coming: seconds late / reports."
    return tiles(Said("Lateness, mean", text, "no report came"), [query], unit=SECONDS, decimals=2)


def _coverage() -> bargauge.Panel:
    queries = [coverage_query(name, column) for column, name in _COVERED.items()]
    text = (
        "The part of the window that each figure is known of, as beside it on its own board. Below "
        f"{COVERAGE_FLOOR:.0%} it has no value."
    )
    said = Said("Coverage", text, "nothing was rolled up")
    panel = bars(said, queries, unit=PERCENT, decimals=1).max(1)
    judged(panel, ENOUGH)
    return panel


def _refused_by_reason() -> bargauge.Panel:
    query = points_query({"reports": 'sum("reports")'}, "live.refused", by=("reason",))
    text = "Messages refused in the window, by reason; the reference says what to do."
    said = Said("Refused, by reason", text, "none")
    return bars(said, [query], unit=PLAIN, decimals=0, alias="$tag_reason")


def _over_time(said: Said, columns: dict[str, str], unit: str) -> timeseries.Panel:
    looks: dict[str, Look] = {
        "refused": [colour("bad")],
        "dropped": [colour("warning")],
        "agents": [colour("p95")],
        "collector": [colour("p50")],
    }
    query = points_query(columns, _SOURCE, over_time=True)
    return lines(said, [query], unit=unit, looks=looks)


def _reports() -> list[Placed]:
    late = points_query(
        {"late": 'sum("late_seconds")', "reports": 'sum("reports")'},
        _SOURCE,
        over_time=True,
        then={"mean": "late / reports"},
        only="reports > 0",
    )
    text = "Seconds late / reports, of each step."
    return [
        Placed(
            _over_time(
                Said("Reports taken", "Reports taken in each step.", _SILENT),
                {"reports": 'sum("reports")'},
                SHORT,
            ),
            Size.THIRD,
        ),
        Placed(
            _over_time(
                Said(
                    "Refused and dropped",
                    "Messages refused, and not looked at, in each step.",
                    _SILENT,
                ),
                {"refused": 'sum("refused")', "dropped": 'sum("dropped")'},
                SHORT,
            ),
            Size.THIRD,
        ),
        Placed(lines(Said("Lateness", text, "no report came"), [late], unit=SECONDS), Size.THIRD),
        Placed(
            _over_time(
                Said(
                    "Spools",
                    "The most reports that waited in each step: in the agents' spools, and in the "
                    "collector for the store.",
                    _SILENT,
                ),
                {"agents": 'max("spool_reports")', "collector": 'max("pending_reports")'},
                SHORT,
            ),
            Size.HALF,
        ),
        Placed(
            _over_time(
                Said("Silent nodes", "The most nodes that were silent in each step.", _SILENT),
                {"silent": 'max("silent_nodes")'},
                SHORT,
            ),
            Size.HALF,
        ),
    ]


def _quarters() -> list[Placed]:
    return [
        Placed(
            _over_time(
                Said(
                    "Quarters behind",
                    "Quarter hours that have ended and are not summed, and things in summed ones "
                    "that changed since: the most in each step.",
                    _SILENT,
                ),
                {"behind": 'max("quarters_behind")', "changed": 'max("dirty_marks")'},
                SHORT,
            ),
            Size.THIRD,
        ),
        Placed(
            _over_time(
                Said("Rows written", "Rows that the store took in each step.", _SILENT),
                {"rows": 'sum("rows")'},
                SHORT,
            ),
            Size.THIRD,
        ),
        Placed(
            _over_time(
                Said(
                    "Faults",
                    "Rows that the store never takes, rows that cannot be read, and errors of the "
                    "program, in each step.",
                    _SILENT,
                ),
                {
                    "rejected": 'sum("rows_rejected")',
                    "unread": 'sum("unread_rows")',
                    "bugs": 'sum("bugs")',
                },
                SHORT,
            ),
            Size.THIRD,
        ),
    ]
