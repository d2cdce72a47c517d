"""One NVIDIA device."""

import contextlib
import time
from typing import Any, Final

import pynvml

from meterhouse_agent.readers import nvml_calls as calls
from meterhouse_agent.readers.nvml_calls import (
    Activity,
    Fields,
    GpuFailedError,
    GpuLostError,
    Handle,
    Metric,
    Refused,
)
from meterhouse_agent.readers.nvml_events import Events
from meterhouse_agent.readers.nvml_messages import Identity, Options, Reading
from meterhouse_agent.readers.nvml_mig import Mig
from meterhouse_agent.readers.serve import DeviceError

_AGGREGATE: Final = 1
_CORRECTED: Final = 0
_UNCORRECTED: Final = 1
# nvmlDeviceGpuRecoveryAction_t, those in which the GPU does no work (not: drain P2P, IMEX domain).
_RECOVERY: Final = {
    1: "GPU reset required",
    2: "node reboot required",
    4: "drain and GPU reset required",
    6: "bus reset required",
    7: "system reboot required",
}


class NvmlDevice:
    """One GPU; found by index, and from then on by its UUID."""

    def __init__(self, index: int, options: Options, events: Events) -> None:
        self._index = index
        self._options = options
        self._events = events
        self._handle: Handle = None
        self._uuid = ""
        self._lost_reason = ""
        self._lost_until = 0.0
        self._held: bool | None = None
        self._held_until = 0.0
        self._refused = Refused()
        self._mig = Mig(options, self._refused)
        self._activity: Activity | None = None
        self._begin()

    def _begin(self) -> None:
        """Take every call for one that can be made, whatever was refused before."""
        refused = self._refused
        self._fields = Fields(
            refused,
            calls.ENERGY,
            calls.POWER_INSTANT,
            calls.POWER_AVERAGE,
            calls.MEMORY_TEMPERATURE,
            calls.ECC_CORRECTED,
            calls.ECC_UNCORRECTED,
            calls.ECC_UNCORRECTED_VOLATILE,
            calls.REMAP_PENDING,
            calls.REMAP_FAILURE,
            calls.RECOVERY_ACTION,
        )
        self._energy = Metric("energy", refused, pynvml.nvmlDeviceGetTotalEnergyConsumption)
        self._power = Metric("power", refused, pynvml.nvmlDeviceGetPowerUsage)
        self._utilization = Metric("utilization", refused, pynvml.nvmlDeviceGetUtilizationRates)
        self._memory = Metric("memory", refused, calls.memory_v2, pynvml.nvmlDeviceGetMemoryInfo)
        self._temperature = Metric("temperature", refused, _temperature_v, _temperature)
        self._clock = Metric("SM clock", refused, _sm_clock)
        self._throttle = Metric(
            "throttle reasons",
            refused,
            pynvml.nvmlDeviceGetCurrentClocksEventReasons,
            pynvml.nvmlDeviceGetCurrentClocksThrottleReasons,
        )
        self._ecc_corrected = Metric("corrected ECC errors", refused, _ecc_corrected)
        self._ecc_uncorrected = Metric("uncorrected ECC errors", refused, _ecc_uncorrected)
        self._processes = Metric(
            "process list",
            refused,
            calls.processes_v3,
            calls.processes_v2,
        )

    def identify(self) -> Identity:
        """Return who the device is; raise ``DeviceError`` where it has no UUID to go by."""
        refused = self._refused
        try:
            self._handle = pynvml.nvmlDeviceGetHandleByIndex(self._index)
            self._uuid = pynvml.nvmlDeviceGetUUID(self._handle)
            name = pynvml.nvmlDeviceGetName(self._handle)
            serial = Metric("serial", refused, pynvml.nvmlDeviceGetSerial).read(self._handle)
            memory = self._memory.read(self._handle)
            limit = Metric("power limit", refused, _limit_max, _limit).read(self._handle)
            capabilities = self._probe()
            self._mig.look(self._handle)
        except (GpuLostError, GpuFailedError, pynvml.NVMLError) as error:
            raise DeviceError(f"GPU with index {self._index} has no name yet: {error}") from error
        return Identity(
            uuid=self._uuid,
            name=name,
            serial=serial or "",
            memory_total_bytes=None if memory is None else int(memory.total),
            power_limit_milliwatts=limit,
            capabilities=capabilities,
        )

    def read(self) -> Reading:
        """Read the device once; raise ``DeviceError`` where it gave nothing but errors."""
        if self._lost_reason and not self._found_again():
            return self._lost()
        reading = Reading(at_milliseconds=_now_milliseconds())
        self._refused.failures.clear()
        try:
            self._read_fields(reading)
            self._read_rest(reading)
        except GpuLostError as error:
            self._lost_reason = str(error)
            self._lost_until = time.monotonic() + self._options.lost_retry_every
            return self._lost()
        except GpuFailedError as error:
            reading.health, reading.health_reason = "failed", str(error)
        failures = self._refused.failures
        if failures and reading.energy_millijoules is None and reading.power_milliwatts is None:
            raise DeviceError("; ".join(failures)[:500])
        return self._with_events(reading, self._handle)

    def _with_events(self, reading: Reading, handle: Handle | None) -> Reading:
        # Last, so that nothing else waits for them.
        reading.xids = self._events.take(self._uuid, handle)
        reading.notes = [*self._refused.take_notes(), *self._events.take_notes()]
        return reading

    def _probe(self) -> list[str]:
        found = self._fields.read(self._handle)
        if calls.POWER_INSTANT in found:
            self._fields.drop(calls.POWER_AVERAGE)
        energy = found.get(calls.ENERGY)
        if energy is None:
            energy = self._energy.read(self._handle)
        if self._activity is None:
            self._activity = Activity(self._handle, self._refused)
        known = {"energy_counter": energy is not None, "gpm": self._activity.supported}
        return [name for name, there in known.items() if there]

    def _read_fields(self, reading: Reading) -> None:
        found = self._fields.read(self._handle)
        # A call that waited in the driver took its values at its end, so the time is taken then.
        reading.at_milliseconds = _now_milliseconds()
        energy = found.get(calls.ENERGY)
        if energy is None and (energy := self._energy.read(self._handle)) is not None:
            reading.at_milliseconds = _now_milliseconds()
        power = found.get(calls.POWER_INSTANT, found.get(calls.POWER_AVERAGE))
        corrected = found.get(calls.ECC_CORRECTED)
        uncorrected = found.get(calls.ECC_UNCORRECTED)
        reading.energy_millijoules = _whole(energy)
        reading.power_milliwatts = _whole(self._else(power, self._power))
        reading.memory_temperature_celsius = _whole(found.get(calls.MEMORY_TEMPERATURE))
        reading.ecc_corrected_errors = _whole(self._else(corrected, self._ecc_corrected))
        reading.ecc_uncorrected_errors = _whole(self._else(uncorrected, self._ecc_uncorrected))
        reason = _failure(found)
        if reason:
            reading.health, reading.health_reason = "failed", reason

    def _else(self, value: float | None, metric: Metric) -> Any:  # noqa: ANN401 - untyped binding
        return metric.read(self._handle) if value is None else value

    def _read_rest(self, reading: Reading) -> None:
        memory = self._memory.read(self._handle)
        reading.memory_used_bytes = None if memory is None else int(memory.used)
        reading.temperature_celsius = self._temperature.read(self._handle)
        reading.sm_clock_megahertz = self._clock.read(self._handle)
        reading.throttle_reasons = self._throttle.read(self._handle)
        if not self._mig.is_on:
            self._read_whole(reading)
        if self._mig.is_on:
            reading.mig = self._mig.read(self._handle)
            if reading.mig is None:
                self._leave_mig_mode()

    def _read_whole(self, reading: Reading) -> None:
        """Read what a GPU in MIG mode does not have."""
        was_there = self._utilization.is_there
        rates = self._utilization.read(self._handle)
        if not self._mig.is_known or self._utilization.is_there != was_there:
            # The driver refuses it from when the GPU is put into MIG mode.
            self._mig.look(self._handle)
            if self._mig.is_on:
                return
        reading.utilization_percent = None if rates is None else int(rates.gpu)
        if self._activity is not None:
            sm, tensor = self._activity.read(self._handle)
            reading.sm_activity_percent, reading.tensor_activity_percent = sm, tensor
        reading.held = self._read_held()

    def _leave_mig_mode(self) -> None:
        self._begin()
        self._held_until = 0.0
        if self._activity is not None:
            self._activity.close()
            self._activity = Activity(self._handle, self._refused)

    def _read_held(self) -> bool | None:
        now = time.monotonic()
        if now >= self._held_until:
            listed = self._processes.read(self._handle)
            self._held = None if listed is None else any(map(calls.holds, listed))
            self._held_until = now + self._options.processes_every
        return self._held

    def _found_again(self) -> bool:
        if time.monotonic() < self._lost_until:
            return False
        self._lost_until = time.monotonic() + self._options.lost_retry_every
        with contextlib.suppress(pynvml.NVMLError):
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(self._uuid)
            self._lost_reason = ""
            self._mig.forget()
            self._events.begin_again()
        return not self._lost_reason

    def _lost(self) -> Reading:
        reading = Reading(
            at_milliseconds=_now_milliseconds(), health="lost", health_reason=self._lost_reason
        )
        return self._with_events(reading, None)


