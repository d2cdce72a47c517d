"""One node's agent: sources in, a report per interval into the spool and out to the broker."""

import asyncio
import contextlib
import logging
import zlib
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from meterhouse_agent import __version__, sources
from meterhouse_agent.accumulate.node import NodeSums
from meterhouse_agent.clock import Clock
from meterhouse_agent.config import AgentConfig
from meterhouse_agent.keeper import Keeper
from meterhouse_agent.publisher import Identity, Publisher
from meterhouse_agent.runner import SourceRunner
from meterhouse_agent.samples import Readings, Things
from meterhouse_agent.settings import SourceConfig
from meterhouse_agent.spool import Spool, Spooled, Standing, spool_path
from meterhouse_agent.telemetry import Telemetry
from meterhouse_agent.transport import Transport
from meterhouse_agent.wire import (
    SCHEMA,
    Inventory,
    MessageKind,
    SourceState,
    Status,
    encode,
    inventory_hash,
)

_LOG: Final = logging.getLogger(__name__)
_PHASE_MILLISECONDS: Final = 400
_PATIENCE_MILLISECONDS: Final = 1500
_BEHIND: Final = 4


class NodeAgent:
    """Measures and reports one node."""

    def __init__(
        self, config: AgentConfig, node: str, telemetry: Telemetry, *, clock: Clock | None = None
    ) -> None:
        self._config = config
        self._identity = Identity(config.site, node)
        self._telemetry = telemetry
        self._length = config.interval_seconds * 1000
        self._clock = clock or Clock()
        self._sums = NodeSums(config.site, node, config.interval_seconds)
        self._spool = Spool(spool_path(config.spool.directory, node), config.spool.max_bytes)
        self._behind = False
        self._inventory = Inventory()
        self._states: list[SourceState] = []
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
        self._keeper = Keeper(node, self._spool, telemetry, send=self._publisher.fresh)

    def _runner(self, section: SourceConfig) -> SourceRunner:
        node = self._identity.node
        source = sources.load(section.kind).create(section, node=node)
        return SourceRunner(
            source,
            section,
            interval_milliseconds=self._length,
            clock=self._clock,
            telemetry=self._telemetry,
            feed=self._feed,
            changed=self._changed,
        )

    def _transport(self) -> Transport:
        # Only the transport in use is imported: each costs memory.
        receipts = self._identity.topic(MessageKind.RECEIPT)
        if self._config.socket is not None:
            from meterhouse_agent.transport.unix import UnixTransport  # noqa: PLC0415

            return UnixTransport(self._config.socket.path, receipts=receipts)
        if self._config.mqtt is None:
            raise AssertionError("BUG: a config has either [mqtt] or [socket]")
        from meterhouse_agent.transport.mqtt import LastWill, MqttTransport  # noqa: PLC0415

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
        try:
            standing = await self._keeper.open()
            self._sums.timeline.closed_until_milliseconds = standing.closed_until_seconds * 1000
            self._sums.restore(standing.readings)
            self._sums.timeline.restore_spans(standing.spans)
            async with asyncio.TaskGroup() as tasks:
                for runner in self._runners:
                    tasks.create_task(runner.run(), name=f"source[{node}/{runner.kind}]")
                tasks.create_task(self._close_intervals(), name=f"intervals[{node}]")
                tasks.create_task(self._keeper.run(), name=f"keeper[{node}]")
                tasks.create_task(self._publisher.run(), name=f"publisher[{node}]")
        finally:
            await self._spool.close()

    def _feed(self, readings: Readings, max_gap_milliseconds: float) -> None:
        self._note_step()
        if self._behind:
            return
        self._sums.feed(readings, max_gap_milliseconds)
        self._sums.timeline.read_until(self._clock.now_milliseconds())
        self._fed.set()

    def _note_step(self) -> None:
        """Take notice of a step of the clock, and of a clock that is behind the last interval."""
        timeline, node = self._sums.timeline, self._identity.node
        step = self._clock.step_milliseconds()
        if step:
            timeline.steps += 1
            self._telemetry.event("clock_step")
            _LOG.warning("%s: the clock was stepped by %.1f s", node, step / 1000)
        now = self._clock.now_milliseconds()
        if step > 0:
            # The next interval is the first that lies whole after the step. Nothing is read before:
            # set back from here, the clock must come past all that was read of the time ahead.
            timeline.pass_over(now - now % -self._length)
        left = timeline.ahead_milliseconds(now, again=self._behind)
        if (left > 0) == self._behind:
            return
        self._behind = left > 0
        if self._behind and step <= 0:
            self._telemetry.event("clock_behind")
            _LOG.warning(
                "%s: the clock is behind the last reported interval: "
                "nothing is reported for %.0f s, the energy until then becomes a span",
                node,
                left / 1000,
            )
        elif not self._behind:
            # What was counted meanwhile belongs to no time that this clock can name.
            timeline.steps += 1
            _LOG.info("%s: the clock is past all that was read before it was stepped", node)

    def _changed(self) -> None:
        inventory = _merge([runner.things for runner in self._runners])
        if inventory != self._inventory:
            self._inventory = inventory
            self._publisher.status_changed(at_once=True)
        states = [runner.state for runner in self._runners]
        if states != self._states:
            self._states = states
            self._publisher.status_changed(at_once=False)

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
            while not await self._clock.nap_until(end + phase):
                self._note_step()
            await self._wait_while(partial(SourceRunner.owes, end_milliseconds=end))
            self._close(start // 1000)
            start = await self._next(end)

    async def _next(self, start_milliseconds: int) -> int:
        """Return the interval to close next: long past ones are passed over if they are empty."""
        timeline = self._sums.timeline
        if max(self._long_past(), timeline.closed_until_milliseconds) <= start_milliseconds:
            return start_milliseconds
        # A process that was held up has readings to come, of what seems empty now.
        await self._wait_while(lambda runner: runner.lags(self._clock.now_milliseconds()))
        behind = max(self._long_past(), timeline.closed_until_milliseconds)
        touched = timeline.first_touched_milliseconds
        start = max(start_milliseconds, behind if touched is None else min(behind, touched))
        timeline.pass_over(start)
        return start

    def _long_past(self) -> int:
        behind = self._clock.now_milliseconds() - _BEHIND * self._length
        return behind - behind % self._length

    async def _wait_while(self, awaited: Callable[[SourceRunner], bool]) -> None:
        # Counted from now and not from the end: a process that was held up itself must not take
        # its sources for late.
        patience = min(_PATIENCE_MILLISECONDS, self._length * 3 // 5) / 1000
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while any(map(awaited, self._runners)):
                    self._fed.clear()
                    await self._fed.wait()

    def _close(self, start_seconds: int) -> None:
        timeline = self._sums.timeline
        report = self._sums.close(start_seconds, self._inventory)
        for event, count in timeline.events.items():
            self._telemetry.event(event, count)
        timeline.events.clear()
        if report is None:
            return
        self._telemetry.reports.inc()
        self._keeper.add(
            Spooled(start_seconds, encode(report)),
            Standing(
                timeline.closed_until_milliseconds // 1000,
                self._sums.kept(),
                timeline.waiting_spans,
            ),
            (report.inventory_hash, msgspec.json.encode(self._inventory)),
        )


def _merge(parts: list[Things]) -> Inventory:
    return Inventory(
        devices=[device for part in parts for device in part.devices],
        meters=[meter for part in parts for meter in part.meters],
        engines=[engine for part in parts for engine in part.engines],
        sensors=[sensor for part in parts for sensor in part.sensors],
    )
