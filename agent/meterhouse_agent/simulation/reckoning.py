"""How long each device was in each state and what it drew in it, without looking at readings."""

from functools import cached_property

from meterhouse_agent.simulation.device import DeviceModel
from meterhouse_agent.simulation.facility import FacilityModel
from meterhouse_agent.simulation.fleet import FleetSpec, node_names
from meterhouse_agent.simulation.node import NodeModel
from meterhouse_agent.simulation.pattern import HELD_IDLE, Tables
from meterhouse_agent.wire import STATES, State

Amounts = dict[State, int]


class StateClock:
    """One device's time and energy by state; times are Unix milliseconds, on whole seconds."""

    def __init__(self, device: DeviceModel, tables: Tables) -> None:
        self.device = device
        self._origin = device.spec.origin_milliseconds
        self._active = device.steps(tables.active, 0)
        self._held = device.steps(tables.held_idle, 1)
        self._active_energy = device.steps(tables.active_milliwatts, 0)
        air, throttled_power = device.air, tables.throttled_power
        self._throttled = [
            device.steps(table, table[HELD_IDLE])
            for table in (air.throttled, throttled_power, air.throttled_thermal)
        ]
        held_milliwatts = tables.held_idle_milliwatts
        self._held_energy = device.steps(held_milliwatts, held_milliwatts[HELD_IDLE])

    def amounts(self, start: int, end: int) -> tuple[Amounts, Amounts]:
        """Return milliseconds and millijoules by state from start to end."""
        milliseconds: Amounts = dict.fromkeys(STATES, 0)
        millijoules: Amounts = dict.fromkeys(STATES, 0)
        pieces = self.device.faults.pieces(start - self._origin, end - self._origin)
        for first, last, overlay in pieces:
            energy = self._millijoules(first, last)
            if overlay is not None:
                state: State = "unhealthy" if overlay == "lost" else "unknown"
                milliseconds[state] += last - first
                millijoules[state] += energy
                continue
            active = self._active.integral(last) - self._active.integral(first)
            held = self._held.integral(last) - self._held.integral(first)
            milliseconds["active"] += active
            milliseconds["held_idle"] += held
            milliseconds["free"] += last - first - active - held
            drawn = self._active_energy.integral(last) - self._active_energy.integral(first)
            waited = self._held_energy.integral(last) - self._held_energy.integral(first)
            # Exact: blocks and windows are whole seconds, and milliwatt-seconds are millijoules.
            millijoules["active"] += drawn // 1000
            millijoules["held_idle"] += waited // 1000
            millijoules["free"] += energy - drawn // 1000 - waited // 1000
        return milliseconds, millijoules

    def throttled(self, start: int, end: int) -> tuple[int, int, int]:
        """Return how long the clock was lowered: for any cause, for power, and for heat."""
        first, last = start - self._origin, end - self._origin
        found, power, thermal = (
            steps.integral(last) - steps.integral(first) for steps in self._throttled
        )
        return found, power, thermal

    def resets(self, start: int, end: int) -> int:
        """Return how often the device's counter began anew from start to before end."""
        first, last = start - self._origin, end - self._origin
        return sum(first <= reset < last for reset in self.device.faults.resets)

    def continuous(self, start: int, end: int) -> bool:
        """Tell whether the counter was read at every tick from start to end, with no reset."""
        return self.device.faults.continuous(start - self._origin, end - self._origin)

    def _millijoules(self, first: int, last: int) -> int:
        device, origin = self.device, self._origin
        return (
            device.energy_microjoules(last + origin) - device.energy_microjoules(first + origin)
        ) // 1000


class FleetModel:
    """A whole fleet, whose nodes are computed when they are first asked for."""

    def __init__(self, spec: FleetSpec) -> None:
        self.spec = spec
        self.names = node_names(spec)
        self._tables = Tables(spec)
        self._nodes: dict[str, NodeModel] = {}
        self._clocks: dict[str, tuple[StateClock, ...]] = {}

    @cached_property
    def facility(self) -> FacilityModel:
        """The fleet's meters."""
        return FacilityModel(self.spec, self._tables)

    def node(self, name: str) -> NodeModel:
        """Return one node of the fleet."""
        if name not in self._nodes:
            self._nodes[name] = NodeModel(self.spec, self._tables, name)
        return self._nodes[name]

    def clocks(self, name: str) -> tuple[StateClock, ...]:
        """Return the state clocks of one node's devices."""
        if name not in self._clocks:
            devices = self.node(name).devices
            self._clocks[name] = tuple(StateClock(device, self._tables) for device in devices)
        return self._clocks[name]
