"""Energy of cooling and of PDUs as points of ``event``, of meters whose readings are known here."""

from collections.abc import Mapping
from typing import Final

from meterhouse_collector.quarters.path import path_points
from meterhouse_collector.rollup.site_energy import Expected, IntervalRows
from meterhouse_collector.rows import MeterRow, Row
from tests.collector.collecting import index
from tests.grafana.plain_events import BUDGET_STARTS

QUARTER: Final = 900
SITE: Final = index(
    """
[[meter]]
name = "ups"
role = "ups_out"
category = 1
[[meter]]
name = "pdu-1"
role = "pdu"
parent = "ups"
[[meter]]
name = "pdu-2"
role = "pdu"
parent = "ups"
[[meter]]
name = "chiller"
role = "cooling"
"""
)
# In kilowatts; the last time the UPS is silent, and before that one of the PDUs.
READ: Final[tuple[Mapping[str, float], ...]] = (
    {"ups": 900.0, "pdu-1": 400.0, "pdu-2": 470.0, "chiller": 150.0},
    {"ups": 960.0, "pdu-1": 420.0, "chiller": 180.0},
    {"pdu-1": 430.0, "pdu-2": 500.0, "chiller": 210.0},
)
# Means of the quarters in which each is known.
WATTS: Final = {
    "cooling": 1000 * (150.0 + 180.0 + 210.0) / 3,
    "PDU": 1000 * (870.0 + 930.0) / 2,
    "UPS to PDU": 1000 * (900.0 - 870.0),
}


def rows() -> list[Row]:
    """Return the points of all quarters, as they are written with their sums."""
    found: list[Row] = []
    for start, read in zip(BUDGET_STARTS, READ, strict=True):
        meters = {
            name: MeterRow(QUARTER * 1000, QUARTER * 1000, energy_joules=1e3 * watts * QUARTER)
            for name, watts in read.items()
        }
        interval = IntervalRows(start, QUARTER, {}, meters, {})
        found += path_points(SITE, interval, Expected({}, {}))
    return found
