"""A database that is slow, stands still or was away for an hour: the collector slows its intake."""

import asyncio
import json
import os
import signal
import sqlite3
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from meterhouse_agent import wire
from meterhouse_agent.simulation.fleet import node_names
from meterhouse_agent.simulation.reckoning import FleetModel
from meterhouse_agent.spool import spool_path
from meterhouse_collector.held import HELD_BYTES
from meterhouse_collector.store.influx import InfluxStore
from tests.bench import fleet as bench
from tests.chaos.proxy import Link, Proxy
from tests.chaos.run import memory_bytes
from tests.e2e.backlog import fill
from tests.e2e.configs import SITE, simulated
from tests.e2e.equality import lifetimes
from tests.e2e.fleet_run import FleetRun, Record, all_in_one, small_fleet
from tests.e2e.ledger import Key
from tests.e2e.pipeline import Pipeline

FLOOD_NODES: Final = 100
FULL_INTERVALS: Final = 260
MORE_INTERVALS: Final = 30
MORE_BYTES: Final = 24 << 20
# What waits, and what a batch of it is made into beside it.
HELD_MORE: Final = 2
MARGIN: Final = 500
HOUR: Final = 3600
INTERVAL: Final = 5
NODES: Final = 24
PREFIX: Final = "meterhouse_collector_"


