"""The deployed broker lets an identity speak for itself only."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from typing import Final, Literal

import aiomqtt
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from meterhouse_agent.wire import MAX_PAYLOAD_BYTES, MessageKind, topic
from tests.deploy.brokers import COLLECTOR, DEPLOY, Broker, password_of

SITE: Final = "site-1"
FLEET: Final = 12_500
REPORT_BYTES: Final = 2_000
# TLS 1.3 tells a client without a good certificate nothing, so the client has to give up.
REFUSED_SECONDS: Final = 3.0
# What the broker dropped never comes, and nothing says so.
IDLE_SECONDS: Final = 15.0

Way = Literal["password", "certificate"]
Message = tuple[str, bytes]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("broker")) as server:
        yield server


@pytest.fixture(params=["password", "certificate"])
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


def client(broker: Broker, way: Way, user: str, will: aiomqtt.Will | None = None) -> aiomqtt.Client:
    by_password = way == "password"
    return aiomqtt.Client(
        "127.0.0.1",
        broker.port if by_password else broker.certificate_port,
        username=user if by_password else None,
        password=password_of(user) if by_password else None,
        tls_context=broker.tls(None if by_password else user),
        protocol=aiomqtt.ProtocolVersion.V311,
        timeout=30,
        will=will,
    )


def at(node: str, kind: MessageKind) -> str:
    return topic(SITE, node, kind)


REPORT: Final = MessageKind.REPORT
STATUS: Final = MessageKind.STATUS
RECEIPT: Final = MessageKind.RECEIPT


async def read_until(reader: aiomqtt.Client, last: Message) -> list[Message]:
    """Return what comes, up to a message that was sent after all others."""
    found: list[Message] = []
    async with asyncio.timeout(60):
        async for message in reader.messages:
            assert isinstance(message.payload, bytes)
            found.append((str(message.topic), message.payload))
            if found[-1] == last:
                return found
    raise AssertionError(found)


async def listen_as_collector(reader: aiomqtt.Client) -> None:
    await reader.subscribe("meterhouse/v1/+/+/+/report", qos=1)
    await reader.subscribe("meterhouse/v1/+/+/+/status", qos=1)


async def test_a_node_publishes_its_own_report_and_status(broker: Broker, way: Way) -> None:
    async with client(broker, way, COLLECTOR) as collector, client(broker, way, "node-a") as node:
        await listen_as_collector(collector)
        await node.publish(at("node-a", STATUS), b"online", qos=1)
        await node.publish(at("node-a", REPORT), b"report")
        found = await read_until(collector, (at("node-a", REPORT), b"report"))
    assert found == [(at("node-a", STATUS), b"online"), (at("node-a", REPORT), b"report")]


async def test_what_is_forged_is_dropped(broker: Broker, way: Way) -> None:
    forged = [
        at("node-b", REPORT),
        at("node-b", STATUS),
        at("collector", REPORT),
        at("node-a", REPORT) + "/more",
        f"meterhouse/v1/{SITE}/node-a/report",
        "meterhouse/v2/site-1/00/node-a/report",
        "elsewhere",
    ]
    async with client(broker, way, COLLECTOR) as collector, client(broker, way, "node-a") as node:
        await listen_as_collector(collector)
        await collector.subscribe("#", qos=1)
        for name in forged:
            await node.publish(name, b"forged", qos=1)
            await node.publish(name, b"forged", qos=1, retain=True)
        await node.publish(at("node-a", REPORT), b"own", qos=1)
        found = await read_until(collector, (at("node-a", REPORT), b"own"))
    assert found == [(at("node-a", REPORT), b"own")]


async def test_a_node_reads_only_its_own_receipts(broker: Broker, way: Way) -> None:
    async with client(broker, way, COLLECTOR) as collector, client(broker, way, "node-a") as node:
        await node.subscribe("#", qos=1)
        await node.subscribe("meterhouse/v1/+/+/+/receipt", qos=1)
        await node.subscribe(at("node-b", RECEIPT), qos=1)
        await node.subscribe(at("node-b", REPORT), qos=1)
        async with client(broker, way, "node-b") as other:
            await other.publish(at("node-b", REPORT), b"secret", qos=1)
            await other.publish(at("node-b", STATUS), b"secret", qos=1)
        await collector.publish(at("node-b", RECEIPT), b"of b", qos=1)
        await collector.publish(at("node-a", RECEIPT), b"of a", qos=1)
        found = await read_until(node, (at("node-a", RECEIPT), b"of a"))
    assert set(found) == {(at("node-a", RECEIPT), b"of a")}


async def test_only_the_collector_writes_receipts(broker: Broker, way: Way) -> None:
    async with client(broker, way, COLLECTOR) as collector, client(broker, way, "node-a") as node:
        await node.subscribe(at("node-a", RECEIPT), qos=1)
        async with client(broker, way, "node-b") as other:
            await other.publish(at("node-a", RECEIPT), b"forged", qos=1)
        await node.publish(at("node-a", RECEIPT), b"forged", qos=1)
        await collector.publish(at("node-a", REPORT), b"forged", qos=1)
        await collector.publish(at("node-a", RECEIPT), b"stored", qos=1)
        found = await read_until(node, (at("node-a", RECEIPT), b"stored"))
    assert found == [(at("node-a", RECEIPT), b"stored")]


async def die_with(broker: Broker, way: Way, user: str, will: Message) -> None:
    """Connect with a last will and lose the connection without a word."""
    name, payload = will
    doomed = client(broker, way, user, aiomqtt.Will(name, payload, qos=1))
    try:
        async with doomed:
            connection = doomed._client.socket()
            assert isinstance(connection, socket.socket)
            connection.shutdown(socket.SHUT_RDWR)
    except aiomqtt.MqttError:
        pass


async def test_a_forged_last_will_is_dropped(broker: Broker, way: Way) -> None:
    async with client(broker, way, COLLECTOR) as collector:
        await listen_as_collector(collector)
        await die_with(broker, way, "node-a", (at("node-b", STATUS), b"forged"))
        await die_with(broker, way, "node-b", (at("node-b", STATUS), b"offline"))
        found = await read_until(collector, (at("node-b", STATUS), b"offline"))
    assert found == [(at("node-b", STATUS), b"offline")]


async def test_a_certificate_outweighs_a_claimed_name(broker: Broker) -> None:
    liar = aiomqtt.Client(
        "127.0.0.1",
        broker.certificate_port,
        username="node-b",
        password=password_of("node-b"),
        tls_context=broker.tls("node-a"),
        timeout=30,
    )
    async with client(broker, "certificate", COLLECTOR) as collector, liar:
        await listen_as_collector(collector)
        await liar.publish(at("node-b", REPORT), b"forged", qos=1)
        await liar.publish(at("node-a", REPORT), b"own", qos=1)
        found = await read_until(collector, (at("node-a", REPORT), b"own"))
    assert found == [(at("node-a", REPORT), b"own")]


Refused = Callable[[Broker], aiomqtt.Client]


def without_a_name(broker: Broker) -> aiomqtt.Client:
    return aiomqtt.Client(
        "127.0.0.1", broker.port, tls_context=broker.tls(), timeout=REFUSED_SECONDS
    )


def with_another_password(broker: Broker) -> aiomqtt.Client:
    return aiomqtt.Client(
        "127.0.0.1",
        broker.port,
        username="node-a",
        password=password_of("node-b"),
        tls_context=broker.tls(),
        timeout=REFUSED_SECONDS,
    )


def without_tls(broker: Broker) -> aiomqtt.Client:
    return aiomqtt.Client(
        "127.0.0.1",
        broker.port,
        username="node-a",
        password=password_of("node-a"),
        timeout=REFUSED_SECONDS,
    )


def with_a_foreign_certificate(broker: Broker) -> aiomqtt.Client:
    port, context = broker.certificate_port, broker.tls("foreign")
    return aiomqtt.Client("127.0.0.1", port, tls_context=context, timeout=REFUSED_SECONDS)


def with_a_password_for_a_certificate(broker: Broker) -> aiomqtt.Client:
    return aiomqtt.Client(
        "127.0.0.1",
        broker.certificate_port,
        username="node-a",
        password=password_of("node-a"),
        tls_context=broker.tls(),
        timeout=REFUSED_SECONDS,
    )


@pytest.mark.parametrize(
    "refused",
    [
        without_a_name,
        with_another_password,
        without_tls,
        with_a_foreign_certificate,
        with_a_password_for_a_certificate,
    ],
)
async def test_nobody_comes_in_without_a_proof(broker: Broker, refused: Refused) -> None:
    with pytest.raises(aiomqtt.MqttError):
        async with refused(broker):
            pytest.fail("it was let in")


def paho_client(broker: Broker, user: str) -> paho.Client:
    found = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
    found.username_pw_set(user, password_of(user))
    found.tls_set_context(broker.tls())
    found.connect("127.0.0.1", broker.port, keepalive=600)
    return found


def test_a_collector_that_does_not_read_loses_nothing_of_an_interval(broker: Broker) -> None:
    found: set[bytes] = set()
    granted: list[int] = []
    collector = paho_client(broker, COLLECTOR)
    collector.on_message = lambda _client, _data, message: found.add(bytes(message.payload))
    collector.on_subscribe = lambda *_: granted.append(1)
    collector.subscribe("meterhouse/v1/+/+/+/report", qos=0)
    while not granted:
        collector.loop(1.0)
    # From here it does not read; one node sends what all nodes send in an interval.
    node = paho_client(broker, "node-a")
    node.loop_start()
    sent = [b"%d" % number + b" " * REPORT_BYTES for number in range(FLEET)]
    for payload in sent:
        node.publish(at("node-a", REPORT), payload, qos=0)
    # Acknowledged after all before it were given out.
    node.publish(at("node-a", STATUS), b"", qos=1).wait_for_publish(60)
    patience = time.monotonic() + IDLE_SECONDS
    while len(found) < FLEET and time.monotonic() < patience:
        before = len(found)
        collector.loop(1.0)
        if len(found) > before:
            patience = time.monotonic() + IDLE_SECONDS
    node.disconnect()
    node.loop_stop()
    collector.disconnect()
    assert found == set(sent)


def test_the_broker_takes_no_more_than_the_contract_allows() -> None:
    text = (DEPLOY / "mosquitto/mosquitto.conf").read_text(encoding="utf-8")
    assert f"\nmessage_size_limit {MAX_PAYLOAD_BYTES}\n" in text
