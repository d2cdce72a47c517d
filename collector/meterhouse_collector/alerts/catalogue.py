"""The alert catalogue: one row for each kind of alert.

The collector's own alerts, the rules of Grafana and those of Prometheus are made of these rows, so
that all three say the same. A row with a ``limit`` holds without any table of the site file; where
the site file has a ``[[threshold]]`` of that kind, that one holds instead. A row whose limit is not
in the site file and not here is a budget's.

``rollup`` says what Grafana asks of the rollup or of the detail; without it Grafana's rule follows
what the collector found, by the points of ``event``. ``promql`` is what Prometheus compares;
without it its rule follows ``meterhouse_alert_firing``.
"""

from typing import Final, Literal, NamedTuple

from meterhouse_collector.alerts.state import Side
from meterhouse_collector.kpi.value import COVERAGE_FLOOR
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


HOUR: Final = 3600.0
DAY: Final = 86_400.0

CAPACITY: Final = (
    AlertRow(
        "idle",
        "ticket",
        300.0,
        "idle share of what could work, over the window",
        "{value} of the usable accelerators of {subject} stand idle; the limit is {limit}",
        "ratio",
        "capacity",
    ),
    AlertRow(
        "reclaimable_idle",
        "ticket",
        300.0,
        "devices held idle for their pool's idle_after / available devices",
        "{value} of the available accelerators of {subject} are held and do nothing;"
        " the limit is {limit}",
        "ratio",
        "capacity",
    ),
    AlertRow(
        "idle_cost",
        "ticket",
        300.0,
        "what reclaimable devices cost per hour",
        "Accelerators of {subject} that are held and do nothing cost {value}; the limit is {limit}",
        "money per hour",
        "cost",
    ),
    AlertRow(
        "under_delivered",
        "page",
        300.0,
        "delivered / contracted device-seconds of contracts that sell, in whole units",
        "{value} of the sold capacity of {subject} is delivered; the limit is {limit}",
        "ratio",
        "capacity",
        side="below",
        limit=0.99,
        rollup="delivered",
    ),
    AlertRow(
        "accelerator_lost",
        "ticket",
        300.0,
        "devices of a node that are lost, failed or drained",
        "{value} accelerators of {subject} are lost, failed or drained",
        "devices",
        "node",
        limit=0.0,
    ),
    AlertRow(
        "accelerator_errors",
        "ticket",
        0.0,
        "uncorrected memory errors of a node's devices in the last minutes",
        "{value} uncorrected memory errors on an accelerator of {subject}",
        "errors",
        "node",
        limit=0.0,
        rollup="errors",
    ),
    AlertRow(
        "accelerator_throttled",
        "ticket",
        600.0,
        "share of time in which the clock of a node's worst device was lowered",
        "An accelerator of {subject} ran throttled {value} of the time; the limit is {limit}",
        "ratio",
        "node",
        limit=0.5,
        clear=0.25,
    ),
    AlertRow(
        "accelerator_hot",
        "ticket",
        300.0,
        "temperature of a node's hottest device",
        "An accelerator of {subject} is at {value}; the limit is {limit}",
        "celsius",
        "node",
        limit=85.0,
        clear=80.0,
    ),
)

ENERGY: Final = (
    AlertRow(
        "pue",
        "ticket",
        900.0,
        "facility energy / IT energy over the window",
        "The PUE of {subject} is {value}; the limit is {limit}",
        "number",
        "energy",
        limit=2.0,
        clear=1.9,
    ),
    AlertRow(
        "pue_below_one",
        "ticket",
        300.0,
        "facility energy / IT energy over the window, which cannot be below 1",
        "The PUE of {subject} is {value}, below {limit}: a meter is missing or wrong",
        "number",
        "energy",
        side="below",
        limit=1.0,
    ),
    AlertRow(
        "pue_without_value",
        "ticket",
        0.0,
        "time since the PUE last had a value",
        "The PUE of {subject} has had no value for {value}; the limit is {limit}",
        "seconds",
        "energy",
        limit=900.0,
    ),
    AlertRow(
        "demand",
        "page",
        60.0,
        "projected mean power of the running demand interval",
        "The demand interval of {subject} heads for {value}; the limit is {limit}",
        "watts",
        "limits",
    ),
    AlertRow(
        "demand_over_contract",
        "page",
        60.0,
        "projected mean power of the running demand interval, and what is contracted",
        "The demand interval of {subject} heads for {value}; {limit} is contracted",
        "watts",
        "limits",
    ),
    AlertRow(
        "headroom",
        "ticket",
        300.0,
        "IT power that still fits at the piece of the power path that binds",
        "Only {value} more IT power fits at {subject}; the limit is {limit}",
        "watts",
        "limits",
        side="below",
    ),
    AlertRow(
        "load",
        "page",
        60.0,
        "load of a grid connection or piece of the power path / what it may carry at N",
        "{subject} carries {value} of what it may after one failure; the limit is {limit}",
        "ratio",
        "limits",
        limit=1.0,
        clear=0.98,
    ),
    AlertRow(
        "cooling",
        "page",
        300.0,
        "IT power of the clusters that a cooling plant serves / heat it removes at N",
        "{subject} must remove {value} of the heat it can after one failure; the limit is {limit}",
        "ratio",
        "limits",
        limit=1.0,
        clear=0.98,
    ),
    AlertRow(
        "on_battery",
        "page",
        30.0,
        "power that storage gives, or a UPS gives without taking any",
        "{subject} runs on battery: {value}",
        "watts",
        "limits",
        limit=0.0,
    ),
    AlertRow(
        "generator_running",
        "page",
        60.0,
        "power of a generator's meter",
        "{subject} runs: {value}",
        "watts",
        "limits",
        limit=0.0,
    ),
    AlertRow(
        "supply_lost",
        "page",
        60.0,
        "drop of the measured power of a piece of the power path within a quarter hour",
        "{subject} carries {value} less than within the last quarter hour: is a breaker open?",
        "ratio",
        "limits",
        limit=0.99,
        clear=0.5,
    ),
)

