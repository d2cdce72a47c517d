"""The facility's meters: what the whole fleet draws, through PDU, UPS and cooling, and its water.

All that is drawn ends as heat, and the cooling towers evaporate water in proportion to it. All are
cumulative amounts since the origin, derived from the fleet's total in closed form, so every
register only grows and differences add up.
"""

from array import array
from operator import add
from typing import Final

from meterhouse_agent.samples import Counter, MeterSample, Readings, Things
from meterhouse_agent.simulation.faults import untouched, windows_of
from meterhouse_agent.simulation.fleet import METERS, WATER, FleetSpec, device_names, node_names
from meterhouse_agent.simulation.pattern import HELD_IDLE, Tables, pattern
from meterhouse_agent.simulation.steps import (
    Grid,
    Overridden,
    Steps,
    SummedSteps,
    Window,
    inside,
)

_MICRO: Final = 1_000_000
MILLILITRE: Final = 0.001
# Microjoules times nanolitres per joule.
_PER_MILLILITRE: Final = 10**12


class FacilityModel:
    """The meters of a fleet; times are Unix milliseconds, from the fleet's origin on."""

    def __init__(self, spec: FleetSpec, tables: Tables) -> None:
        self.spec = spec
        self._origin = spec.origin_milliseconds
        self._devices = _total(spec, tables)
        self._base_milliwatts = 1000 * (
            spec.nodes * spec.host_power_watts + spec.network_power_watts
        )
        node = spec.facility_node
        self._silent = {name: windows_of(spec, "meter_silent", node, name) for name in METERS}
        self._nan = {name: windows_of(spec, "meter_nan", node, name) for name in METERS}

    def things(self) -> Things:
        """Return the meters."""
        return Things(meters=METERS)

    def it_microjoules(self, at_milliseconds: int) -> int:
        """Return the energy of all nodes and the network since the origin, in microjoules."""
        elapsed = at_milliseconds - self._origin
        devices = sum(steps.integral(elapsed) for steps in self._devices)
        return devices + self._base_milliwatts * elapsed

    def registers_ticks(self, at_milliseconds: int) -> dict[str, int]:
        """Return what each meter's register shows, in whole ticks of its resolution."""
        elapsed = at_milliseconds - self._origin
        tick = self.spec.meter_resolution_joules * _MICRO
        amounts = self._chain(self.it_microjoules(at_milliseconds), elapsed)
        evaporated = amounts["utility"] * self.spec.water_nanolitres_per_joule
        joules = {name: amount // tick for name, amount in amounts.items()}
        return {**joules, WATER: evaporated // _PER_MILLILITRE}

    def readable(self, meter: str, start: int, end: int) -> bool:
        """Tell whether a meter could be read at every tick from start to end."""
        windows = self._silent[meter] + self._nan[meter]
        return untouched(windows, start - self._origin, end - self._origin)

    def read(self, at_milliseconds: int) -> Readings:
        """Return every meter as it is seen at a tick."""
        before = at_milliseconds - 1 - self._origin
        registers = self.registers_ticks(at_milliseconds)
        power = sum(steps.value(before) for steps in self._devices) + self._base_milliwatts
        powers = self._chain(power, 1)
        samples = (
            self._sample(name, at_milliseconds, registers[name], powers.get(name))
            for name in METERS
            if not inside(self._silent[name], before)
        )
        return Readings(meters=tuple(samples))

    def _sample(self, meter: str, at: int, ticks: int, milliwatts: int | None) -> MeterSample:
        nonsense = inside(self._nan[meter], at - 1 - self._origin)
        if milliwatts is None:
            volume = None if nonsense else Counter(ticks=ticks, unit=MILLILITRE)
            return MeterSample(meter=meter, at_milliseconds=at, volume_litres=volume)
        if nonsense:
            return MeterSample(meter=meter, at_milliseconds=at, power_watts=float("nan"))
        unit = float(self.spec.meter_resolution_joules)
        return MeterSample(
            meter=meter,
            at_milliseconds=at,
            energy_joules=Counter(ticks=ticks, unit=unit),
            power_watts=milliwatts / 1000,
        )

    def _chain(self, it: int, elapsed: int) -> dict[str, int]:
        """Return what energy meters see of an IT amount: energy, or power where elapsed is 1."""
        spec = self.spec
        output = it + it * spec.pdu_loss_per_mille // 1000
        losses = output * spec.ups_loss_per_mille // 1000
        losses += spec.ups_fixed_loss_watts * 1000 * elapsed
        cooling = it * spec.cooling_per_mille_of_it // 1000
        cooling += spec.cooling_fixed_power_watts * 1000 * elapsed
        return {
            "utility": output + losses + cooling,
            "it-pdu": it,
            "ups-output": output,
            "cooling": cooling,
        }


def _total(spec: FleetSpec, tables: Tables) -> list[Steps]:
    """Sum the power of all devices, so that a tick costs the same however many there are."""
    sums: dict[tuple[Window, ...], dict[int, array[int]]] = {}
    grids: dict[int, Grid] = {}
    members: dict[tuple[Window, ...], int] = {}
    for node in node_names(spec):
        for index, device in enumerate(device_names(spec)):
            grid, codes = pattern(spec, node, device, engine_held=index < spec.engine_devices)
            idle = windows_of(spec, "idle_pool", node, device)
            powers = map(tables.power_milliwatts.__getitem__, codes)
            by_offset = sums.setdefault(idle, {})
            known = by_offset.get(grid.offset)
            by_offset[grid.offset] = array(
                "q", powers if known is None else map(add, known, powers)
            )
            grids[grid.offset] = grid
            members[idle] = members.get(idle, 0) + 1
    total: list[Steps] = []
    for idle, by_offset in sums.items():
        group = [SummedSteps(grids[offset], values) for offset, values in by_offset.items()]
        constant = members[idle] * tables.power_milliwatts[HELD_IDLE]
        total.extend([Overridden(group, idle, constant)] if idle else group)
    return total
