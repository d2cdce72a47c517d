"""A stand-in for NVIDIA's driver: a ``libnvidia-ml.so.1`` of ours that the real binding loads.

``Nvml`` builds it, sets what its devices show, and reads back which energy readings it served: the
truth that a test compares with.
"""

import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

SOURCE: Final = Path(__file__).with_name("nvml.c")
LIBRARY: Final = "libnvidia-ml.so.1"
NO_PERMISSION: Final = 4
GPU_IS_LOST: Final = 15
RESET_REQUIRED: Final = 16
DRIVER_NOT_LOADED: Final = 9
UNKNOWN: Final = 999
XID_CRITICAL_ERROR: Final = 8
# Far enough ahead that the file is in place before any reading would have to know of it.
_AHEAD_MILLISECONDS: Final = 50
_MAX_SEGMENTS: Final = 256
_MAX_EVENTS: Final = 512


class Served(NamedTuple):
    """One energy reading that a device gave out, to which process.

    Each process's first of a device only finds out whether there is a counter; it is no sample.
    """

    gpu: int
    at_milliseconds: int
    monotonic_milliseconds: int
    millijoules: int
    pid: int


@dataclass(slots=True, kw_only=True)
class MigDevice:
    """One MIG device; those of one GPU instance show its activity, the first one's.

    ``error`` is what each call with its handle answers, ``hidden`` what asking for its handle does.
    """

    slices: int
    instance: int
    uuid: str
    process_bytes: int = 0
    memory_used_bytes: int = 0
    sm_activity_percent: float = 0.0
    error: int = 0
    hidden: int = 0


@dataclass(slots=True, kw_only=True)
class Gpu:
    """What one device shows; change it, then call ``Nvml.apply``.

    ``schedule`` holds (from, milliwatts) by the monotonic clock in milliseconds; the energy counter
    is its integral. ``unsupported`` and ``forbidden`` take: handle, uuid, name, serial, memory,
    fields, ecc, memory_temperature, energy, remap, power, power_average, power_instant, recovery,
    power_limit, utilization, temperature, clock, throttle, processes, gpm, events (all of them),
    xid (the events of that type), mig (the mode), and of MIG devices mig_count, mig_handle,
    mig_uuid, mig_instance, mig_attributes, mig_processes, mig_memory, mig_gpm.
    ``mig_devices`` are by their index, in which there may be holes.
    """

    uuid: str
    name: str = "NVIDIA H100 80GB HBM3"
    serial: str = "1650923000001"
    schedule: list[tuple[int, int]] = field(default_factory=list)
    energy_base_millijoules: int = 0
    power_reported_milliwatts: int | None = None
    energy_reported_millijoules: int | None = None
    power_limit_milliwatts: int = 700_000
    utilization_percent: int = 0
    memory_total_bytes: int = 80 * 2**30
    memory_used_bytes: int = 2**20
    temperature_celsius: int = 40
    memory_temperature_celsius: int = 45
    clock_megahertz: int = 1980
    throttle_reasons: int = 0
    ecc_corrected: int = 0
    ecc_uncorrected: int = 0
    ecc_uncorrected_volatile: int = 0
    remap_pending: int = 0
    remap_failure: int = 0
    recovery_action: int = 0
    sm_activity_percent: float = 0.0
    tensor_activity_percent: float = 0.0
    processes: list[tuple[int, int]] = field(default_factory=list)
    error: int = 0
    hang: bool = False
    register_error: int = 0
    mig_mode: bool = False
    mig_slices: int = 7
    mig_devices: dict[int, MigDevice] = field(default_factory=dict)
    unsupported: set[str] = field(default_factory=set)
    forbidden: set[str] = field(default_factory=set)

    @property
    def device(self) -> str:
        """The lasting name under which the agent reports this device."""
        return self.uuid.lower()

    def lines(self) -> dict[str, list[str]]:
        """Return the keys of the control file with their values."""
        numbers: dict[str, float | None] = {
            "error": self.error,
            "hang": int(self.hang),
            "register_error": self.register_error,
            "energy_base": self.energy_base_millijoules,
            "power_reported": self.power_reported_milliwatts,
            "energy_reported": self.energy_reported_millijoules,
            "power_limit": self.power_limit_milliwatts,
            "utilization": self.utilization_percent,
            "memory_total": self.memory_total_bytes,
            "memory_used": self.memory_used_bytes,
            "temperature": self.temperature_celsius,
            "memory_temperature": self.memory_temperature_celsius,
            "clock": self.clock_megahertz,
            "throttle": self.throttle_reasons,
            "ecc_corrected": self.ecc_corrected,
            "ecc_uncorrected": self.ecc_uncorrected,
            "ecc_volatile": self.ecc_uncorrected_volatile,
            "remap_pending": self.remap_pending,
            "remap_failure": self.remap_failure,
            "recovery": self.recovery_action,
            "sm_activity": self.sm_activity_percent,
            "tensor_activity": self.tensor_activity_percent,
            "mig_mode": int(self.mig_mode),
            "mig_slices": self.mig_slices,
        }
        result = {key: [str(value)] for key, value in numbers.items() if value is not None}
        result |= {"uuid": [self.uuid], "name": [self.name], "serial": [self.serial]}
        result["unsupported"] = [" ".join(sorted(self.unsupported))] if self.unsupported else []
        result["forbidden"] = [" ".join(sorted(self.forbidden))] if self.forbidden else []
        result["power"] = [f"{start} {milliwatts}" for start, milliwatts in self.schedule]
        result["process"] = [f"{pid} {size}" for pid, size in self.processes]
        result["mig"] = [
            f"{place} {m.instance} {m.slices} {m.process_bytes} {m.memory_used_bytes}"
            f" {m.sm_activity_percent} {m.error} {m.hidden} {m.uuid}"
            for place, m in self.mig_devices.items()
        ]
        return result


