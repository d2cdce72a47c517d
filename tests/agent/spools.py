"""Spools on real files, and what to put there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from meterhouse_agent.accumulate.amount import KeptReading
from meterhouse_agent.accumulate.timeline import Whose
from meterhouse_agent.spool import Spool, Spooled, Standing, spool_path

STEP = 5
MAX_BYTES = 64 * 1024
INVENTORIES = {"hash-a": b"{}"}


def standing(start: int, ticks: int) -> Standing:
    whose = Whose(kind="meter", thing="hall-1", quantity="energy_joules")
    reading = KeptReading(whose, ticks, 1.0, "", (start + STEP) * 1000)
    return Standing(start + STEP, [reading])


async def put(spool: Spool, start: int, body: bytes = b"{}") -> None:
    await spool.commit([Spooled(start, body)], standing(start, start), INVENTORIES)


async def starts(spool: Spool) -> list[int]:
    return [report.start_seconds for report in await spool.oldest(10_000, skip=())]


@asynccontextmanager
async def opened(folder: Path, max_bytes: int = MAX_BYTES) -> AsyncIterator[tuple[Spool, Standing]]:
    spool = Spool(spool_path(folder, "node-1"), max_bytes)
    try:
        yield spool, await spool.open()
    finally:
        await spool.close()
