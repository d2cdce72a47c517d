"""Real sources through the whole pipe: what the ledger sums to is what their instruments served.

The instruments stand still at the beginning and at the end, so that no interval that is still open
holds anything: then the sums are not nearly, but exactly the last reading less the first.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

from meterhouse_agent.sources.modbus_profiles import EnergyRegister, PowerRegister
from tests.e2e.configs import Table, asset, site_head
from tests.e2e.ledger import TOKENS, Ledger, exact
from tests.e2e.pipeline import Pipeline
from tests.stand_ins.modbus_meter import ModbusGateway, StandInMeter
from tests.stand_ins.nvml import Gpu, Nvml
from tests.stand_ins.vllm_server import ServedPage, VllmServer

GPU_NODE: Final = "node-1"
METER_NODE: Final = "meters"
MODEL: Final = "llama-70b"
STILL_SECONDS: Final = 3
BUSY_SECONDS: Final = 6
JOULES_PER_COUNT: Final = 100
ENERGY: Final = EnergyRegister(
    address=3203, type="uint64", joules_per_count=float(JOULES_PER_COUNT), modulus=None
)
POWER: Final = PowerRegister(address=3059, type="float32", watts_per_count=1.0)


@dataclass
class Instruments:
    """The driver, the meter and the engine that the agents read."""

    driver: Nvml
    gateway: ModbusGateway
    engine: VllmServer

    @property
    def meter(self) -> StandInMeter:
        """The one meter behind the gateway."""
        return self.gateway.meters[1]

    def stand_still(self) -> None:
        """Draw nothing and serve nobody from now on."""
        self.meter.draw(0.0)
        for index, gpu in enumerate(self.driver.gpus):
            gpu.utilization_percent, gpu.sm_activity_percent = 0, 0.0
            self.driver.set_power(index, 0.0)

    async def work(self, seconds: int) -> None:
        """Draw power and serve requests, never twice the same."""
        dice = random.Random(seconds)
        for _ in range(seconds * 4):
            self.meter.draw(dice.uniform(5e3, 50e3))
            for index, gpu in enumerate(self.driver.gpus):
                gpu.utilization_percent, gpu.sm_activity_percent = 95, 60.0
                self.driver.set_power(index, dice.uniform(100, 700))
            self.engine.models[MODEL][0].finish(
                input_tokens=dice.randrange(1, 8000),
                output_tokens=dice.randrange(1, 1000),
                cached=dice.randrange(500),
                reason=dice.choice(["stop", "length"]),
            )
            await asyncio.sleep(0.25)


@asynccontextmanager
async def instruments(folder: Path) -> AsyncIterator[Instruments]:
    driver = Nvml(folder / "nvml", count=2)
    for index, gpu in enumerate(driver.gpus):
        gpu.energy_base_millijoules = 123_456_789 * (index + 1)
    driver.apply()
    meter = StandInMeter(unit_id=1, energy=ENERGY, power=POWER)
    meter.preset(1.5e9)
    async with ModbusGateway(meter) as gateway, VllmServer(MODEL) as engine:
        engine.models[MODEL][0].finish(input_tokens=10_000, output_tokens=700)
        yield Instruments(driver, gateway, engine)


def site(gpus: list[Gpu]) -> Table:
    """Return a site model whose every GPU is a model of its own, and so a share of its own."""
    held = {"name": "chat", "served_model": MODEL, "readers": [METER_NODE]}
    return site_head() | {
        "asset": [asset(GPU_NODE, [gpu.device], f"model-{gpu.device}") for gpu in gpus],
        "engine": [held | {"devices": [f"{GPU_NODE}/{gpus[0].device}"]}],
        "meter": [{"name": "feed", "role": "boundary", "readers": [METER_NODE]}],
    }


def agents(pipeline: Pipeline, read: Instruments) -> None:
    fast = {"sample_every": "1s", "deadline": "900ms"}
    pipeline.add_agent(
        "gpus",
        environment=read.driver.environment(),
        node=GPU_NODE,
        source=[{"kind": "nvml", "deadline": "900ms"}],
    )
    registers = {
        "energy": ENERGY.model_dump(mode="json", exclude_none=True),
        "power": POWER.model_dump(mode="json", exclude_none=True),
    }
    meter = {"name": "feed", "unit_id": 1, "profile": "custom", **registers}
    pipeline.add_agent(
        "meters",
        node=METER_NODE,
        source=[
            {
                "kind": "modbus",
                "host": "127.0.0.1",
                "port": read.gateway.port,
                "timeout": "500ms",
                "meters": [meter],
                **fast,
            },
            {"kind": "prometheus_engine", "engine": "chat", "url": read.engine.url, **fast},
            {"kind": "host"},
        ],
    )


async def run(pipeline: Pipeline, read: Instruments) -> int:
    """Work, be killed, work on and stand still; return a time when all of it is reported."""
    nodes = (GPU_NODE, METER_NODE)

    def wait_for_reports(since: dict[str, int]) -> None:
        pipeline.wait_until(
            lambda: all(pipeline.closed_until(node) > since[node] + 1 for node in nodes),
            "both agents report",
        )

    await asyncio.to_thread(pipeline.start_all)
    await asyncio.to_thread(wait_for_reports, dict.fromkeys(nodes, 0))
    await asyncio.sleep(STILL_SECONDS)
    await read.work(BUSY_SECONDS)
    for agent in pipeline.agents.values():
        agent.kill()
    reported = {node: pipeline.closed_until(node) for node in nodes}
    await read.work(STILL_SECONDS)
    for agent in pipeline.agents.values():
        agent.start()
    await read.work(BUSY_SECONDS)
    read.stand_still()
    await asyncio.to_thread(wait_for_reports, reported)
    await asyncio.sleep(STILL_SECONDS)
    end = max(pipeline.closed_until(node) for node in nodes)
    await asyncio.to_thread(pipeline.wait_reported, nodes, end)
    return end


def assert_gpus(ledger: Ledger, read: Instruments) -> None:
    for index, gpu in enumerate(read.driver.gpus):
        served = read.driver.served(index)
        rows = (
            joules
            for row in ledger.nodes.values()
            for share in row.shares
            if share.accelerator_model == f"model-{gpu.device}"
            for joules in share.joules
        )
        spans = (
            span.amount
            for span in ledger.spans
            if (span.device, span.quantity) == (gpu.device, "energy_joules")
        )
        total = exact(rows) + exact(spans)
        assert total > 0
        assert total == Fraction(served[-1].millijoules - served[0].millijoules, 1000)


def assert_meter(ledger: Ledger, read: Instruments) -> None:
    served = read.gateway.served_by(1, "energy")
    counts = round(served[-1].count - served[0].count)
    assert counts > 0
    assert ledger.metered("feed", "energy_joules") == counts * JOULES_PER_COUNT


def assert_engine(ledger: Ledger, served: list[ServedPage]) -> None:
    first, last = served[0], served[-1]
    counted = ledger.engine_counts("chat")
    for quantity in TOKENS:
        total = getattr(last, quantity)[MODEL] - getattr(first, quantity)[MODEL]
        assert total > 0
        assert counted[quantity] == total, quantity
    for reason, count in last.requests[MODEL].items():
        total = count - first.requests[MODEL][reason]
        assert counted.get(f"requests:{reason}", 0) == total, reason


async def test_ledger_sums_to_what_the_instruments_served(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    async with instruments(tmp_path) as read:
        with Pipeline(tmp_path, site=site(read.driver.gpus), interval=1) as pipeline:
            agents(pipeline, read)
            end = await run(pipeline, read)
            ledger = await asyncio.to_thread(pipeline.read, end - 600, end)
            assert_gpus(ledger, read)
            assert_meter(ledger, read)
            assert_engine(ledger, read.engine.served)
            node_rows = [row for key, row in ledger.nodes.items() if key.thing == GPU_NODE]
            assert all(sum(s.milliseconds) == 1000 for row in node_rows for s in row.shares)
            hosts = [row for key, row in ledger.nodes.items() if key.thing == METER_NODE]
            assert any(row.host_covered_milliseconds == 1000 for row in hosts)
            assert {span.reason for span in ledger.spans} >= {"restart"}
            pipeline.assert_logs_are_clean()
            record_property("rows", len(ledger.nodes) + len(ledger.meters) + len(ledger.engines))
            record_property("spans", len(ledger.spans))
