"""What a source reads at one instant: plain records in SI units, before any arithmetic.

``None`` is "not measured"; zero is a reading. Counters are absolute readings: deltas are made
later, in one place. Times are UTC in Unix milliseconds, taken when the reading was taken.
What is made for each device and second is a struct, which is made several times as fast.
"""

from dataclasses import dataclass, field
from typing import Literal

from msgspec import Struct

from meterhouse_agent.wire import Device, Quality

Health = Literal["ok", "lost", "failed"]


class Counter(Struct, frozen=True, kw_only=True, gc=False):
    """An absolute reading of something that only grows, in whole ticks of the instrument.

    A tick is ``unit`` joules (or litres, tokens, requests, errors): NVML's is 0.001 J, a Wh
    register's 3600 J. Whole ticks keep deltas exact however far the counter has come. ``epoch``
    names the life of the counter where the source knows it (a boot id, a start time);
    ``modulus_ticks`` is where it wraps; ``rate_max`` bounds its growth in units of the quantity per
    second.
    """

    ticks: int
    unit: float
    epoch: str = ""
    modulus_ticks: int | None = None
    rate_max: float | None = None


class Partition(Struct, frozen=True, kw_only=True, gc=False):
    """A part of an accelerator that only its holder computes on, of so many compute slices.

    ``sm_activity_ratio`` is that of all partitions of one ``instance``; ``held`` as of an
    accelerator.
    """

    slices: int
    instance: int | None = None
    held: bool | None = None
    memory_used_bytes: float | None = None
    sm_activity_ratio: float | None = None


class Partitioning(Struct, frozen=True, kw_only=True, gc=False):
    """How an accelerator of so many compute slices is partitioned; 0 slices: not known.

    What the partitions leave of it nobody was given, unless not all of them are known.
    """

    slices: int
    partitions: tuple[Partition, ...] = ()
    complete: bool = True


class AcceleratorSample(Struct, frozen=True, kw_only=True, gc=False):
    """One accelerator at one instant; ``held`` says whether a process holds memory on it.

    ``throttled`` is for any cause, ``throttled_power`` and ``throttled_thermal`` are for theirs.
    ``xids`` are the fault codes that its driver told since the sample before, in their order.
    ``partitioning`` is of an accelerator that is partitioned, which has no activity as a whole.
    """

    device: str
    at_milliseconds: int
    health: Health = "ok"
    health_reason: str = ""
    held: bool | None = None
    energy_joules: Counter | None = None
    power_watts: float | None = None
    utilization_ratio: float | None = None
    sm_activity_ratio: float | None = None
    tensor_activity_ratio: float | None = None
    memory_used_bytes: float | None = None
    temperature_celsius: float | None = None
    memory_temperature_celsius: float | None = None
    sm_clock_hertz: float | None = None
    throttled: bool | None = None
    throttled_power: bool | None = None
    throttled_thermal: bool | None = None
    ecc_corrected_errors: int | None = None
    ecc_uncorrected_errors: int | None = None
    xids: tuple[int, ...] = ()
    partitioning: Partitioning | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSample:
    """The node itself at one instant; ``cpu_energy_joules`` by RAPL domain."""

    at_milliseconds: int
    energy_joules: Counter | None = None
    cpu_energy_joules: dict[str, Counter] = field(default_factory=dict)
    cpu_busy_seconds: float | None = None
    cpu_total_seconds: float | None = None
    memory_used_bytes: float | None = None
    temperature_celsius: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterSample:
    """One meter at one instant: its energy register, its power, or both; or its volume alone."""

    meter: str
    at_milliseconds: int
    energy_joules: Counter | None = None
    volume_litres: Counter | None = None
    power_watts: float | None = None
    quality: Quality = "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class SensorSample:
    """One sensor at one instant: a temperature, or whether its contact means alarm."""

    sensor: str
    at_milliseconds: int
    temperature_celsius: float | None = None
    alarmed: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramSample:
    """A latency histogram as counters: cumulative counts per edge, the last edge infinite."""

    edges_seconds: tuple[float, ...]
    cumulative_counts: tuple[int, ...]
    sum_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSample:
    """One engine and served model at one instant; the counts are absolute since ``epoch``."""

    engine: str
    served_model: str
    at_milliseconds: int
    epoch: str = ""
    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    requests: dict[str, int] = field(default_factory=dict)
    running_requests: float | None = None
    waiting_requests: float | None = None
    kv_cache_used_ratio: float | None = None
    latency: dict[str, HistogramSample] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """All that one source read in one round; what is not here was not read."""

    accelerators: tuple[AcceleratorSample, ...] = ()
    host: HostSample | None = None
    meters: tuple[MeterSample, ...] = ()
    engines: tuple[EngineSample, ...] = ()
    sensors: tuple[SensorSample, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Things:
    """What one source has to measure, as far as it has seen."""

    devices: tuple[Device, ...] = ()
    meters: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    sensors: tuple[str, ...] = ()
