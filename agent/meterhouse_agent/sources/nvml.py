"""NVIDIA GPUs through NVML, read by a child process; this side only converts and checks."""

import contextlib
import logging
import math
import re
from collections import Counter as Tally
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Raw
from pydantic import Field

from meterhouse_agent.readers.nvml_messages import Identity, MigDevices, Options, Reading
from meterhouse_agent.samples import (
    AcceleratorSample,
    Counter,
    Partition,
    Partitioning,
    Readings,
    Things,
)
from meterhouse_agent.settings import DurationSeconds, SourceConfig
from meterhouse_agent.sources.child import Child, Command
from meterhouse_agent.wire import Device, is_name

_LOG: Final = logging.getLogger(__name__)
# The loop gives up at the deadline; what has come must be on its way to it before.
_GATHER_SHARE: Final = 0.875
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

# No accelerator draws that much: above is an "unknown" marker of the driver (0xFFFFFFFF mW).
_MAX_WATTS: Final = 10_000.0
# The sensor's lag can put more than a second's energy into one second.
_RATE_MARGIN: Final = 2.0
_MAX_MILLIJOULES: Final = 2**62
_CELSIUS: Final = (-40.0, 200.0)
_MAX_HERTZ: Final = 10e9
_MAX_ERRORS: Final = 2**53
# Codes have three digits, 999 for one that the driver does not know.
_MAX_XID: Final = 9999
# GPM's activities are computed and can come out a hair above the whole.
_MAX_PERCENT: Final = 101.0
# Of GPU instances more than the whole was seen, by a third and more (NVIDIA/DCGM, issue 152).
_MAX_INSTANCE_PERCENT: Final = 1000.0
_MAX_SLICES: Final = 64
# nvmlClocksEventReason…: GpuIdle and the clocks that someone set are no throttling.
NOT_THROTTLED: Final = 0x1 | 0x2 | 0x100
# SwPowerCap and HwPowerBrakeSlowdown; SwThermalSlowdown and HwThermalSlowdown. HwSlowdown does not
# say which of the two it is, and the drivers that know set the exact one beside it.
POWER: Final = 0x4 | 0x80
THERMAL: Final = 0x20 | 0x40

_IDENTITY: Final = msgspec.json.Decoder(Identity)
_READING: Final = msgspec.json.Decoder(Reading)


class Config(SourceConfig):
    """The section of an ``nvml`` source; durations in seconds once read."""

    kind: Literal["nvml"] = "nvml"
    processes_every: DurationSeconds = "5s"  # type: ignore[assignment] # validated default
    lost_retry_every: DurationSeconds = "60s"  # type: ignore[assignment] # validated default
    restart_after: Annotated[DurationSeconds, Field(gt=0)] = "60s"  # type: ignore[assignment] # validated default
    open_deadline: Annotated[DurationSeconds, Field(gt=0)] = "30s"  # type: ignore[assignment] # validated default


class Nvml:
    """The GPUs of one node; ``junk`` counts the values that were out of range, by metric."""

    replayable = False

    def __init__(self, config: Config) -> None:
        self._config = config
        self._seconds = config.deadline * _GATHER_SHARE
        options = Options(
            processes_every=config.processes_every, lost_retry_every=config.lost_retry_every
        )
        command = Command(
            module="meterhouse_agent.readers.nvml",
            options=msgspec.json.encode(options),
            library="NVML",
            restart_after_seconds=config.restart_after,
        )
        self._child = Child(command, self._name_of)
        self._epoch = ""
        self._raw: Mapping[int, Raw] = {}
        self._slots: dict[int, Identity] = {}
        self._devices: dict[str, Device] = {}
        self._noted: set[str] = set()
        self.junk: Tally[str] = Tally()

    async def open(self) -> None:
        """Start the child and wait for the devices' names."""
        with contextlib.suppress(OSError):
            self._epoch = _BOOT_ID.read_text(encoding="ascii").strip()
        await self._child.open(self._config.open_deadline)
        self._learn()

    def things(self) -> Things:
        """Return the GPUs seen so far, by name: their index order does not last."""
        return Things(devices=tuple(self._devices[name] for name in sorted(self._devices)))

    async def read(self, at_milliseconds: int) -> Readings:
        """Read all GPUs; one that hangs is left out."""
        del at_milliseconds
        rounds = await self._child.ask(self._seconds)
        self._learn()
        samples = []
        for found in rounds:
            for slot, raw in sorted(found.items()):
                identity = self._slots.get(slot)
                if identity is None:
                    continue
                reading = _READING.decode(raw)
                samples.append(sample(identity, reading, self._epoch, self.junk))
                self._log_notes(identity, reading)
        return Readings(accelerators=tuple(samples))

    def leave(self, at_milliseconds: int) -> bool:
        """Have all GPUs read by the child, whose answers wait for the next ``read``."""
        del at_milliseconds
        return self._child.leave()

    async def close(self) -> None:
        """End the child."""
        await self._child.close()

    def _learn(self) -> None:
        """Take in who the devices are, whenever a slot has told it anew."""
        raw = self._child.identities()
        if raw is self._raw and len(raw) == len(self._slots):
            return
        self._raw = raw
        self._slots = {slot: _IDENTITY.decode(body) for slot, body in raw.items()}
        for identity in self._slots.values():
            self._devices.setdefault(device_name(identity.uuid), device(identity))

    def _name_of(self, slot: int) -> str:
        raw = self._child.identities().get(slot)
        return f"GPU {slot}" if raw is None else device_name(_IDENTITY.decode(raw).uuid)

    def _log_notes(self, identity: Identity, reading: Reading) -> None:
        for note in reading.notes:
            text = f"{device_name(identity.uuid)}: {note}"
            if text not in self._noted:
                self._noted.add(text)
                _LOG.warning("%s", text)


