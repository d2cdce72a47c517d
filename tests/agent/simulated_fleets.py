"""Small simulated fleets, and one reading of one of their nodes."""

from meterhouse_agent.samples import Readings
from meterhouse_agent.simulation.fleet import FaultKind, FleetSpec
from meterhouse_agent.simulation.node import NodeModel
from meterhouse_agent.simulation.pattern import Tables
from meterhouse_agent.sources.simulated import Config, SimulatedSource, create

NOON = 1_780_056_000
ORIGIN = FleetSpec().origin_seconds


def fault(kind: FaultKind, start: int, end: int | None = None, **where: str) -> dict[str, object]:
    return {"kind": kind, "from_seconds": start, "to_seconds": end, **where}


def fleet(*faults: dict[str, object], **values: object) -> FleetSpec:
    return FleetSpec.model_validate({"nodes": 2, **values, "faults": faults})


def node_model(spec: FleetSpec, node: str = "sim-000") -> NodeModel:
    return NodeModel(spec, Tables(spec), node)


async def opened(spec: FleetSpec, node: str) -> SimulatedSource:
    source = create(Config(fleet=spec), node=node)
    await source.open()
    return source


async def read(spec: FleetSpec, node: str, second: int) -> Readings:
    source = await opened(spec, node)
    return await source.read(second * 1000)
