"""The publisher: fresh first, backlog on credit, and nothing forgotten without a receipt."""

import asyncio
import contextlib
import logging
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse_agent.config import MqttConfig
from meterhouse_agent.spool import Spool, Spooled, Standing, spool_path
from meterhouse_agent.transport import TransportError
from meterhouse_agent.transport.mqtt import LastWill, MqttTransport
from meterhouse_agent.wire import (
    MAX_PAYLOAD_BYTES,
    SCHEMA,
    Device,
    Inventory,
    MessageKind,
    Receipt,
    Refusal,
    Status,
    decode_report,
    decode_status,
    encode,
    inventory_hash,
)
from tests.agent.links import STEP, WHO, Exchange, Sender, lines, report, until
from tests.servers import Mosquitto

LONG_SECONDS = 3600.0


@asynccontextmanager
async def sending(
    folder: Path, resend_after_seconds: float = LONG_SECONDS, *, backlog: int = 0
) -> AsyncIterator[tuple[Sender, Exchange]]:
    """Run a publisher that is connected, with reports of 0, 5, … waiting in its spool."""
    spool = Spool(spool_path(folder, WHO.node), 1 << 26)
    await spool.open()
    exchange = Exchange()
    sender = Sender(spool, exchange, resend_after_seconds)
    await sender.keep(*range(0, backlog * STEP, STEP))
    task = asyncio.create_task(sender.publisher.run())
    try:
        await until(lambda: exchange.statuses != [])
        yield sender, exchange
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await spool.close()


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


async def test_a_spool_that_cannot_be_read_stops_no_fresh_report(tmp_path: Path) -> None:
    async with sending(tmp_path, backlog=5) as (sender, exchange):
        await sender.spool._do(sender.spool._close)
        exchange.receipt((0, 0), credit=5, wanted=("any",))
        sender.publisher.fresh(report(1000))
        await until(lambda: exchange.starts == [1000])
        await until(lambda: len(exchange.statuses) == 2)


async def test_a_clean_stop_says_offline(tmp_path: Path) -> None:
    async with sending(tmp_path) as (_, exchange):
        assert [status.state for status in exchange.statuses] == ["online"]

    assert [status.state for status in exchange.statuses] == ["online", "offline"]
    assert exchange.retained is exchange.statuses[-1]


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


@settings(max_examples=25, deadline=None)
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


class Collector:
    """Hears a broker as the collector does."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client
        self.starts: list[int] = []
        self.statuses: list[Status] = []

    async def hear(self) -> None:
        await self._client.subscribe("meterhouse/v1/+/+/+/report")
        await self._client.subscribe("meterhouse/v1/+/+/+/status", qos=1)
        async for message in self._client.messages:
            assert isinstance(message.payload, bytes)
            if str(message.topic).endswith("report"):
                self.starts.append(decode_report(message.payload).start_seconds)
            else:
                self.statuses.append(decode_status(message.payload))


@asynccontextmanager
async def collecting(port: int) -> AsyncIterator[tuple[Collector, aiomqtt.Client]]:
    async with aiomqtt.Client("127.0.0.1", port) as client:
        collector = Collector(client)
        task = asyncio.create_task(collector.hear())
        try:
            yield collector, client
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, aiomqtt.MqttError):
                await task


def mqtt(port: int, **more: object) -> MqttTransport:
    will = Status(
        schema=SCHEMA, site=WHO.site, node=WHO.node, state="offline", version="will", at_seconds=0
    )
    return MqttTransport(
        MqttConfig.model_validate({"host": "127.0.0.1", "port": port, **more}),
        node=WHO.node,
        receipts=WHO.topic(MessageKind.RECEIPT),
        will=LastWill(WHO.topic(MessageKind.STATUS), encode(will)),
    )


async def test_a_real_broker_carries_reports_and_receipts(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with (
        collecting(mosquitto.port) as (collector, client),
        publishing(tmp_path, mosquitto.port) as sender,
    ):
        await until(lambda: [s.state for s in collector.statuses] == ["online"])
        await sender.make(0, 5)
        await until(lambda: collector.starts == [0, 5])
        receipt = Receipt(schema=SCHEMA, node=WHO.node, length_seconds=STEP, stored=[(0, 5)])
        await client.publish(WHO.topic(MessageKind.RECEIPT), encode(receipt))
        await until(lambda: sender.spool.reports == 0)


async def test_a_stop_leaves_offline_with_the_broker(mosquitto: Mosquitto, tmp_path: Path) -> None:
    async with publishing(tmp_path, mosquitto.port), collecting(mosquitto.port) as (collector, _):
        await until(lambda: [s.state for s in collector.statuses] == ["online"])
    async with collecting(mosquitto.port) as (collector, _):
        await until(lambda: collector.statuses != [])
        assert [(s.state, s.version) for s in collector.statuses] == [("offline", "1")]


async def test_a_broker_that_is_killed_and_returns_loses_nothing(
    mosquitto: Mosquitto, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with publishing(tmp_path, mosquitto.port) as sender:
        await until(lambda: sender.counted("connected") == 1)
        await asyncio.to_thread(mosquitto.kill)
        await until(lambda: sender.counted("connected") == 0)
        await sender.make(0, 5, 10)
        await asyncio.to_thread(mosquitto.start)
        async with collecting(mosquitto.port) as (collector, client):
            await until(lambda: sender.counted("connected") == 1)
            await sender.make(15)
            await until(lambda: collector.starts == [15])
            receipt = Receipt(schema=SCHEMA, node=WHO.node, length_seconds=STEP, credit=3)
            await client.publish(WHO.topic(MessageKind.RECEIPT), encode(receipt))
            await until(lambda: collector.starts == [15, 0, 5, 10])
    assert lines(caplog.records, "trying again") == 1


async def test_a_broker_that_stands_still_does_not_hold_up_a_stop(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    async with publishing(tmp_path, mosquitto.port) as sender:
        await until(lambda: sender.counted("connected") == 1)
        os.kill(mosquitto.pid, signal.SIGSTOP)
    os.kill(mosquitto.pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"password": {"env": "METERHOUSE_NO_SUCH"}}, "METERHOUSE_NO_SUCH is not set"),
        ({"tls": {"ca_file": "missing.pem"}}, "missing.pem"),
        ({"tls": {}}, "broker"),
    ],
)
async def test_what_keeps_it_from_the_broker_is_said_in_one_line(
    config: dict[str, Any], words: str, mosquitto: Mosquitto
) -> None:
    with pytest.raises(TransportError, match=words) as caught:
        async with mqtt(mosquitto.port, **config).connect():
            pass
    assert "\n" not in str(caught.value)


@asynccontextmanager
async def publishing(folder: Path, port: int) -> AsyncIterator[Sender]:
    """Run a publisher against a real broker."""
    spool = Spool(spool_path(folder, WHO.node), 1 << 26)
    await spool.open()
    sender = Sender(spool, mqtt(port), LONG_SECONDS)
    task = asyncio.create_task(sender.publisher.run())
    try:
        yield sender
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await spool.close()