class Receipts:
    """Hears every receipt of a site."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[float, wire.Receipt]] = []
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port)
        self._client.subscribe(f"{wire.PREFIX}/+/+/+/receipt")
        self._client.loop_start()

    def _take(self, _: Client, __: Any, message: MQTTMessage) -> None:  # noqa: ANN401 - paho's
        self.heard.append((time.monotonic(), wire.decode_receipt(bytes(message.payload))))

    def credits(self, since: float, until: float) -> list[int]:
        """Return the credit of each receipt of a while."""
        return [receipt.credit for at, receipt in self.heard if since <= at < until]

    def close(self) -> None:
        """Hear no more."""
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def standing_still(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def way_to_the_store(run: FleetRun) -> Iterator[Link]:
    """Let the collector reach its database only through a proxy."""
    link, proxy = Link(mqtt=False), Proxy()
    link.target_port = run.database.port
    proxy.open(link)
    token = {"file": run.influx.token.file}
    url = f"http://127.0.0.1:{link.port}"
    influx = {"url": url, "org": run.influx.org, "token": token, "timeout": "5s"}
    run.configure_collector(influx=influx)
    try:
        yield link
    finally:
        proxy.close()


def test_a_store_that_is_slow_or_refuses_gives_no_credit_and_costs_nothing(
    tmp_path: Path, record_property: Record
) -> None:
    fleet = small_fleet()
    with (
        FleetRun(tmp_path, fleet, all_in_one(fleet), interval=1) as run,
        way_to_the_store(run) as link,
    ):
        run.start_all()
        run.wait_for_reports()
        run.wait_reported(run.nodes, int(time.time()))
        receipts = Receipts(run.broker.port)
        link.delay_seconds = 1.5
        run.sleep(6)
        link.delay_seconds = 0.0
        run.sleep(2)
        link.refuses = True
        with standing_still(run.database.pid):
            run.wait_until(lambda: run.collector.metric(f"{PREFIX}store_up") == 0, "it is down")
            down = time.monotonic()
            run.wait_until(
                lambda: all(len(run.spooled(node)) > 10 for node in run.nodes), "agents spool"
            )
            still = time.monotonic()
            assert run.collector.metric(f"{PREFIX}pending_reports") > 0
            run.wait_until(
                lambda: run.collector.metric(f"{PREFIX}agents_waiting_reports") > 0,
                "the collector knows of what waits",
            )
            waited = time.monotonic()
        link.refuses = False
        end = run.settle()

        receipts.close()
        # A spool that waits is spoken to, but with no credit.
        assert set(receipts.credits(down, waited)) <= {0}
        assert max(receipts.credits(waited, time.monotonic())) > 0
        assert still > down
        comparison = run.assert_equal_to_the_truth(end, record_property)
        assert comparison.partial == 0
        run.wait_until(
            lambda: run.collector.metric(f"{PREFIX}agents_waiting_reports") == 0, "none waits"
        )
        assert run.collector.metric(f"{PREFIX}agents_behind_seconds") == 0
        run.assert_logs_are_clean()


def poison(spool: Path, starts: Iterable[int]) -> None:
    """Damage reports of a spool, so that no collector can take them."""
    with closing(sqlite3.connect(spool)) as database:
        for start in starts:
            (body,) = database.execute(
                "SELECT body FROM report WHERE start_seconds = ?", (start,)
            ).fetchone()
            bad = body.replace(b'"length_seconds":1', b'"length_seconds":"soon"', 1)
            assert bad != body
            database.execute("UPDATE report SET body = ? WHERE start_seconds = ?", (bad, start))
        database.commit()


def troubles(run: FleetRun, node: str) -> list[str]:
    """Return what the page says of an agent."""
    url = f"http://127.0.0.1:{run.collector.metrics_port}/api/live"
    with urllib.request.urlopen(url, timeout=30) as answer:
        agents = json.loads(answer.read())["agents"]["list"]
    return [trouble for agent in agents if agent["name"] == node for trouble in agent["troubles"]]


def test_poison_in_a_backlog_is_set_aside_with_its_reason_and_holds_up_nothing(
    tmp_path: Path,
) -> None:
    fleet = small_fleet(nodes=1)
    (node,) = node_names(fleet)
    ends = int(time.time()) - 5
    span = range(ends - 300, ends)
    asyncio.run(fill(tmp_path / "spool", fleet, [node], span, site=SITE))
    bad = [span[0], span[150], span[-1]]
    poison(spool_path(tmp_path / "spool", node), bad)
    with FleetRun(tmp_path, fleet, {"one": [node]}, interval=1) as run:
        run.start()
        run.collector.start()
        run.agents["one"].start()
        run.wait_reported(run.nodes, int(time.time()) + 2)

        stored = {key.start_seconds for key in run.read(span.start, ends).nodes}
        assert stored == set(span) - set(bad)
        with closing(sqlite3.connect(run.spool_path(node), timeout=30)) as spool:
            aside = spool.execute("SELECT start_seconds, reason FROM refused").fetchall()
        assert sorted(aside) == [(start, "malformed") for start in bad]
        assert troubles(run, node) == ["3 reports set aside: malformed"]
        refused = "meterhouse_agent_refused_total"
        assert run.agents["one"].metric(refused, reason="malformed", final="true") == 3
        run.assert_logs_are_clean()


class Flood:
    """Publishes the reports of many nodes as fast as the collector looks at them."""

    def __init__(self, run: Pipeline) -> None:
        self._run = run
        self._fleet = bench.Fleet(FLOOD_NODES, INTERVAL)
        self._client = Client(CallbackAPIVersion.VERSION2)
        self._client.connect("127.0.0.1", run.broker.port)
        self._client.loop_start()
        intervals = FULL_INTERVALS + MORE_INTERVALS
        self.first_seconds = (int(time.time()) // INTERVAL - 2 * intervals) * INTERVAL
        self.sent = 0

    def tell_statuses(self) -> None:
        """Say what each node has."""
        for node in range(FLOOD_NODES):
            self._publish(node, wire.MessageKind.STATUS, self._fleet.status(node), 0, retain=True)

    def publish(self, intervals: range) -> None:
        """Publish all nodes' reports of some intervals, and wait until each was looked at."""
        payloads = [self._fleet.report(node, 0) for node in range(FLOOD_NODES)]
        for number in intervals:
            for node, payload in enumerate(payloads):
                start = self.first_seconds + number * INTERVAL
                self._publish(node, wire.MessageKind.REPORT, payload, start)
                self.sent += 1
            if number % 3 == 0 or number == intervals[-1]:
                self._run.wait_until(lambda: self.looked_at() >= self.sent, "the flood is taken")

    def looked_at(self) -> float:
        """Return how many reports the collector has taken, or not looked at."""
        metric = self._run.collector.metric
        return metric(f"{PREFIX}reports_total") + metric(f"{PREFIX}dropped_total")

    def _publish(
        self, node: int, kind: wire.MessageKind, payload: bytes, at: int, *, retain: bool = False
    ) -> None:
        topic = wire.topic(SITE, self._fleet.node(node), kind)
        ours = bench.at(payload, at).replace(b'"site":"bench"', b'"site":"%b"' % SITE.encode())
        self._client.publish(topic, ours, qos=1, retain=retain).wait_for_publish(30)

    def close(self) -> None:
        """End the connection."""
        self._client.disconnect()
        self._client.loop_stop()


