"""The collector: its parts wired together, from a config to a running whole."""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry

from meterhouse_collector.alerts.engine import Alerts
from meterhouse_collector.alerts.known import Own
from meterhouse_collector.alerts.metrics import AlertMetrics
from meterhouse_collector.alerts.things import waiting_seconds
from meterhouse_collector.config import CollectorConfig
from meterhouse_collector.feed import TOLD_SECONDS, Feed, News, hear_agent
from meterhouse_collector.installed import InstalledElsewhere
from meterhouse_collector.intake import Grid, Intake
from meterhouse_collector.ledger import Entry
from meterhouse_collector.live import Live, Pace
from meterhouse_collector.notify.notifier import Notifier, ways_of
from meterhouse_collector.own_health import OwnHealth
from meterhouse_collector.quarters.steward import Steward
from meterhouse_collector.receipts import Receipts
from meterhouse_collector.receive import Receiver
from meterhouse_collector.receive.mqtt import Listening, MqttReceiver
from meterhouse_collector.receive.unix import UnixReceiver
from meterhouse_collector.running import close_store, collect, make_store, open_store
from meterhouse_collector.settlement.rates import RateBook
from meterhouse_collector.settlement.records import Record
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import load_site
from meterhouse_collector.telemetry import Telemetry, value_of
from meterhouse_collector.web.api import Answers
from meterhouse_collector.web.long_windows import LongWindows
from meterhouse_collector.web.server import PageServer
from meterhouse_collector.web.stored_cells import StoredCells
from meterhouse_collector.writer import Timing, Writer

_LOG: Final = logging.getLogger(__name__)
_DRAIN_SECONDS: Final = 5.0


