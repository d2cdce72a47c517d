"""A source of the real binding on a driver of ours, for several test files."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from meterhouse_agent.samples import AcceleratorSample, Readings
from meterhouse_agent.sources import SourceError, nvml
from meterhouse_agent.sources.nvml import Config, Nvml

PATIENCE_SECONDS = 60.0
# A round that waits for a hanging device lasts so long; nothing here depends on it being kept.
SHORT = "1s"


@asynccontextmanager
async def opened(**settings: str) -> AsyncIterator[Nvml]:
    source = nvml.create(Config.model_validate({"deadline": "20s", **settings}), node="node-1")
    try:
        await source.open()
        yield source
    finally:
        await source.close()


async def read(source: Nvml) -> dict[str, AcceleratorSample]:
    readings: Readings = await source.read(0)
    return {sample.device: sample for sample in readings.accelerators}


async def until(
    source: Nvml, good: Callable[[dict[str, AcceleratorSample]], bool]
) -> dict[str, AcceleratorSample]:
    """Read until the samples are good, passing over rounds that failed."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if good(samples := await read(source)):
                return samples
        except SourceError:
            pass
        assert time.monotonic() < give_up, "it never became so"
        await asyncio.sleep(0.1)


def child_of(source: Nvml) -> int:
    process = source._child._process
    assert process is not None
    return process.pid


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_gone(pid: int) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while is_alive(pid):
        assert time.monotonic() < give_up, f"process {pid} is still there"
        time.sleep(0.05)
