"""A database that refuses, for now or for good."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from meterhouse_agent.simulation.reckoning import FleetModel
from tests.e2e.equality import Comparison
from tests.e2e.fleet_run import FleetRun, Record, all_in_one, small_fleet
from tests.e2e.programs import wait_for_text

DAY_SECONDS = 86_400
REFUSED = "meterhouse_agent_refused_total"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[FleetRun]:
    fleet = small_fleet()
    with FleetRun(tmp_path, fleet, all_in_one(fleet), interval=1) as made:
        yield made


def patch(run: FleetRun, kind: str, found: dict[str, Any], **change: str) -> None:
    run.database.request("PATCH", f"/api/v2/{kind}/{found['id']}", json.dumps(change))


def collector_token(run: FleetRun) -> dict[str, Any]:
    known = run.database.request("GET", "/api/v2/authorizations")["authorizations"]
    return next(one for one in known if one["description"] == "meterhouse collector")


def bucket(run: FleetRun, name: str) -> dict[str, Any]:
    found: dict[str, Any] = run.database.request(
        "GET", f"/api/v2/buckets?{urlencode({'name': name})}"
    )
    return dict(found["buckets"][0])


def test_a_token_and_a_bucket_that_come_back_cost_nothing(
    run: FleetRun, record_property: Record
) -> None:
    run.start()
    ledger, token = bucket(run, "meterhouse/ledger"), collector_token(run)
    patch(run, "buckets", ledger, name="meterhouse/away")
    run.collector.start()
    run.agents["all"].start()
    run.wait_for_reports()
    wait_for_text(run.collector, "init-influx")
    patch(run, "buckets", ledger, name="meterhouse/ledger")
    run.wait_reported(run.nodes, int(time.time()))
    patch(run, "authorizations", token, status="inactive")
    wait_for_text(run.collector, "holds the collector's token")
    run.sleep(4)
    patch(run, "authorizations", token, status="active")
    run.wait_reported(run.nodes, int(time.time()))
    patch(run, "buckets", ledger, name="meterhouse/away")
    run.sleep(4)
    patch(run, "buckets", ledger, name="meterhouse/ledger")
    end = run.settle()

    comparison = run.assert_equal_to_the_truth(end, record_property)
    assert comparison.partial == 0
    log = run.collector.text()
    assert log.count("store: opened") == 1
    assert log.count("takes rows again") == 2
    assert log.count("reports wait") == 2
    run.assert_logs_are_clean()


def test_only_the_report_that_the_store_rejects_is_refused(
    run: FleetRun, record_property: Record
) -> None:
    run.start()
    now = int(time.time())
    # The first one to write a field gives it its type, for a day: now no meter row fits.
    days = [now - now % DAY_SECONDS, now - now % DAY_SECONDS + DAY_SECONDS]
    lines = [f"meter,reader=nobody,site=e2e,thing=nothing row=1.5 {day}" for day in days]
    run.database.write("meterhouse/ledger", "\n".join(lines))
    run.collector.start()
    run.agents["all"].start()
    run.wait_for_reports()
    start = int(time.time()) + 1
    run.sleep(6)
    end = int(time.time())
    run.wait_reported(run.nodes, end)

    ledger = run.read(start, end)
    assert ledger.meters == {}
    comparison = Comparison(FleetModel(run.fleet), 1)
    lacking = comparison.rows(ledger, start, end)
    assert comparison.wrong == []
    assert {run.reader(key.thing) for key in lacking} == {run.fleet.facility_node}
    record_property("rows equal to the truth", comparison.complete)
    record_property("reports refused", len(lacking))
    agent, facility = run.agents["all"], run.fleet.facility_node
    refused = agent.metric(REFUSED, node=facility, reason="rejected_by_store", final="true")
    assert refused >= end - start
    assert agent.metric(REFUSED) == refused
    assert run.collector.metric("meterhouse_collector_rows_rejected_total") >= end - start
    assert agent.text().count("rejected_by_store") == 1
    assert run.collector.text().count("refused a row") == 1
    run.assert_logs_are_clean()
