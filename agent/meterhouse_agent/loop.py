"""One node's agent: sources in, a report per interval into the spool and out to the broker."""

import asyncio
import logging
import zlib
from collections import deque
from typing import Final, NamedTuple

import msgspec

from meterhouse_agent import __version__, sources
from meterhouse_agent.accumulate.amount import KeptReading
from meterhouse_agent.accumulate.node import NodeSums
from meterhouse_agent.clock import Clock
from meterhouse_agent.config import AgentConfig
from meterhouse_agent.publisher import Identity, Publisher
from meterhouse_agent.runner import SourceRunner
from meterhouse_agent.samples import Readings, Things
from meterhouse_agent.settings import SourceConfig
from meterhouse_agent.spool import Spool, Spooled, SpoolError
from meterhouse_agent.telemetry import Telemetry
from meterhouse_agent.transport import Transport
from meterhouse_agent.transport.mqtt import LastWill, MqttTransport
from meterhouse_agent.transport.unix import UnixTransport
from meterhouse_agent.wire import (
    SCHEMA,
    Inventory,
    MessageKind,
    Status,
    encode,
    inventory_hash,
)

_LOG: Final = logging.getLogger(__name__)
_PHASE_MILLISECONDS: Final = 400
_PATIENCE_MILLISECONDS: Final = 1500
_UNSPOOLED: Final = 720


class _Unspooled(NamedTuple):
    """A report on its way into the spool, with where time and counters stood at its end."""

    report: Spooled
    readings: list[KeptReading]
    closed_until_seconds: int
    inventory: tuple[str, bytes]