def _failure(found: dict[int, calls.Number]) -> str:
    """Return why a device counts as failed, or nothing."""
    action = found.get(calls.RECOVERY_ACTION)
    if action is not None and action in _RECOVERY:
        return _RECOVERY[int(action)]
    if found.get(calls.REMAP_FAILURE) == 1:
        return "row remapping failed: uncorrectable memory error"
    # A pending remap alone is no failure: the GPU works on, and remaps at its next reset.
    volatile = found.get(calls.ECC_UNCORRECTED_VOLATILE)
    if found.get(calls.REMAP_PENDING) == 1 and volatile is not None and volatile > 0:
        return "uncorrectable memory error, GPU reset required"
    return ""


def _now_milliseconds() -> int:
    return time.time_ns() // 1_000_000


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _temperature_v(handle: Handle) -> int:
    return int(pynvml.nvmlDeviceGetTemperatureV(handle, pynvml.NVML_TEMPERATURE_GPU))


def _temperature(handle: Handle) -> int:
    return int(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))


def _sm_clock(handle: Handle) -> int:
    return int(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM))


def _ecc_corrected(handle: Handle) -> int:
    return int(pynvml.nvmlDeviceGetTotalEccErrors(handle, _CORRECTED, _AGGREGATE))


def _ecc_uncorrected(handle: Handle) -> int:
    return int(pynvml.nvmlDeviceGetTotalEccErrors(handle, _UNCORRECTED, _AGGREGATE))


def _limit_max(handle: Handle) -> int:
    return int(pynvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)[1])


def _limit(handle: Handle) -> int:
    return int(pynvml.nvmlDeviceGetEnforcedPowerLimit(handle))
