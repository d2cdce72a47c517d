"""What a fleet really did between two times, from closed forms: what a ledger must agree with.

Amounts are exact integers in the resolution of the instruments, so any intervals add up to the
whole. They are what was so; what faults keep from being seen is told by ``continuous``: where it
is true, every tick from start to end could be read and no counter began anew, so the rows of the
window equal the truth; over a gap only the sum from before it to after it does.
"""

from collections.abc import Iterator
from typing import TypeVar

import msgspec
from msgspec import Struct

from meterhouse_agent.simulation.engine import EngineModel
from meterhouse_agent.simulation.fleet import ENERGY_METERS, WATER, FleetSpec
from meterhouse_agent.simulation.reckoning import Amounts, FleetModel, StateClock
from meterhouse_agent.wire import State

NO_HOLDER = "none"

T = TypeVar("T", bound=Struct)


class StateAmounts(Struct, frozen=True, kw_only=True):
    """Milliseconds or millijoules by state, whichever the field that holds them says."""

    active: int = 0
    held_idle: int = 0
    free: int = 0
    unhealthy: int = 0
    unknown: int = 0

    @property
    def total(self) -> int:
        """The sum over all five states."""
        return self.active + self.held_idle + self.free + self.unhealthy + self.unknown

    def as_dict(self) -> dict[State, int]:
        """Return the amounts keyed by state, zeros with them."""
        return {
            "active": self.active,
            "held_idle": self.held_idle,
            "free": self.free,
            "unhealthy": self.unhealthy,
            "unknown": self.unknown,
        }


class DeviceTruth(Struct, frozen=True, kw_only=True):
    """One accelerator; ``holder`` is the engine that holds it, or ``none``.

    It was throttled for any cause, for power and for heat: two causes at once count in both.
    """

    device: str
    holder: str
    milliseconds: StateAmounts
    millijoules: StateAmounts
    throttled_milliseconds: int
    throttled_power_milliseconds: int
    throttled_thermal_milliseconds: int
    counter_resets: int
    continuous: bool


class HolderTruth(Struct, frozen=True, kw_only=True):
    """The accelerators of one node of one model with one holder."""

    accelerator_model: str
    holder: str
    milliseconds: StateAmounts
    millijoules: StateAmounts


class NodeTruth(Struct, frozen=True, kw_only=True):
    """One node; ``energy_millijoules`` is the whole node's, devices with it."""

    node: str
    installed_milliseconds: int
    energy_millijoules: int
    continuous: bool
    holders: tuple[HolderTruth, ...]
    devices: tuple[DeviceTruth, ...]


class MeterTruth(Struct, frozen=True, kw_only=True):
    """One meter: the difference of its register, of energy or of volume."""

    meter: str
    energy_joules: int | None = None
    volume_millilitres: int | None = None
    continuous: bool


class EngineTruth(Struct, frozen=True, kw_only=True):
    """One engine: what it counted, over restarts; ``ttft_counts`` per bucket, not cumulative."""

    engine: str
    node: str
    served_model: str
    output_tokens: int
    input_tokens: int
    cached_input_tokens: int
    requests: dict[str, int]
    ttft_counts: tuple[int, ...]
    ttft_sum_milliseconds: int
    restarts: int


class Totals(Struct, frozen=True, kw_only=True):
    """The whole fleet; facility and IT energy are those of ``utility`` and ``it-pdu``."""

    installed_milliseconds: int
    milliseconds: StateAmounts
    millijoules: StateAmounts
    node_millijoules: int
    facility_joules: int
    it_joules: int
    water_millilitres: int
    output_tokens: int
    input_tokens: int
    cached_input_tokens: int
    requests: int


