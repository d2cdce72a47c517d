"""A node of the fleet: its devices, its engine and its own instruments."""

from typing import Final

from meterhouse_agent.samples import Counter, HostSample, Readings, Things
from meterhouse_agent.simulation.device import MILLIJOULE, DeviceModel
from meterhouse_agent.simulation.engine import EngineModel
from meterhouse_agent.simulation.fleet import FleetSpec, device_names
from meterhouse_agent.simulation.pattern import Tables

_CPUS: Final = 128
_BASE_BUSY_PER_MILLE: Final = 40
_LOADED_BUSY_PER_MILLE: Final = 240
_BASE_MEMORY_SHARE: Final = 0.08
_ENGINE_MEMORY_SHARE: Final = 0.22


class NodeModel:
    """One node of a fleet; times are Unix milliseconds, from the fleet's origin on."""

    def __init__(self, spec: FleetSpec, tables: Tables, node: str) -> None:
        self.spec = spec
        self.node = node
        self.devices = tuple(
            DeviceModel(spec, tables, node, device) for device in device_names(spec)
        )
        self.engine = EngineModel(spec, node, self.devices) if spec.engine_devices else None
        memory_share = _BASE_MEMORY_SHARE + (_ENGINE_MEMORY_SHARE if self.engine else 0)
        self._memory_used = float(int(spec.host_memory_total_bytes * memory_share))
        self._rate_max = 2.0 * (
            spec.host_power_watts + spec.devices_per_node * spec.max_power_watts
        )

    def energy_microjoules(self, at_milliseconds: int) -> int:
        """Return the whole node's energy since the origin, devices with it, in microjoules."""
        elapsed = at_milliseconds - self.spec.origin_milliseconds
        host = self.spec.host_power_watts * 1000 * elapsed
        return host + sum(device.energy_microjoules(at_milliseconds) for device in self.devices)

    def things(self) -> Things:
        """Return what the node has to measure."""
        return Things(
            devices=tuple(device.installed() for device in self.devices),
            engines=(self.engine.engine,) if self.engine else (),
        )

    def read(self, at_milliseconds: int) -> Readings:
        """Return everything on the node as it is seen at a tick."""
        samples = (device.sample(at_milliseconds) for device in self.devices)
        return Readings(
            accelerators=tuple(sample for sample in samples if sample is not None),
            host=self._host(at_milliseconds),
            engines=(self.engine.sample(at_milliseconds),) if self.engine else (),
        )

    def _host(self, at_milliseconds: int) -> HostSample:
        elapsed = at_milliseconds - self.spec.origin_milliseconds
        served = sum(
            device.utilization_per_mille_milliseconds(at_milliseconds) for device in self.devices
        )
        devices = _LOADED_BUSY_PER_MILLE * served // (1000 * len(self.devices))
        busy = _CPUS * (_BASE_BUSY_PER_MILLE * elapsed + devices)
        return HostSample(
            at_milliseconds=at_milliseconds,
            energy_joules=Counter(
                ticks=self.energy_microjoules(at_milliseconds) // 1000,
                unit=MILLIJOULE,
                rate_max=self._rate_max,
            ),
            cpu_busy_seconds=busy / 1_000_000,
            cpu_total_seconds=_CPUS * elapsed / 1000,
            memory_used_bytes=self._memory_used,
            temperature_celsius=24.0,
        )
