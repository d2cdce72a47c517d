"""What the neighbourhood sees of a site: its water, its heat, its part of the grid, its sources."""

from typing import Final

from grafana_foundation_sdk.builders import stat, table, timeseries

from grafana.figures import coverage_tile, kpi_tile, kpi_trend
from grafana.frame import Board, Placed, Section
from grafana.influxql import Scope, points_query, rollup_query, table_query
from grafana.look import PERCENT, WATTS, Look, Size, colour, united
from grafana.shapes import Said, lines, ranking, tiles
from grafana.site_flows import IN_KWH, KWH, carbon_panels, source_panels, water_panels

_OF_REGION: Final = {
    "grid": 'sum("grid_joules")',
    "available": 'sum("available_joules")',
    "seconds": 'sum("known_seconds")',
}
_SHARE: Final = "grid / (grid + available)"
_KNOWN: Final = "seconds > 0 AND grid >= 0 AND grid + available > 0"
_SHARE_TEXT: Final = (
    "Energy from the grid / (that + what the region's grid could still give in the same time): of "
    "what the place has for this site and for others to come, the part that the site takes. What "
    "could still be given is in the site model by hand, dated and with its source; of quarter "
    "hours that are summed, with all sources known."
)
_NO_REGION: Final = "no value: no regional capacity in the site model, or sources are not known"


def board() -> Board:
    """Return the board for the community."""
    return Board(
        "meterhouse-community",
        "community",
        "Water, heat that is used again, the part of the grid that is taken, and its sources.",
        hours=30 * 24,
        resolution="kept",
        variables=("resolution",),
        sections=(
            Section("Water", [*water_panels()]),
            Section("Heat that is used again", _heat()),
            Section("Grid", _grid()),
            Section("Sources", source_panels()),
            Section("Carbon", carbon_panels()),
        ),
    )


def _heat() -> list[Placed]:
    query = rollup_query(
        {"heat": f"reused_heat_joules{IN_KWH}"},
        where="reused_heat_joules > 0",
        scope=Scope.SITE,
    )
    said = Said("Heat handed over", "Energy that was used again outside.", "no heat was metered")
    text = "Share of the window's time in which heat and facility energy are both known."
    trend = kpi_trend(
        {"ERF": "erf"},
        "Energy reuse factor over time",
        unit=PERCENT,
        looks={"ERF": [colour("reused_heat")]},
    )
    return [
        Placed(kpi_tile("erf", "Energy reuse factor", "ERF", unit=PERCENT, decimals=1), Size.TILE),
        Placed(coverage_tile("erf", "Heat: coverage", text), Size.TILE),
        Placed(
            tiles(said, [query], unit=KWH, decimals=1, looks={"heat": [colour("reused_heat")]}),
            Size.TILE,
        ),
        Placed(trend, Size.WIDEST_TILE),
    ]


def _grid() -> list[Placed]:
    renewable = kpi_trend(
        {"REF": "ref"},
        "Renewable energy factor over time",
        unit=PERCENT,
        looks={"REF": [colour("renewable")]},
    )
    return [
        Placed(_part(), Size.TILE),
        Placed(_taken(), (8, 4)),
        Placed(renewable, Size.WIDEST_TILE),
        Placed(_share(), (4, 8)),
        Placed(_share_over_time(), Size.THIRD),
        Placed(_local_grid(), Size.HALF),
    ]


def _share() -> stat.Panel:
    query = points_query(
        _OF_REGION, "event.region", by=("region",), then={"share": _SHARE}, only=_KNOWN
    )
    return tiles(
        Said("Share of the local grid", _SHARE_TEXT, _NO_REGION),
        [query],
        unit=PERCENT,
        decimals=1,
        alias="$tag_region",
    )


def _share_over_time() -> timeseries.Panel:
    query = points_query(
        _OF_REGION,
        "event.region",
        over_time=True,
        by=("region",),
        then={"share": _SHARE},
        only=_KNOWN,
    )
    said = Said("Share of the local grid over time", _SHARE_TEXT, _NO_REGION)
    return lines(said, [query], unit=PERCENT, alias="$tag_region").min(0)


def _local_grid() -> table.Panel:
    query = table_query(
        _OF_REGION | {"told": 'last("source")'},
        "event.region",
        by=("region",),
        then={
            "taken": "grid / seconds",
            "could still give": "available / seconds",
            "share": _SHARE,
            "source": "told",
        },
        only=_KNOWN,
    )
    text = (
        "Mean power that the site takes from the grid of each region, what that grid could still "
        "give, and the source that the site model names for it."
    )
    looks: dict[str, Look] = {"share": united(PERCENT, 1)}
    said = Said("Local grid", text, _NO_REGION)
    return ranking(said, query, unit=WATTS, worst="share", looks=looks)


def _part() -> stat.Panel:
    query = points_query(
        {"mean": 'mean("projected_watts")', "contracted": 'mean("contracted_watts")'},
        "live.demand",
        by=("connection",),
        then={"part": "mean / contracted"},
        only="contracted > 0 AND mean >= 0",
    )
    text = (
        "Mean power at each grid connection / what is contracted there. What else the local grid "
        "carries no meter of the site knows."
    )
    said = Said("Part of the connection", text, "the site has no grid connection")
    return tiles(said, [query], unit=PERCENT, decimals=1, alias="$tag_connection")


def _taken() -> timeseries.Panel:
    query = rollup_query(
        {"grid": "grid_joint_joules / sources_joint_seconds"},
        where="sources_joint_seconds > 0",
        scope=Scope.SITE,
        over_time=True,
    )
    text = "Mean power from the grid: joules / seconds in which all sources are known."
    said = Said("Taken from the grid", text, "no interval has all of its sources")
    return lines(said, [query], unit=WATTS, looks={"grid": [colour("grid")]})
