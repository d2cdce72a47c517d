"""Whatever is killed, nothing is lost, nothing is there twice, and only agents leave a gap."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from meterhouse_agent.simulation.fleet import FleetSpec, node_names
from meterhouse_agent.simulation.reckoning import FleetModel
from tests.e2e.configs import fleet_site, simulated
from tests.e2e.equality import Comparison, lifetimes, rollup_faults
from tests.e2e.ledger import Ledger
from tests.e2e.pipeline import Pipeline

INTERVAL: Final = 2
DOWN_SECONDS: Final = 3
BETWEEN_SECONDS: Final = 6
ROLLED_UP_SECONDS: Final = 5
FLEET: Final = FleetSpec(
    seed=11,
    nodes=5,
    devices_per_node=4,
    engine_devices=2,
    block_seconds=3,
    job_seconds=30,
    period_seconds=600,
)
NODES: Final = node_names(FLEET)
AGENTS: Final = {"left": NODES[:3], "right": (*NODES[3:], FLEET.facility_node)}
INSTALLED_SECONDS: Final = INTERVAL * FLEET.nodes * FLEET.devices_per_node


class Gap(NamedTuple):
    """A node's agent was dead: what it had reported by then, and when it had reported again."""

    node: str
    reported_until: int
    again_until: int


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    with Pipeline(tmp_path, site=fleet_site(FLEET), interval=INTERVAL) as made:
        for name, nodes in AGENTS.items():
            made.add_agent(name, play=list(nodes), source=[simulated(FLEET)])
        yield made


def all_nodes() -> list[str]:
    return [node for nodes in AGENTS.values() for node in nodes]


def kill_agent(pipeline: Pipeline, name: str) -> list[Gap]:
    """Kill an agent and start it again; return what its nodes could not report."""
    agent, nodes = pipeline.agents[name], AGENTS[name]
    agent.kill()
    reported = {node: pipeline.closed_until(node) for node in nodes}
    pipeline.sleep(DOWN_SECONDS)
    agent.start()
    pipeline.wait_until(
        lambda: all(pipeline.closed_until(node) > reported[node] for node in nodes),
        f"{name} reports again",
    )
    return [Gap(node, reported[node], pipeline.closed_until(node)) for node in nodes]


def settle(pipeline: Pipeline) -> int:
    """Return a time up to which every report has its receipt and is rolled up."""
    end = int(time.time()) // INTERVAL * INTERVAL + INTERVAL
    pipeline.wait_reported(all_nodes(), end)
    pipeline.sleep(ROLLED_UP_SECONDS)
    return end


def assert_equal_to_the_truth(
    pipeline: Pipeline, begun: int, end: int, gaps: list[Gap], record: Callable[[str, object], None]
) -> Comparison:
    """Compare rows, sums over gaps and live sums with the truth; what lacks must be in a gap."""
    ledger = pipeline.read(begun, end)
    start = max(min(each) for each in starts_by_thing(ledger).values()) + INTERVAL
    comparison = Comparison(FleetModel(FLEET), INTERVAL)
    missing = comparison.rows(ledger, start, end)
    assert comparison.wrong == []
    for key in missing:
        reader = key.thing.removeprefix("engine-")
        reader = reader if reader in NODES else FLEET.facility_node
        dead = [gap for gap in gaps if gap.node == reader]
        assert any(gap.reported_until <= key.start_seconds < gap.again_until for gap in dead), key
    for life in lifetimes(ledger, FleetModel(FLEET), end):
        assert life.found == life.truth, life.thing
    assert list(rollup_faults(ledger, range(start, end, INTERVAL), INSTALLED_SECONDS)) == []
    expected = (end - start) // INTERVAL * (2 * len(NODES) + 4)
    assert comparison.complete + len(missing) == expected
    record("rows equal to the truth", comparison.complete)
    record("rows that lack in gaps", len(missing))
    record("spans over gaps", len(ledger.spans))
    return comparison


def starts_by_thing(ledger: Ledger) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for key in (*ledger.nodes, *ledger.meters, *ledger.engines):
        found.setdefault(key.thing, []).append(key.start_seconds)
    return found


def count(pipeline: Pipeline, agent: str, text: str) -> int:
    return pipeline.agents[agent].text().count(text)


def test_each_part_is_killed_in_turn(
    pipeline: Pipeline, record_property: Callable[[str, object], None]
) -> None:
    begun = int(time.time()) - 10
    pipeline.start_all()
    pipeline.wait_until(lambda: all(map(pipeline.closed_until, all_nodes())), "all nodes report")
    gaps: list[Gap] = []
    for part in (pipeline.broker, pipeline.collector, pipeline.database):
        pipeline.sleep(BETWEEN_SECONDS)
        part.kill()
        pipeline.sleep(DOWN_SECONDS)
        part.start()
    for name in AGENTS:
        pipeline.sleep(BETWEEN_SECONDS)
        gaps += kill_agent(pipeline, name)
    pipeline.sleep(BETWEEN_SECONDS)
    end = settle(pipeline)

    assert_equal_to_the_truth(pipeline, begun, end, gaps, record_property)
    spans = pipeline.read(begun, end).spans
    assert {span.reason for span in spans} == {"restart"}
    for name, nodes in AGENTS.items():
        assert count(pipeline, name, "trying again") == len(nodes)
    assert pipeline.collector.text().count("connection lost") == 1
    assert pipeline.collector.text().count("reports wait") == 1
    assert pipeline.collector.text().count("takes rows again") == 1
    pipeline.assert_logs_are_clean()


def test_servers_that_are_late_or_away_and_a_process_held_up_cost_nothing(
    pipeline: Pipeline, record_property: Callable[[str, object], None]
) -> None:
    begun = int(time.time()) - 10
    pipeline.start(broker=False)
    for agent in pipeline.agents.values():
        agent.start()
    pipeline.wait_until(lambda: all(map(pipeline.closed_until, all_nodes())), "all nodes measure")
    pipeline.broker.start()
    pipeline.sleep(BETWEEN_SECONDS)
    pipeline.collector.start()
    pipeline.sleep(BETWEEN_SECONDS)
    pipeline.database.kill()
    with pipeline.agents["left"].held_up():
        pipeline.sleep(12)
    pipeline.sleep(8)
    pipeline.database.start()
    end = settle(pipeline)

    comparison = assert_equal_to_the_truth(pipeline, begun, end, [], record_property)
    assert comparison.partial == 0
    assert pipeline.read(begun, end).spans == []
    assert pipeline.collector.text().count("takes rows again") == 1
    pipeline.assert_logs_are_clean()
