"""What a site takes of two regions' grids, as points of ``event``, of sums that are known here."""

from typing import Final

from meterhouse_collector.quarters.region import region_points
from meterhouse_collector.rows import Row
from tests.collector.collecting import index
from tests.grafana.plain_events import BUDGET_STARTS, number

AVAILABLE: Final = {"north": 4.0e7, "valley": 1.0e6}
CAPACITY: Final = """
[[regional_capacity]]
region = "{region}"
available_watts = {watts}
source = "{region}: capacity map"
valid_from = 2020-01-01
"""
SITE: Final = index(
    *(CAPACITY.format(region=region, watts=watts) for region, watts in AVAILABLE.items())
)
# In the middle one not all sources are known.
KNOWN_SECONDS: Final = dict(zip(BUDGET_STARTS, (900.0, 0.0, 450.0), strict=True))


def grid_joules(start: int) -> float:
    """Return the energy from the grid of a quarter."""
    return (1.0e6 + 1000.0 * number(start)) * KNOWN_SECONDS[start]


def rows() -> list[Row]:
    """Return the points of all quarters, as they are written with their sums."""
    return [
        point
        for start, seconds in KNOWN_SECONDS.items()
        for point in region_points(
            SITE,
            start,
            {"sources_joint_seconds": seconds, "grid_joint_joules": grid_joules(start)},
        )
    ]
