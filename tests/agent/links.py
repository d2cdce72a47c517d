"""An ordinary transport in memory: what a broker and a collector would be to an agent."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry

from meterhouse_agent.publisher import Identity, Publisher
from meterhouse_agent.spool import Spool, Spooled, Standing, spool_path
from meterhouse_agent.telemetry import Metrics, Telemetry
from meterhouse_agent.transport import Link, Transport, TransportError
from meterhouse_agent.wire import (
    SCHEMA,
    Inventory,
    MessageKind,
    Receipt,
    Refusal,
    Report,
    Status,
    decode_report,
    decode_status,
    encode,
    inventory_hash,
)

STEP = 5
WHO = Identity("site-a", "node-1")
PATIENCE_SECONDS = 30.0
LONG_SECONDS = 3600.0


async def until(so: Callable[[], bool]) -> None:
    """Return when something is so; fail when it is not for long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not so():
        if time.monotonic() > deadline:
            raise AssertionError("it never came to be so")
        await asyncio.sleep(0.01)


class Exchange:
    """The other end: takes what is published, says receipts, and may be lost or refuse."""

    peer = "memory"

    def __init__(self) -> None:
        self.up = True
        self.connects = 0
        self.reports: list[Report] = []
        self.statuses: list[Status] = []
        self.retained: Status | None = None
        self._receipts: asyncio.Queue[bytes | None] = asyncio.Queue()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Link]:
        self.connects += 1
        if not self.up:
            raise TransportError("memory: nobody there")
        self._receipts = asyncio.Queue()
        yield self

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        await asyncio.sleep(0)
        if not self.up:
            raise TransportError("memory: lost")
        if topic == WHO.topic(MessageKind.REPORT):
            self.reports.append(decode_report(payload))
        else:
            assert topic == WHO.topic(MessageKind.STATUS)
            self.statuses.append(decode_status(payload))
            if retain:
                self.retained = self.statuses[-1]

    async def receipts(self) -> AsyncIterator[bytes]:
        while (payload := await self._receipts.get()) is not None:
            yield payload
        raise TransportError("memory: lost")

    def lose(self) -> None:
        """End the connection, and refuse others."""
        self.up = False
        self._receipts.put_nowait(None)

    def say(self, payload: bytes) -> None:
        self._receipts.put_nowait(payload)

    def receipt(
        self,
        *stored: tuple[int, int],
        refused: tuple[Refusal, ...] = (),
        credit: int = 0,
        wanted: tuple[str, ...] = (),
    ) -> None:
        """Say a receipt."""
        told = Receipt(
            schema=SCHEMA,
            node=WHO.node,
            length_seconds=STEP,
            stored=list(stored),
            refused=list(refused),
            credit=credit,
            inventory_wanted=list(wanted),
        )
        self.say(encode(told))

    @property
    def starts(self) -> list[int]:
        """The starts of all reports that came, in the order they came."""
        return [report.start_seconds for report in self.reports]


def report(start: int) -> Spooled:
    made = Report(
        schema=SCHEMA,
        site=WHO.site,
        node=WHO.node,
        start_seconds=start,
        length_seconds=STEP,
        inventory_hash=inventory_hash(Inventory()),
    )
    return Spooled(start, encode(made))


class Sender:
    """A publisher with its spool, as the agent puts them together."""

    def __init__(self, spool: Spool, transport: Transport, resend_after_seconds: float) -> None:
        self.spool = spool
        self.metrics = Metrics(CollectorRegistry())
        self.inventory = Inventory()
        self.publisher = Publisher(
            WHO,
            transport,
            spool,
            Telemetry(self.metrics, WHO.node),
            status=self._status,
            resend_after_seconds=resend_after_seconds,
        )

    def _status(self) -> Status:
        return Status(
            schema=SCHEMA,
            site=WHO.site,
            node=WHO.node,
            state="online",
            version="1",
            at_seconds=0,
            inventory_hash=inventory_hash(self.inventory),
            inventory=self.inventory,
        )

    async def keep(self, *starts: int) -> None:
        """Put reports into the spool that nobody was told of."""
        for start in starts:
            known = {inventory_hash(self.inventory): msgspec.json.encode(self.inventory)}
            await self.spool.commit([report(start)], Standing(start + STEP, []), known)

    async def make(self, *starts: int) -> None:
        """Make fresh reports."""
        for start in starts:
            await self.keep(start)
            self.publisher.fresh(report(start))

    async def kept(self) -> list[int]:
        return [each.start_seconds for each in await self.spool.oldest(10_000, skip=())]

    def counted(self, name: str, **labels: str) -> float:
        labels["node"] = WHO.node
        return self.metrics.registry.get_sample_value(f"meterhouse_agent_{name}", labels) or 0.0


@asynccontextmanager
async def sending(
    folder: Path, resend_after_seconds: float = LONG_SECONDS, *, backlog: int = 0
) -> AsyncIterator[tuple[Sender, Exchange]]:
    """Run a publisher that is connected, with reports of 0, 5, … waiting in its spool."""
    spool = Spool(spool_path(folder, WHO.node), 1 << 26)
    await spool.open()
    exchange = Exchange()
    sender = Sender(spool, exchange, resend_after_seconds)
    await sender.keep(*range(0, backlog * STEP, STEP))
    task = asyncio.create_task(sender.publisher.run())
    try:
        await until(lambda: exchange.statuses != [])
        yield sender, exchange
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await spool.close()


def lines(caplog_records: list[logging.LogRecord], text: str) -> int:
    """Return how many lines of a log hold a text."""
    return sum(text in record.getMessage() for record in caplog_records)
