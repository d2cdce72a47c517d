"""The receivers: a real broker that refuses, dies and returns, and clients that misbehave."""

import asyncio
import logging
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiomqtt
import pytest

from meterhouse_agent import wire
from meterhouse_collector.app import Collector
from meterhouse_collector.config import CollectorConfig, MqttConfig, validate
from meterhouse_collector.receive import Receiver
from meterhouse_collector.receive.mqtt import MqttReceiver
from meterhouse_collector.receive.unix import UnixReceiver
from meterhouse_collector.store.sqlite import SqliteStore
from tests.collector.collecting import LENGTH, SITE, now_on_grid, report, status, topic
from tests.servers import Mosquitto, Port, binary

DEADLINE_SECONDS = 60.0
RETRIES = "trying again"


class Heard:
    """What a receiver delivered, and what it said of itself."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.connected: list[bool] = []
        self.skipped = 0

    def deliver(self, where: str, payload: bytes) -> None:
        self.messages.append((where, payload))

    def skip(self) -> None:
        self.skipped += 1

    @property
    def payloads(self) -> list[bytes]:
        return [payload for _, payload in self.messages]

    @asynccontextmanager
    async def by(self, receiver: Receiver) -> AsyncIterator[None]:
        task = asyncio.create_task(receiver.run(self.deliver), name="receiver")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                async with asyncio.timeout(DEADLINE_SECONDS):
                    await task


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


def mqtt(port: int, heard: Heard, **fields: object) -> MqttReceiver:
    config = MqttConfig.model_validate({"host": "127.0.0.1", "port": port, **fields})
    return MqttReceiver(config, connected=heard.connected.append, skipped=heard.skip)


def lines(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [r.getMessage() for r in caplog.records if text in r.getMessage()]


async def publish(port: int, where: str, payload: bytes, *, retain: bool = False) -> None:
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.publish(where, payload, qos=1, retain=retain)


async def heard_again(port: int, heard: Heard, payload: bytes) -> None:
    """Publish until it is delivered: when a subscription holds, nobody outside can tell."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while payload not in heard.payloads:
            with suppress(aiomqtt.MqttError):
                await publish(port, topic("report"), payload)
            await asyncio.sleep(0.05)


async def test_reports_and_retained_status_of_every_slot_are_delivered(
    mosquitto: Mosquitto,
) -> None:
    nodes = [f"node-{number}" for number in range(300)]
    assert len({wire.slot_of(node) for node in nodes}) == wire.SLOTS
    async with aiomqtt.Client("127.0.0.1", mosquitto.port) as client:
        for node in nodes:
            await client.publish(topic("status", node), node, qos=1, retain=True)
    heard = Heard()
    async with heard.by(mqtt(mosquitto.port, heard)):
        await until(lambda: {p.decode() for p in heard.payloads} >= set(nodes))
        await heard_again(mosquitto.port, heard, b"report")
        assert heard.connected[-1]
    assert heard.connected[-1] is False


async def test_a_receipt_reaches_its_agent_and_without_a_connection_it_is_not_taken(
    mosquitto: Mosquitto,
) -> None:
    heard = Heard()
    receiver = mqtt(mosquitto.port, heard)
    assert not receiver.send(topic("receipt"), b"too early")
    async with (
        heard.by(receiver),
        aiomqtt.Client("127.0.0.1", mosquitto.port) as agent,
    ):
        await agent.subscribe(topic("receipt"), qos=1)
        await until(lambda: receiver.send(topic("receipt"), b"a receipt"))
        async with asyncio.timeout(DEADLINE_SECONDS):
            message = await anext(aiter(agent.messages))
        assert message.payload == b"a receipt"
        await until(lambda: True in heard.connected)
        mosquitto.kill()
        await until(lambda: not heard.connected[-1])
        assert not receiver.send(topic("receipt"), b"too late")


