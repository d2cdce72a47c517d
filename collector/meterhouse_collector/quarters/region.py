"""What a site takes of its local grid in a quarter, beside what that could still give. Pure.

What a region's grid could give is in the site model by hand, dated and with its source. Nobody
tells what else that grid carries, so a share is of what it has for this site and for more to come.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from meterhouse_collector.rollup.points import tag_value
from meterhouse_collector.rollup.quarter import QUARTER
from meterhouse_collector.rows import Point
from meterhouse_collector.site.index import SiteIndex

REGION: Final = "region"


def region_points(index: SiteIndex, start: int, sums: Mapping[str, float]) -> Iterator[Point]:
    """Yield the energy from the grid and what each region could have given in the same seconds.

    ``sums`` are those of the site; without all of its sources known there is nothing to say.
    """
    seconds = sums["sources_joint_seconds"]
    if seconds <= 0:
        return
    for region in index.dated.regional_capacity.at(start + QUARTER - 1).values():
        fields: dict[str, float | int | str | bool] = {
            "grid_joules": float(sums["grid_joint_joules"]),
            "available_joules": region.available_watts * seconds,
            "known_seconds": float(seconds),
            "source": region.source,
        }
        tags = (("region", tag_value(region.region)), ("site", index.site))
        yield Point("event", REGION, tags, fields, start)
