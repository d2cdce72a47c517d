"""What Grafana's alert rules ask: what the collector found, or sums of the rollup.

A query looks back further than it must: where a figure has no value now, the last one stands.
``now()`` puts the end of the last step where the query ends. What is counted in steps that may be
empty ends a little before now, so that two clocks that differ make no empty step.
"""

# ruff: noqa: S608 - nothing in them comes from anybody

from collections.abc import Mapping
from typing import Final, NamedTuple

from meterhouse_collector.alerts.catalogue_row import AlertRow, Ask
from meterhouse_collector.kpi.value import COVERAGE_FLOOR

# What is open is written down in each quarter hour.
EVENT_SECONDS: Final = 2100
_ABOUT: Final = '"site", "alert", "subject", "urgency"'


class Query(NamedTuple):
    """An InfluxQL query over the last seconds, but for the very last."""

    text: str
    back_seconds: int
    until_seconds: int = 0


_SUMS: Final = 'GROUP BY time(5m, now()), "site" fill(none)'
ASKS: Final[Mapping[Ask, Query]] = {
    "coverage": Query(
        'SELECT (available - "unknown") / available AS "value" FROM ('
        'SELECT sum("installed_seconds") - sum("unhealthy_seconds") AS "available", '
        f'sum("unknown_seconds") AS "unknown" FROM "live"."rollup" WHERE $timeFilter {_SUMS}'
        ') WHERE available > 0 GROUP BY "site"',
        3600,
    ),
    "delivered": Query(
        'SELECT delivered / known AS "value" FROM ('
        'SELECT sum("sold_delivered_seconds") AS "delivered", '
        'sum("sold_contracted_seconds") - sum("sold_undetermined_seconds") AS "known", '
        f'{COVERAGE_FLOOR} * sum("sold_contracted_seconds") AS "floor" '
        f'FROM "live"."rollup" WHERE $timeFilter {_SUMS}'
        ') WHERE known > 0 AND known >= floor GROUP BY "site"',
        3600,
    ),
    "errors": Query(
        'SELECT max("ecc_uncorrected_errors") AS "value" FROM "detail"."accelerator" '
        'WHERE $timeFilter GROUP BY "site", "node"',
        900,
    ),
    "rows": Query(
        'SELECT count("interval_seconds") AS "value" FROM "live"."rollup" '
        'WHERE $timeFilter GROUP BY time(2m, now()), "site" fill(0)',
        21_600,
        15,
    ),
}


def following(row: AlertRow, field: str) -> Query:
    """Return a query of what the collector found last of a kind of alert."""
    text = (
        f'SELECT last("{field}") AS "{field}" FROM "event"."event" WHERE $timeFilter '
        f"AND \"kind\" = 'alert' AND \"alertname\" = '{row.name}' GROUP BY {_ABOUT}"
    )
    return Query(text, EVENT_SECONDS)
