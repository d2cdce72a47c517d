"""A node or the facility of a simulated fleet: readings without hardware, exact at any time."""

import asyncio

from meterhouse_agent.samples import Readings, Things
from meterhouse_agent.settings import SourceConfig
from meterhouse_agent.simulation.facility import FacilityModel
from meterhouse_agent.simulation.fleet import FleetSpec, node_index
from meterhouse_agent.simulation.node import NodeModel
from meterhouse_agent.simulation.pattern import Tables
from meterhouse_agent.sources import SourceError


class Config(SourceConfig):
    """The section of a simulated source; every agent of one fleet has the same ``fleet``."""

    kind: str = "simulated"
    fleet: FleetSpec = FleetSpec()


class SimulatedSource:
    """Plays one node of a fleet, or reads its meters where the name is the facility node's."""

    replayable = True

    def __init__(self, fleet: FleetSpec, node: str) -> None:
        self._fleet = fleet
        self._node = node
        self._model: NodeModel | FacilityModel | None = None

    async def open(self) -> None:
        """Compute the pattern of the node, or of the whole fleet for the facility's meters."""
        # A large fleet takes seconds, which must not hold up the other sources.
        self._model = await asyncio.to_thread(self._build)

    def _build(self) -> NodeModel | FacilityModel:
        fleet = self._fleet
        if self._node == fleet.facility_node:
            return FacilityModel(fleet, Tables(fleet))
        if node_index(fleet, self._node) is None:
            raise SourceError(
                f"node {self._node!r} is not in the simulated fleet: it has sim-000 to "
                f"sim-{fleet.nodes - 1:03d} and {fleet.facility_node!r}; change node or fleet.nodes"
            )
        return NodeModel(fleet, Tables(fleet), self._node)

    def things(self) -> Things:
        """Tell all there is to measure; nothing before the source is open."""
        return Things() if self._model is None else self._model.things()

    async def read(self, at_milliseconds: int) -> Readings:
        """Return what is seen at a tick, past or present, with exactly that time."""
        if self._model is None:
            raise SourceError("the simulated source is not open: open it before reading")
        if at_milliseconds < self._fleet.origin_milliseconds:
            raise SourceError(
                f"tick {at_milliseconds} ms is before the simulated fleet began: "
                f"set fleet.origin_seconds ({self._fleet.origin_seconds}) to an earlier time"
            )
        return self._model.read(at_milliseconds)

    async def close(self) -> None:
        """Let go of the pattern."""
        self._model = None


def create(config: Config, *, node: str) -> SimulatedSource:
    """Return the source of one node of the fleet, not yet open."""
    return SimulatedSource(config.fleet, node)
