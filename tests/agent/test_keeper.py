"""The keeper while the spool cannot be written: reports go on, and memory is bounded."""

import asyncio
from pathlib import Path

from prometheus_client import CollectorRegistry

from meterhouse_agent.keeper import Keeper
from meterhouse_agent.spool import Spool, Spooled, Standing, spool_path
from meterhouse_agent.telemetry import Metrics, Telemetry
from tests.agent.links import until

MEBIBYTE = 1 << 20
HELD = 16
MADE = 40


async def test_what_cannot_be_written_is_sent_and_the_oldest_are_dropped_and_counted(
    tmp_path: Path,
) -> None:
    wall = tmp_path / "spool"
    wall.write_text("a file where the folder should be")
    spool = Spool(spool_path(wall, "node-1"), 1 << 30)
    metrics = Metrics(CollectorRegistry())
    sent: list[int] = []
    keeper = Keeper(
        "node-1",
        spool,
        Telemetry(metrics, "node-1"),
        send=lambda report: sent.append(report.start_seconds),
    )

    def add(number: int) -> None:
        standing, inventory = Standing(number, []), ("hash", b"{}")
        keeper.add(Spooled(number, b"x" * MEBIBYTE), standing, inventory)

    def dropped() -> float:
        labels = {"node": "node-1", "reason": "spool_unwritable"}
        name = "meterhouse_agent_dropped_total"
        return metrics.registry.get_sample_value(name, labels) or 0.0

    assert await keeper.open() == Standing(0, [])
    task = asyncio.create_task(keeper.run())
    try:
        for number in range(MADE):
            add(number)
            await until(lambda: len(sent) == number + 1)  # noqa: B023 - waited for at once
        await until(lambda: dropped() == MADE - HELD)
        assert sent == list(range(MADE))
        wall.unlink()
        add(MADE)
        await until(lambda: spool.reports > 0)
        kept = [report.start_seconds for report in await spool.oldest(MADE + 1, skip=())]
    finally:
        task.cancel()
        await asyncio.wait([task])
        await spool.close()
    # With the one that found the spool writable again.
    assert kept == list(range(MADE - HELD, MADE + 1))
    assert dropped() == MADE - HELD
