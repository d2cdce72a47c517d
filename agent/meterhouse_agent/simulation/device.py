"""One accelerator: its energy and utilization as integrals, and what its instruments show."""

from typing import Final

from meterhouse_agent.samples import AcceleratorSample, Counter
from meterhouse_agent.simulation.faults import device_faults
from meterhouse_agent.simulation.fleet import FleetSpec, device_names
from meterhouse_agent.simulation.pattern import AIR_PLACES, FREE, HELD_IDLE, Tables, pattern
from meterhouse_agent.simulation.steps import CodedSteps, Overridden, Steps, inside
from meterhouse_agent.wire import Device

MILLIJOULE: Final = 0.001
_FREE_MEMORY_SHARE: Final = 0.005
_HELD_MEMORY_SHARE: Final = 0.85
_IDLE_CLOCK_HERTZ: Final = 345e6
_BUSY_CLOCK_HERTZ: Final = 1980e6
_THROTTLED_CLOCK_HERTZ: Final = 1755e6
_CONTRADICTING_UTILIZATION: Final = 0.99
_CAPABILITIES: Final = (
    *("energy_joules", "power_watts", "utilization_ratio", "sm_activity_ratio"),
    *("tensor_activity_ratio", "memory_used_bytes", "temperature_celsius"),
    *("memory_temperature_celsius", "sm_clock_hertz", "throttled", "throttled_power"),
    *("throttled_thermal", "ecc_corrected_errors", "ecc_uncorrected_errors"),
)


class DeviceModel:
    """One accelerator of a fleet; times are Unix milliseconds, from the fleet's origin on."""

    def __init__(self, spec: FleetSpec, tables: Tables, node: str, device: str) -> None:
        self.spec = spec
        self.device = device
        self.index = device_names(spec).index(device)
        self.engine_held = self.index < spec.engine_devices
        self.faults = device_faults(spec, node, device)
        self._serial = f"{node}-{device}"
        self._tables = tables
        self.air = tables.air[self.index % AIR_PLACES]
        self._origin = spec.origin_milliseconds
        self._grid, self._codes = pattern(spec, node, device, engine_held=self.engine_held)
        self._energy = self.steps(tables.power_milliwatts, tables.power_milliwatts[HELD_IDLE])
        self._utilization = self.steps(tables.utilization_per_mille, 0)
        # A counter that grows faster than twice the maximum power was not read right.
        self._rate_max = 2.0 * spec.max_power_watts

    def steps(self, table: tuple[int, ...], idle: int) -> Steps:
        """Return a step function of the device's pattern, with a value for forced idling."""
        plain = CodedSteps(self._grid, self._codes, table)
        return Overridden([plain], self.faults.idle, idle) if self.faults.idle else plain

    def installed(self) -> Device:
        """Return what is installed."""
        return Device(
            device=self.device,
            vendor=self.spec.vendor,
            accelerator_model=self.spec.accelerator_model,
            serial=self._serial,
            memory_total_bytes=float(self.spec.memory_total_bytes),
            capabilities=list(_CAPABILITIES),
        )

    def energy_microjoules(self, at_milliseconds: int) -> int:
        """Return the device's energy since the origin, in microjoules."""
        return self._energy.integral(at_milliseconds - self._origin)

    def utilization_per_mille_milliseconds(self, at_milliseconds: int) -> int:
        """Return the integral of the utilization since the origin, in per mille times ms."""
        return self._utilization.integral(at_milliseconds - self._origin)

    def utilization_per_mille(self, at_milliseconds: int) -> int:
        """Return the utilization in the block of a millisecond, in per mille."""
        return self._utilization.value(at_milliseconds - self._origin)

    def power_milliwatts(self, at_milliseconds: int) -> int:
        """Return the power in the block of a millisecond, in milliwatts."""
        return self._energy.value(at_milliseconds - self._origin)

    def counter_millijoules(self, at_milliseconds: int) -> int:
        """Return the instrument's whole millijoules since its last reset before that time."""
        at = at_milliseconds - self._origin
        energy = self._energy.integral(at)
        for reset in reversed(self.faults.resets):
            if reset < at:
                energy -= self._energy.integral(reset)
                break
        return energy // 1000

    def sample(self, at_milliseconds: int) -> AcceleratorSample | None:
        """Return what is seen at a tick: the state just before it; None while it is silent."""
        before = at_milliseconds - 1 - self._origin
        overlay = self.faults.overlay(before) if self.faults.overlays else None
        if overlay == "silent":
            return None
        if overlay == "lost":
            return AcceleratorSample(
                device=self.device,
                at_milliseconds=at_milliseconds,
                health="lost",
                health_reason="simulated: fell off the bus",
            )
        return self._seen(at_milliseconds, before, contradict=overlay == "contradict")

    def _seen(self, at_milliseconds: int, before: int, *, contradict: bool) -> AcceleratorSample:
        spec = self.spec
        code = self._codes[self._grid.index(before)]
        if self.faults.idle and inside(self.faults.idle, before):
            code = HELD_IDLE
        utilization = self._tables.utilization_per_mille[code] / 1000
        watts = self._tables.power_milliwatts[code] / 1000
        share = watts / spec.max_power_watts
        active = utilization > 0
        throttled = self.air.throttled[code] == 1
        clock = _THROTTLED_CLOCK_HERTZ if throttled else _BUSY_CLOCK_HERTZ
        memory_share = _FREE_MEMORY_SHARE if code == FREE else _HELD_MEMORY_SHARE
        return AcceleratorSample(
            device=self.device,
            at_milliseconds=at_milliseconds,
            held=code != FREE,
            energy_joules=Counter(
                ticks=self.counter_millijoules(at_milliseconds),
                unit=MILLIJOULE,
                rate_max=self._rate_max,
            ),
            power_watts=watts,
            utilization_ratio=_CONTRADICTING_UTILIZATION if contradict else utilization,
            sm_activity_ratio=0.0 if contradict else round(utilization * 0.9, 4),
            tensor_activity_ratio=0.0 if contradict else round(utilization * 0.5, 4),
            memory_used_bytes=float(int(spec.memory_total_bytes * memory_share)),
            temperature_celsius=float(self.air.temperature_celsius[code]),
            memory_temperature_celsius=float(33 + self.index % 8 + int(52 * share)),
            sm_clock_hertz=clock if active else _IDLE_CLOCK_HERTZ,
            throttled=throttled,
            throttled_power=self._tables.throttled_power[code] == 1,
            throttled_thermal=self.air.throttled_thermal[code] == 1,
            ecc_corrected_errors=0,
            ecc_uncorrected_errors=0,
        )
