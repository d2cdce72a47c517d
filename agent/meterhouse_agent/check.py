"""Tries every source of a config once and says, in a table, what was found and what is missing."""

import asyncio
import contextlib
from typing import Final

from meterhouse_agent import sources
from meterhouse_agent.clock import Clock
from meterhouse_agent.config import AgentConfig
from meterhouse_agent.runner import outcome
from meterhouse_agent.samples import Partitioning, Readings
from meterhouse_agent.settings import SourceConfig
from meterhouse_agent.sources import Source, SourceError

_OPEN_DEADLINE_SECONDS: Final = 30.0
_CLOSE_DEADLINE_SECONDS: Final = 15.0


async def check(config: AgentConfig) -> tuple[list[str], bool]:
    """Return the lines of the table, and whether every source could be read."""
    rows = [("node", "source", "state", "found")]
    good = True
    for node in config.nodes:
        for section in config.source:
            state, found = await _try(section, node)
            rows.append((node, section.kind, state, found))
            good = good and state == "ok"
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in rows
    ]
    return lines, good


async def _try(section: SourceConfig, node: str) -> tuple[str, str]:
    source = sources.load(section.kind).create(section, node=node)
    try:
        return "ok", await _probe(source, section)
    except TimeoutError:
        return "failed", "no answer in time"
    except SourceError as error:
        return outcome(error), str(error)
    except Exception as error:  # noqa: BLE001 - one line per source, whatever it is
        return "failed", f"BUG: {error!r}"
    finally:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_CLOSE_DEADLINE_SECONDS):
                await source.close()


async def _probe(source: Source, section: SourceConfig) -> str:
    async with asyncio.timeout(_OPEN_DEADLINE_SECONDS):
        await source.open()
    async with asyncio.timeout(max(section.deadline, section.sample_every)):
        readings = await source.read(Clock().now_milliseconds())
    things = source.things()
    parts = []
    if things.devices:
        models = ", ".join(sorted({device.accelerator_model for device in things.devices}))
        read = len(readings.accelerators)
        parts.append(f"{read} of {len(things.devices)} accelerators read ({models})")
    parts += _partitioned(readings)
    if things.meters:
        parts.append(f"{len(readings.meters)} of {len(things.meters)} meters read")
    if things.engines:
        parts.append(f"{len(readings.engines)} of {len(things.engines)} engines read")
    if things.sensors:
        parts.append(f"{len(readings.sensors)} of {len(things.sensors)} sensors read")
    if readings.host is not None:
        parts.append("host read")
    missing = _missing(readings)
    if missing:
        parts.append("not measured: " + ", ".join(missing))
    return "; ".join(parts) or "nothing found"


def _partitioned(readings: Readings) -> list[str]:
    """Say which accelerators are partitioned, and into what."""
    alike: dict[str, list[str]] = {}
    for sample in readings.accelerators:
        if sample.partitioning is not None:
            alike.setdefault(_sizes(sample.partitioning), []).append(sample.device)
    return [f"{', '.join(devices)} partitioned: {sizes}" for sizes, devices in alike.items()]


def _sizes(found: Partitioning) -> str:
    given = " + ".join(str(part.slices) for part in found.partitions) or "none"
    whole = f"of {found.slices} compute slices" if found.slices else "of unknown compute slices"
    return f"{given} {whole}" + ("" if found.complete else ", and some that could not be read")


def _missing(readings: Readings) -> list[str]:
    fields = (
        "energy_joules",
        "power_watts",
        "utilization_ratio",
        "sm_activity_ratio",
        "tensor_activity_ratio",
        "memory_used_bytes",
        "temperature_celsius",
    )
    if not readings.accelerators:
        return []
    return [
        name
        for name in fields
        if all(getattr(sample, name) is None for sample in readings.accelerators)
    ]
