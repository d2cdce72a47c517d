"""A node's key in wrong hands, against the deployed broker and the real collector and agent."""

import asyncio
import gzip
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from typing import Final

import aiomqtt
import msgspec
import pytest

from meterhouse_agent import wire
from meterhouse_collector.quota import BURST_MESSAGES, LIMITS
from meterhouse_collector.web.connections import WAITING_MAX
from tests.deploy.brokers import COLLECTOR
from tests.e2e.configs import SITE
from tests.security.besieged import (
    HOSTILE,
    RECEIPT,
    REPORT,
    STATUS,
    Site,
    at,
    besieged,
    receipt,
    report,
)
from tests.security.knocks import connected, login
from tests.security.sites import NODE, until

DAY_SECONDS: Final = 86_400
LATE_SECONDS: Final = 3_600
EVER: Final = 2**40
LATENESS: Final = "meterhouse_collector_lateness_seconds_sum"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with besieged(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture(autouse=True)
def nobody_else_suffers(site: Site) -> Iterator[None]:
    """Assert after each attack that the honest node's rows keep coming."""
    yield
    site.goes_on()


async def test_a_node_cannot_report_for_another_by_the_topic(site: Site) -> None:
    """The broker drops it in silence; what comes after it on the same connection has come."""
    start = int(time.time()) - LATE_SECONDS
    forged = report(start, node=NODE)
    before = site.metric("refused"), site.metric("reports")
    async with site.hostile() as client:
        await client.publish(at(NODE, REPORT), forged, qos=1)
        await client.publish(at(NODE, STATUS), b"{}", qos=1, retain=True)
        await client.publish(at(HOSTILE, REPORT), report(start), qos=1)
        await asyncio.to_thread(until, lambda: start in site.rows(HOSTILE), "the last one's row")
    assert start not in site.rows(NODE)
    assert site.metric("refused") == before[0]
    assert site.metric("reports") > before[1]


async def test_nor_by_the_payload(site: Site) -> None:
    start = int(time.time()) - LATE_SECONDS
    before = site.metric("refused", reason="foreign")
    foreign = [
        report(start, node=NODE),
        report(start, site="elsewhere"),
        report(start, spans=[_span("node", NODE, start)]),
    ]
    async with site.hostile() as client:
        await client.subscribe(at(HOSTILE, RECEIPT), qos=1)
        for payload in foreign:
            await client.publish(at(HOSTILE, REPORT), payload, qos=1)
        refused = (await receipt(client)).refused
    assert refused == [wire.Refusal(start_seconds=start, reason="foreign", final=True)]
    assert site.metric("refused", reason="foreign") == before + len(foreign)
    assert start not in site.rows(NODE)
    assert site.rows(f"node/{NODE}", "span") == {}


def _span(kind: str, thing: str, start: int) -> dict[str, object]:
    times = {"from_milliseconds": (start - 10) * 1000, "to_milliseconds": start * 1000}
    what = {"quantity": "energy_joules", "amount": 1e6, "method": "counter", "reason": "forged"}
    return {"kind": kind, "thing": thing, **times, **what}


async def test_a_forged_receipt_takes_nothing_out_of_a_spool(site: Site) -> None:
    """All that the honest node has waits while the collector stands still: it would be lost."""
    all_stored = wire.Receipt(
        schema=wire.SCHEMA, node=NODE, length_seconds=1, stored=[(0, EVER)], credit=EVER
    )
    with site.collects.held_up():
        await asyncio.to_thread(until, lambda: site.spooled() >= 3, "reports wait", site.measures)
        heard = site.measures.metric("meterhouse_agent_receipts_total")
        waiting = site.spooled()
        async with site.hostile() as client:
            for _ in range(100):
                await client.publish(at(NODE, RECEIPT), wire.encode(all_stored), qos=1)
            # The broker has taken all of them, and given the honest node none.
            await client.subscribe(at(HOSTILE, RECEIPT), qos=1)
        await asyncio.sleep(1.0)
        assert site.spooled() >= waiting
        assert site.measures.metric("meterhouse_agent_receipts_total") == heard


async def test_a_replay_changes_nothing_and_is_counted(site: Site) -> None:
    starts = [int(time.time()) - LATE_SECONDS - 100 + number for number in range(5)]
    payloads = [report(start, joules=100.0 + start % 7) for start in starts]
    async with site.hostile() as client:
        for payload in payloads:
            await client.publish(at(HOSTILE, REPORT), payload, qos=1)
        rows = site.rows
        await asyncio.to_thread(until, lambda: set(starts) <= rows(HOSTILE).keys(), "their rows")
        await asyncio.sleep(1.5)
        before, taken = site.all_rows(starts), site.metric("reports")
        late_seconds = site.collects.metric(LATENESS)
        for _ in range(20):
            for payload in payloads:
                await client.publish(at(HOSTILE, REPORT), payload, qos=1)
        await asyncio.to_thread(site.until_counted, "reports", taken + 99)
        await asyncio.sleep(1.5)
    assert site.all_rows(starts) == before
    # How late each comes is counted, and the honest node's come at once.
    assert 100 <= (site.collects.metric(LATENESS) - late_seconds) / LATE_SECONDS < 110


async def test_what_is_too_old_or_ahead_is_refused(site: Site) -> None:
    now = int(time.time())
    before = {reason: site.metric("refused", reason=reason) for reason in ("too_old", "future")}
    async with site.hostile() as client:
        await client.publish(at(HOSTILE, REPORT), report(now - 36 * DAY_SECONDS), qos=1)
        await client.publish(at(HOSTILE, REPORT), report(now + 3600), qos=1)
        for reason, count in before.items():
            await asyncio.to_thread(site.until_counted, "refused", count, reason=reason)
    oldest = now - 35 * DAY_SECONDS
    assert all(oldest < start < now for start in site.rows(HOSTILE))


async def test_a_status_with_a_million_devices_is_refused(site: Site) -> None:
    """The broker takes no such message; one as large as it takes is refused by the collector."""
    device = {"device": "d", "vendor": "v", "accelerator_model": "m"}
    head = {"schema": 1, "site": SITE, "node": HOSTILE, "state": "online", "version": "1"}

    def status(devices: int) -> bytes:
        inventory = {"devices": [device] * devices}
        return msgspec.json.encode({**head, "at_seconds": 1, "inventory": inventory})

    million, largest = status(1_000_000), status(5_000)
    assert len(largest) < wire.MAX_PAYLOAD_BYTES < len(million)
    before = site.metric("refused", reason="status_malformed")
    async with site.hostile() as client:
        with suppress(aiomqtt.MqttError):
            await client.publish(at(HOSTILE, STATUS), million, qos=1, retain=True, timeout=10)
    async with site.hostile() as client:
        await client.publish(at(HOSTILE, STATUS), largest, qos=1)
        await asyncio.to_thread(site.until_counted, "refused", before, reason="status_malformed")
    assert site.metric("refused", reason="status_malformed") == before + 1


def published(topic: bytes, payload: bytes = b"{}") -> bytes:
    """Return the packet PUBLISH with any bytes as its topic."""
    body = len(topic).to_bytes(2, "big") + topic + payload
    return b"\x30" + bytes([len(body)]) + body


def subscribed(pattern: bytes) -> bytes:
    """Return the packet SUBSCRIBE with any bytes as its pattern."""
    body = b"\x00\x01" + len(pattern).to_bytes(2, "big") + pattern + b"\x01"
    return b"\x82" + bytes([len(body)]) + body


PACKETS: Final = {
    "one level": published(b"meterhouse/v1/e2e/+/node-a/report"),
    "all below": published(b"meterhouse/v1/#"),
    "all": published(b"#"),
    "nul": published(b"meterhouse/v1/e2e/00/node-a\x00/report"),
    "nul alone": published(b"\x00"),
    "empty": published(b""),
    "no utf-8": published(b"\xff\xfe/report"),
    "system": published(b"$SYS/broker/log"),
    "nul pattern": subscribed(b"meterhouse/v1/\x00"),
    "bad pattern": subscribed(b"meterhouse/#/report"),
    "256 MiB": b"\x30\xff\xff\xff\x7f" + b"\x00" * 64,
    "topic beyond": b"\x30\x7f\xff\xff" + b"x" * 16,
    "reserved": b"\xf0\x00",
    "twice": login("again"),
}


async def test_a_topic_that_is_none_reaches_nobody(site: Site) -> None:
    before, rows = site.metric("refused"), len(site.rows(HOSTILE))

    def send(packet: bytes) -> None:
        context = site.broker.tls(HOSTILE)
        with connected(site.broker.certificate_port, context) as connection:
            connection.sendall(login("hostile"))
            assert connection.recv(4) == b"\x20\x02\x00\x00"
            connection.settimeout(0.2)
            with suppress(OSError):
                connection.sendall(packet)
                connection.recv(64)

    for packet in PACKETS.values():
        await asyncio.to_thread(send, packet)
    assert site.metric("refused") == before
    assert len(site.rows(HOSTILE)) == rows


async def test_a_node_hears_nobody_elses_messages(site: Site) -> None:
    heard: list[str] = []
    async with site.hostile() as client:
        for pattern in ("#", "meterhouse/v1/+/+/+/report", at(NODE, RECEIPT), "$SYS/#"):
            await client.subscribe(pattern, qos=1)
        with suppress(TimeoutError):
            async with asyncio.timeout(2.5):
                async for message in client.messages:
                    heard.append(str(message.topic))  # noqa: PERF401 - it ends by the timeout
    assert set(heard) <= {at(HOSTILE, RECEIPT)}


async def test_what_is_packed_is_not_unpacked(site: Site) -> None:
    before = site.metric("refused", reason="malformed")
    async with site.hostile() as client:
        payload = gzip.compress(report(int(time.time()) - 10, junk="x" * 50_000_000))
        assert len(payload) < wire.MAX_PAYLOAD_BYTES
        await client.publish(at(HOSTILE, REPORT), payload, qos=1)
        await asyncio.to_thread(site.until_counted, "refused", before, reason="malformed")


async def test_names_without_end_are_refused(site: Site) -> None:
    """Each is good by itself: a model of its own in every report."""
    limit = LIMITS["served_model"].per_node
    now = int(time.time())
    before = site.metric("refused", reason="quota")
    async with site.hostile() as client:
        await client.subscribe(at(HOSTILE, RECEIPT), qos=1)
        for number in range(limit + 20):
            engine = {"engine": "e", "served_model": f"model-{number}", "covered_milliseconds": 0}
            payload = report(now - 400 + number, engines=[engine])
            await client.publish(at(HOSTILE, REPORT), payload, qos=0)
        await asyncio.to_thread(site.until_counted, "refused", before + 19, reason="quota")
        told = await receipt(client)
    assert site.metric("refused", reason="quota") == before + 20
    assert {(each.reason, each.final) for each in told.refused} <= {("quota", False)}
    await asyncio.to_thread(site.until_stored, "e", "engine", limit)
    await asyncio.sleep(1.0)
    assert len(site.rows("e", "engine")) == limit


async def test_a_flood_is_refused_and_the_honest_are_heard(site: Site) -> None:
    now = int(time.time())
    before = site.metric("refused", reason="rate")
    async with site.hostile() as client:
        for number in range(3 * BURST_MESSAGES):
            await client.publish(at(HOSTILE, REPORT), report(now - 10_000 + number % 9_000), qos=0)
        await asyncio.to_thread(site.until_counted, "refused", before, reason="rate")
        await asyncio.to_thread(site.goes_on)


def test_half_open_connections_keep_nobody_from_the_page(site: Site) -> None:
    port = site.collects.metrics_port
    before = site.metric("page_refused", reason="connections")
    with ExitStack() as stack:
        for number in range(3 * WAITING_MAX):
            one = stack.enter_context(
                closing(socket.create_connection(("127.0.0.1", port), timeout=10))
            )
            with suppress(OSError):
                one.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n"[: number % 40])
        assert site.metric("page_refused", reason="connections") > before + WAITING_MAX
        site.goes_on()


def test_the_collectors_name_is_not_a_nodes(site: Site) -> None:
    """The name in a certificate counts, whatever the client calls itself."""
    context = site.broker.tls(HOSTILE)
    with connected(site.broker.certificate_port, context) as connection:
        connection.sendall(login("x", COLLECTOR, "y"))
        assert connection.recv(4) == b"\x20\x02\x00\x00"
        packet = published(at(NODE, RECEIPT).encode(), b"{}")
        heard = site.measures.metric("meterhouse_agent_dropped_total", reason="receipt_malformed")
        connection.sendall(packet)
        time.sleep(1.0)
    dropped = site.measures.metric("meterhouse_agent_dropped_total", reason="receipt_malformed")
    assert dropped == heard
