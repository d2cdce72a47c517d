"""The last known mean power of meters and nodes: what a gap is filled with. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

from meterhouse_collector.rollup.site_energy import Expected
from meterhouse_collector.rows import MeterRow, NodeRow

# A gap is filled from the last hour (``definitions.md``, PUE).
FILLED_SECONDS: Final = 3600


def power_of(meters: Mapping[str, MeterRow], nodes: Mapping[str, NodeRow]) -> Expected:
    """Return the mean power, in watts, of those whose energy was measured for some time."""
    return Expected(
        {
            name: row.energy_joules * 1000 / row.covered_milliseconds
            for name, row in meters.items()
            if row.energy_joules is not None and row.covered_milliseconds > 0
        },
        {
            name: row.energy_joules * 1000 / row.host_covered_milliseconds
            for name, row in nodes.items()
            if row.energy_joules is not None and row.host_covered_milliseconds > 0
        },
    )


def latest_known(newest_first: Iterable[Expected]) -> Expected:
    """Return of each meter and node the first power there is."""
    meter_watts: dict[str, float] = {}
    node_watts: dict[str, float] = {}
    for known in newest_first:
        meter_watts = {**known.meter_watts, **meter_watts}
        node_watts = {**known.node_watts, **node_watts}
    return Expected(meter_watts, node_watts)