@pytest.mark.timeout(300)
def test_a_flood_while_the_store_stands_still_fills_no_memory(
    tmp_path: Path, record_property: Record
) -> None:
    with FleetRun(tmp_path, small_fleet(), {}, interval=INTERVAL) as run:
        run.start()
        # Each with the detail of its devices, or it would take far more of them.
        run.configure_collector(detail_every=f"{INTERVAL}s")
        run.collector.start()
        run.wait_until(lambda: "connected" in run.collector.text(), "the collector is connected")
        flood = Flood(run)
        flood.tell_statuses()
        empty = memory_bytes(run.collector.pid)
        with standing_still(run.database.pid):
            flood.publish(range(FULL_INTERVALS))
            taken = flood.sent - run.collector.metric(f"{PREFIX}dropped_total")
            run.wait_until(
                lambda: run.collector.metric(f"{PREFIX}pending_reports") == taken, "it is full"
            )
            assert taken < flood.sent
            held = memory_bytes(run.collector.pid)
            flood.publish(range(FULL_INTERVALS, FULL_INTERVALS + MORE_INTERVALS))
            after = memory_bytes(run.collector.pid)
            dropped = run.collector.metric(f"{PREFIX}dropped_total")
            assert "reading stops" in run.collector.text()
        run.wait_until(
            lambda: run.collector.metric(f"{PREFIX}pending_reports") == 0, "all is written"
        )
        flood.close()

        record_property("reports held", taken)
        record_property("reports not looked at", dropped)
        for name, found in (("empty", empty), ("full", held), ("after", after)):
            record_property(f"MiB of memory, {name}", round(found / 2**20))
        assert dropped == flood.sent - taken
        assert held - empty <= HELD_MORE * HELD_BYTES
        assert after <= held + MORE_BYTES
        assert "reading again" in run.collector.text()
        last = flood.first_seconds + (FULL_INTERVALS + MORE_INTERVALS) * INTERVAL
        assert len(run.read(flood.first_seconds, last).nodes) == taken
        run.assert_logs_are_clean()


async def oldest_of_the_newest(run: FleetRun, since_seconds: int) -> int | None:
    """Return the end of the newest row of that node which has the oldest; None before all do."""
    store = InfluxStore(run.influx)
    try:
        rows = await store.packed(
            "ledger", "node", start_seconds=since_seconds, end_seconds=since_seconds + HOUR
        )
    finally:
        await store.close()
    newest: dict[str, int] = {}
    for row in rows:
        newest[row.thing] = max(newest.get(row.thing, 0), row.start_seconds + INTERVAL)
    return min(newest.values()) if len(newest) == len(run.nodes) else None


def caught_up(run: FleetRun, begun: float, record: Record) -> None:
    """Watch the spools go empty; note how fast, and how fresh what is live is meanwhile."""
    stale: list[float] = []
    behind = 0.0
    while run.collector.metric(f"{PREFIX}agents_waiting_reports") or not stale:
        end = asyncio.run(oldest_of_the_newest(run, int(begun)))
        if end is not None:
            stale.append(time.time() - end)
        behind = max(behind, run.collector.metric(f"{PREFIX}agents_behind_seconds"))
        run.sleep(0.5)
    seconds = time.time() - begun
    record("seconds to catch up", round(seconds, 1))
    record("times live speed", round(HOUR / seconds))
    record("oldest of the newest rows, worst seconds", round(max(stale), 1))
    record("said to be behind, seconds", round(behind))
    assert behind > HOUR / 2
    assert seconds < HOUR / 4
    # The backlog takes many times longer than this: what is live does not queue behind it.
    assert max(stale) < 8 * INTERVAL


@pytest.mark.verify
@pytest.mark.timeout(1800)
def test_an_hour_is_caught_up_with_on_credit_beside_what_is_live(
    tmp_path: Path, record_property: Record
) -> None:
    fleet = small_fleet(nodes=NODES, devices_per_node=8, engine_devices=4)
    nodes = node_names(fleet)
    played = {"even": nodes[::2], "odd": nodes[1::2]}
    source = simulated(fleet) | {"sample_every": f"{INTERVAL}s"}
    keys = {name: {"source": [source], "resend_after": "90s"} for name in played}
    ends = int(time.time()) // INTERVAL * INTERVAL
    hour = range(ends - HOUR, ends, INTERVAL)
    spooled = asyncio.run(fill(tmp_path / "spool", fleet, nodes, hour, site=SITE))
    with FleetRun(tmp_path, fleet, played, interval=INTERVAL, keys=keys) as run:
        run.start()
        run.collector.start()
        run.wait_until(lambda: "connected" in run.collector.text(), "the collector is connected")
        begun = time.time()
        for agent in run.agents.values():
            agent.start()
        run.wait_until(
            lambda: run.collector.metric(f"{PREFIX}agents_waiting_reports") > 0, "a spool is heard"
        )
        caught_up(run, begun, record_property)
        end = run.settle()

        record_property("reports caught up with", spooled)
        ledger = run.read(hour.start, end)
        # Read once in an interval, states are not to the second; what was counted is.
        assert all(Key(node, start) in ledger.nodes for node in nodes for start in hour)
        assert all(Key(f"engine-{n}", start) in ledger.engines for n in nodes for start in hour)
        record_property("rows of nodes and engines", len(ledger.nodes) + len(ledger.engines))
        for life in lifetimes(ledger, FleetModel(fleet), end):
            assert life.found == life.truth, life.thing
        text = run.collector.text()
        assert "reports wait in the agents' spools, the oldest of" in text
        assert "caught up with" in text
        run.assert_logs_are_clean()