def create(config: SourceConfig, *, node: str) -> Nvml:
    """Return the source of one config section, not yet open."""
    del node
    if not isinstance(config, Config):
        raise TypeError(f"{type(config).__name__} is not the config of an nvml source")
    return Nvml(config)


def device_name(uuid: str) -> str:
    """Return the lasting name of a device: its UUID in lower case."""
    name = re.sub(r"[^a-z0-9_-]", "-", uuid.lower())[:63]
    return name if is_name(name) else f"gpu{name}"[:63]


def device(identity: Identity) -> Device:
    """Return a device as it goes into the inventory."""
    model = re.sub(r"[^a-z0-9]+", "-", identity.name.lower()).strip("-")
    total = identity.memory_total_bytes
    return Device(
        device=device_name(identity.uuid),
        vendor="nvidia",
        accelerator_model=model[:128] or "unknown",
        serial=identity.serial[:128],
        memory_total_bytes=None if total is None else float(total),
        capabilities=identity.capabilities,
    )


def sample(identity: Identity, reading: Reading, epoch: str, junk: Tally[str]) -> AcceleratorSample:
    """Convert a reading to SI units; what is out of range becomes None and is counted in junk."""

    def gate(name: str, value: float | None, low: float, high: float) -> float | None:
        if value is None or (math.isfinite(value) and low <= value <= high):
            return value
        junk[name] += 1
        return None

    def percent(name: str, value: float | None) -> float | None:
        within = gate(name, value, 0.0, _MAX_PERCENT)
        return None if within is None else min(within / 100.0, 1.0)

    def errors(name: str, value: int | None) -> int | None:
        within = gate(name, value, 0, _MAX_ERRORS)
        return None if within is None else value

    xids = tuple(code for code in reading.xids if 0 <= code <= _MAX_XID)
    if len(xids) < len(reading.xids):
        junk["xids"] += len(reading.xids) - len(xids)
    total = identity.memory_total_bytes
    memory_used = gate(
        "memory_used_bytes", reading.memory_used_bytes, 0, math.inf if total is None else total
    )
    return AcceleratorSample(
        device=device_name(identity.uuid),
        at_milliseconds=reading.at_milliseconds,
        health=reading.health,
        health_reason=reading.health_reason[:128],
        held=reading.held,
        energy_joules=_energy(identity, reading, epoch, junk),
        power_watts=gate("power_watts", _thousandth(reading.power_milliwatts), 0, _MAX_WATTS),
        utilization_ratio=percent("utilization_ratio", reading.utilization_percent),
        sm_activity_ratio=percent("sm_activity_ratio", reading.sm_activity_percent),
        tensor_activity_ratio=percent("tensor_activity_ratio", reading.tensor_activity_percent),
        memory_used_bytes=_scaled(memory_used, 1.0),
        temperature_celsius=gate(
            "temperature_celsius", _scaled(reading.temperature_celsius, 1.0), *_CELSIUS
        ),
        memory_temperature_celsius=gate(
            "memory_temperature_celsius",
            _scaled(reading.memory_temperature_celsius, 1.0),
            *_CELSIUS,
        ),
        sm_clock_hertz=gate(
            "sm_clock_hertz", _scaled(reading.sm_clock_megahertz, 1e6), 0, _MAX_HERTZ
        ),
        throttled=_any_of(reading.throttle_reasons, ~NOT_THROTTLED),
        throttled_power=_any_of(reading.throttle_reasons, POWER),
        throttled_thermal=_any_of(reading.throttle_reasons, THERMAL),
        ecc_corrected_errors=errors("ecc_corrected_errors", reading.ecc_corrected_errors),
        ecc_uncorrected_errors=errors("ecc_uncorrected_errors", reading.ecc_uncorrected_errors),
        xids=xids,
        partitioning=None if reading.mig is None else partitioning(reading.mig, junk),
    )


def partitioning(mig: MigDevices, junk: Tally[str]) -> Partitioning:
    """Convert what a GPU in MIG mode is divided into; a MIG device out of range is not known."""
    found = []
    for part in mig.parts:
        activity, memory = part.sm_activity_percent, part.memory_used_bytes
        if not 0 < part.slices <= _MAX_SLICES:
            junk["slices"] += 1
            continue
        if activity is not None and not 0 <= activity <= _MAX_INSTANCE_PERCENT:
            junk["sm_activity_ratio"] += 1
            activity = None
        found.append(
            Partition(
                slices=part.slices,
                instance=part.instance,
                held=part.held,
                memory_used_bytes=_scaled(memory, 1.0),
                sm_activity_ratio=None if activity is None else min(activity / 100.0, 1.0),
            )
        )
    return Partitioning(
        slices=mig.slices if 0 < mig.slices <= _MAX_SLICES else 0,
        partitions=tuple(found),
        complete=mig.complete and len(found) == len(mig.parts),
    )


def _any_of(reasons: int | None, mask: int) -> bool | None:
    return None if reasons is None else (reasons & mask) != 0


def _energy(identity: Identity, reading: Reading, epoch: str, junk: Tally[str]) -> Counter | None:
    ticks = reading.energy_millijoules
    if ticks is None:
        return None
    if not 0 <= ticks <= _MAX_MILLIJOULES:
        junk["energy_joules"] += 1
        return None
    limit = _thousandth(identity.power_limit_milliwatts)
    plausible = limit is not None and 0 < limit <= _MAX_WATTS
    rate_max = limit * _RATE_MARGIN if limit is not None and plausible else _MAX_WATTS
    return Counter(ticks=ticks, unit=0.001, epoch=epoch, rate_max=rate_max)


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _thousandth(value: float | None) -> float | None:
    return None if value is None else value / 1000
