"""What a simulated fleet is: the part of the config file that its whole past follows from."""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from meterhouse_agent.settings import Section
from meterhouse_agent.wire import MAX_DEVICES, NAME_PATTERN

WATER: Final = "water"
ENERGY_METERS: Final = ("utility", "it-pdu", "ups-output", "cooling")
METERS: Final = (*ENERGY_METERS, WATER)
INSTANT_FAULTS: Final = frozenset({"counter_reset", "engine_restart"})
METER_FAULTS: Final = frozenset({"meter_silent", "meter_nan"})
UTILIZATION_MIN_PER_MILLE: Final = 200
UTILIZATION_MAX_PER_MILLE: Final = 990
_NODE: Final = re.compile(r"^sim-(\d{3,})$", re.ASCII)

Watts = Annotated[int, Field(ge=0, le=1_000_000_000)]
PerMille = Annotated[int, Field(ge=0, le=1000)]
UtcSeconds = Annotated[int, Field(ge=0, le=2**40)]
Positive = Annotated[int, Field(ge=1, le=10**9)]
Bytes = Annotated[int, Field(ge=1, le=2**53)]
Label = Annotated[str, Field(min_length=1, max_length=128)]
NodeName = Annotated[str, Field(pattern=NAME_PATTERN)]
FaultKind = Literal[
    "lost",
    "silent",
    "contradict",
    "idle_pool",
    "counter_reset",
    "engine_restart",
    "meter_silent",
    "meter_nan",
]


class Fault(Section):
    """What goes wrong, where and when; ``node`` and ``device`` left out mean all of them.

    A fault is in what is read at the ticks after ``from_seconds`` up to and with ``to_seconds``:
    as with every sample, what is seen at a tick is what was so just before it. ``device`` names
    the meter where the fault is a meter's. A ``counter_reset`` and an ``engine_restart`` happen at
    ``from_seconds`` and take no ``to_seconds``; the tick at that time still reads the old counter.
    """

    kind: FaultKind
    node: str | None = None
    device: str | None = None
    from_seconds: UtcSeconds
    to_seconds: UtcSeconds | None = None

    @model_validator(mode="after")
    def _window(self) -> Self:
        if self.kind in INSTANT_FAULTS:
            if self.to_seconds is not None:
                raise ValueError(f"{self.kind} happens at from_seconds: leave out to_seconds")
        elif self.to_seconds is None or self.to_seconds <= self.from_seconds:
            raise ValueError(f"{self.kind} needs a to_seconds after its from_seconds")
        return self

    @property
    def from_milliseconds(self) -> int:
        """The start of the fault in Unix milliseconds."""
        return self.from_seconds * 1000

    @property
    def to_milliseconds(self) -> int:
        """The end of the fault in Unix milliseconds; its start where it has no duration."""
        return (self.from_seconds if self.to_seconds is None else self.to_seconds) * 1000

    def hits(self, kind: str, node: str, device: str | None = None) -> bool:
        """Tell whether this is a fault of that kind on that node and device."""
        return (
            self.kind == kind
            and self.node in {None, node}
            and (device is None or self.device in {None, device})
        )


