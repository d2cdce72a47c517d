"""The publisher without connection, receipts or spool: nothing forgotten without a receipt."""

import asyncio
import logging
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse_agent.wire import MessageKind, Refusal
from tests.agent.links import STEP, WHO, Sender, lines, report, sending, until


async def test_a_lost_connection_is_told_once_and_what_was_in_flight_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with sending(tmp_path) as (sender, exchange):
        await sender.make(0, 5)
        await until(lambda: exchange.starts == [0, 5])
        exchange.lose()
        await until(lambda: exchange.connects >= 3)
        await sender.make(10, 15)
        assert sender.counted("connected") == 0
        exchange.up = True
        await until(lambda: len(exchange.statuses) == 2)
        await sender.make(20)
        await until(lambda: exchange.starts == [0, 5, 20])

        assert exchange.reports[-1].waiting == 4
        exchange.receipt((20, 20), credit=4)
        await until(lambda: exchange.starts == [0, 5, 20, 0, 5, 10, 15])
        assert lines(caplog.records, "trying again") == 1
        assert lines(caplog.records, "connected to memory") == 2


async def test_no_receipt_is_told_once_and_so_is_their_return(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with sending(tmp_path, 0.2) as (sender, exchange):
        for start in range(0, 50, STEP):
            await sender.make(start)
            await asyncio.sleep(0.05)
        assert lines(caplog.records, "no receipt on") == 1
        assert WHO.topic(MessageKind.RECEIPT) in caplog.text
        exchange.receipt((0, 45))
        await until(lambda: sender.counted("receipts_total") == 1)
        exchange.receipt()
        await until(lambda: sender.counted("receipts_total") == 2)

        assert lines(caplog.records, "receipts come again") == 1


async def test_a_burst_of_reports_is_no_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with sending(tmp_path, backlog=200) as (_, exchange):
        exchange.receipt(credit=200)
        await until(lambda: len(exchange.starts) == 200)

        assert lines(caplog.records, "no receipt") == 0


async def test_a_spool_that_cannot_be_read_stops_no_fresh_report(tmp_path: Path) -> None:
    async with sending(tmp_path, backlog=5) as (sender, exchange):
        await sender.spool._do(sender.spool._close)
        exchange.receipt((0, 0), credit=5, wanted=("any",))
        sender.publisher.fresh(report(1000))
        await until(lambda: exchange.starts == [1000])
        await until(lambda: len(exchange.statuses) == 2)


Event = tuple[str, int, int]
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("make"), st.integers(1, 4), st.just(0)),
        st.tuples(st.just("stored"), st.integers(0, 30), st.integers(0, 8)),
        st.tuples(st.just("refused"), st.integers(0, 30), st.integers(0, 1)),
        st.tuples(st.just("lose"), st.just(0), st.just(0)),
    ),
    max_size=12,
)


# Each loss waits for a connection to be tried again, so few examples take long.
@pytest.mark.timeout(300)
@settings(max_examples=10, deadline=None)
@given(EVENTS, st.integers(0, 5))
def test_whatever_comes_every_report_is_somewhere_and_credit_is_kept(
    events: list[Event], backlog: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_live_through(Path(folder), events, backlog))


async def taken(sender: Sender, before: float) -> None:
    """Wait until a receipt was taken: it is counted, and then worked on before all else."""
    await until(lambda: sender.counted("receipts_total") > before)
    await sender.kept()


async def _live_through(folder: Path, events: list[Event], backlog: int) -> None:
    made = list(range(0, backlog * STEP, STEP))
    stored: set[int] = set()
    refused: set[int] = set()
    fresh: set[int] = set()
    granted = 0
    async with sending(folder, backlog=backlog) as (sender, exchange):
        for kind, first, second in events:
            if kind == "make":
                new = [len(made) * STEP + each * STEP for each in range(first)]
                made += new
                fresh.update(new)
                await sender.make(*new)
                await until(lambda: fresh <= set(exchange.starts))
            elif kind == "stored":
                # The collector only speaks of what came to it.
                named = {s for s in exchange.starts if s % (first + 1) == 0}
                stored |= named
                granted += second
                before = sender.counted("receipts_total")
                exchange.receipt(*((s, s) for s in named), credit=second)
                await taken(sender, before)
            elif kind == "refused" and first * STEP in exchange.starts:
                if second:
                    refused.add(first * STEP)
                refusal = Refusal(start_seconds=first * STEP, reason="any", final=bool(second))
                before = sender.counted("receipts_total")
                exchange.receipt(refused=(refusal,))
                await taken(sender, before)
            elif kind == "lose":
                exchange.lose()
                await until(lambda: sender.counted("connected") == 0)
                exchange.up = True
                await until(lambda: sender.counted("connected") == 1)
        assert len(exchange.starts) - len(fresh) <= granted
        kept = set(await sender.kept())
        await sender.spool.resend()
        aside = set(await sender.kept()) - kept
        assert kept.isdisjoint(stored)
        assert aside <= refused
        assert kept | aside | stored == set(made)