class Truth(Struct, frozen=True, kw_only=True):
    """What a fleet did in ``[start_seconds, end_seconds)``, a whole number of intervals."""

    start_seconds: int
    end_seconds: int
    length_seconds: int
    nodes: tuple[NodeTruth, ...]
    meters: tuple[MeterTruth, ...]
    engines: tuple[EngineTruth, ...]
    totals: Totals

    def plus(self, later: "Truth") -> "Truth":
        """Return the truth of both windows; raise ``ValueError`` unless they are adjacent."""
        if later.start_seconds != self.end_seconds or later.length_seconds != self.length_seconds:
            raise ValueError("only the truth of the window that follows, on one grid, can be added")
        return msgspec.structs.replace(
            self,
            end_seconds=later.end_seconds,
            nodes=_each(self.nodes, later.nodes),
            meters=_each(self.meters, later.meters),
            engines=_each(self.engines, later.engines),
            totals=_added(self.totals, later.totals),
        )


def truth(spec: FleetSpec, start_seconds: int, end_seconds: int, length_seconds: int = 5) -> Truth:
    """Return what a fleet did from start to end, in Unix seconds on the grid of the intervals."""
    return truth_of(FleetModel(spec), start_seconds, end_seconds, length_seconds)


def truth_by_interval(
    spec: FleetSpec, start_seconds: int, end_seconds: int, length_seconds: int = 5
) -> Iterator[Truth]:
    """Yield what a fleet did in each interval from start to end."""
    _check(spec, start_seconds, end_seconds, length_seconds)
    model = FleetModel(spec)
    for start in range(start_seconds, end_seconds, length_seconds):
        yield truth_of(model, start, start + length_seconds, length_seconds)


def truth_json(
    spec: FleetSpec, start_seconds: int, end_seconds: int, length_seconds: int = 5
) -> str:
    """Return what a fleet did from start to end as indented JSON."""
    found = msgspec.json.encode(truth(spec, start_seconds, end_seconds, length_seconds))
    return msgspec.json.format(found, indent=2).decode()


def truth_of(
    model: FleetModel, start_seconds: int, end_seconds: int, length_seconds: int = 5
) -> Truth:
    """Return the same from a model that is kept, so that its patterns are computed only once."""
    _check(model.spec, start_seconds, end_seconds, length_seconds)
    start, end = start_seconds * 1000, end_seconds * 1000
    nodes = tuple(_node(model, node, start, end) for node in model.names)
    engines = tuple(
        _engine(engine, node, start, end)
        for node in model.names
        if (engine := model.node(node).engine) is not None
    )
    counted = _counted(model, start, end)
    return Truth(
        start_seconds=start_seconds,
        end_seconds=end_seconds,
        length_seconds=length_seconds,
        nodes=nodes,
        meters=tuple(_meter(model, name, amount, start, end) for name, amount in counted.items()),
        engines=engines,
        totals=_totals(nodes, counted, engines),
    )


def _check(spec: FleetSpec, start: int, end: int, length: int) -> None:
    if length <= 0 or start % length or end % length or end < start:
        raise ValueError(f"{start} to {end} s is not a whole number of intervals of {length} s")
    if start < spec.origin_seconds:
        raise ValueError(f"{start} s is before the fleet's origin_seconds, {spec.origin_seconds}")


def _node(model: FleetModel, name: str, start: int, end: int) -> NodeTruth:
    node = model.node(name)
    engine = node.engine.engine if node.engine else NO_HOLDER
    devices = tuple(
        _device(clock, engine if clock.device.engine_held else NO_HOLDER, start, end)
        for clock in model.clocks(name)
    )
    return NodeTruth(
        node=name,
        installed_milliseconds=(end - start) * len(devices),
        energy_millijoules=node.energy_microjoules(end) // 1000
        - node.energy_microjoules(start) // 1000,
        continuous=all(device.continuous for device in devices),
        holders=tuple(
            HolderTruth(
                accelerator_model=model.spec.accelerator_model,
                holder=holder,
                milliseconds=_sum([d.milliseconds for d in devices if d.holder == holder]),
                millijoules=_sum([d.millijoules for d in devices if d.holder == holder]),
            )
            for holder in dict.fromkeys(device.holder for device in devices)
        ),
        devices=devices,
    )