MONEY: Final = (
    AlertRow(
        "budget_spent",
        "ticket",
        0.0,
        "money spent in the period",
        "{subject}: {value} is spent of a budget of {limit}",
        "money",
        "budgets",
    ),
    AlertRow(
        "budget_forecast",
        "ticket",
        HOUR,
        "forecast of what is spent at the end of the period",
        "{subject}: {value} will be spent by the end of the period; the budget is {limit}",
        "money",
        "budgets",
    ),
    AlertRow(
        "budget_burn",
        "ticket",
        0.0,
        "pace of spending over a long and a short window, 1 being even",
        "{subject}: the money goes {value} times as fast as evenly; the limit is {limit}",
        "number",
        "budgets",
    ),
    AlertRow(
        "commitment",
        "ticket",
        HOUR,
        "use of a commitment, projected to the end of its interval / what is committed",
        "{value} of {subject} will be used by the end of its interval; the limit is {limit}",
        "ratio",
        "budgets",
        side="below",
        limit=0.9,
    ),
    AlertRow(
        "cost_per_million_tokens",
        "ticket",
        300.0,
        "cost of what served / million output tokens, over the window",
        "A million output tokens of {subject} cost {value}; the limit is {limit}",
        "money",
        "cost",
    ),
    AlertRow(
        "ending",
        "ticket",
        0.0,
        "days until a price, contract or certificate ends and nothing follows",
        "{subject} ends in {value}, and nothing follows",
        "days",
        "budgets",
        side="below",
        limit=30.0,
    ),
    AlertRow(
        "delivery",
        "ticket",
        0.0,
        "days by which a delivery has slipped, or is overdue",
        "{subject} has slipped by {value}; the limit is {limit}",
        "days",
        "capacity",
        limit=14.0,
    ),
)

OWN: Final = (
    AlertRow(
        "coverage",
        "ticket",
        600.0,
        "share of devices, energy and tokens that is measured",
        "{value} of {subject} is measured; the floor is {limit}",
        "ratio",
        "meterhouse",
        side="below",
        limit=COVERAGE_FLOOR,
        rollup="coverage",
    ),
    AlertRow(
        "node_silent",
        "ticket",
        60.0,
        "time since a registered node was last heard",
        "{subject} has said nothing for {value}; the limit is {limit}",
        "seconds",
        "meterhouse",
        limit=120.0,
    ),
    AlertRow(
        "meter_stale",
        "ticket",
        0.0,
        "time since a meter last had a good reading",
        "{subject} has had no good reading for {value}; the limit is {limit}",
        "seconds",
        "meterhouse",
        limit=900.0,
    ),
    AlertRow(
        "spool_filling",
        "ticket",
        300.0,
        "time whose reports wait in a node's spool",
        "{subject} holds back reports of {value}; the limit is {limit}",
        "seconds",
        "meterhouse",
        limit=HOUR,
        clear=HOUR / 2,
    ),
    AlertRow(
        "store_down",
        "page",
        60.0,
        "whether the store takes rows",
        "The store takes no rows",
        "number",
        "meterhouse",
        side="below",
        limit=1.0,
        promql="meterhouse_collector_store_up",
    ),
    AlertRow(
        "collector_behind",
        "ticket",
        900.0,
        "quarter hours that have ended and are not summed",
        "{value} have ended and are not summed; the limit is {limit}",
        "quarters",
        "meterhouse",
        limit=4.0,
        clear=1.0,
    ),
    AlertRow(
        "collector_silent",
        "page",
        60.0,
        "time since the last interval was rolled up",
        "The collector has rolled nothing up for {value}; the limit is {limit}",
        "seconds",
        "meterhouse",
        limit=120.0,
        rollup="rows",
        promql="time() - max by (site) (last_over_time(meterhouse_window_end_seconds[1d]))",
        own=False,
    ),
)

CATALOGUE: Final[dict[str, AlertRow]] = {
    row.name: row for row in (*CAPACITY, *ENERGY, *MONEY, *OWN)
}
