"""A simulated fleet on a pipeline, and the comparison of what is left of it with the truth."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from meterhouse_agent.simulation.fleet import METERS, FleetSpec, node_names
from meterhouse_agent.simulation.reckoning import FleetModel
from tests.e2e.configs import Table, fleet_site, simulated
from tests.e2e.equality import Comparison, lifetimes, rollup_faults
from tests.e2e.ledger import Key, Ledger
from tests.e2e.pipeline import Pipeline

ROLLED_UP_SECONDS: Final = 60.0
Record = Callable[[str, object], None]


class Gap(NamedTuple):
    """What a node could not report: from where it had reported to, until it did again."""

    node: str
    from_seconds: int
    to_seconds: int


class FleetRun(Pipeline):
    """A pipeline whose agents play a fleet.

    ``played`` are nodes by the process that plays them, ``keys`` what its config has besides.
    """

    def __init__(
        self,
        folder: Path,
        fleet: FleetSpec,
        played: Mapping[str, Sequence[str]],
        *,
        interval: int,
        spool: Mapping[str, object] | None = None,
        environment: Mapping[str, str] | None = None,
        keys: Mapping[str, Table] | None = None,
    ) -> None:
        super().__init__(folder, site=fleet_site(fleet), interval=interval)
        self.fleet = fleet
        self.played = played
        table = {"directory": folder / "spool"} | dict(spool or {})
        self.spool_folder = Path(str(table["directory"]))
        self.begun = int(time.time()) - 10
        self.first_reported: dict[str, int] = {}
        for name, nodes in played.items():
            config: dict[str, object] = {
                "play": list(nodes),
                "source": [simulated(fleet)],
                "spool": table,
            }
            config |= {} if keys is None else keys.get(name, {})
            self.add_agent(name, environment=environment, **config)

    @property
    def nodes(self) -> list[str]:
        """Every node that some agent plays."""
        return [node for nodes in self.played.values() for node in nodes]

    def wait_for_reports(self) -> None:
        """Return when every node has reported once."""
        self.wait_until(lambda: all(map(self.closed_until, self.nodes)), "all nodes report")
        self.first_reported = {node: self.closed_until(node) for node in self.nodes}

    def kill_agent(self, name: str, *, down_seconds: float) -> list[Gap]:
        """Kill an agent and start it again; return what its nodes could not report."""
        agent, nodes = self.agents[name], self.played[name]
        agent.kill()
        reported = {node: self.closed_until(node) for node in nodes}
        self.sleep(down_seconds)
        agent.start()
        self.wait_until(
            lambda: all(self.closed_until(node) > reported[node] for node in nodes),
            f"{name} reports again",
        )
        return [Gap(node, reported[node], self.closed_until(node)) for node in nodes]

    def settle(self) -> int:
        """Return a time up to which every report has its receipt."""
        end = int(time.time()) // self.interval * self.interval + self.interval
        self.wait_reported(self.nodes, end)
        return end

    def reader(self, thing: str) -> str:
        """Return the node that reports a thing."""
        if thing in METERS:
            return self.fleet.facility_node
        return thing.removeprefix("engine-")

    def assert_equal_to_the_truth(
        self, end: int, record: Record, *, gaps: Iterable[Gap] = ()
    ) -> Comparison:
        """Compare rows, sums over gaps and live sums; whatever lacks must lie in a gap."""
        ledger = self.read(self.begun, end)
        first = first_starts(ledger)
        # The first reports of all are not lost either.
        assert all(start < self.first_reported[self.reader(t)] for t, start in first.items())
        start = max(first.values()) + self.interval
        comparison = Comparison(FleetModel(self.fleet), self.interval)
        missing = comparison.rows(ledger, start, end)
        record("intervals", (end - start) // self.interval)
        record("rows equal to the truth", comparison.complete)
        record("rows that lack", len(missing))
        record("spans", len(ledger.spans))
        assert comparison.wrong == []
        known = list(gaps)
        assert [key for key in missing if not self._excused(key, known)] == []
        for life in lifetimes(ledger, FleetModel(self.fleet), end):
            assert life.found == life.truth, life.thing
        assert self.rollup_faults(start, end) == []
        things = 2 * self.fleet.nodes + len(METERS)
        assert comparison.complete + len(missing) == (end - start) // self.interval * things
        return comparison

    def rollup_faults(self, start: int, end: int) -> list[str]:
        """Return where live sums are not those of the rows, once late reports are gathered."""
        deadline = time.monotonic() + ROLLED_UP_SECONDS
        installed = self.interval * self.fleet.nodes * self.fleet.devices_per_node
        while True:
            starts = range(start, end, self.interval)
            faults = list(rollup_faults(self.read(start, end), starts, installed))
            if not faults or time.monotonic() > deadline:
                return faults
            self.sleep(1)

    def _excused(self, key: Key, gaps: Iterable[Gap]) -> bool:
        node = self.reader(key.thing)
        return any(
            gap.node == node and gap.from_seconds <= key.start_seconds < gap.to_seconds
            for gap in gaps
        )


def first_starts(ledger: Ledger) -> dict[str, int]:
    """Return the start of the first row of everything that was ever seen."""
    first: dict[str, int] = {}
    for key in (*ledger.nodes, *ledger.meters, *ledger.engines):
        first[key.thing] = min(key.start_seconds, first.get(key.thing, key.start_seconds))
    return first


def small_fleet(*, nodes: int = 3, **more: object) -> FleetSpec:
    """Return a fleet whose devices change state every few seconds."""
    table = {
        "seed": 11,
        "nodes": nodes,
        "devices_per_node": 4,
        "engine_devices": 2,
        "block_seconds": 3,
        "job_seconds": 30,
        "period_seconds": 600,
    }
    return FleetSpec.model_validate(table | more)


def all_in_one(fleet: FleetSpec) -> dict[str, Sequence[str]]:
    """Return all nodes of a fleet played by one process."""
    return {"all": (*node_names(fleet), fleet.facility_node)}
