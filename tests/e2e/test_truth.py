"""What a fleet did is what the ledger says, and what the KPIs are divided from."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from meterhouse_agent.simulation.fleet import Fault, FleetSpec, node_names
from meterhouse_agent.simulation.reckoning import FleetModel
from tests.e2e.configs import fleet_site, simulated
from tests.e2e.equality import Comparison, close, rollup_faults
from tests.e2e.kpi_truth import Kpis, kpis_of
from tests.e2e.pipeline import Pipeline
from tests.servers import InfluxDB

RUN_SECONDS: Final = 30
ROLLED_UP_SECONDS: Final = 4
# Numerator, denominator and factor of each KPI, over the sums of the rollup.
PARTS: Final = (
    ("facility_joint_joules", "it_joint_joules", 1),
    (
        "free_seconds) - sum(stranded_seconds) + sum(held_idle_seconds",
        "active_seconds) + sum(held_idle_seconds) + sum(free_seconds) - sum(stranded_seconds",
        1,
    ),
    ("serving_money", "serving_output_tokens", 1_000_000),
)


def fleet_of(now: int) -> FleetSpec:
    """Return a small fleet whose devices change state every few seconds, one with a fault."""
    contradiction = Fault(
        kind="contradict",
        node="sim-001",
        device="d3",
        from_seconds=now + 20,
        to_seconds=now + 27,
    )
    return FleetSpec(
        seed=7,
        nodes=4,
        devices_per_node=4,
        engine_devices=2,
        block_seconds=5,
        job_seconds=30,
        period_seconds=600,
        faults=(contradiction,),
    )


@pytest.fixture
def fleet() -> FleetSpec:
    return fleet_of(int(time.time()))


@pytest.fixture
def pipeline(tmp_path: Path, fleet: FleetSpec) -> Iterator[Pipeline]:
    with Pipeline(tmp_path, site=fleet_site(fleet), interval=1) as made:
        source = [simulated(fleet)]
        made.add_agent("nodes", play=list(node_names(fleet)), source=source)
        made.add_agent("facility", node=fleet.facility_node, source=source)
        yield made


def kpis_read_back(database: InfluxDB, start: int, end: int) -> Kpis:
    """Divide sums in the database itself, as a board does."""
    values = []
    for numerator, denominator, factor in PARTS:
        times = f"time >= {start}s AND time < {end}s"
        sums = f"SELECT sum({numerator}) AS a, sum({denominator}) AS b FROM live.rollup"  # noqa: S608 - names of above
        query = f"SELECT a/b AS ratio FROM ({sums} WHERE {times}) WHERE b > 0"  # noqa: S608 - the same
        rows = database.influxql("meterhouse", query)
        values.append(factor * rows[0]["ratio"] if rows else float("nan"))
    return Kpis(*values)


def test_ledger_and_kpis_equal_the_truth(pipeline: Pipeline, fleet: FleetSpec) -> None:
    nodes = (*node_names(fleet), fleet.facility_node)
    pipeline.start_all()
    pipeline.wait_until(lambda: all(map(pipeline.closed_until, nodes)), "every node reports")
    start = int(time.time()) + 1
    end = start + RUN_SECONDS
    pipeline.sleep(end - time.time())
    pipeline.wait_reported(nodes, end)
    pipeline.sleep(ROLLED_UP_SECONDS)

    ledger = pipeline.read(start, end)
    comparison = Comparison(FleetModel(fleet), 1)
    assert comparison.rows(ledger, start, end) == set()
    assert comparison.wrong == []
    assert comparison.complete == RUN_SECONDS * (4 + 4 + 4)
    assert ledger.spans == []
    assert list(rollup_faults(ledger, range(start, end), installed=16)) == []
    truth = kpis_of(comparison.truths(start, end))
    found = kpis_read_back(pipeline.database, start, end)
    assert all(map(close, found, truth)), (found, truth)
    pipeline.assert_logs_are_clean()