def _device(clock: StateClock, holder: str, start: int, end: int) -> DeviceTruth:
    milliseconds, millijoules = clock.amounts(start, end)
    throttled, power, thermal = clock.throttled(start, end)
    return DeviceTruth(
        device=clock.device.device,
        holder=holder,
        milliseconds=_states(milliseconds),
        millijoules=_states(millijoules),
        throttled_milliseconds=throttled,
        throttled_power_milliseconds=power,
        throttled_thermal_milliseconds=thermal,
        counter_resets=clock.resets(start, end),
        continuous=clock.continuous(start, end),
    )


def _states(amounts: Amounts) -> StateAmounts:
    return StateAmounts(**amounts)


def _counted(model: FleetModel, start: int, end: int) -> dict[str, int]:
    """Return what each meter counted, in joules, that of water in millilitres."""
    first, last = model.facility.registers_ticks(start), model.facility.registers_ticks(end)
    units = dict.fromkeys(ENERGY_METERS, model.spec.meter_resolution_joules) | {WATER: 1}
    return {name: (last[name] - first[name]) * unit for name, unit in units.items()}


def _meter(model: FleetModel, name: str, counted: int, start: int, end: int) -> MeterTruth:
    return MeterTruth(
        meter=name,
        energy_joules=None if name == WATER else counted,
        volume_millilitres=counted if name == WATER else None,
        continuous=model.facility.readable(name, start, end),
    )


def _engine(engine: EngineModel, node: str, start: int, end: int) -> EngineTruth:
    served = engine.served(end).plus(engine.served(start), -1)
    return EngineTruth(
        engine=engine.engine,
        node=node,
        served_model=engine.served_model,
        output_tokens=served.output_tokens,
        input_tokens=served.input_tokens,
        cached_input_tokens=served.cached_input_tokens,
        requests={"stop": served.stop_requests, "length": served.length_requests},
        ttft_counts=served.ttft_counts,
        ttft_sum_milliseconds=served.ttft_sum_milliseconds,
        restarts=sum(start <= restart < end for restart in engine.restarts),
    )


def _totals(
    nodes: tuple[NodeTruth, ...], counted: dict[str, int], engines: tuple[EngineTruth, ...]
) -> Totals:
    return Totals(
        installed_milliseconds=sum(node.installed_milliseconds for node in nodes),
        milliseconds=_sum([holder.milliseconds for node in nodes for holder in node.holders]),
        millijoules=_sum([holder.millijoules for node in nodes for holder in node.holders]),
        node_millijoules=sum(node.energy_millijoules for node in nodes),
        facility_joules=counted["utility"],
        it_joules=counted["it-pdu"],
        water_millilitres=counted[WATER],
        output_tokens=sum(engine.output_tokens for engine in engines),
        input_tokens=sum(engine.input_tokens for engine in engines),
        cached_input_tokens=sum(engine.cached_input_tokens for engine in engines),
        requests=sum(sum(engine.requests.values()) for engine in engines),
    )


def _sum(amounts: list[StateAmounts]) -> StateAmounts:
    return StateAmounts(
        active=sum(each.active for each in amounts),
        held_idle=sum(each.held_idle for each in amounts),
        free=sum(each.free for each in amounts),
        unhealthy=sum(each.unhealthy for each in amounts),
        unknown=sum(each.unknown for each in amounts),
    )


def _each(first: tuple[T, ...], second: tuple[T, ...]) -> tuple[T, ...]:
    return tuple(_added(a, b) for a, b in zip(first, second, strict=True))


def _added(first: T, second: T) -> T:
    fields = first.__struct_fields__
    return type(first)(
        **{name: _join(getattr(first, name), getattr(second, name)) for name in fields}
    )


def _join(first: object, second: object) -> object:
    """Add numbers and whatever holds numbers; both must hold, and names must be the same."""
    match first, second:
        case bool(), bool():
            return first and second
        case int(), int():
            return first + second
        case Struct(), Struct():
            return _added(first, second)
        case tuple(), tuple():
            return tuple(_join(a, b) for a, b in zip(first, second, strict=True))
        case dict(), dict():
            return {key: _join(value, second[key]) for key, value in first.items()}
        case _ if first == second:
            return first
        case _:
            raise ValueError(f"{first!r} and {second!r} are not of one fleet")