class Nvml:
    """A driver with devices; ``missing`` are C functions that its library does not have."""

    def __init__(self, folder: Path, *, count: int = 8, missing: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.log = folder / "served.log"
        self.control = folder / "control.txt"
        self.init_error = 0
        self.init_hang = False
        self.wait_error = 0
        self._events: list[tuple[int, int, int]] = []
        self.gpus = [
            Gpu(uuid=f"GPU-{index:08X}-0000-4000-8000-00000000abcd", serial=f"165092300{index:04d}")
            for index in range(count)
        ]
        folder.mkdir(parents=True, exist_ok=True)
        build(folder, missing)
        self.apply()

    def environment(self) -> dict[str, str]:
        """Return the variables that lead a process to this driver."""
        return {
            "LD_LIBRARY_PATH": str(self.folder),
            "METERHOUSE_STAND_IN_NVML": str(self.control),
            "METERHOUSE_STAND_IN_NVML_LOG": str(self.log),
        }

    def apply(self) -> None:
        """Let the driver show what the fields now say, from its next call on."""
        lines = [f"count {len(self.gpus)}", f"driver {self.init_error}"]
        lines.append(f"init_hang {int(self.init_hang)}")
        lines.append(f"wait_error {self.wait_error}")
        for number, (index, kind, data) in enumerate(self._events, start=1):
            lines.append(f"event {number} {index} {kind} {data}")
        for index, gpu in enumerate(self.gpus):
            for key, values in gpu.lines().items():
                lines += [f"device {index} {key} {value}" for value in values]
        # Renamed into place: a reader must never see half a file.
        draft = self.control.with_suffix(f".{time.monotonic_ns()}")
        draft.write_text("\n".join(lines) + "\n", encoding="ascii")
        draft.rename(self.control)

    def set_power(self, index: int, watts: float) -> None:
        """Let a device draw so much from now on (in 50 ms), and apply."""
        gpu = self.gpus[index]
        if len(gpu.schedule) >= _MAX_SEGMENTS:
            raise ValueError(f"device {index}: at most {_MAX_SEGMENTS} changes of power")
        start = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000_000 + _AHEAD_MILLISECONDS
        gpu.schedule.append((start, round(watts * 1000)))
        self.apply()

    def tell(self, index: int, *codes: int, kind: int = XID_CRITICAL_ERROR) -> None:
        """Let the driver tell of faults of a device, also of one that is not there, and apply."""
        self._events += [(index, kind, code) for code in codes]
        if len(self._events) > _MAX_EVENTS:
            raise ValueError(f"at most {_MAX_EVENTS} events")
        self.apply()

    @property
    def waits(self) -> int:
        """How often the driver was asked for an event."""
        return self._bytes("waits")

    @property
    def mig_mode_calls(self) -> int:
        """How often the driver was asked for the MIG mode of a device."""
        return self._bytes("mig")

    def _bytes(self, suffix: str) -> int:
        path = Path(f"{self.log}.{suffix}")
        return path.stat().st_size if path.exists() else 0

    def served(self, index: int | None = None) -> list[Served]:
        """Return the energy readings given out so far, of one device or of all, in order."""
        if not self.log.exists():
            return []
        # A line that is still being written has no end yet.
        lines = self.log.read_text(encoding="ascii").split("\n")[:-1]
        found = [Served(*map(int, line.split())) for line in lines]
        return [reading for reading in found if index is None or reading.gpu == index]


def build(folder: Path, missing: tuple[str, ...] = ()) -> Path:
    """Compile the library into a folder, without the functions named; return its path."""
    hidden = folder / "hidden.map"
    # An unquoted name that the library does not have is no error to the linker.
    local = "".join(f" {name};" for name in missing)
    hidden.write_text(
        f"{{ global: nvml*; local:{local or ' none_of_ours;'} }};\n", encoding="ascii"
    )
    library = folder / LIBRARY
    command = ["cc", "-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-shared"]
    command += ["-fPIC", "-pthread", f"-Wl,--version-script={hidden}"]
    subprocess.run([*command, "-o", str(library), str(SOURCE)], check=True, timeout=60)
    return library
