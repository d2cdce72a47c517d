"""The receiver on a real broker that refuses, dies and returns."""

import asyncio
import logging
import subprocess
from contextlib import suppress
from pathlib import Path

import aiomqtt
import pytest

from meterhouse_agent import wire
from meterhouse_collector.config import MqttConfig
from meterhouse_collector.receive.mqtt import UNSENT_BYTES, Listening, MqttReceiver
from tests.collector.collecting import topic
from tests.collector.hearing import DEADLINE_SECONDS, Heard, until
from tests.servers import Mosquitto, Port, binary

RETRIES = "trying again"


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


async def test_receipts_of_one_moment_all_arrive_and_are_bounded(mosquitto: Mosquitto) -> None:
    heard = Heard()
    receiver = mqtt(mosquitto.port, heard)
    async with (
        heard.by(receiver),
        aiomqtt.Client("127.0.0.1", mosquitto.port) as agent,
    ):
        await agent.subscribe(topic("receipt"), qos=0)
        await until(lambda: True in heard.connected)
        taken: list[bytes] = []
        # Nothing is written in between: all of it waits.
        while receiver.send(topic("receipt"), payload := b"%06d" % len(taken) * 20_000):
            taken.append(payload)
        whole = sum(map(len, taken))
        assert whole - len(payload) <= UNSENT_BYTES < whole + len(payload)
        async with asyncio.timeout(DEADLINE_SECONDS):
            for payload in taken:
                assert (await anext(aiter(agent.messages))).payload == payload
        assert receiver.send(topic("receipt"), b"room again")


async def test_what_was_taken_before_the_end_still_goes_out(mosquitto: Mosquitto) -> None:
    heard = Heard()
    receiver = mqtt(mosquitto.port, heard)
    async with aiomqtt.Client("127.0.0.1", mosquitto.port) as agent:
        await agent.subscribe(topic("receipt"), qos=0)
        async with heard.by(receiver):
            await until(lambda: True in heard.connected)
            assert receiver.send(topic("receipt"), b"the last")
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert (await anext(aiter(agent.messages))).payload == b"the last"


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


async def test_where_a_server_fails_the_next_of_its_cluster_is_tried(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    with Mosquitto(tmp_path / "other") as other:
        heard = Heard()
        async with heard.by(mqtt(mosquitto.port, heard, others=[f"127.0.0.1:{other.port}"])):
            await heard_again(mosquitto.port, heard, b"first")
            mosquitto.kill()
            await heard_again(other.port, heard, b"second")


async def test_only_the_reports_of_its_slots_are_heard(mosquitto: Mosquitto) -> None:
    heard = Heard()
    config = MqttConfig.model_validate({"host": "127.0.0.1", "port": mosquitto.port})
    mine, others = wire.slot_of("node-1"), wire.slot_of("node-2")
    assert mine != others
    receiver = MqttReceiver(
        config,
        Listening("an-intake", frozenset({mine}), frozenset({mine})),
        connected=heard.connected.append,
        skipped=heard.skip,
    )
    async with heard.by(receiver):
        await heard_again(mosquitto.port, heard, b"first")
        for kind in ("report", "status"):
            await publish(mosquitto.port, topic(kind, "node-2"), b"foreign")
            await publish(mosquitto.port, topic(kind, "node-1"), kind.encode())
        await until(lambda: {b"report", b"status"} <= set(heard.payloads))
    assert b"foreign" not in heard.payloads
