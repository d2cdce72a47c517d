"""Several intakes and a steward: one process's ledger and sums, whatever moves or is killed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from meterhouse_agent.simulation.fleet import node_names
from meterhouse_agent.wire import slot_of
from tests.e2e.fleet_run import Record, small_fleet
from tests.e2e.scale_run import ScaleRun
from tests.servers import NatsCluster

INTERVAL: Final = 1
FLEET: Final = small_fleet(nodes=6)
NODES: Final = node_names(FLEET)
AGENTS: Final = {"left": NODES[:3], "right": (*NODES[3:], FLEET.facility_node)}
HALVES: Final = {"a": "00-31", "b": "32-63"}


def test_the_fleet_has_nodes_in_both_halves() -> None:
    assert {slot_of(node) < "32" for node in NODES} == {True, False}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[ScaleRun]:
    with ScaleRun(tmp_path, FLEET, AGENTS, interval=INTERVAL, intakes=HALVES) as made:
        yield made


def test_a_range_moves_while_all_runs_and_two_that_overlap_count_nothing_twice(
    run: ScaleRun, record_property: Record
) -> None:
    run.start_all()
    run.wait_for_reports()
    run.sleep(3)
    # b takes most of a's range while a still has it, then a gives it up: each by a restart.
    run.intakes["b"].stop()
    run.configure_intake("b", "08-63")
    run.intakes["b"].start()
    run.sleep(3)
    run.intakes["a"].stop()
    run.configure_intake("a", "00-07")
    run.intakes["a"].start()
    run.sleep(3)
    # And back, the one who gives first: nobody listens meanwhile, and agents keep what is unsaid.
    run.intakes["b"].stop()
    run.configure_intake("b", "32-63")
    run.sleep(2)
    run.intakes["a"].stop()
    run.configure_intake("a", "00-31")
    run.intakes["a"].start()
    run.intakes["b"].start()
    run.sleep(3)
    end = run.settle()

    comparison = run.assert_equal_to_the_truth(end, record_property)
    assert comparison.partial == 0
    run.assert_logs_are_clean()


def test_a_nats_server_and_an_intake_are_killed_and_the_other_takes_its_slots(
    tmp_path: Path, record_property: Record
) -> None:
    with (
        NatsCluster(tmp_path / "nats") as cluster,
        ScaleRun(
            tmp_path / "run", FLEET, AGENTS, interval=INTERVAL, intakes=HALVES, cluster=cluster
        ) as run,
    ):
        run.start_all()
        run.wait_for_reports()
        run.sleep(3)
        # The one that the steward and both intakes are connected to.
        cluster.servers[0].kill()
        run.sleep(4)
        run.intakes.pop("b").kill()
        run.sleep(3)
        run.intakes["a"].stop()
        run.configure_intake("a", "00-63")
        run.intakes["a"].start()
        run.sleep(3)
        cluster.servers[0].start()
        run.sleep(3)
        end = run.settle()

        comparison = run.assert_equal_to_the_truth(end, record_property)
        assert comparison.partial == 0
        run.assert_logs_are_clean()