class FleetSpec(Section):
    """A fleet; the same spec is the same fleet, with the same past, wherever it is computed."""

    seed: int = 1
    nodes: Annotated[int, Field(ge=1, le=100_000)] = 4
    devices_per_node: Annotated[int, Field(ge=1, le=MAX_DEVICES)] = 8
    facility_node: NodeName = "facility"
    origin_seconds: UtcSeconds = 1_767_225_600  # 2026-01-01 UTC

    vendor: Label = "simulated"
    accelerator_model: Label = "sim-h100"
    idle_power_watts: Watts = 75
    held_power_watts: Watts = 90
    max_power_watts: Watts = 700
    memory_total_bytes: Bytes = 85_899_345_920
    host_power_watts: Watts = 800
    host_memory_total_bytes: Bytes = 2_199_023_255_552

    block_seconds: Annotated[int, Field(ge=1, le=3600)] = 20
    job_seconds: Positive = 900
    period_seconds: Positive = 86_400
    busy_per_mille: PerMille = 800
    held_per_mille: PerMille = 500
    day_curve_per_mille: Annotated[tuple[PerMille, ...], Field(min_length=1, max_length=1440)] = (
        *(620, 580, 560, 550, 560, 600, 680, 780, 880, 950, 990, 1000),
        *(1000, 1000, 1000, 990, 970, 940, 900, 860, 820, 780, 720, 660),
    )

    engine_devices: Annotated[int, Field(ge=0, le=MAX_DEVICES)] = 4
    served_models: Annotated[tuple[Label, ...], Field(min_length=1)] = ("sim-70b", "sim-8b")
    tokens_per_second: Positive = 1500
    input_per_mille_of_output: Annotated[int, Field(ge=0, le=1_000_000)] = 4000
    cached_per_mille_of_input: PerMille = 300
    output_tokens_per_request: Positive = 250

    network_power_watts: Watts = 400
    pdu_loss_per_mille: PerMille = 10
    ups_fixed_loss_watts: Watts = 500
    ups_loss_per_mille: PerMille = 30
    cooling_fixed_power_watts: Watts = 1000
    cooling_per_mille_of_it: PerMille = 180
    meter_resolution_joules: Positive = 1
    water_nanolitres_per_joule: Positive = 500

    faults: tuple[Fault, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.period_seconds % self.block_seconds or self.job_seconds % self.block_seconds:
            raise ValueError("period_seconds and job_seconds must be whole multiples of a block")
        if self.max_power_watts <= self.idle_power_watts:
            raise ValueError("max_power_watts must be above idle_power_watts")
        # An agent calls idle at a quarter of the range that it has seen a contradiction, and
        # trusts a range from twice the floor on: held power must be below that from the first.
        idle = self.idle_power_watts
        seen = max(2 * idle, active_milliwatts(self, UTILIZATION_MIN_PER_MILLE) // 1000)
        if not idle <= self.held_power_watts <= idle + (seen - idle) // 4:
            raise ValueError(
                f"held_power_watts must be from idle_power_watts, {idle}, to "
                f"{idle + (seen - idle) // 4}: more would contradict an idle device's state"
            )
        if self.engine_devices > self.devices_per_node:
            raise ValueError("engine_devices: a node does not have so many devices")
        if node_index(self, self.facility_node) is not None:
            raise ValueError("facility_node: this name is one of the fleet's nodes")
        for fault in self.faults:
            _check_fault(self, fault)
        return self

    @property
    def origin_milliseconds(self) -> int:
        """When every counter stood at zero, in Unix milliseconds."""
        return self.origin_seconds * 1000


def active_milliwatts(spec: FleetSpec, utilization_per_mille: int) -> int:
    """Return a device's power at a utilization: half proportional, half quadratic, so convex."""
    span = (spec.max_power_watts - spec.idle_power_watts) * 1000
    utilization = utilization_per_mille
    return spec.idle_power_watts * 1000 + span * utilization * (1000 + utilization) // 2_000_000


def _check_fault(spec: FleetSpec, fault: Fault) -> None:
    if fault.from_seconds < spec.origin_seconds:
        raise ValueError(f"fault {fault.kind}: it starts before origin_seconds")
    if fault.kind in METER_FAULTS:
        if fault.node not in {None, spec.facility_node}:
            raise ValueError(f"fault {fault.kind}: only {spec.facility_node} reads meters")
        known: tuple[str, ...] = METERS
    else:
        if fault.node is not None and node_index(spec, fault.node) is None:
            raise ValueError(f"fault {fault.kind}: there is no node {fault.node!r} in the fleet")
        known = () if fault.kind == "engine_restart" else device_names(spec)
    if fault.device is not None and fault.device not in known:
        raise ValueError(f"fault {fault.kind}: {fault.device!r} is none of {', '.join(known)}")


def node_names(spec: FleetSpec) -> tuple[str, ...]:
    """Return the names of the fleet's nodes: ``sim-000``, ``sim-001`` and so on."""
    return tuple(f"sim-{index:03d}" for index in range(spec.nodes))


def node_index(spec: FleetSpec, node: str) -> int | None:
    """Return the place of a node in the fleet, or None where it is not one of its nodes."""
    match = _NODE.match(node)
    if match is None:
        return None
    index = int(match[1])
    return index if index < spec.nodes and node == f"sim-{index:03d}" else None


def device_names(spec: FleetSpec) -> tuple[str, ...]:
    """Return the names of a node's devices: ``d0``, ``d1`` and so on."""
    return tuple(f"d{index}" for index in range(spec.devices_per_node))


def engine_name(node: str) -> str:
    """Return the name of a node's engine."""
    return f"engine-{node}"


def served_model(spec: FleetSpec, node: str) -> str:
    """Return the model that a node's engine serves: the list is gone round node by node."""
    return spec.served_models[(node_index(spec, node) or 0) % len(spec.served_models)]
