"""Inference servers and meter gateways that mean harm: no reading, in time, in bounded memory."""

import logging
import time
import tracemalloc
from typing import Final

import pytest

from meterhouse_agent.sources import SourceError
from meterhouse_agent.sources.modbus import ModbusSource
from meterhouse_agent.sources.modbus_config import Config as ModbusConfig
from meterhouse_agent.sources.prometheus_engine import MAX_PAGE_BYTES, PrometheusEngineSource
from meterhouse_agent.sources.prometheus_engine import Config as EngineConfig
from tests.security.hostile_servers import (
    EIGHT,
    ENGINES,
    GATEWAYS,
    engine,
    framed,
    gateway,
    listener,
)

DEADLINE_SECONDS: Final = 0.5
# It ends by itself, on a machine with much else to do, too.
ENDS_SECONDS: Final = 15.0
# A page, some copies of it on its way, and what the library buffers.
MEMORY_BYTES: Final = 8 * MAX_PAGE_BYTES


def engine_source(port: int) -> PrometheusEngineSource:
    return PrometheusEngineSource(
        EngineConfig.model_validate(
            {
                "kind": "prometheus_engine",
                "engine": "hostile",
                "url": f"http://127.0.0.1:{port}/metrics",
                "sample_every": "5s",
                "deadline": f"{DEADLINE_SECONDS:g}s",
            }
        )
    )


@pytest.mark.parametrize("name", ENGINES)
async def test_a_hostile_engine_is_an_error_in_time(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with listener() as (forbidden, came), engine(name, forbidden) as port:
        source = engine_source(port)
        await source.open()
        tracemalloc.start()
        begun = time.monotonic()
        try:
            with pytest.raises(SourceError, match=r"^engine hostile: "):
                await source.read(0)
            took, (_, peak) = time.monotonic() - begun, tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            await source.close()
        assert came == []
    assert took < ENDS_SECONDS
    assert peak < MEMORY_BYTES
    assert [record.message for record in caplog.records if record.levelno > logging.WARNING] == []


def modbus_source(port: int) -> ModbusSource:
    register = {"address": 7, "type": "uint64", "joules_per_count": 1e-9}
    meter = {"name": "meter-1", "unit_id": 1, "profile": "custom", "energy": register}
    config = {"kind": "modbus", "host": "127.0.0.1", "port": port, "timeout": "150ms"}
    times = {"sample_every": "5s", "deadline": f"{DEADLINE_SECONDS:g}s"}
    return ModbusSource(ModbusConfig.model_validate(config | times | {"meters": [meter]}))


@pytest.mark.parametrize("name", GATEWAYS)
async def test_a_gateway_that_lies_is_an_error_in_time(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with gateway(GATEWAYS[name]) as port:
        source = modbus_source(port)
        await source.open()
        begun = time.monotonic()
        try:
            for _ in range(2):
                with pytest.raises(SourceError, match="none could be read: meter meter-1: "):
                    await source.read(0)
        finally:
            await source.close()
        assert time.monotonic() - begun < ENDS_SECONDS
    assert [record.message for record in caplog.records if record.levelno > logging.WARNING] == []


async def test_a_truth_in_pieces_is_a_reading() -> None:
    async with gateway(lambda asked: framed(asked, EIGHT), fragment=True) as port:
        source = modbus_source(port)
        await source.open()
        try:
            (sample,) = (await source.read(0)).meters
        finally:
            await source.close()
    assert sample.energy_joules is not None
    assert sample.energy_joules.ticks == 0x1111111111111111
