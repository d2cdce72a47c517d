"""Grafana's alert rules, run against a real database: each fires where it must, and only there."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import alerting as sdk

from grafana.alerting import FOLDER, NOT_HERE, files
from grafana.influxql import DATA_SOURCE
from meterhouse_collector.alerts.book import Open
from meterhouse_collector.alerts.catalogue import CATALOGUE
from meterhouse_collector.alerts.catalogue_row import AlertRow
from meterhouse_collector.alerts.points import state_point, transition_point
from meterhouse_collector.alerts.state import Key, State, Transition
from meterhouse_collector.alerts.state import Rule as Own
from meterhouse_collector.kpi.catalogue import DETAIL_FIELDS, ROLLUP_FIELD_NAMES
from meterhouse_collector.rows import Point
from meterhouse_collector.settings import Secret
from meterhouse_collector.store.config import InfluxConfig
from meterhouse_collector.store.influx import InfluxStore
from tests.grafana.evaluate import Labels, Rule
from tests.servers import InfluxDB

DATABASE: Final = "test_alerting"
NOW: Final = 1_700_000_400
STEP: Final = 5
DASHBOARDS: Final = FOLDER.parents[1] / "dashboards"
BUILT: Final = {name: json.loads(text) for name, text in files().items()}
RULES: Final[dict[str, Any]] = {
    rule["title"]: rule for group in BUILT["rules.json"]["groups"] for rule in group["rules"]
}
FOLLOWING: Final = [r for r in CATALOGUE.values() if r.rollup is None and r.name not in NOT_HERE]


def alert(row: AlertRow, site: str, subject: str = "chat") -> tuple[Key, Open]:
    own = Own(f"always:{row.name}", row.name, row.severity, row.for_seconds)
    key = Key(own.name, (("pool", subject), ("site", site)))
    return key, Open(own, State("firing", NOW - 900.0, 1.5, 1.25), "ratio")


def events() -> list[Point]:
    """Return, of each kind, an alert that fires, one that is over, and one that is pending."""
    found = []
    for row in FOLLOWING:
        key, entry = alert(row, "fires")
        found.append(state_point("fires", key, entry, NOW - 600))
        key, entry = alert(row, "over")
        found.append(state_point("over", key, entry, NOW - 600))
        over = Transition(
            entry.rule, key, "firing", entry.state._replace(phase="ok"), NOW - 60, "", None, {}
        )
        found.append(transition_point("over", over))
        key, entry = alert(row, "pending")
        pending = entry._replace(state=entry.state._replace(phase="pending"))
        found.append(state_point("pending", key, pending, NOW - 30))
    return found


def rollup(site: str, start: int, **fields: float) -> Point:
    tags = {
        "part": "all",
        "site": site,
        "cluster": "c1",
        "pool": "chat",
        "tenant": "none",
        "vendor": "none",
        "accelerator_model": "none",
        "served_model": "none",
    }
    whole = dict.fromkeys(ROLLUP_FIELD_NAMES, 0.0) | {"interval_seconds": 5.0} | fields
    return Point("live", "rollup", tuple(sorted(tags.items())), {**whole}, start)


def capacity(site: str, start: int, unknown: float, delivered: float) -> Point:
    """Return 20 devices of which some are unknown, and what of ten sold units was delivered."""
    return rollup(
        site,
        start,
        installed_seconds=100.0,
        active_seconds=100.0 - unknown,
        unknown_seconds=unknown,
        sold_contracted_seconds=50.0,
        sold_delivered_seconds=delivered,
    )


def history() -> list[Point]:
    """Return an hour of sites that differ in their last quarter hour."""
    found = []
    for start in range(NOW - 3600, NOW, STEP):
        late = start >= NOW - 900
        found.append(capacity("calm", start, 1.0, 50.0))
        found.append(capacity("dark", start, 10.0 if late else 1.0, 50.0))
        found.append(capacity("short", start, 1.0, 45.0 if late else 50.0))
        if not late:
            found.append(capacity("gone", start, 1.0, 50.0))
        if start < NOW - 2400:
            found.append(capacity("faded", start, 10.0, 50.0))
    for site, errors in (("calm", 0.0), ("broken", 2.0)):
        for start in range(NOW - 3600, NOW, 60):
            tags = (
                ("accelerator_model", "h100"),
                ("device", "gpu-0"),
                ("node", "node-1"),
                ("site", site),
                ("vendor", "nvidia"),
            )
            seen = errors if start == NOW - 120 else 0.0
            fields: dict[str, float | int | str | bool] = {"ecc_uncorrected_errors": seen}
            found.append(Point("detail", "accelerator", tags, fields, start))
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database(
    influxdb_shared: InfluxDB, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[InfluxDB]:
    for policy in ("event", "live", "detail"):
        influxdb_shared.make_bucket(f"{DATABASE}/{policy}")
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(influxdb_shared.token)
    store = InfluxStore(
        InfluxConfig(
            url=influxdb_shared.url,
            org=influxdb_shared.org,
            token=Secret(file=token),
            database=DATABASE,
        )
    )
    assert await store.write([*events(), *history()]) == []
    await store.close()
    yield influxdb_shared


def ask(database: InfluxDB, query: str) -> list[dict[str, Any]]:
    assert "$" not in query
    answer = database.request(
        "GET", f"/query?{urlencode({'db': DATABASE, 'q': query, 'epoch': 'ms'})}"
    )
    [result] = answer["results"]
    assert "error" not in result, query
    found: list[dict[str, Any]] = result.get("series", [])
    return found


def test_the_database_takes_a_step_that_ends_now(database: InfluxDB) -> None:
    for name in ("coverage", "under_delivered", "collector_silent"):
        text = RULES[name]["data"][0]["model"]["query"]
        assert "now()" in text
        ask(database, text.replace("$timeFilter", "time > now() - 1h"))


def run(database: InfluxDB, name: str, *ticks: int) -> tuple[Rule, dict[Labels, str]]:
    """Evaluate a rule at each tick, in seconds from now; return what stands after the last."""
    rule = Rule(RULES[name])
    states: dict[Labels, str] = {}
    for tick in ticks:
        states = {**rule.evaluate(lambda text: ask(database, text), NOW + tick)}
    return rule, states


def sites(states: dict[Labels, str], state: str = "Alerting") -> list[str]:
    return sorted(dict(labels).get("site", "") for labels, s in states.items() if s == state)


@pytest.mark.parametrize("row", FOLLOWING, ids=lambda row: row.name)
def test_a_rule_fires_where_the_collector_does_and_nowhere_else(
    database: InfluxDB, row: AlertRow
) -> None:
    rule, states = run(database, row.name, 0)
    assert sites(states) == ["fires"]
    assert sites(states, "Normal") == ["over", "pending"]
    [labels] = [labels for labels in states if dict(labels)["site"] == "fires"]
    assert dict(labels)["subject"] == "pool chat"
    assert dict(labels)["urgency"] == row.severity
    assert (rule.values["V1"][labels], rule.values["L1"][labels]) == (1.5, 1.25)


def test_what_the_collector_says_no_more_stands(database: InfluxDB) -> None:
    # The collector is gone for an hour: nothing is read, and nothing resolves.
    _, states = run(database, "load", 0, 60, 3600, 3660, 3720)
    assert sites(states) == ["fires"]


def test_a_site_without_rows_keeps_its_state_beside_others(database: InfluxDB) -> None:
    ticks = range(-3300, -2400, 60)
    assert sites(run(database, "coverage", *ticks)[1]) == ["faded"]
    _, states = run(database, "coverage", *ticks, 1300, 1360, 1420, 1480)
    assert "faded" in sites(states)
    # It is kept, not found: no row of it is looked at any more.
    assert "faded" not in [
        dict(labels).get("site") for labels in run(database, "coverage", 1480)[1]
    ]


def test_coverage_under_the_floor_fires_after_its_time(database: InfluxDB) -> None:
    # Ten of twelve minutes ago it was well; steps of five minutes end at each tick.
    ticks = range(-960, 1, 60)
    assert sites(run(database, "coverage", *ticks)[1]) == ["dark", "faded"]
    early = [tick for tick in ticks if tick <= -420]
    assert sites(run(database, "coverage", *early)[1]) == []
    assert sites(run(database, "coverage", *early)[1], "Pending") == ["dark", "faded"]


def test_coverage_without_rows_keeps_its_state(database: InfluxDB) -> None:
    ticks = [*range(-960, 1, 60), *range(60, 1800, 60), 7200, 7260, 7320]
    assert sites(run(database, "coverage", *ticks)[1]) == ["dark", "faded"]


def test_sold_capacity_that_is_not_delivered_fires(database: InfluxDB) -> None:
    ticks = range(-960, 1, 60)
    assert sites(run(database, "under_delivered", *ticks)[1]) == ["short"]
    assert sites(run(database, "under_delivered", -960)[1]) == []


def test_memory_errors_fire_at_once_and_end(database: InfluxDB) -> None:
    _, states = run(database, "accelerator_errors", 0)
    assert sites(states) == ["broken"]
    assert [dict(labels)["node"] for labels, s in states.items() if s == "Alerting"] == ["node-1"]
    assert sites(run(database, "accelerator_errors", -180)[1]) == []
    assert sites(run(database, "accelerator_errors", 0, 780, 840)[1]) == []


def test_a_collector_that_rolls_nothing_up_fires(database: InfluxDB) -> None:
    assert sites(run(database, "collector_silent", -2460, -2400)[1]) == []
    assert sites(run(database, "collector_silent", 0, 60)[1]) == ["faded", "gone"]
    # Everything is gone, and so long that no row is found.
    _, states = run(database, "collector_silent", 86_400, 86_460)
    assert list(states.values()) == ["Alerting"]


def test_every_row_has_its_rule() -> None:
    assert RULES.keys() == CATALOGUE.keys() - set(NOT_HERE)
    assert len({rule["uid"] for rule in RULES.values()}) == len(RULES)
    assert all(len(rule["uid"]) <= 40 for rule in RULES.values())


def test_the_files_are_what_the_code_builds() -> None:
    kept = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert kept == files(), "run: python -m grafana.alerting"


def test_a_rule_asks_only_for_what_there_is() -> None:
    known = {*ROLLUP_FIELD_NAMES, *(field.name for field in DETAIL_FIELDS)}
    for name, rule in RULES.items():
        queries = [part["model"].get("query", "") for part in rule["data"]]
        asked = {f for q in queries for f in re.findall(r'(?:sum|max|count)\("(\w+)"\)', q)}
        assert asked <= known, name
        for part in rule["data"]:
            assert part["datasourceUid"] in {DATA_SOURCE.uid, "__expr__"}


def test_rules_are_of_the_shape_of_the_sdk() -> None:
    for rule in RULES.values():
        # The folder and group of a file stand above its rules; the SDK names fewer states.
        made = sdk.Rule.from_json({**rule, "noDataState": "OK", "folderUID": "f", "data": []})
        text = json.loads(json.dumps(made, cls=JSONEncoder))
        for key in ("title", "condition", "for", "labels", "annotations", "uid"):
            assert text[key] == rule[key]
        for part in rule["data"]:
            assert part.keys() == {"refId", "datasourceUid", "relativeTimeRange", "model"}


@pytest.mark.parametrize("row", CATALOGUE.values(), ids=lambda row: row.name)
def test_a_summary_has_the_figures_and_no_dollar(row: AlertRow) -> None:
    if row.name in NOT_HERE:
        return
    rule = RULES[row.name]
    text = json.dumps([rule["annotations"], rule["labels"], rule["title"], rule["uid"]])
    # Grafana would take it for a variable of its environment.
    assert "$" not in text
    assert rule["annotations"]["dashboard_url"] == (
        f"/d/meterhouse-{row.board}?var-site={{{{ .Labels.site }}}}"
    )
    assert rule["annotations"]["summary"].count("{{") == rule["annotations"]["summary"].count("}}")


def test_the_files_of_notifications_are_of_the_shape_of_the_sdk() -> None:
    for point in BUILT["contact-points.json"]["contactPoints"]:
        for receiver in point["receivers"]:
            made = sdk.ContactPoint.from_json({"name": point["name"], **receiver})
            assert (made.uid, made.settings) == (receiver["uid"], receiver["settings"])
    [root] = BUILT["policies.json"]["policies"]
    policy = sdk.NotificationPolicy.from_json({k: v for k, v in root.items() if k != "orgId"})
    assert policy.routes is not None
    assert [route.receiver for route in policy.routes] == [r["receiver"] for r in root["routes"]]


def test_every_route_leads_to_a_contact_point() -> None:
    names = {point["name"] for point in BUILT["contact-points.json"]["contactPoints"]}
    [root] = BUILT["policies.json"]["policies"]
    routes = [root, *root["routes"]]
    assert {route["receiver"] for route in routes} == names
    matched = {value for r in root["routes"] for _, _, value in r["object_matchers"]}
    assert matched == {"page", "info"}


@pytest.mark.parametrize("row", CATALOGUE.values(), ids=lambda row: row.name)
def test_the_board_of_a_row_is_there(row: AlertRow) -> None:
    path = Path(DASHBOARDS, f"{row.board}.json")
    if not path.exists():
        pytest.skip(f"{row.board} is not built yet")
    board = json.loads(path.read_text(encoding="utf-8"))
    assert board["uid"] == f"meterhouse-{row.board}"
