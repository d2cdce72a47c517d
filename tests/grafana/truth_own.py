"""What the panels of budgets, alerts, and of Meterhouse itself must show."""

from collections.abc import Callable, Mapping
from math import fsum
from typing import Final

from tests.grafana import plain, plain_events
from tests.grafana.asking import Choice
from tests.grafana.fleet import END, START
from tests.grafana.macros import ALL
from tests.grafana.plain import STARTS
from tests.grafana.plain_events import BUDGET_STARTS, ENDS, KINDS, OVER, number
from tests.grafana.truth_plain import Made, Plain

AMOUNT: Final = 7200.0
PER_HOUR: Final = 10.0
LAST: Final = BUDGET_STARTS[-1]
ELAPSED: Final = (LAST - START + 10 * plain_events.DAY) / (30 * plain_events.DAY)
WINDOWS: Final = {"3600 s": 2.0, "21600 s": 1.25, "259200 s": 1.05}


def forecast(start: int) -> float:
    return plain_events.spent(start) + PER_HOUR * (ENDS - start) / 3600


def known(starts: list[int]) -> list[int]:
    """Return when budgets were looked at within these intervals."""
    return [start for start in BUDGET_STARTS if start in starts]


def of_budgets(starts: list[int], made: Callable[[list[int]], Made]) -> Made:
    looked = known(starts)
    return made(looked) if looked else {}


def _table(*_: object) -> Made:
    return {
        ("site", "amount"): AMOUNT,
        ("site", "spent"): plain_events.spent(LAST),
        ("site", "forecast"): forecast(LAST),
        ("site", "used"): plain_events.spent(LAST) / AMOUNT,
        ("site", "elapsed"): ELAPSED,
        ("gone", "amount"): AMOUNT,
        ("gone", "elapsed"): ELAPSED,
    }


def _burns(*_: object) -> Made:
    found: Made = {}
    for window, limit in WINDOWS.items():
        found["site", window, "long"] = found["site", window, "short"] = plain_events.burnt(LAST)
        found["site", window, "fires at"] = found["gone", window, "fires at"] = limit
    return found


def projected(start: int) -> float:
    """Return the use to be: 1 device-hour per hour for 100 hours more, of 1,000."""
    return (plain_events.used_hours(start) + 100.0) / 1000.0


def seen(starts: list[int]) -> dict[str, list[int]]:
    """Return when something was known of each budget: of the second at the beginning alone."""
    looked = known(starts)
    parts = {"site": looked, "gone": [start for start in looked if start == START]}
    return {name: at for name, at in parts.items() if at}


def _spend(starts: list[int], _: Choice) -> Made:
    found: Made = {(n, "spent"): max(map(plain_events.spent, at)) for n, at in seen(starts).items()}
    if known(starts):
        found |= {(name, "amount"): AMOUNT for name in ("site", "gone")}
    return found


def _forecast(starts: list[int], _: Choice) -> Made:
    return {(n, "forecast"): forecast(at[-1]) / AMOUNT for n, at in seen(starts).items()}


def _burn_over_time(starts: list[int], _: Choice) -> Made:
    return {
        (name, window, "long"): plain_events.burnt(at[-1])
        for name, at in seen(starts).items()
        for window in WINDOWS
    }


BUDGETS: Final[Mapping[str, Plain]] = {
    "Budgets": Plain(_table, ("budget",)),
    "Spend": Plain(_spend, ("budget",), over_time=True),
    "Forecast": Plain(_forecast, ("budget",), over_time=True),
    "Burn": Plain(_burns, ("budget", "window")),
    "Burn over time": Plain(_burn_over_time, ("budget", "window"), over_time=True),
    "Commitments": Plain(
        lambda *_: {
            ("h100-year", "usage", "committed"): 1000.0,
            ("h100-year", "usage", "used"): plain_events.used_hours(LAST),
            ("h100-year", "usage", "projected"): projected(LAST),
            ("h100-year", "usage", "coverage"): 1.0,
        },
        ("commitment", "category"),
    ),
    "Projected use": Plain(
        lambda starts, _: of_budgets(
            starts, lambda at: {("h100-year", "projected"): projected(at[-1])}
        ),
        ("commitment",),
        over_time=True,
    ),
}
ALERTS: Final = {
    "Alerts": KINDS,
    "Alerts of capacity": ("idle", "under_delivered", "idle_cost"),
    "Alerts of cost": ("idle_cost", "cost_per_million_tokens"),
    "Alerts of energy": ("pue",),
    "Alerts of money and contracts": ("under_delivered", "budget_burn", "commitment"),
    "Alerts of limits": ("demand", "cooling"),
    "Alerts of the metering": ("node_silent", "store_down"),
    "Alerts of nodes": ("node_silent", "accelerator_hot"),
}
_NODE_OF: Final = {"node_silent": "node-2", "accelerator_hot": "node-1"}
_LABELS: Final = {
    "node_silent": '{"node":"node-2","site":"site-a"}',
    "accelerator_hot": '{"device":"gpu-0","node":"node-1","site":"site-a"}',
}


