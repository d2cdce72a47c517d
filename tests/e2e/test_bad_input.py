"""What a plain MQTT client may send: each is refused with a reason, and nobody else suffers."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiomqtt
import msgspec
import pytest

from meterhouse_agent import wire
from tests.e2e.configs import SITE
from tests.e2e.fleet_run import FleetRun, all_in_one, small_fleet
from tests.e2e.ledger import Key

STRANGER: Final = "stranger"
PATIENCE_SECONDS: Final = 60.0
DAY_SECONDS: Final = 86_400
REFUSED: Final = "meterhouse_collector_refused_total"
INVENTORY: Final = wire.Inventory(
    devices=[wire.Device(device="gpu-0", vendor="other", accelerator_model="other-1")]
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetRun]:
    """Run a site whose own agents must not notice what a stranger does."""
    fleet = small_fleet(nodes=1)
    with FleetRun(tmp_path_factory.mktemp("site"), fleet, all_in_one(fleet), interval=1) as made:
        made.start_all()
        made.wait_for_reports()
        # Agents send again what nobody heard; a stranger does not.
        made.wait_reported(made.nodes, int(time.time()))
        yield made


class Stranger:
    """A plain MQTT client that sees every receipt."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client

    async def send(
        self, payload: bytes, *, kind: wire.MessageKind = wire.MessageKind.REPORT, topic: str = ""
    ) -> None:
        """Publish a message, by default on the stranger's own topic."""
        await self._client.publish(topic or wire.topic(SITE, STRANGER, kind), payload, qos=1)

    async def receipt(self, good: Callable[[wire.Receipt], bool]) -> wire.Receipt:
        """Return the first receipt for the stranger of which something is so."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for message in self._client.messages:
                assert isinstance(message.payload, bytes)
                receipt = wire.decode_receipt(message.payload)
                if receipt.node == STRANGER and good(receipt):
                    return receipt
        raise AssertionError("the connection ended")


@asynccontextmanager
async def connected(run: FleetRun) -> AsyncIterator[Stranger]:
    async with aiomqtt.Client("127.0.0.1", run.broker.port, timeout=30) as client:
        await client.subscribe(f"{wire.PREFIX}/{SITE}/+/+/receipt", qos=1)
        yield Stranger(client)


def report(start: int, **more: object) -> bytes:
    """Return a good report of the stranger, but for what is changed in it."""
    made = wire.Report(
        schema=wire.SCHEMA,
        site=SITE,
        node=STRANGER,
        start_seconds=start,
        length_seconds=1,
        inventory_hash="",
        host=wire.Host(covered_milliseconds=1000, energy_joules=100.0),
    )
    table: dict[str, Any] = json.loads(wire.encode(made))
    return json.dumps(table | more).encode()


@dataclass(frozen=True)
class Bad:
    """A bad report: how it is made from a start near now, and what it is refused for."""

    name: str
    make: Callable[[int], bytes]
    reason: str
    final: bool = True
    shift: int = 0


def _accelerators(milliseconds: int) -> dict[str, object]:
    return {"state_ms": {"active": [milliseconds]}}


BAD: Final = (
    Bad("cut off", lambda at: report(at)[:-9], "malformed"),
    Bad("no host", lambda at: report(at, host="none"), "malformed"),
    Bad(
        "too much covered", lambda at: report(at, host={"covered_milliseconds": 9999}), "malformed"
    ),
    Bad("oversized", lambda at: report(at, junk="x" * wire.MAX_PAYLOAD_BYTES), "oversized"),
    Bad("future", report, "future", final=False, shift=120),
    Bad("another node", lambda at: report(at, node="sim-000"), "foreign"),
    Bad("another site", lambda at: report(at, site="elsewhere"), "foreign"),
    Bad(
        "another's meter",
        lambda at: report(at, meters=[{"meter": "utility", "covered_milliseconds": 1000}]),
        "foreign",
    ),
    Bad("newer schema", lambda at: report(at, schema=2, news=True), "schema", final=False),
    Bad("too old", report, "too_old", shift=-36 * DAY_SECONDS),
    Bad("off the grid", lambda at: report(at, length_seconds=7), "off_grid"),
    Bad(
        "unknown inventory",
        lambda at: report(at, inventory_hash="0123456789abcdef", accelerators=_accelerators(1000)),
        "unknown_inventory",
        final=False,
    ),
)


async def refused(run: FleetRun, reason: str) -> float:
    return await asyncio.to_thread(run.collector.metric, REFUSED, reason=reason)


async def assert_nobody_else_suffers(run: FleetRun) -> None:
    await asyncio.to_thread(run.wait_reported, run.nodes, int(time.time()))
    for agent in run.agents.values():
        metric = "meterhouse_agent_refused_total"
        assert await asyncio.to_thread(agent.metric, metric) == 0
    run.assert_logs_are_clean()


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
async def test_a_bad_report_is_refused_with_a_reason(run: FleetRun, bad: Bad) -> None:
    start = int(time.time()) - 5 + bad.shift
    before = await refused(run, bad.reason)
    async with connected(run) as stranger:
        await stranger.send(bad.make(start))
        receipt = await stranger.receipt(lambda receipt: len(receipt.refused) > 0)
    assert receipt.stored == []
    assert receipt.refused == [
        wire.Refusal(start_seconds=start, reason=bad.reason, final=bad.final)
    ]
    assert await refused(run, bad.reason) == before + 1
    assert f"{STRANGER}: refused, {bad.reason}" in run.collector.text()
    ledger = await asyncio.to_thread(run.read, start, start + 1)
    assert Key(STRANGER, start) not in ledger.nodes
    await assert_nobody_else_suffers(run)


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        (f"{wire.PREFIX}/{SITE}/99/{STRANGER}/report", report(1), "topic"),
        (wire.topic(SITE, STRANGER, wire.MessageKind.STATUS), b"{", "status_malformed"),
        (
            wire.topic(SITE, STRANGER, wire.MessageKind.STATUS),
            b'{"schema":1,"site":"e2e","node":"sim-000","state":"online","version":"1","at_seconds":1}',
            "status_foreign",
        ),
        (wire.topic(SITE, STRANGER, wire.MessageKind.REPORT), b"\xff" * 100, "malformed"),
        (wire.topic(SITE, STRANGER, wire.MessageKind.REPORT), b"[" * 200_000, "malformed"),
    ],
    ids=["slot", "status", "another's status", "binary", "deep"],
)
async def test_what_names_no_report_is_counted(
    run: FleetRun, topic: str, payload: bytes, reason: str
) -> None:
    before = await refused(run, reason)
    async with connected(run) as stranger:
        await stranger.send(payload, topic=topic)
    await asyncio.to_thread(
        run.wait_until,
        lambda: run.collector.metric(REFUSED, reason=reason) == before + 1,
        f"{reason} is counted",
    )
    await assert_nobody_else_suffers(run)


async def test_a_report_is_taken_once_its_inventory_is_known(run: FleetRun) -> None:
    start = int(time.time()) - 5
    name = wire.inventory_hash(INVENTORY)
    payload = report(start, inventory_hash=name, accelerators=_accelerators(600))
    status = wire.Status(
        schema=wire.SCHEMA,
        site=SITE,
        node=STRANGER,
        state="online",
        version="0",
        at_seconds=start,
        inventory_hash=name,
        inventory=INVENTORY,
    )
    async with connected(run) as stranger:
        await stranger.send(payload)
        receipt = await stranger.receipt(lambda receipt: len(receipt.refused) > 0)
        assert receipt.inventory_wanted == [name]
        await stranger.send(msgspec.json.encode(status), kind=wire.MessageKind.STATUS)
        await stranger.send(payload)
        receipt = await stranger.receipt(lambda receipt: len(receipt.stored) > 0)
    assert receipt.stored == [(start, start)]
    ledger = await asyncio.to_thread(run.read, start, start + 1)
    assert [s.milliseconds for s in ledger.nodes[Key(STRANGER, start)].shares] == [
        (600, 0, 0, 0, 400)
    ]
