"""The role ``intake``: reports of some slots into the ledger, their receipts, and word of them.

It keeps nothing that it could not read back: what has no receipt is sent again, to whoever takes
the slot by then.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry

from meterhouse_collector.config import CollectorConfig
from meterhouse_collector.gather import Gather, Part
from meterhouse_collector.installed import learn_installed
from meterhouse_collector.intake import Grid, Intake
from meterhouse_collector.ledger import Entry
from meterhouse_collector.live import Pace
from meterhouse_collector.receipts import Receipts
from meterhouse_collector.receive.mqtt import Listening, MqttReceiver
from meterhouse_collector.running import close_store, collect, make_store, open_store
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import load_site
from meterhouse_collector.telemetry import Telemetry
from meterhouse_collector.web.metrics_server import MetricsServer
from meterhouse_collector.writer import Timing, Writer

_DRAIN_SECONDS: Final = 5.0


class IntakePart:
    """Everything one intake process does."""

    def __init__(self, config: CollectorConfig) -> None:
        if config.mqtt is None or config.part is None:
            raise AssertionError("BUG: an intake has [mqtt] and part")
        self.index = index = SiteIndex(load_site(config.site))
        length = round(config.interval)
        self.telemetry = Telemetry(CollectorRegistry())
        self._store = make_store(config)
        self._receiver = MqttReceiver(
            config.mqtt,
            Listening(config.client_id, config.taken_slots, config.taken_slots),
            connected=self.telemetry.connected.set,
            skipped=self.telemetry.dropped.labels("paused").inc,
        )
        receipts = Receipts(length_seconds=length, every_seconds=config.receipts_every)
        self._gather = Gather(
            Part(config.part, index.site, config.taken_slots),
            Pace(length, config.grace, config.held, config.window),
            store=self._store,
            bug=self.telemetry.bug,
            waiting=self._waiting,
        )
        self._writer = Writer(
            self._store,
            receipts,
            self.telemetry,
            timing=Timing(config.flush_every, config.held),
            send=self._receiver.send,
            flow=self._flow,
            changed=self._gather.marked,
        )
        self.intake = Intake(
            index,
            Grid(length, round(config.detail_every)),
            receipts=receipts,
            telemetry=self.telemetry,
            accept=self._accept,
            write=self._writer.write,
        )
        self._metrics = None
        if config.page is not None:
            self._metrics = MetricsServer(config.page, self.telemetry.registry)

    def _accept(self, entry: Entry) -> bool:
        if not self._writer.accept(entry):
            return False
        self._gather.add(entry)
        return True

    def _waiting(self) -> Mapping[str, int]:
        return {name: agent.waiting for name, agent in self.intake.agents.items()}

    def _flow(self, reading: bool) -> None:  # noqa: FBT001 - on or off
        if reading:
            self._receiver.resume()
        else:
            self._receiver.pause()

    async def run(self) -> None:
        """Take reports until cancelled; what is held then is still written."""
        if self._metrics is not None:
            # First, so that a port that is taken is known at once.
            await self._metrics.start()
        try:
            await open_store(self._store, self.telemetry, self._read_back)
            await collect(self._receiver, self.intake.message, self._work)
        finally:
            await close_store(self._store)
            if self._metrics is not None:
                await self._metrics.close()

    async def _read_back(self) -> None:
        await learn_installed(self._store, self.index)
        await self._gather.read_back(self._store)

    async def _work(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._writer.run(), name="writer")
                tasks.create_task(self._gather.run(), name="gather")
        finally:
            await self._writer.drain(_DRAIN_SECONDS)
            await self._gather.tell_last()
