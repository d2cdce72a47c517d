"""The site of a chaos run: a fleet on real servers, each way between them through a proxy."""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from meterhouse_agent.simulation.fleet import FleetSpec, node_names
from tests.chaos.proxy import Link, Proxy
from tests.chaos.schedule import BEHIND_SECONDS, PLACES
from tests.chaos.windows import Windows
from tests.e2e.fleet_run import FleetRun, small_fleet
from tests.e2e.node_faults import Disk, FakeClock
from tests.e2e.programs import ProgramError

FLEET: Final[FleetSpec] = small_fleet(nodes=4)
_NODES: Final = node_names(FLEET)
PLAYED: Final[Mapping[str, Sequence[str]]] = {
    "left": (*_NODES[:2], FLEET.facility_node),
    "disk": _NODES[2:3],
    "clock": _NODES[3:],
}
HELD_SECONDS: Final = 20
PATIENCE_SECONDS: Final = 240.0
QUARTER_SECONDS: Final = 900
# An agent tries to write its spool again that often; until then it reports from memory.
_UNWRITTEN_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.25
# A report and its receipt travel for less, where nothing is broken.
_UNDER_WAY_SECONDS: Final = 5.0
_CONF: Final = """listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {folder}/
autosave_interval 2
max_queued_messages 20000
"""

assert set(PLAYED) == set(PLACES)


class ChaosSite(FleetRun):
    """Programs, servers, links, clocks and a disk, and the windows that faults open."""

    def __init__(self, folder: Path, disk: Disk, *, quarter_ends_after: float) -> None:
        self.proxy = Proxy()
        self.links = {name: Link(mqtt=name != "store") for name in (*PLACES, "collector", "store")}
        keys: dict[str, dict[str, object]] = {name: self._mqtt(name) for name in PLACES}
        self.disk = disk
        keys["disk"]["spool"] = {"directory": disk.folder / "spool"}
        super().__init__(folder, FLEET, PLAYED, interval=1, keys=keys)
        for name, link in self.links.items():
            link.target_port = (self.database if name == "store" else self.broker).port
        self.broker.conf = _CONF
        self.configure_collector(
            **self._mqtt("collector"),
            influx={
                "url": f"http://127.0.0.1:{self.links['store'].port}",
                "org": self.influx.org,
                "token": {"file": self.influx.token.file},
                "timeout": "5s",
            },
            held=f"{HELD_SECONDS}s",
        )
        self.base_seconds = _base(time.time(), quarter_ends_after)
        self.clocks = {name: FakeClock(folder / f"{name}.time") for name in (*PLACES, "collector")}
        for name, clock in self.clocks.items():
            clock.step_to(self.base_seconds + (BEHIND_SECONDS if name == "clock" else 0))
            program = self.collector if name == "collector" else self.agents[name]
            program.environment |= clock.environment()
        self.begun = int(time.time()) + self.base_seconds + BEHIND_SECONDS - 10
        self.windows = Windows()
        self.full_until = float("-inf")
        self._looked_at = float("-inf")

    def _mqtt(self, link: str) -> dict[str, object]:
        return {"mqtt": {"host": "127.0.0.1", "port": self.links[link].port}}

    def spool_path(self, node: str) -> Path:
        """Return where the spool of a node lies: one has a disk of its own."""
        if node in PLAYED["disk"]:
            return self.disk.folder / "spool" / f"{node}.spool"
        return super().spool_path(node)

    def now(self, name: str) -> float:
        """Return the time that the clock of an agent process or the collector shows."""
        return time.time() + self.clocks[name].offset_seconds

    def open_links(self) -> None:
        """Let connections through."""
        for link in self.links.values():
            self.proxy.open(link)

    def look(self) -> None:
        """Take notice of what nodes have reported, and of programs that ended by themselves."""
        if time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        for program in self.programs:
            program.check()
        for node in self.nodes:
            with suppress(sqlite3.Error):
                self.windows.look(node, self._peek(node))

    def _peek(self, node: str) -> int:
        """Return how far a node has reported, leaving its spool as an agent would find it."""
        path = self.spool_path(node)
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0.1)) as spool:
            query = "SELECT value FROM state WHERE key = 'closed_until_seconds'"
            return max((int(value) for (value,) in spool.execute(query)), default=0)

    def died(self, name: str) -> None:
        """Note that an agent was killed."""
        for node in PLAYED[name]:
            self.windows.died(node)
            if name == "disk" and time.monotonic() < self.full_until:
                self.windows.doubtful.add(node)

    def start_again(self, name: str) -> None:
        """Start an agent that was killed."""
        self.agents[name].start()
        for node in PLAYED[name]:
            self.windows.is_back(node, self.now(name))

    def fill_disk(self) -> None:
        """Leave the agent that has a disk of its own no room there."""
        self.full_until = float("inf")
        with suppress(ProgramError):
            self.disk.fill(self.agents["disk"])

    def free_disk(self) -> None:
        """Give the room back."""
        with suppress(ProgramError):
            self.disk.free(self.agents["disk"])
        self.full_until = time.monotonic() + _UNWRITTEN_SECONDS

    def step(self, name: str, offset_seconds: float) -> None:
        """Step a clock to so much more than that of the site."""
        self.clocks[name].step_to(self.base_seconds + round(offset_seconds))
        for node in PLAYED.get(name, ()):
            self.windows.stepped(node, self.now(name))

    def settle(self) -> int:
        """Return a time up to which every report has its receipt, once no window is open."""

        def closed() -> bool:
            self.look()
            return not self.windows.open_nodes

        self.wait_until(closed, f"windows close: {self.windows.open_nodes}", PATIENCE_SECONDS)
        end = int(self.now("left")) + 2
        self.wait_reported(self.nodes, end, PATIENCE_SECONDS)
        # A report after that which was sent while nobody heard would be a hole in its quarter.
        self.wait_until(self._has_receipts, "all but the last have receipts", PATIENCE_SECONDS)
        return end

    def _has_receipts(self) -> bool:
        due = self.now("left") - _UNDER_WAY_SECONDS
        return not any(start < due for node in self.nodes for start in self.spooled(node))

    def close(self) -> None:
        """Kill everything."""
        super().close()
        self.proxy.close()


def _base(now_seconds: float, quarter_ends_after: float) -> int:
    """Return the offset, none ahead, of a clock on which a quarter ends so long after now."""
    ahead = round(QUARTER_SECONDS - quarter_ends_after - now_seconds % QUARTER_SECONDS)
    return ahead - QUARTER_SECONDS if ahead > 0 else ahead
