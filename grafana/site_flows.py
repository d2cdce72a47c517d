"""What flows over the boundary of a site: its sources, water, and carbon."""

from typing import Final

from grafana_foundation_sdk.builders import stat

from grafana.figures import coverage_tile, kpi_tile
from grafana.frame import Placed
from grafana.influxql import Scope, rollup_query
from grafana.look import KILOGRAMS, LITRES, PERCENT, WATTS, Size, called, colour
from grafana.shapes import Said, bars, lines, tiles

KWH: Final = "kwatth"
IN_KWH: Final = " / 3600000"
SOURCES: Final = {
    "grid": "grid_joint_joules",
    "ppa": "ppa_joint_joules",
    "on_site": "on_site_joint_joules",
    "fuel": "fuel_joint_joules",
    "purchased_cooling": "purchased_cooling_joint_joules",
    "storage": "storage_joint_joules",
    "export": "export_joint_joules",
}
_SOURCE_NAMES: Final = {
    "ppa": "PPA",
    "on_site": "on site",
    "purchased_cooling": "purchased cooling",
    "storage": "storage, discharged less charged",
}
SOURCE_LOOKS: Final = {
    name: [colour(name), called(_SOURCE_NAMES.get(name, name))] for name in SOURCES
}
_SOURCES_TEXT: Final = (
    "Over the intervals in which all sources are known. Grid is what no other source gave; "
    "storage is below 0 where more was charged than discharged."
)
_CARBON: Final = {
    "by location": "location_carbon_kg",
    "by market": "market_carbon_kg",
    "fuel": "fuel_carbon_kg",
    "refrigerant": "refrigerant_carbon_kg",
}


def source_panels() -> list[Placed]:
    """Return the mix of the sources, and their renewable part."""
    whole = rollup_query(
        {name: f"{field}{IN_KWH}" for name, field in SOURCES.items()},
        where="sources_joint_seconds > 0",
        scope=Scope.SITE,
    )
    over_time = rollup_query(
        {name: f"{field} / sources_joint_seconds" for name, field in SOURCES.items()},
        where="sources_joint_seconds > 0",
        scope=Scope.SITE,
        over_time=True,
    )
    nothing = "no interval has all of its sources"
    mix = Said("Source mix", _SOURCES_TEXT, nothing)
    power_of = Said("Power by source", f"Mean power: joules / seconds. {_SOURCES_TEXT}", nothing)
    part = kpi_tile("ref", "Renewable energy factor", "REF", unit=PERCENT, decimals=1)
    text = "Share of the window's time in which all sources are known."
    return [
        Placed(bars(mix, [whole], unit=KWH, decimals=1, looks=SOURCE_LOOKS), Size.THIRD),
        Placed(lines(power_of, [over_time], unit=WATTS, looks=SOURCE_LOOKS), Size.THIRD),
        Placed(part, (4, 8)),
        Placed(coverage_tile("ref", "Sources: coverage", text), (4, 8)),
    ]


def water_panels() -> list[Placed]:
    """Return the water taken in, and what it is per kWh of IT energy."""
    query = rollup_query(
        {"water": "water_litres / interval_seconds"},
        where="interval_seconds > 0 AND water_litres > 0",
        scope=Scope.SITE,
        over_time=True,
    )
    said = Said("Water taken in", "Litres / second, as measured.", "no water was measured")
    looks = {"water": [colour("water")]}
    unit = "litres per kWh"
    return [
        Placed(kpi_tile("wue", "WUE", "WUE", unit=f"suffix: {unit}", decimals=3), Size.TILE),
        Placed(
            kpi_tile("wue_source", "WUE, source", "WUE", unit=f"suffix: {unit}", decimals=3),
            Size.TILE,
        ),
        Placed(_litres(), Size.TILE),
        Placed(lines(said, [query], unit="suffix: l/s", looks=looks), (12, 4)),
    ]


def _litres() -> stat.Panel:
    query = rollup_query({"water": "water_litres"}, where="water_litres > 0", scope=Scope.SITE)
    said = Said("Water", "Litres taken in, as measured.", "no water was measured")
    return tiles(said, [query], unit=LITRES, decimals=1, looks={"water": [colour("water")]})


def carbon_panels() -> list[Placed]:
    """Return the emissions of energy, fuel and refrigerant."""
    query = rollup_query(
        dict(_CARBON),
        where="interval_seconds > 0",
        scope=Scope.SITE,
    )
    unfactored = rollup_query(
        {
            "location": "1 - location_unfactored_seconds / interval_seconds",
            "market": "1 - market_unfactored_seconds / interval_seconds",
        },
        where="interval_seconds > 0",
        scope=Scope.SITE,
    )
    text = (
        "Scope 2 by location and by market are two views of the same energy and do not add up; "
        "by market it is provisional until certificates are retired. Fuel and refrigerant are "
        "scope 1, entered by hand."
    )
    coverage = "Share of the window's time in which every source has a factor."
    looks = {name: [colour("carbon")] for name in _CARBON}
    nothing = "nothing was rolled up"
    return [
        Placed(kpi_tile("cue", "CUE", "CUE", unit="suffix: kg per kWh", decimals=4), Size.TILE),
        Placed(
            tiles(
                Said("Carbon: coverage", coverage, nothing), [unfactored], unit=PERCENT, decimals=1
            ),
            Size.TILE,
        ),
        Placed(
            bars(Said("Carbon", text, nothing), [query], unit=KILOGRAMS, decimals=1, looks=looks),
            (16, 4),
        ),
    ]
