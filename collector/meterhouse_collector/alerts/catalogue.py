"""The alert catalogue: one row for each kind of alert.

The collector's own alerts, the rules of Grafana and those of Prometheus are made of these rows, so
that all three say the same. A row with a ``limit`` holds without any table of the site file; where
the site file has a ``[[threshold]]`` of that kind, that one holds instead. A row whose limit is not
in the site file and not here is a budget's.

``rollup`` says what Grafana asks of the rollup or of the detail; without it Grafana's rule follows
what the collector found, by the points of ``event``. ``promql`` is what Prometheus compares;
without it its rule follows ``meterhouse_alert_firing``.
"""

from typing import Final

from meterhouse_collector.alerts.catalogue_books import MONEY, OWN
from meterhouse_collector.alerts.catalogue_row import AlertRow
from meterhouse_collector.alerts.catalogue_site import CAPACITY, ENERGY

GROUPS: Final[dict[str, tuple[AlertRow, ...]]] = {
    "capacity": CAPACITY,
    "energy": ENERGY,
    "money": MONEY,
    "collector": OWN,
}
CATALOGUE: Final[dict[str, AlertRow]] = {row.name: row for rows in GROUPS.values() for row in rows}
