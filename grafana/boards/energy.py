"""Energy: PUE and its basis, the path of the power, what it loses, its sources, water, carbon."""

from typing import Final

from grafana_foundation_sdk.builders import stat, timeseries

from grafana.boards.overview import power, pue_coverage, pue_tile, pue_trend
from grafana.common import alerts
from grafana.figures import coverage_tile, kpi_tile
from grafana.frame import Board, Placed, Section
from grafana.influxql import GROUP_TAGS, Scope, points_query, rollup_query, table_query
from grafana.look import (
    PERCENT,
    PLAIN,
    WATTS,
    Size,
    colour,
    state_looks,
)
from grafana.power_path import power_path
from grafana.shapes import Said, lines, stack, tiles, words
from grafana.site_flows import IN_KWH, carbon_panels, source_panels, water_panels
from meterhouse_agent.wire import STATES

_KINDS: Final = ("pue", "pue_without_value", "meter_stale", "on_battery", "generator_running")


def board() -> Board:
    """Return the board of energy."""
    return Board(
        "meterhouse-energy",
        "energy",
        "Where energy comes from, where it goes, and what comes with it.",
        hours=7 * 24,
        resolution="kept",
        variables=("resolution", *GROUP_TAGS),
        sections=(
            Section("", _pue()),
            Section("The path of the power", _path()),
            Section("Sources", source_panels()),
            Section("Water and carbon", [*water_panels(), *carbon_panels()]),
            Section("Alerts", [Placed(alerts("Alerts of energy", _KINDS), Size.WHOLE)]),
        ),
    )


def _pue() -> list[Placed]:
    label = table_query(
        {"PUE": 'last("pue_label")', "currency": 'last("currency")'}, "event.site", by=("site",)
    )
    said = Said(
        "What this PUE is",
        "Category by where IT energy is read, and the length of the collector's live window: only "
        "a trailing year is called PUE. Written once a quarter hour.",
        "the collector says nothing",
    )
    return [
        Placed(pue_tile(), Size.TILE),
        Placed(pue_coverage(), Size.TILE),
        Placed(words(said, label), (8, 4)),
        Placed(_ups_efficiency(), Size.TILE),
        Placed(_ups_coverage(), Size.TILE),
        Placed(pue_trend(), Size.HALF),
        Placed(power(), Size.HALF),
    ]


def _ups_efficiency() -> stat.Panel:
    return kpi_tile("ups_efficiency", "UPS efficiency", "ratio", unit=PERCENT, decimals=1)


def _ups_coverage() -> stat.Panel:
    text = "Share of the window's time in which both sides of the UPS are known."
    return coverage_tile("ups_efficiency", "UPS: coverage", text)


def _path() -> list[Placed]:
    return [
        Placed(power_path(), (24, 10)),
        Placed(_losses(), Size.HALF),
        Placed(_by_state(), Size.HALF),
        Placed(_billed(), Size.HALF),
        Placed(_other_sources(), Size.HALF),
    ]


def _losses() -> timeseries.Panel:
    site = rollup_query(
        {"all but IT": "(facility_joint_joules - it_joint_joules) / pue_joint_seconds"},
        where="pue_joint_seconds > 0",
        scope=Scope.SITE,
        over_time=True,
    )
    ups = rollup_query(
        {"UPS": "(ups_in_joint_joules - ups_out_joint_joules) / ups_joint_seconds"},
        where="ups_joint_seconds > 0",
        scope=Scope.SITE,
        over_time=True,
    )
    text = (
        "Mean power that did not reach IT: facility - IT, which is cooling, losses and the "
        "building; and of it what the UPS kept: in - out."
    )
    looks = {"all but IT": [colour("facility")], "UPS": [colour("losses")]}
    said = Said("Cooling and losses", text, "no energy was measured")
    return lines(said, [site, ups], unit=WATTS, looks=looks)


def _by_state() -> timeseries.Panel:
    columns: dict[str, str] = {
        state: f"{state}_drawn_joules / interval_seconds" for state in STATES
    }
    query = rollup_query(
        columns, where="interval_seconds > 0", scope=Scope.GROUPS_AND_TIME, over_time=True
    )
    text = (
        "Mean power drawn by devices in each state, with the rest of their nodes, and network and "
        "storage where those have meters, spread over them: joules / seconds."
    )
    said = Said("Power by state", text, "no energy was measured")
    return stack(said, [query], unit=WATTS, looks=state_looks())


def _billed() -> stat.Panel:
    query = rollup_query(
        {
            "billed": f"billed_joules{IN_KWH}",
            "estimated": f"estimated_billed_joules{IN_KWH}",
            "hours without": "unbilled_seconds / 3600",
        },
        where="billed_joules > 0",
        scope=Scope.SITE,
    )
    text = (
        "What the energy tariff applies to in kWh, the part of it that fills gaps, and the hours "
        "whose energy is not known. Never joint energy, and never multiplied by PUE."
    )
    said = Said("Billed energy", text, "nothing is billed")
    return tiles(said, [query], unit=PLAIN, decimals=1)


def _other_sources() -> timeseries.Panel:
    query = points_query(
        {"watts": 'max("power_watts")'}, "live.source", over_time=True, by=("kind", "source")
    )
    text = (
        "The most that each battery, UPS and generator gave in each step, as far as it is metered."
    )
    said = Said("Batteries and generators", text, "none is metered")
    return lines(said, [query], unit=WATTS, alias="$tag_kind $tag_source")