class Collector:
    """Everything one collector process does, or all of it but taking reports: a steward's."""

    def __init__(self, config: CollectorConfig) -> None:
        self.config = config
        self.index = SiteIndex(load_site(config.site))
        self.telemetry = Telemetry(CollectorRegistry())
        self.store = make_store(config)
        length = round(config.interval)
        receipts = Receipts(length_seconds=length, every_seconds=config.receipts_every)
        self._receiver = self._make_receiver()
        self._rates = RateBook(self.index)
        self.steward = Steward(
            self.store,
            self.index,
            self.telemetry,
            held_seconds=config.held,
            told=self._settled,
        )
        self._writer = Writer(
            self.store,
            receipts,
            self.telemetry,
            timing=Timing(
                config.flush_every,
                config.held,
                may_have_summed=self.steward.may_have_summed,
            ),
            send=self._receiver.send,
            flow=self._flow,
            changed=self.steward.changed,
        )
        self.live = Live(
            self.index,
            Pace(length, self._grace_seconds(), config.held, config.window),
            write=self._writer.write,
            bug=self.telemetry.bug,
            rates=self._rates.at,
        )
        self.alerts = Alerts(
            self.live,
            self.index,
            self.store,
            self.telemetry,
            write=self._writer.write,
            own=self._own,
        )
        self.intake = Intake(
            self.index,
            Grid(length, round(config.detail_every)),
            receipts=receipts,
            telemetry=self.telemetry,
            accept=self._accept,
            write=self._writer.write,
        )
        self.health = OwnHealth(
            self.telemetry, self.live, self.index, self.intake.agents, write=self._writer.write
        )
        self._feed = self._make_feed()
        self._installed = InstalledElsewhere(self.store, self.index)
        self.telemetry.registry.register(AlertMetrics(self.alerts.looked, self.alerts.book.open))
        self.notifiers = self._make_notifiers()
        self._cells: StoredCells | None = None
        self._long_windows = LongWindows(self.store, self.index)
        self.page = self._make_page()

    def _grace_seconds(self) -> float:
        """Return when an interval is rolled up: a steward is told by others first."""
        return self.config.grace + (TOLD_SECONDS if self.config.role == "steward" else 0.0)

    def _make_feed(self) -> Feed | None:
        if self.config.role != "steward":
            return None
        news = News(
            entry=self._take,
            heard=partial(hear_agent, self.intake.agents),
            marked=self.steward.changed,
            began=self.steward.look_for_marks,
        )
        return Feed(
            self.store,
            self.live,
            self.telemetry,
            site=self.index.site,
            grace_seconds=self.config.grace,
            news=news,
        )

    def _make_notifiers(self) -> list[Notifier]:
        return [
            Notifier(
                way,
                self.index.site,
                self.alerts.book.open,
                self.telemetry,
                write=self._writer.write,
            )
            for way in (() if self.config.alerts is None else ways_of(self.config.alerts))
        ]

    def _make_page(self) -> PageServer | None:
        if self.config.page is None:
            return None
        answers = Answers(
            self.live,
            self.intake.agents,
            self.index,
            book=self.alerts.book,
            store=self.store,
            long_windows=self._long_windows,
        )
        self.intake.seen = answers.fleet.take
        if self.config.role == "steward":
            self._cells = StoredCells(
                self.store,
                answers.fleet,
                self.index.site,
                every_seconds=self.config.detail_every,
            )
        return PageServer(
            self.config.page,
            answers,
            self.telemetry.registry,
            refused=lambda reason: self.telemetry.page_refused.labels(reason).inc(),
        )

    def _make_receiver(self) -> Receiver:
        config = self.config
        if config.socket is not None:
            return UnixReceiver(config.socket.path)
        if config.mqtt is None:
            raise AssertionError("BUG: a config has either [mqtt] or [socket]")
        return MqttReceiver(
            config.mqtt,
            Listening(config.client_id, config.taken_slots),
            connected=self.telemetry.connected.set,
            skipped=self.telemetry.dropped.labels("paused").inc,
        )

    def _accept(self, entry: Entry) -> bool:
        if not self._writer.accept(entry):
            return False
        self._take(entry)
        return True

    def _take(self, entry: Entry) -> None:
        self.live.add(entry)
        self.alerts.add(entry)

    async def _settled(self, records: Sequence[Record]) -> None:
        await self._rates.hear(self.store, records)
        self._long_windows.changed(record.start_seconds for record in records)

    def _own(self) -> Own:
        agents = self.intake.agents.items()
        waiting = {name: agent.waiting for name, agent in agents if agent.report_seconds}
        return Own(
            store_up=value_of(self.telemetry.store_up) == 1,
            quarters_behind=value_of(self.telemetry.quarters_behind),
            waiting_seconds=waiting_seconds(waiting, round(self.config.interval)),
        )

    def _flow(self, reading: bool) -> None:  # noqa: FBT001 - on or off
        if reading:
            self._receiver.resume()
        else:
            self._receiver.pause()

    async def run(self) -> None:
        """Collect until cancelled; what is held then is still written."""
        if self.page is not None:
            # First, so that a port that is taken is known at once.
            await self.page.start()
        try:
            await self._collect()
        finally:
            if self.page is not None:
                await self.page.close()

    async def _collect(self) -> None:
        try:
            await open_store(self.store, self.telemetry, self._read_back)
            await collect(self._receiver, self.intake.message, self._work)
        finally:
            await close_store(self.store)

    async def _read_back(self) -> None:
        await self._installed.learn()
        await self.live.read_back(self.store, None if self._feed is None else self._feed.read_back)
        await self.alerts.read_back(self.store)
        for notifier in self.notifiers:
            await notifier.read_back(self.store)

    async def _work(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._writer.run(), name="writer")
                if self._feed is not None:
                    tasks.create_task(self._feed.run(), name="feed")
                    tasks.create_task(self._installed.run(), name="installed")
                tasks.create_task(self.live.run(), name="live")
                tasks.create_task(self.steward.run(), name="steward")
                tasks.create_task(self.alerts.run(), name="alerts")
                for notifier in self.notifiers:
                    tasks.create_task(notifier.run(), name="notifier")
                tasks.create_task(self.health.run(), name="health")
                if self.page is not None:
                    tasks.create_task(self.page.run(), name="page")
                if self._cells is not None:
                    tasks.create_task(self._cells.run(), name="cells")
        finally:
            await self._writer.drain(_DRAIN_SECONDS)