class NodeAgent:
    """Measures and reports one node."""

    def __init__(self, config: AgentConfig, node: str, telemetry: Telemetry) -> None:
        self._config = config
        self._identity = Identity(config.site, node)
        self._telemetry = telemetry
        self._length = config.interval_seconds * 1000
        self._clock = Clock()
        self._sums = NodeSums(config.site, node, config.interval_seconds)
        self._spool = Spool(config.spool.directory / f"{node}.spool", config.spool.max_bytes)
        self._unspooled: deque[_Unspooled] = deque()
        self._spool_failed = False
        self._inventory = Inventory()
        self._fed = asyncio.Event()
        self._runners = [self._runner(section) for section in config.source]
        self._publisher = Publisher(
            self._identity,
            self._transport(),
            self._spool,
            telemetry,
            status=self._status,
            resend_after_seconds=config.resend_after,
        )

    def _runner(self, section: SourceConfig) -> SourceRunner:
        node = self._identity.node
        source = sources.load(section.kind).create(section, node=node)
        return SourceRunner(
            source,
            section,
            node,
            clock=self._clock,
            telemetry=self._telemetry,
            feed=self._feed,
            changed=self._changed,
        )

    def _transport(self) -> Transport:
        receipts = self._identity.topic(MessageKind.RECEIPT)
        if self._config.socket is not None:
            return UnixTransport(self._config.socket.path, receipts=receipts)
        if self._config.mqtt is None:
            raise AssertionError("BUG: a config has either [mqtt] or [socket]")
        will = Status(
            schema=SCHEMA,
            site=self._identity.site,
            node=self._identity.node,
            state="offline",
            version=__version__,
            at_seconds=self._clock.now_milliseconds() // 1000,
        )
        return MqttTransport(
            self._config.mqtt,
            node=self._identity.node,
            receipts=receipts,
            will=LastWill(self._identity.topic(MessageKind.STATUS), encode(will)),
        )

    async def run(self) -> None:
        """Measure until cancelled."""
        node = self._identity.node
        await self._recover()
        try:
            async with asyncio.TaskGroup() as tasks:
                for runner in self._runners:
                    tasks.create_task(runner.run(), name=f"source[{node}/{runner.kind}]")
                tasks.create_task(self._close_intervals(), name=f"intervals[{node}]")
                tasks.create_task(self._publisher.run(), name=f"publisher[{node}]")
        finally:
            await self._spool.close()

    async def _recover(self) -> None:
        try:
            recovered = await self._spool.open()
        except SpoolError as error:
            _LOG.error("%s; reports are kept in memory only", error)
            self._spool_failed = True
            return
        self._sums.timeline.closed_until_milliseconds = recovered.closed_until_seconds * 1000
        self._sums.restore(recovered.readings)
        if self._spool.reports:
            _LOG.info("%s: %d reports wait in the spool", self._identity.node, self._spool.reports)

    def _feed(self, readings: Readings, max_gap_milliseconds: float) -> None:
        step = self._clock.step_milliseconds()
        if step:
            self._sums.timeline.steps += 1
            self._telemetry.event("clock_step")
            _LOG.warning("%s: the clock was stepped by %d ms", self._identity.node, step)
        self._sums.feed(readings, max_gap_milliseconds)
        self._fed.set()

    def _changed(self) -> None:
        inventory = _merge([runner.source.things() for runner in self._runners])
        if inventory != self._inventory:
            self._inventory = inventory
            self._publisher.status_changed()

    def _status(self) -> Status:
        return Status(
            schema=SCHEMA,
            site=self._identity.site,
            node=self._identity.node,
            state="online",
            version=__version__,
            at_seconds=self._clock.now_milliseconds() // 1000,
            inventory_hash=inventory_hash(self._inventory),
            inventory=self._inventory,
            sources=[runner.state for runner in self._runners],
        )

    async def _close_intervals(self) -> None:
        # A fleet that reports at one instant would queue at the broker: each node has its phase.
        phase = zlib.crc32(self._identity.node.encode()) % _PHASE_MILLISECONDS
        phase = min(phase, self._length // 4)
        timeline = self._sums.timeline
        now = self._clock.now_milliseconds()
        start = max(timeline.closed_until_milliseconds, now - now % self._length)
        while True:
            end = start + self._length
            await self._clock.sleep_until(end + phase)
            await self._wait_for_readings(end)
            await self._close(start // 1000)
            behind = self._clock.now_milliseconds() - 4 * self._length
            start = max(end, behind - behind % self._length)

    async def _wait_for_readings(self, end_milliseconds: int) -> None:
        patience = min(_PATIENCE_MILLISECONDS, self._length * 3 // 5)
        while any(runner.owes(end_milliseconds) for runner in self._runners):
            left = end_milliseconds + patience - self._clock.now_milliseconds()
            if left <= 0:
                return
            self._fed.clear()
            try:
                async with asyncio.timeout(left / 1000):
                    await self._fed.wait()
            except TimeoutError:
                return

    async def _close(self, start_seconds: int) -> None:
        report = self._sums.close(start_seconds, self._inventory)
        for event, count in self._sums.timeline.events.items():
            self._telemetry.event(event, count)
        self._sums.timeline.events.clear()
        if report is None:
            return
        self._telemetry.reports.inc()
        spooled = Spooled(start_seconds, encode(report))
        closed = self._sums.timeline.closed_until_milliseconds // 1000
        inventory = (report.inventory_hash, msgspec.json.encode(self._inventory))
        self._unspooled.append(_Unspooled(spooled, self._sums.kept(), closed, inventory))
        await self._spool_up()
        self._publisher.fresh(spooled)

    async def _spool_up(self) -> None:
        try:
            if self._spool_failed:
                await self._spool.open()
            while self._unspooled:
                await self._spool.commit(*self._unspooled[0])
                self._unspooled.popleft()
        except SpoolError as error:
            if not self._spool_failed:
                _LOG.error("%s; reports are kept in memory until it can be written", error)
            self._spool_failed = True
            while len(self._unspooled) > _UNSPOOLED:
                self._unspooled.popleft()
                self._telemetry.dropped("spool_unwritable")
        else:
            if self._spool_failed:
                _LOG.info("spool of %s is written again", self._identity.node)
            self._spool_failed = False
        self._telemetry.spool_reports.set(self._spool.reports)
        self._telemetry.spool_bytes.set(self._spool.bytes)
        for reason, count in (+self._spool.dropped).items():
            _LOG.warning("%s: %d dropped: %s", self._identity.node, count, reason)
            self._telemetry.dropped(reason, count)
        self._spool.dropped.clear()


def _merge(parts: list[Things]) -> Inventory:
    return Inventory(
        devices=[device for part in parts for device in part.devices],
        meters=[meter for part in parts for meter in part.meters],
        engines=[engine for part in parts for engine in part.engines],
    )
