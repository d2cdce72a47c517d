"""The publisher with a real broker, which is killed, stands still or cannot be reached."""

import asyncio
import contextlib
import os
import signal
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import aiomqtt
import pytest

from meterhouse_agent.config import MqttConfig
from meterhouse_agent.spool import Spool, spool_path
from meterhouse_agent.transport import TransportError
from meterhouse_agent.transport.mqtt import LastWill, MqttTransport
from meterhouse_agent.wire import (
    SCHEMA,
    MessageKind,
    Receipt,
    Status,
    decode_report,
    decode_status,
    encode,
)
from tests.agent.links import LONG_SECONDS, STEP, WHO, Sender, lines, until
from tests.servers import Mosquitto


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


async def test_a_connection_on_which_nothing_is_said_is_kept_alive(mosquitto: Mosquitto) -> None:
    async with (
        collecting(mosquitto.port) as (collector, _),
        mqtt(mosquitto.port, keepalive="3s").connect() as link,
    ):
        # The broker gives up who is silent for one and a half times the keepalive.
        await asyncio.sleep(9.0)
        status = Status(
            schema=SCHEMA,
            site=WHO.site,
            node=WHO.node,
            state="online",
            version="here",
            at_seconds=0,
        )
        await link.publish(WHO.topic(MessageKind.STATUS), encode(status), retain=True)
        await until(lambda: len(collector.statuses) > 0)
        assert [status.version for status in collector.statuses] == ["here"]


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


async def test_a_socket_lost_before_it_is_watched_shows_no_traceback(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    left, right = os.pipe()
    async with mqtt(mosquitto.port).connect():
        os.close(left)
        os.close(right)
        loop.call_soon(loop.add_writer, right, print)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert caplog.records == []
        loop.call_soon(os.close, right)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(caplog.records) == 1


async def test_a_socket_lost_while_another_thread_connects_it_is_a_lost_connection() -> None:
    """The broker resets a connection as soon as it is there, before anything is said on it."""
    loop, registering = asyncio.get_running_loop(), threading.Event()

    def dawdle(frame: FrameType, event: str, _: object) -> None:
        # By then the library has made sure that there is a socket, and then it uses it.
        if event == "call" and frame.f_code.co_name == "on_socket_register_write":
            registering.set()
            time.sleep(0.3)

    def reset() -> None:
        connection, _ = server.accept()
        registering.wait(LONG_SECONDS)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(2) as pool:
        resetting = loop.run_in_executor(pool, reset)
        threading.setprofile(dawdle)
        try:
            with pytest.raises(TransportError, match="connection lost"):
                async with mqtt(server.getsockname()[1]).connect():
                    pass
        finally:
            threading.setprofile(None)
        await resetting


async def lose(transport: MqttTransport, server: Mosquitto) -> None:
    """Connect, and listen until the server is gone."""
    async with transport.connect() as link:
        await asyncio.to_thread(server.kill)
        async for _ in link.receipts():
            pass


async def test_where_a_server_fails_the_next_of_its_cluster_is_tried(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    with Mosquitto(tmp_path / "other") as other:
        transport = mqtt(mosquitto.port, others=[f"127.0.0.1:{other.port}"])
        peers = []
        for _ in range(3):
            async with transport.connect():
                peers.append(transport.peer)
        assert len(set(peers)) == 1, "a good connection is no reason to go elsewhere"
        first = mosquitto if peers[0].endswith(str(mosquitto.port)) else other
        with pytest.raises(TransportError, match="broker"):
            await lose(transport, first)
        async with transport.connect():
            assert transport.peer != peers[0]


def test_nodes_of_a_fleet_begin_with_different_servers() -> None:
    config = MqttConfig.model_validate({"host": "a", "others": ["b", "c"]})
    will = LastWill("t", b"")
    peers = [
        MqttTransport(config, node=f"node-{n}", receipts="r", will=will).peer for n in range(300)
    ]
    assert sorted(set(peers)) == ["a:8883", "b:8883", "c:8883"]
    assert min(map(peers.count, set(peers))) > 60


async def test_a_connection_lost_after_it_was_given_up_shows_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)  # noqa: FBT003 - socket's own
        connecting = asyncio.create_task(mqtt(server.getsockname()[1]).connect().__aenter__())
        connection, _ = await asyncio.get_running_loop().sock_accept(server)
        # It says who it is, and waits for an answer.
        assert await asyncio.get_running_loop().sock_recv(connection, 1024)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        async with asyncio.timeout(LONG_SECONDS):
            while "reset by peer" not in caplog.text:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.01)
    assert "Exception in callback" not in caplog.text
    assert "Traceback" not in caplog.text
