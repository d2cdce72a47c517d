"""What is installed, and what became of it: from contract to computing, and who leaves it idle."""

from typing import Final

from grafana_foundation_sdk.builders import bargauge, table, timeseries

from grafana.boards.overview import idle_bounds, idle_tile, idle_trend
from grafana.common import HOURS, alerts, states
from grafana.figures import IDLE, bounds_tile, formula, kpi_query, kpi_tile, no_value
from grafana.frame import Board, Placed, Section
from grafana.influxql import GROUP_TAGS, Scope, not_below_zero, rollup_query
from grafana.look import PERCENT, SHORT, Size, called, colour, leading_to, united
from grafana.shapes import Said, bars, lines, ranking
from meterhouse_agent import wire
from meterhouse_collector.kpi.value import COVERAGE_FLOOR

_KINDS: Final = ("idle", "reclaimable_idle", "idle_cost", "under_delivered", "coverage")
_AVAILABLE: Final = "installed_seconds - unhealthy_seconds"
_USABLE: Final = f"{_AVAILABLE} - stranded_seconds"
_LEVELS: Final = {
    "bought": "bought_contracted_seconds",
    "bought, delivered": "bought_delivered_seconds",
    "sold": "sold_contracted_seconds",
    "sold, delivered": "sold_delivered_seconds",
    "installed": "installed_seconds",
    "available": f"({_AVAILABLE})",
    "usable": f"({_USABLE})",
    "known": "known",
    "allocated": "(active_seconds + held_idle_seconds)",
    "active": "active_seconds",
}


def board() -> Board:
    """Return the board of capacity."""
    return Board(
        "meterhouse-capacity",
        "capacity",
        "From what is contracted to what computes, and which part of it stands idle.",
        hours=7 * 24,
        resolution="kept",
        variables=("resolution", *GROUP_TAGS),
        sections=(
            Section("", _figures()),
            Section("Idle, the worst first", [Placed(_by(tag), Size.HALF) for tag in _TAGS]),
            Section("Unhealthy", [Placed(_by_reason(), Size.WHOLE)]),
            Section("Contracts", _contracts()),
            Section("Alerts", [Placed(alerts("Alerts of capacity", _KINDS), Size.WHOLE)]),
        ),
    )


_TAGS: Final = ("pool", "tenant", "cluster", "accelerator_model")
_NAMES: Final = {"accelerator_model": "accelerator model"}


def _figures() -> list[Placed]:
    allocation = kpi_tile("allocation_ratio", "Allocation", "ratio", unit=PERCENT, decimals=1)
    availability = kpi_tile("availability", "Availability", "ratio", unit=PERCENT, decimals=2)
    bounds = " Low takes what is unknown as down, high as up."
    return [
        Placed(idle_tile(), Size.TILE),
        Placed(idle_bounds(), Size.WIDEST_TILE),
        Placed(allocation, Size.TILE),
        Placed(availability, Size.TILE),
        Placed(bounds_tile("availability", "Availability: bounds and coverage", bounds), (8, 4)),
        Placed(_reserve(), (16, 4)),
        Placed(_waterfall(), (10, 10)),
        Placed(states(), (14, 10)),
        Placed(idle_trend(), Size.HALF),
        Placed(_by_pool_over_time(), Size.HALF),
    ]


def _contracts() -> list[Placed]:
    sold = kpi_tile(
        "delivered_ratio", "Delivered of what is sold", "sold", unit=PERCENT, decimals=2
    )
    bought = kpi_tile(
        "bought_delivered_ratio", "Delivered of what is bought", "bought", unit=PERCENT, decimals=2
    )
    bounds = " Low takes units of unknown state as not delivered, high as delivered."
    return [
        Placed(sold, Size.TILE),
        Placed(bounds_tile("delivered_ratio", "Sold: bounds and coverage", bounds), (8, 4)),
        Placed(bought, Size.TILE),
        Placed(
            bounds_tile("bought_delivered_ratio", "Bought: bounds and coverage", bounds), (8, 4)
        ),
        *_idle_by_contract(),
        Placed(contracted_over_time("sold"), Size.HALF),
        Placed(contracted_over_time("bought"), Size.HALF),
    ]


def _idle_by_contract() -> list[Placed]:
    titles = {
        "sold_idle_ratio": "Idle, sold",
        "unsold_idle_ratio": "Idle, not sold",
        "contracted_idle_ratio": "Idle of what is bought",
    }
    more = " Low takes what is unknown as busy, high as idle."
    shown = [kpi_tile(n, title, "ratio", unit=PERCENT, decimals=1) for n, title in titles.items()]
    bounds = [bounds_tile(n, f"{title}: bounds", more) for n, title in titles.items()]
    return [Placed(panel, Size.WIDE_TILE) for panel in (*shown, *bounds)]


