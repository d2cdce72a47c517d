"""A collector whose clock jumps: reports in, batch by batch, until all is stored and settled."""

import asyncio
import heapq
import random
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry

from meterhouse_agent import wire
from meterhouse_collector.intake import Grid, Intake
from meterhouse_collector.ledger import Entry
from meterhouse_collector.quarters.steward import Steward
from meterhouse_collector.receipts import Receipts
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.store import Store
from meterhouse_collector.telemetry import Telemetry
from meterhouse_collector.writer import Timing, Writer
from tests.month.reports import Message, Reports
from tests.month.scenario import STEP

DAY_SECONDS: Final = 86_400
# So many intervals of the whole site fill one batch of the writer.
BATCH_INTERVALS: Final = 30
BATCH_SECONDS: Final = BATCH_INTERVALS * STEP
# What comes later than this is late, and its quarter may be summed already.
HELD_SECONDS: Final = 2 * BATCH_SECONDS
_DETAIL_EVERY_SECONDS: Final = DAY_SECONDS
_FLUSH_SECONDS: Final = 0.002
_TROUBLES: Final = (
    *("refused_total", "dropped_total", "rejected_total", "unknown_spans_total", "bugs_total"),
    *("unread_rows_total", "quarters_behind", "dirty_marks", "pending_reports"),
)


class Batch(NamedTuple):
    """Messages that have come by an instant."""

    at_seconds: int
    messages: list[Message]


class Disorder(NamedTuple):
    """How badly reports travel: which parts of them are late, by how much, and sent twice."""

    late_ratio: float = 0.0
    late_seconds: int = DAY_SECONDS
    twice_ratio: float = 0.0
    shuffled: bool = False
    seed: int = 1


IN_ORDER: Final = Disorder()
DISORDER: Final = Disorder(late_ratio=0.05, twice_ratio=0.01, shuffled=True)


def travel(reports: Reports, disorder: Disorder = IN_ORDER) -> Iterator[Batch]:
    """Yield all reports of a scenario, in the batches in which they come."""
    dice = random.Random(disorder.seed)
    waiting: list[tuple[int, int, Message]] = []
    count = 0
    begins, ends = reports.scenario.begins, reports.scenario.ends
    # The registers at the window's beginning are read at the end of the interval before it.
    yield Batch(begins + 1, [reports.facility_at(begins - STEP)])
    start = begins
    while start < ends or waiting:
        until = start + BATCH_SECONDS
        messages: list[Message] = []
        for at in range(start, min(until, ends), STEP):
            for message in reports.at(at):
                late = dice.random() < disorder.late_ratio
                twice = dice.random() < disorder.twice_ratio
                if not late:
                    messages.append(message)
                for _ in range(late + twice):
                    count += 1
                    came = at + STEP + dice.randrange(disorder.late_seconds)
                    heapq.heappush(waiting, (came, count, message))
        while waiting and waiting[0][0] < until:
            messages.append(heapq.heappop(waiting)[2])
        if disorder.shuffled:
            dice.shuffle(messages)
        yield Batch(until + 1, messages)
        start = until


class Collected(NamedTuple):
    """What a run took."""

    sent: int
    collecting_seconds: float
    settling_seconds: float


class Clock:
    """The time of a collector and its store."""

    def __init__(self, at_seconds: float) -> None:
        self.now = at_seconds

    def __call__(self) -> float:
        """Return the time."""
        return self.now


class _Counting(Receipts):
    """Receipts that also count what was stored."""

    count = 0

    def stored(self, address: tuple[str, str], start_seconds: int) -> None:
        super().stored(address, start_seconds)
        self.count += 1


class Compressed:
    """Intake, writer and steward over a store, on a clock that this one moves."""

    def __init__(self, store: Store, index: SiteIndex, clock: Clock) -> None:
        self._clock = clock
        self.telemetry = Telemetry(CollectorRegistry())
        self.receipted = 0
        self._receipts = receipts = _Counting(length_seconds=STEP, every_seconds=0.0)
        self._steward = Steward(
            store, index, self.telemetry, held_seconds=HELD_SECONDS, clock=clock, rest=0.0
        )
        self._writer = Writer(
            store,
            receipts,
            self.telemetry,
            timing=Timing(_FLUSH_SECONDS, HELD_SECONDS, clock),
            send=self._receipt,
            flow=self._never_paused,
            changed=self._steward.changed,
        )
        self._intake = Intake(
            index,
            Grid(STEP, _DETAIL_EVERY_SECONDS),
            receipts=receipts,
            telemetry=self.telemetry,
            accept=self._accept,
            write=self._writer.write,
            clock=clock,
        )
        self._accepted = 0
        self._settling = 0.0

    async def collect(
        self, statuses: Iterable[Message], batches: Iterable[Batch], *, settle_every: int
    ) -> Collected:
        """Take all batches; settle after every so many of them, and all that is left at the end."""
        began, sent = time.monotonic(), 0
        writing = asyncio.create_task(self._writer.run())
        try:
            for message in statuses:
                self._intake.message(*message)
            for number, batch in enumerate(batches, 1):
                self._clock.now = float(batch.at_seconds)
                for message in batch.messages:
                    self._intake.message(*message)
                sent += len(batch.messages)
                await self._written(writing)
                if number % settle_every == 0:
                    await self._settle()
        finally:
            writing.cancel()
            with suppress(asyncio.CancelledError):
                await writing
        await self._writer.drain(60.0)
        self._clock.now += HELD_SECONDS + STEP
        await self._settle()
        return Collected(
            sent,
            time.monotonic() - began - self._settling,
            self._settling,
        )

    def troubles(self) -> dict[str, float]:
        """Return the collector's own counts of what went wrong or was left over."""
        return {
            sample.name: sample.value
            for metric in self.telemetry.registry.collect()
            for sample in metric.samples
            if sample.value and sample.name.endswith(_TROUBLES)
        }

    async def _settle(self) -> None:
        began = time.monotonic()
        while await self._steward.step():
            pass
        self._settling += time.monotonic() - began

    async def _written(self, writing: "asyncio.Task[None]") -> None:
        """Wait until what was accepted is in the store."""
        wanted = self._accepted
        while self._receipts.count < wanted:
            if writing.done():
                writing.result()
            await asyncio.sleep(0.001)

    def _accept(self, entry: Entry) -> bool:
        if not self._writer.accept(entry):
            raise AssertionError("a batch is larger than what the writer holds")
        self._accepted += 1
        return True

    def _receipt(self, _: str, payload: bytes) -> bool:
        receipt = wire.decode_receipt(payload)
        assert receipt.refused == []
        self.receipted += sum((last - first) // STEP + 1 for first, last in receipt.stored)
        return True

    def _never_paused(self, reading: bool) -> None:  # noqa: FBT001 - on or off
        assert reading