def alerts(title: str) -> Plain:
    def truth(_: list[int], choices: Choice) -> Made:
        found: Made = {}
        for kind in ALERTS[title]:
            nodes = choices["node"] if title == "Alerts of nodes" else ALL
            if kind in OVER or not (nodes == ALL or _NODE_OF[kind] in nodes):
                continue
            name = f"watch-{kind}"
            found[name, "severity"] = "page" if KINDS.index(kind) % 2 else "ticket"
            found[name, "rule_kind"] = kind
            found[name, "value"] = 2.0 + KINDS.index(kind)
            found[name, "limit"] = 1.0
            found[name, "unit"] = "ratio"
            found[name, "labels"] = _LABELS.get(kind, '{"site":"site-a"}')
        return found

    return Plain(truth, ("name",))


def noted(starts: list[int]) -> list[int]:
    """Return the numbers of intervals whose end the collector noted in a step."""
    return [number(start) for start in starts]


def late(starts: list[int]) -> list[float]:
    return [seconds for start in starts for seconds in plain.lateness(start)]


def reports(starts: list[int]) -> float:
    return float(len(late(starts)))


def silent(number: int) -> float:
    """Return how many of two nodes are silent: one is always, the other three intervals after."""
    return 1.0 if number <= 32 else 2.0


def refused(numbers: list[int]) -> float:
    return sum(2.0 * (n % 10 == 0) + (n % 15 == 0) for n in numbers)


def over_time(truth: Callable[[list[int]], Made]) -> Plain:
    return Plain(lambda starts, _: truth(starts), over_time=True)


def last(**columns: float) -> Plain:
    return Plain(lambda *_: {(name.replace("_", " "),): v for name, v in columns.items()})


OWN: Final[Mapping[str, Plain]] = {
    # Rolled up is what ended 3 s ago at least; the newest quarter ended when the window began.
    "Freshness": last(rolled_up=6.0, quarter=END - 4.0 - START),
    "Nodes": last(nodes=2.0, silent=2.0),
    "Spool depth": last(agents=59.0, collector=118.0),
    "Connections": last(store=1.0, broker=0.0),
    "Open alerts": last(firing=2.0, pending=1.0),
    "Lateness, mean": last(mean=fsum(late([*STARTS])) / reports([*STARTS])),
    "Refused, by reason": Plain(
        lambda *_: {("off_grid", "reports"): 12.0, ("unknown_inventory", "reports"): 4.0},
        ("reason",),
    ),
    "Reports taken": over_time(lambda s: {("reports",): reports(s)}),
    "Refused and dropped": over_time(
        lambda s: {
            ("refused",): refused(noted(s)),
            ("dropped",): float(sum(n % 2 for n in noted(s))),
        }
    ),
    "Lateness": over_time(lambda s: {("mean",): fsum(late(s)) / reports(s)}),
    "Spools": over_time(
        lambda s: {
            ("agents",): float(max(noted(s))),
            ("collector",): 2.0 * max(noted(s)),
        }
    ),
    "Silent nodes": over_time(lambda s: {("silent",): max(map(silent, noted(s)))}),
    "Quarters behind": over_time(
        lambda s: {
            ("behind",): float(max(n // 20 for n in noted(s))),
            ("changed",): float(max(n % 7 for n in noted(s))),
        }
    ),
    "Rows written": over_time(lambda s: {("rows",): float(sum(10 + n for n in noted(s)))}),
    "Faults": over_time(
        lambda s: {
            ("rejected",): float(30 in noted(s)),
            ("unread",): 3.0 * (40 in noted(s)),
            ("bugs",): 0.0,
        }
    ),
}
