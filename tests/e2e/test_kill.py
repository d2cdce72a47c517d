"""Whatever is killed, nothing is lost, nothing is there twice, and only agents leave a gap."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from meterhouse_agent.simulation.fleet import node_names
from tests.e2e.fleet_run import FleetRun, Gap, Record, small_fleet
from tests.e2e.programs import Program
from tests.servers import Server

INTERVAL: Final = 2
DOWN_SECONDS: Final = 3
BETWEEN_SECONDS: Final = 6
ROUNDS_OF_VERIFY: Final = 8
FLEET: Final = small_fleet(nodes=5)
NODES: Final = node_names(FLEET)
AGENTS: Final = {"left": NODES[:3], "right": (*NODES[3:], FLEET.facility_node)}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[FleetRun]:
    with FleetRun(tmp_path, FLEET, AGENTS, interval=INTERVAL) as made:
        yield made


def test_each_part_is_killed_in_turn(run: FleetRun, record_property: Record) -> None:
    run.start_all()
    run.wait_for_reports()
    gaps: list[Gap] = []
    for part in (run.broker, run.collector, run.database):
        run.sleep(BETWEEN_SECONDS)
        part.kill()
        run.sleep(DOWN_SECONDS)
        part.start()
    for name in AGENTS:
        run.sleep(BETWEEN_SECONDS)
        gaps += run.kill_agent(name, down_seconds=DOWN_SECONDS)
    run.sleep(BETWEEN_SECONDS)
    end = run.settle()

    run.assert_equal_to_the_truth(end, record_property, gaps=gaps)
    assert {span.reason for span in run.read(run.begun, end).spans} == {"restart"}
    for name, nodes in AGENTS.items():
        assert run.agents[name].text().count("trying again") == len(nodes)
    log = run.collector.text()
    assert log.count("connection lost") == 1
    assert log.count("reports wait") == 1
    assert log.count("takes rows again") == 1
    run.assert_logs_are_clean()


def test_servers_that_are_late_or_away_and_a_process_held_up_cost_nothing(
    run: FleetRun, record_property: Record
) -> None:
    run.start(broker=False)
    for agent in run.agents.values():
        agent.start()
    run.wait_for_reports()
    run.broker.start()
    run.sleep(BETWEEN_SECONDS)
    run.collector.start()
    run.sleep(BETWEEN_SECONDS)
    run.database.kill()
    with run.agents["left"].held_up():
        run.sleep(12)
    # What it held for the database dies with it: only the agents have it now.
    run.collector.kill()
    run.collector.start()
    run.sleep(8)
    run.database.start()
    end = run.settle()

    comparison = run.assert_equal_to_the_truth(end, record_property)
    assert comparison.partial == 0
    assert run.read(run.begun, end).spans == []
    assert run.collector.text().count("store: opened") == 1
    run.assert_logs_are_clean()


@pytest.mark.verify
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_any_parts_are_killed_again_and_again(
    run: FleetRun, seed: int, record_property: Record
) -> None:
    dice = random.Random(seed)
    run.start_all()
    run.wait_for_reports()
    gaps: list[Gap] = []
    for _ in range(ROUNDS_OF_VERIFY):
        run.sleep(dice.uniform(1, BETWEEN_SECONDS))
        parts: list[Server | Program] = [run.broker, run.collector, run.database]
        down = dice.sample(parts, dice.randrange(4))
        for part in down:
            part.kill()
            run.sleep(dice.uniform(0, DOWN_SECONDS))
        if dice.random() < 0.5:
            name = dice.choice(list(AGENTS))
            gaps += run.kill_agent(name, down_seconds=dice.uniform(0, 3 * DOWN_SECONDS))
        for part in down:
            part.start()
    end = run.settle()

    run.assert_equal_to_the_truth(end, record_property, gaps=gaps)
    record_property("agents killed", len(gaps))
    run.assert_logs_are_clean()
