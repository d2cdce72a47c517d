"""A fleet's messages, each distinct, encoded once: as reports, and as line protocol for a peer.

The start of an interval is a marker of as many digits as a time, so that one recorded sequence can
be published at any time. An accelerator sample is one device's entry in one report.
"""

import math
import random
from typing import Final, NamedTuple

from meterhouse_agent import wire
from meterhouse_agent.accumulate.accelerators import DECIMALS
from meterhouse_collector.kpi.catalogue import DETAIL_FIELDS
from tests.stand_ins.nvml import Gpu

SITE: Final = "bench"
DEVICES: Final = 8
METRICS: Final = 16
MODEL: Final = "nvidia-h100-80gb-hbm3"
VENDOR: Final = "nvidia"
MARKER_SECONDS: Final = 1_111_111_111
_MARKER: Final = str(MARKER_SECONDS).encode()
_MEMORY_BYTES: Final = 80 * 2**30


class Sample(NamedTuple):
    """One device in one interval."""

    milliseconds: dict[wire.State, int]
    joules: dict[wire.State, float]
    gauges: dict[str, float]

    def fields(self) -> dict[str, float]:
        """Return what a point of this sample holds, in the order of the device detail."""
        values = {"energy_joules": math.fsum(self.joules.values()), **self.gauges}
        return {field.name: float(values[field.name]) for field in DETAIL_FIELDS}


class Fleet(NamedTuple):
    """Nodes of eight devices; every value is a pure function of seed, node and interval."""

    nodes: int
    length_seconds: int
    seed: int = 1

    def node(self, index: int) -> str:
        """Return a node's name."""
        return f"node-{index:05d}"

    def inventory(self, index: int) -> wire.Inventory:
        """Return what a node has."""
        return wire.Inventory(
            devices=[
                wire.Device(
                    device=Gpu(uuid=f"GPU-{index:06x}{d:02x}-7a1c-4e0d-9b52-3f6d0c81e5aa").device,
                    vendor=VENDOR,
                    accelerator_model=MODEL,
                    serial=f"16509{index:06d}{d:02d}",
                    memory_total_bytes=float(_MEMORY_BYTES),
                    capabilities=["energy", "gpm", "ecc"],
                )
                for d in range(DEVICES)
            ]
        )

    def status(self, index: int) -> bytes:
        """Return a node's retained status, with its inventory."""
        inventory = self.inventory(index)
        return wire.encode(
            wire.Status(
                schema=wire.SCHEMA,
                site=SITE,
                node=self.node(index),
                state="online",
                version="0",
                at_seconds=MARKER_SECONDS,
                inventory_hash=wire.inventory_hash(inventory),
                inventory=inventory,
                sources=[wire.SourceState(source="nvml", state="ok")],
            )
        )

    def samples(self, index: int, interval: int) -> list[Sample]:
        """Return what a node's devices did in one interval of the sequence."""
        generator = random.Random(f"{self.seed}/{index}/{interval}")
        return [_sample(generator, index, self.length_seconds) for _ in range(DEVICES)]

    def report(self, index: int, interval: int) -> bytes:
        """Return a node's report as the agent would encode it."""
        samples = self.samples(index, interval)
        # Only the states that some device was in have a column.
        states = [s for s in wire.STATES if any(s in sample.milliseconds for sample in samples)]
        columns = wire.Accelerators(
            state_milliseconds={s: [x.milliseconds.get(s, 0) for x in samples] for s in states},
            state_joules={s: [x.joules.get(s, 0) for x in samples] for s in states},
        )
        for name in samples[0].gauges:
            setattr(columns, name, [sample.gauges[name] for sample in samples])
        return wire.encode(
            wire.Report(
                schema=wire.SCHEMA,
                site=SITE,
                node=self.node(index),
                start_seconds=MARKER_SECONDS,
                length_seconds=self.length_seconds,
                inventory_hash=wire.inventory_hash(self.inventory(index)),
                accelerators=columns,
            )
        )

    def lines(self, index: int, interval: int) -> bytes:
        """Return the same samples as line protocol, with the tags of the device detail."""
        node = self.node(index)
        lines = []
        devices = self.inventory(index).devices
        for device, sample in zip(devices, self.samples(index, interval), strict=True):
            fields = ",".join(f"{name}={value!r}" for name, value in sample.fields().items())
            lines.append(
                f"accelerator,accelerator_model={MODEL},device={device.device},"
                f"node={node},site={SITE},vendor={VENDOR} {fields} {MARKER_SECONDS}000000000"
            )
        return "\n".join(lines).encode()


def at(payload: bytes, start_seconds: int) -> bytes:
    """Return a recorded message as one of the interval that starts then."""
    return payload.replace(_MARKER, b"%d" % start_seconds)


def _sample(generator: random.Random, index: int, length_seconds: int) -> Sample:
    uniform = generator.uniform
    kind = ("train", "train", "train", "serve", "serve", "serve", "serve", "held", "free", "train")[
        index % 10
    ]
    whole = length_seconds * 1000
    if kind == "train":
        busy = whole
    elif kind == "serve":
        # One device in four rests for some of the interval.
        busy = whole if generator.random() < 0.75 else 1000 * generator.randrange(length_seconds)
    else:
        busy = 0
    idle: wire.State = "free" if kind == "free" else "held_idle"
    busy_watts, idle_watts = uniform(420.0, 690.0), uniform(68.0, 125.0)
    milliseconds: dict[wire.State, int] = {}
    joules: dict[wire.State, float] = {}
    spent: tuple[tuple[wire.State, int, float], ...] = (
        ("active", busy, busy_watts),
        (idle, whole - busy, idle_watts),
    )
    for state, length, watts in spent:
        if length:
            milliseconds[state] = length
            joules[state] = round(watts * length / 1000, 3)
    share = busy / whole
    throttled = 1000.0 * generator.randrange(2) if share > 0.9 else 0.0
    gauges = {
        "power_watts": math.fsum(joules.values()) / length_seconds,
        "power_watts_max": (busy_watts if busy else idle_watts) * uniform(1.0, 1.1),
        "utilization_ratio": share * uniform(0.85, 1.0),
        "sm_activity_ratio": share * uniform(0.4, 0.9),
        "tensor_activity_ratio": share * uniform(0.1, 0.5),
        "memory_used_bytes": (0.01 if kind == "free" else uniform(0.5, 0.95)) * _MEMORY_BYTES,
        "temperature_celsius": uniform(30.0, 45.0) + 30.0 * share,
        "memory_temperature_celsius": uniform(35.0, 50.0) + 35.0 * share,
        "sm_clock_hertz": 1e6 * (generator.randrange(1755, 1981, 15) if busy else 345),
        "throttled_milliseconds": throttled,
        # A device at its power limit is at times hot, too.
        "throttled_power_milliseconds": throttled,
        "throttled_thermal_milliseconds": throttled * generator.randrange(2),
        "ecc_corrected_errors": float(generator.random() < 0.001),
        "ecc_uncorrected_errors": 0.0,
    }
    decimals = {**DECIMALS, "power_watts_max": DECIMALS["power_watts"]}
    gauges |= {name: round(gauges[name], places) for name, places in decimals.items()}
    return Sample(milliseconds, joules, gauges)
