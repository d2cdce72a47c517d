"""What a fleet did is what the ledger says, and what the KPIs are divided from."""

import time
from pathlib import Path
from typing import Final

from meterhouse_agent.simulation.fleet import Fault, FleetSpec, node_names
from tests.e2e.equality import close
from tests.e2e.fleet_run import FleetRun, Record
from tests.e2e.kpi_truth import Kpis, kpis_of
from tests.servers import InfluxDB

RUN_SECONDS: Final = 30
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


def test_ledger_and_kpis_equal_the_truth(tmp_path: Path, record_property: Record) -> None:
    fleet = fleet_of(int(time.time()))
    played = {"nodes": node_names(fleet), "facility": [fleet.facility_node]}
    with FleetRun(tmp_path, fleet, played, interval=1) as run:
        run.start_all()
        run.wait_for_reports()
        run.sleep(RUN_SECONDS)
        end = run.settle()

        comparison = run.assert_equal_to_the_truth(end, record_property)
        assert comparison.partial == 0
        assert run.read(run.begun, end).spans == []
        start = end - RUN_SECONDS
        truth = kpis_of(comparison.truths(start, end))
        found = kpis_read_back(run.database, start, end)
        assert all(map(close, found, truth)), (found, truth)
        for name, value in found._asdict().items():
            record_property(name, value)
        run.assert_logs_are_clean()