def _waterfall() -> bargauge.Panel:
    terms = {"known": not_below_zero(f"{_USABLE} - unknown_seconds")}
    query = rollup_query(
        {name: f"{level}{HOURS}" for name, level in _LEVELS.items()},
        where="installed_seconds > 0",
        scope=Scope.GROUPS,
        terms=terms,
    )
    text = (
        "Device-hours: contracted (bought for the site, sold to tenants), delivered, installed, "
        "available = installed - unhealthy, usable = available - stranded, known = usable - "
        "unknown, allocated = active + held_idle, active. Source: definitions of this project, "
        "waterfall."
    )
    looks = {
        "active": [colour("active")],
        "bought": [colour("contracted")],
        "sold": [colour("contracted")],
        "bought, delivered": [colour("delivered")],
        "sold, delivered": [colour("delivered")],
    }
    said = Said("Waterfall", text, "no device installed")
    return bars(said, [query], unit="h", decimals=1, looks=looks)


def _by(tag: str) -> table.Panel:
    available = f"({_AVAILABLE})"
    query = rollup_query(
        {
            "idle ratio": "idle / could",
            "idle": f"idle{HOURS}",
            "held idle": f"held_idle_seconds{HOURS}",
            "unhealthy": f"unhealthy_seconds{HOURS}",
            "unknown": f"unknown_seconds{HOURS}",
            "installed": f"installed_seconds{HOURS}",
            "coverage": f"({_AVAILABLE} - unknown_seconds) / {available}",
        },
        where=f"could > 0 AND {_AVAILABLE} > 0",
        scope=Scope.GROUPS,
        terms={"idle": IDLE, "could": f"active_seconds + {IDLE}"},
        by=(tag,),
    )
    text = (
        formula("idle_capacity_ratio").split(". No value")[0]
        + f". In device-hours; below a coverage of {COVERAGE_FLOOR:.0%} the ratio says little."
    )
    name = _NAMES.get(tag, tag)
    looks = {
        "idle ratio": united(PERCENT, 1),
        "coverage": united(PERCENT, 1),
        "unhealthy": [colour("unhealthy")],
        "unknown": [colour("unknown")],
        tag: [leading_to("cost", tag)],
    }
    said = Said(f"By {name}", text, "no device could work")
    return ranking(said, query, unit="h", worst="idle ratio", looks=looks)


def _by_pool_over_time() -> timeseries.Panel:
    name = "idle_capacity_ratio"
    query = kpi_query(name, "ratio", over_time=True, by=("pool",))
    said = Said("Idle capacity by pool", formula(name), no_value(name))
    return lines(said, [query], unit=PERCENT, alias="$tag_pool").min(0).max(1)


def _reserve() -> timeseries.Panel:
    query = rollup_query(
        {
            "reserve": "reserve_seconds / interval_seconds",
            "stranded": "stranded_seconds / interval_seconds",
        },
        where="interval_seconds > 0",
        scope=Scope.GROUPS_AND_TIME,
        over_time=True,
    )
    text = (
        "Devices that pools declare they keep free, and devices that are available beyond what can "
        "be powered and cooled, estimated by the peak power of each: device-seconds / seconds. "
        "Both are part of what is free."
    )
    looks = {"reserve": [colour("free")], "stranded": [colour("limit")]}
    return lines(
        Said("Reserve and stranded", text, "no limit, no reserve"), [query], unit=SHORT, looks=looks
    )


def _by_reason() -> timeseries.Panel:
    fields = {"all": "unhealthy_seconds / interval_seconds"}
    for reason in wire.UNHEALTHY_REASONS:
        fields[reason] = f"unhealthy_{reason}_seconds / interval_seconds"
    query = rollup_query(
        fields,
        where="interval_seconds > 0",
        scope=Scope.GROUPS_AND_TIME,
        over_time=True,
    )
    text = (
        "Devices that are unhealthy, and why: failed and lost as their driver or an operator says, "
        "planned and quarantined as an operator says in a downtime of the site model: "
        "device-seconds / seconds. What has no reason was told without one."
    )
    looks = {"all": [colour("unhealthy")]}
    said = Said("Unhealthy devices, by reason", text, "no interval")
    return lines(said, [query], unit=SHORT, looks=looks)


def contracted_over_time(side: str) -> timeseries.Panel:
    """Return contracted and delivered devices of one side of the contracts over time."""
    query = rollup_query(
        {
            "contracted": f"{side}_contracted_seconds / interval_seconds",
            "delivered": f"{side}_delivered_seconds / interval_seconds",
            "unknown": f"{side}_undetermined_seconds / interval_seconds",
        },
        where=f"interval_seconds > 0 AND {side}_contracted_seconds > 0",
        scope=Scope.GROUPS_AND_TIME,
        over_time=True,
    )
    text = (
        f"Devices {side} by contract, delivered in whole units that were up, and in units of "
        "unknown state: device-seconds / seconds."
    )
    looks = {
        "contracted": [colour("contracted")],
        "delivered": [colour("delivered")],
        "unknown": [colour("unknown"), called("not known")],
    }
    said = Said(f"Contracted and delivered: {side}", text, "nothing is contracted")
    return lines(said, [query], unit=SHORT, looks=looks)
