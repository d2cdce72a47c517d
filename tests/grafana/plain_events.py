"""Budgets, commitments and alerts as points of ``event``, of figures that are known here."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from meterhouse_collector.alerts import figures
from meterhouse_collector.alerts import points as alert_points
from meterhouse_collector.alerts.conditions.budget import Window, look_at
from meterhouse_collector.alerts.known import Use
from meterhouse_collector.alerts.state import Key, Phase, Rule, State, Transition, labels
from meterhouse_collector.rows import Row
from meterhouse_collector.site.contracts import Commitment
from tests.collector.test_alert_money import budget, spending
from tests.grafana.fleet import END, START

SITE: Final = "site-a"
DAY: Final = 86_400
# What every kind of alert does: it fires at its place in this list, and then some are over.
KINDS: Final = (
    "idle",
    "under_delivered",
    "idle_cost",
    "cost_per_million_tokens",
    "pue",
    "budget_burn",
    "commitment",
    "demand",
    "cooling",
    "node_silent",
    "accelerator_hot",
    "store_down",
)
OVER: Final = ("idle_cost", "cooling")


def number(start: int) -> int:
    """Return how many intervals came before."""
    return (start - START) // 5


def spent(start: int) -> float:
    """Return what was spent of the budget of 7,200 by then."""
    return 2000.0 + number(start)


def burnt(start: int) -> float:
    """Return how fast the budget burns."""
    return 0.5 + number(start) / 100


BUDGET_STARTS: Final = range(START, END, 100)
ENDS: Final = START + 20 * DAY


def money() -> list[Row]:
    """Return a budget of 30 days that is spent at 10 an hour of late, and a commitment."""
    found: list[Row] = []
    for start in BUDGET_STARTS:
        of = budget()
        windows = {
            w: Window(w, Decimal(str(burnt(start))) * w / 360)
            for w in (300, 1800, 3600, 21_600, 259_200)
        }
        spend = spending(
            begins_seconds=START - 10 * DAY,
            ends_seconds=ENDS,
            until_seconds=start,
            spent=Decimal(str(spent(start))),
            windows=windows,
        )
        for name, known in (("site", True), ("gone", start == START)):
            # Of the second nothing is known any more after the first time.
            named = of.model_copy(update={"name": name})
            part = spend if known else spend._replace(spent=None, reason="silent", windows={})
            seen = look_at(named, part, site=SITE, currency="EUR")
            found += figures.budget_points(SITE, named, part, seen)
        found += figures.commitment_points(SITE, [_use(start)])
    return found


def used_hours(start: int) -> float:
    """Return the device-hours used of a commitment of 1,000 by then."""
    return 400.0 + number(start)


def _use(start: int) -> Use:
    table = {
        "name": "h100-year",
        "contract": "rented",
        "category": "usage",
        "device_hours": 1000,
        "valid_from": datetime(2023, 1, 1, tzinfo=UTC).date(),
    }
    rate, ends = Decimal(1) / 3600, start + 360_000
    used = Decimal(str(used_hours(start)))
    return Use(Commitment.model_validate(table), Decimal(1000), used, rate, 1.0, start, ends)


def alert_of(kind: str) -> Key:
    """Return the alert of a kind; that of nodes are of one node or device."""
    subject = {
        "node_silent": labels(site=SITE, node="node-2"),
        "accelerator_hot": labels(site=SITE, node="node-1", device="gpu-0"),
    }
    return Key(f"watch-{kind}", subject.get(kind, labels(site=SITE)))


def _transition(kind: str, before: Phase, after: Phase, at: int, value: float) -> Row:
    severity = "page" if KINDS.index(kind) % 2 else "ticket"
    rule = Rule(f"watch-{kind}", kind, severity, 60.0)
    state = State(after, float(at), value, 1.0)
    made = Transition(rule, alert_of(kind), before, state, float(at), "ratio", None, {})
    return alert_points.transition_point(SITE, made)


def fires_at(kind: str) -> int:
    """Return when an alert begins to fire."""
    return START + 20 + 10 * KINDS.index(kind)


def alerts() -> list[Row]:
    found = []
    for kind in KINDS:
        value = 2.0 + KINDS.index(kind)
        found.append(_transition(kind, "ok", "pending", fires_at(kind) - 10, value))
        found.append(_transition(kind, "pending", "firing", fires_at(kind), value))
        if kind in OVER:
            found.append(_transition(kind, "firing", "ok", END - 20, 0.5))
    return found
