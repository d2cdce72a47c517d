"""What a row of the alert catalogue says."""

from typing import Literal, NamedTuple

from meterhouse_collector.alerts.state import Side
from meterhouse_collector.site.targets import Severity

Unit = Literal[
    "ratio",
    "number",
    "watts",
    "celsius",
    "seconds",
    "days",
    "devices",
    "errors",
    "quarters",
    "money",
    "money per hour",
]
Board = Literal[
    "overview",
    "capacity",
    "energy",
    "cost",
    "budgets",
    "service",
    "node",
    "limits",
    "community",
    "meterhouse",
]
Ask = Literal["coverage", "delivered", "errors", "rows"]


class AlertRow(NamedTuple):
    """A kind of alert; the summary is filled with labels, ``value`` and ``limit``.

    The runbook is ``docs/runbooks/alerts/NAME.md``.
    """

    name: str
    severity: Severity
    for_seconds: float
    compares: str
    summary: str
    unit: Unit
    board: Board
    side: Side = "above"
    limit: float | None = None
    clear: float | None = None
    rollup: Ask | None = None
    promql: str | None = None
    # Whether the collector itself can see it: not that it is gone.
    own: bool = True
