"""The publisher: fresh first, backlog on credit, and what each receipt says is done."""

import asyncio
from pathlib import Path

import pytest

from meterhouse_agent.spool import Spooled, Standing
from meterhouse_agent.wire import (
    MAX_PAYLOAD_BYTES,
    SCHEMA,
    Device,
    Inventory,
    Receipt,
    Refusal,
    encode,
    inventory_hash,
)
from tests.agent.links import STEP, lines, sending, until


async def test_fresh_reports_flow_and_the_backlog_waits_for_credit(tmp_path: Path) -> None:
    async with sending(tmp_path, backlog=100) as (sender, exchange):
        await sender.make(1000, 1005)
        await until(lambda: exchange.starts == [1000, 1005])
        told = exchange.reports[-1]
        assert (told.waiting, told.waiting_since_seconds) == (100, 0)

        exchange.receipt((1000, 1005), credit=3)
        await until(lambda: len(exchange.starts) == 5)
        await sender.make(1010)
        await until(lambda: 1010 in exchange.starts)
        assert exchange.starts == [1000, 1005, 0, 5, 10, 1010]
        assert exchange.reports[-1].waiting == 97

        exchange.receipt((0, 10), (1010, 1010), credit=1000)
        await until(lambda: len(exchange.starts) == 103)
        assert exchange.starts[6:] == list(range(15, 500, STEP))
        exchange.receipt((15, 495))
        await until(lambda: sender.spool.reports == 0)


async def test_a_receipt_takes_back_the_credit_of_the_one_before(tmp_path: Path) -> None:
    async with sending(tmp_path, backlog=300) as (sender, exchange):
        exchange.receipt(credit=300)
        exchange.receipt(credit=0)
        await sender.make(5000)
        await until(lambda: 5000 in exchange.starts)

        assert len(exchange.starts) <= 65


async def test_what_has_no_receipt_is_sent_again_on_credit(tmp_path: Path) -> None:
    async with sending(tmp_path, 0.2) as (sender, exchange):
        await sender.make(0)
        await until(lambda: exchange.starts == [0])
        await asyncio.sleep(0.3)
        exchange.receipt(credit=1)
        await until(lambda: exchange.starts[:2] == [0, 0])
        exchange.receipt((0, 0), credit=10)
        await until(lambda: sender.spool.reports == 0)


async def test_a_backlog_without_fresh_reports_makes_itself_heard(tmp_path: Path) -> None:
    async with sending(tmp_path, 0.3, backlog=50) as (_, exchange):
        await until(lambda: exchange.starts == [0])
        assert exchange.reports[0].waiting == 49
        exchange.receipt((0, 0), credit=49)
        await until(lambda: len(exchange.starts) >= 50)
        assert exchange.starts[:50] == list(range(0, 250, STEP))


async def test_a_final_refusal_is_set_aside_and_resend_brings_it_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with sending(tmp_path) as (sender, exchange):
        await sender.make(0, 5, 10)
        for start in (0, 10):
            refusal = Refusal(start_seconds=start, reason="off_grid", final=True)
            exchange.receipt(refused=(refusal,))
        await until(lambda: sender.spool.reports == 1)
        assert await sender.kept() == [5]
        assert sender.counted("refused_total", reason="off_grid", final="true") == 2
        assert lines(caplog.records, "off_grid") == 1

        assert await sender.spool.resend() == 2
        exchange.receipt((5, 5), credit=9)
        await until(lambda: exchange.starts == [0, 5, 10, 0, 10])


async def test_a_refusal_for_later_waits_and_is_no_tight_loop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with sending(tmp_path, 0.5) as (sender, exchange):
        await sender.make(0)
        for _ in range(5):
            refusal = Refusal(start_seconds=0, reason="future", final=False)
            exchange.receipt(refused=(refusal,), credit=100)
        await until(lambda: sender.counted("refused_total", reason="future", final="false") == 5)
        assert exchange.starts == [0]
        assert lines(caplog.records, "future") == 1

        exchange.receipt(credit=1)
        await until(lambda: exchange.starts[:2] == [0, 0])
        assert await sender.kept() == [0]


async def test_a_report_larger_than_the_contract_is_set_aside_here(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with sending(tmp_path) as (sender, exchange):
        large = Spooled(0, b'{"x":"' + b"x" * MAX_PAYLOAD_BYTES + b'"}')
        await sender.spool.commit([large], Standing(STEP, []), {})
        sender.publisher.fresh(large)
        await sender.make(5)
        await until(lambda: exchange.starts == [5])

        assert await sender.kept() == [5]
        assert sender.counted("refused_total", reason="oversized", final="true") == 1
        assert lines(caplog.records, "oversized") == 1


async def test_junk_for_a_receipt_is_counted_and_one_for_another_left_alone(tmp_path: Path) -> None:
    async with sending(tmp_path) as (sender, exchange):
        await sender.make(0)
        exchange.say(b"junk")
        other = Receipt(schema=SCHEMA, node="node-2", length_seconds=STEP, stored=[(0, 0)])
        exchange.say(encode(other))
        exchange.receipt()
        await until(lambda: sender.counted("receipts_total") == 1)

        assert sender.counted("dropped_total", reason="receipt_malformed") == 1
        assert await sender.kept() == [0]


async def test_an_inventory_that_is_asked_for_is_told_also_a_past_one(tmp_path: Path) -> None:
    async with sending(tmp_path) as (sender, exchange):
        past = inventory_hash(sender.inventory)
        await sender.keep(0)
        device = Device(device="d0", vendor="simulated", accelerator_model="x")
        sender.inventory = Inventory(devices=[device])
        now = inventory_hash(sender.inventory)
        exchange.receipt(wanted=(past, now, "never-was"))
        await until(lambda: len(exchange.statuses) == 3)

        assert [status.inventory_hash for status in exchange.statuses[1:]] == [now, past]
        assert exchange.statuses[2].inventory == Inventory()
        assert exchange.retained == exchange.statuses[1]


async def test_a_clean_stop_says_offline(tmp_path: Path) -> None:
    async with sending(tmp_path) as (_, exchange):
        assert [status.state for status in exchange.statuses] == ["online"]

    assert [status.state for status in exchange.statuses] == ["online", "offline"]
    assert exchange.retained is exchange.statuses[-1]