async def test_a_broker_that_starts_late_dies_and_returns_is_said_once_each(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server, heard = Mosquitto(tmp_path / "broker"), Heard()
    try:
        async with heard.by(mqtt(server.port, heard)):
            await until(lambda: len(lines(caplog, RETRIES)) == 1)
            await asyncio.sleep(2.5)
            assert len(lines(caplog, RETRIES)) == 1
            await asyncio.to_thread(server.start)
            await heard_again(server.port, heard, b"first")
            for life in (b"second", b"third"):
                server.kill()
                await until(lambda: not heard.connected[-1])
                await asyncio.to_thread(server.start)
                await heard_again(server.port, heard, life)
    finally:
        server.close()
    assert len(lines(caplog, "connected")) == 3
    assert len(lines(caplog, "connection lost")) == 2
    assert len(lines(caplog, RETRIES)) == 3


class ScriptedBroker:
    """Answers as a broker would, with one answer to subscriptions; hangs up as it is told to."""

    def __init__(self, granted: int, *, hangs_up_after: tuple[int, ...] = ()) -> None:
        self.connections = 0
        self._granted = granted
        self._hangs_up_after = hangs_up_after

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, left = self.connections, 1_000_000
        self.connections += 1
        if number < len(self._hangs_up_after):
            left = self._hangs_up_after[number]
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, length = await reader.readexactly(2)
                body = await reader.readexactly(length)
                if kind >> 4 == 1:
                    writer.write(b"\x20\x02\x00\x00")
                elif kind >> 4 == 8:
                    if left == 0:
                        break
                    left -= 1
                    writer.write(b"\x90\x03" + body[:2] + bytes([self._granted]))
        writer.close()


async def test_a_connection_lost_while_subscribing_is_made_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    heard, port = Heard(), Port()
    broker = ScriptedBroker(0, hangs_up_after=(0, 3))
    try:
        server = await asyncio.start_server(broker.serve, "127.0.0.1", port.number)
        async with server, heard.by(mqtt(port.number, heard)):
            await until(lambda: True in heard.connected)
            assert broker.connections == 3
    finally:
        port.release()
    assert len(lines(caplog, "connection lost")) == 1
    assert len(lines(caplog, ": connected")) == 1


def with_passwords(folder: Path) -> Mosquitto:
    folder.mkdir(parents=True)
    passwords = folder / "passwords"
    passwords.touch(0o600)
    command = [binary("mosquitto_passwd"), "-b", str(passwords), "collector", "right"]
    subprocess.run(command, check=True, capture_output=True)
    text = "listener {port} 127.0.0.1\npersistence false\npassword_file {folder}/passwords\n"
    return Mosquitto(folder, text)


async def test_a_wrong_password_is_said_once_and_a_right_one_then_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    password = tmp_path / "password"
    password.write_text("wrong")
    heard = Heard()
    with with_passwords(tmp_path / "broker") as server:
        login = {"username": "collector", "password": {"file": str(password)}}
        async with heard.by(mqtt(server.port, heard, **login)):
            await until(lambda: len(lines(caplog, "not authorised")) == 1)
            await asyncio.sleep(2.5)
            assert len(lines(caplog, RETRIES)) == 1
            assert True not in heard.connected
            password.write_text("right")
            await until(lambda: True in heard.connected)
    assert "wrong" not in caplog.text
    assert len(lines(caplog, "connected")) == 1


async def test_subscriptions_that_a_broker_refuses_are_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    heard, port = Heard(), Port()
    try:
        # Mosquitto looks at its list only when a message comes; other brokers say no at once.
        broker = ScriptedBroker(0x80)
        server = await asyncio.start_server(broker.serve, "127.0.0.1", port.number)
        async with server, heard.by(mqtt(port.number, heard, username="collector")):
            await until(lambda: bool(lines(caplog, "refuses a subscription of collector")))
            await asyncio.sleep(0.5)
    finally:
        port.release()
    assert len(lines(caplog, "refuses a subscription")) == 1


async def test_paused_it_passes_over_reports_and_still_hears_status(mosquitto: Mosquitto) -> None:
    heard = Heard()
    receiver = mqtt(mosquitto.port, heard)
    async with heard.by(receiver):
        await heard_again(mosquitto.port, heard, b"before")
        receiver.pause()
        await publish(mosquitto.port, topic("report"), b"meanwhile")
        await publish(mosquitto.port, topic("status"), b"status")
        await until(lambda: b"status" in heard.payloads)
        assert b"meanwhile" not in heard.payloads
        assert heard.skipped >= 1
        receiver.resume()
        await heard_again(mosquitto.port, heard, b"after")


@asynccontextmanager
async def unix(folder: Path) -> AsyncIterator[tuple[UnixReceiver, Heard, Path]]:
    heard, path = Heard(), folder / "c.sock"
    receiver = UnixReceiver(path)
    async with heard.by(receiver):
        await until(path.exists)
        yield receiver, heard, path
    assert not path.exists()


Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connected(path: Path, *nodes: str) -> Client:
    reader, writer = await asyncio.open_unix_connection(path)
    for node in nodes:
        writer.write(wire.frame(topic("report", node), node.encode()))
    return reader, writer


async def test_each_client_gets_the_receipts_of_its_own_nodes(tmp_path: Path) -> None:
    async with unix(tmp_path) as (receiver, heard, path):
        one = await connected(path, "node-1", "node-2")
        two = await connected(path, "node-3")
        await until(lambda: len(heard.messages) == 3)
        for node in ("node-3", "node-2", "node-1"):
            assert receiver.send(topic("receipt", node), node.encode())
        assert not receiver.send(topic("receipt", "node-4"), b"")
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert (await wire.read_frame(one[0]))[1] == b"node-2"
            assert (await wire.read_frame(one[0]))[1] == b"node-1"
            assert (await wire.read_frame(two[0]))[1] == b"node-3"
        two[1].close()
        await until(lambda: not receiver.send(topic("receipt", "node-3"), b""))
        assert receiver.send(topic("receipt", "node-1"), b"")
        one[1].close()


@pytest.mark.parametrize(
    "junk",
    [
        b"\xff" * 64,
        b"\x00" * 8,
        b"GET / HTTP/1.1\r\n\r\n",
        wire.frame("not/a/topic", b"{}"),
        wire.frame("\udc80".encode(errors="replace").decode(), b"\x00"),
        b"\x00\x00\x00\x04",
        wire.frame(topic("report"), b"half of it")[:-4],
    ],
    ids=["lengths", "empty", "http", "topic", "text", "half a head", "half a body"],
)
async def test_junk_and_half_frames_harm_nobody_else(tmp_path: Path, junk: bytes) -> None:
    async with unix(tmp_path) as (receiver, heard, path):
        good = await connected(path, "node-1")
        bad = await connected(path)
        bad[1].write(junk)
        bad[1].write_eof()
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await bad[0].read() == b""
        good[1].write(wire.frame(topic("report"), b"more"))
        await until(lambda: b"more" in heard.payloads)
        assert receiver.send(topic("receipt"), b"a receipt")
        for _, writer in (good, bad):
            writer.close()


async def test_a_client_that_does_not_read_its_receipts_costs_the_others_nothing(
    tmp_path: Path,
) -> None:
    async with unix(tmp_path) as (receiver, heard, path):
        deaf = await connected(path, "node-1")
        good = await connected(path, "node-2")
        await until(lambda: len(heard.messages) == 2)
        receipt, sent = b"x" * 100_000, 0
        while receiver.send(topic("receipt", "node-1"), receipt):
            sent += 1
            assert sent < 200
        assert receiver.send(topic("receipt", "node-2"), b"a receipt")
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert (await wire.read_frame(good[0]))[1] == b"a receipt"
        # The receiver ends in time though this one still does not read.
        assert not deaf[1].is_closing()
    deaf[1].close()
    good[1].close()


async def test_a_client_comes_again_and_gets_what_its_node_is_told(tmp_path: Path) -> None:
    async with unix(tmp_path) as (receiver, heard, path):
        old = await connected(path, "node-1")
        await until(lambda: len(heard.messages) == 1)
        new = await connected(path, "node-1")
        await until(lambda: len(heard.messages) == 2)
        old[1].close()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await old[0].read()
        receiver.send(topic("receipt"), b"again")
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert (await wire.read_frame(new[0]))[1] == b"again"
        new[1].close()


async def test_paused_it_reads_no_further(tmp_path: Path) -> None:
    async with unix(tmp_path) as (receiver, heard, path):
        receiver.pause()
        client = await connected(path, *["node-1"] * 100)
        await until(lambda: bool(heard.messages))
        await asyncio.sleep(0.1)
        assert len(heard.messages) == 1
        receiver.resume()
        await until(lambda: len(heard.messages) == 100)
        client[1].close()


def collector(folder: Path, **more: object) -> Collector:
    (folder / "site.toml").write_text(SITE)
    table = {
        "site": str(folder / "site.toml"),
        "sqlite": {"path": str(folder / "rows.sqlite")},
        "receipts_every": "1h",
        **more,
    }
    config: CollectorConfig = validate(table, "collector.toml")
    return Collector(config)


async def test_a_collector_that_is_stopped_writes_all_and_sends_the_receipts(
    tmp_path: Path,
) -> None:
    path = tmp_path / "c.sock"
    it = collector(tmp_path, socket={"path": str(path)}, flush_every="1h")
    task = asyncio.create_task(it.run(), name="collector")
    await until(path.exists)
    reader, writer = await asyncio.open_unix_connection(path)
    starts = [now_on_grid() - k * LENGTH for k in range(20)]
    writer.write(wire.frame(topic("status"), wire.encode(status())))
    for start in starts:
        writer.write(wire.frame(topic("report"), wire.encode(report(start=start))))
    await until(lambda: it.telemetry.taken.total == len(starts))
    task.cancel()
    async with asyncio.timeout(DEADLINE_SECONDS):
        _, payload = await wire.read_frame(reader)
        with suppress(asyncio.CancelledError):
            await task
    assert wire.decode_receipt(payload).stored == [(min(starts), max(starts))]
    writer.close()
    store = SqliteStore(it.config.sqlite) if it.config.sqlite else None
    assert store is not None
    await store.open()
    rows = await store.packed("ledger", "node", start_seconds=0, end_seconds=2**40)
    await store.close()
    assert sorted(row.start_seconds for row in rows) == sorted(starts)


async def test_a_socket_that_cannot_be_made_ends_it_in_words(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "c.sock"
    it = collector(tmp_path, socket={"path": str(path)})
    with pytest.raises(OSError, match="folder must be there") as caught:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await it.run()
    assert str(path) in str(caught.value)


async def test_a_collector_without_store_and_broker_still_stops(tmp_path: Path) -> None:
    port = Port()
    try:
        nowhere = {"path": str(tmp_path / "no" / "such" / "folder.sqlite")}
        for more in ({}, {"sqlite": nowhere}):
            it = collector(tmp_path, mqtt={"host": "127.0.0.1", "port": port.number}, **more)
            task = asyncio.create_task(it.run(), name="collector")
            await asyncio.sleep(0.3)
            task.cancel()
            async with asyncio.timeout(DEADLINE_SECONDS):
                with suppress(asyncio.CancelledError):
                    await task
    finally:
        port.release()
