"""An intake's word to the steward: each of its slots gathered, interval by interval.

A slot is told of in every interval, also when its agents are silent: that somebody listens is news
as well. An interval that late reports change is told again.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from meterhouse_agent import wire
from meterhouse_collector.gathered import Gathered, Told, packed, told_of
from meterhouse_collector.ledger import Entry
from meterhouse_collector.live import Pace
from meterhouse_collector.rows import EngineRow, MeterRow, NodeRow, PackedRow
from meterhouse_collector.store import Rejection, Store, StoreUnavailableError
from meterhouse_collector.ticks import tick
from meterhouse_collector.xids import MEASUREMENT, told_in

_LOG: Final = logging.getLogger(__name__)
_TICK_SECONDS: Final = 0.25
_AGAIN_SECONDS: Final = 2.0
# For so long it says what it told again and marked: the steward may have been away for a moment.
_SAID_SECONDS: Final = 150.0
# After so long the steward may look only where it is told to.
_LOOKED_AT_SECONDS: Final = 1.0
_FUTURE_SECONDS: Final = 60
_RETRY_SECONDS: Final = 2.0
_LAST_SECONDS: Final = 5.0
_ROWS_AT_ONCE: Final = 64
_KINDS: Final[Mapping[str, type]] = {"node": NodeRow, "meter": MeterRow, "engine": EngineRow}


class Part(NamedTuple):
    """Which intake it is, and whom it listens to."""

    name: str
    site: str
    slots: frozenset[str]


class _Slot:
    """What is known of a slot in one interval, and whether that was told."""

    __slots__ = ("readers", "told", "untold")

    def __init__(self) -> None:
        self.readers: dict[str, Told] = {}
        self.told = False
        self.untold = True


class Gather:
    """Holds the open intervals of some slots, and tells them once their grace is over.

    It writes by itself: what the store does not take is made anew from what is held by then.
    """

    def __init__(
        self,
        part: Part,
        pace: Pace,
        *,
        store: Store,
        bug: Callable[[str], None],
        waiting: Callable[[], Mapping[str, int]] = dict,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._part = part
        self._pace = pace
        self._store = store
        self._bug = bug
        self._waiting = waiting
        self._clock = clock
        self._began = int(clock())
        self._open: dict[int, dict[str, _Slot]] = {}
        self._next: int | None = None
        self._again: dict[tuple[str, int], float] = {}
        self._marked: dict[int, float] = {}
        self._again_at = float("-inf")
        self._told_refused = False

    def add(self, entry: Entry) -> None:
        """Take an entry into its interval, if that is still held."""
        start = entry.start_seconds
        if start < self._clock() - self._pace.held_seconds:
            return
        slot = self._slot(start, wire.slot_of(entry.node))
        slot.readers[entry.node] = told_of(entry)
        slot.untold = True

    def _slot(self, start: int, name: str) -> _Slot:
        return self._open.setdefault(start, {}).setdefault(name, _Slot())

    def marked(self, quarters: Iterable[int]) -> None:
        """Take the writer's word that marks of these quarters were written."""
        now = self._clock()
        self._marked.update(dict.fromkeys(quarters, now))

    async def read_back(self, store: Store) -> None:
        """Take up from the ledger what is held of these slots, after a start."""
        now = int(self._clock())
        length = self._pace.length_seconds
        begin = (now - round(self._pace.held_seconds)) // length * length
        for measurement, kind in _KINDS.items():
            rows = await store.packed(
                "ledger", measurement, start_seconds=begin, end_seconds=now + _FUTURE_SECONDS
            )
            self._take_back(measurement, msgspec.json.Decoder(kind), rows)
        points = await store.points(
            "event", MEASUREMENT, start_seconds=begin, end_seconds=now + _FUTURE_SECONDS
        )
        for each in told_in(points, self._part.site):
            slot = wire.slot_of(each.node)
            if slot in self._part.slots:
                readers = self._slot(each.start_seconds, slot).readers
                told = readers.get(each.node, Told())
                codes = (*told.xids.get(each.device, ()), *(each.xid,) * each.times)
                readers[each.node] = replace(told, xids={**told.xids, each.device: codes})
        self._next = begin

    def _take_back(
        self,
        measurement: str,
        decoder: msgspec.json.Decoder[NodeRow | MeterRow | EngineRow],
        rows: Iterable[PackedRow],
    ) -> None:
        count = 0
        for row in rows:
            slot = wire.slot_of(row.reader)
            if row.site != self._part.site or slot not in self._part.slots:
                continue
            try:
                decoded = decoder.decode(row.row)
            except msgspec.MsgspecError:
                continue
            readers = self._slot(row.start_seconds, slot).readers
            readers[row.reader] = _with(readers.get(row.reader, Told()), row.thing, decoded)
            count += 1
        if count:
            _LOG.info("read back %d rows of %s", count, measurement)

    async def run(self) -> None:
        """Tell until cancelled; without the store what is held waits."""
        while True:
            wait = _TICK_SECONDS
            try:
                await self.tell()
            except StoreUnavailableError as error:
                # The writer tells of the outage.
                _LOG.debug("slots wait for the store: %s", error)
                wait = _RETRY_SECONDS
            except Exception:  # noqa: BLE001 - what is measured goes on without what is live
                self._bug("gather")
                wait = _RETRY_SECONDS
            await tick(wait)

    async def tell_last(self) -> None:
        """Tell, at the end, all that was not told, also of intervals that are not over."""
        keys = [
            (start, name)
            for start, slots in self._open.items()
            for name, slot in slots.items()
            if slot.untold
        ]
        with contextlib.suppress(StoreUnavailableError, TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await self._write(keys)

    async def tell(self) -> None:
        """Write what is due; raise ``StoreUnavailableError`` where that was not taken."""
        now, length = self._clock(), self._pace.length_seconds
        held = now - self._pace.held_seconds
        for start in [start for start in self._open if start < held]:
            del self._open[start]
        due = int(now - self._pace.grace_seconds) // length * length
        if self._next is None or self._next > due + self._pace.held_seconds:
            # The first time, or the clock was far ahead and was set back.
            self._next = due
        first = int(max(self._next, held)) // length * length
        for start in range(first, due, length):
            for name in self._part.slots:
                self._slot(start, name)
        self._next = max(self._next, due)
        await self._write(self._due(due, now))

    def _due(self, due: int, now: float) -> list[tuple[int, str]]:
        """Return what is to be told, the newest first; what is told again is gathered a while."""
        length = self._pace.length_seconds
        rested = not 0 <= now - self._again_at < _AGAIN_SECONDS
        found = [
            (start, name)
            for start in sorted(self._open, reverse=True)
            if start + length <= due
            for name, slot in self._open[start].items()
            if slot.untold and (rested or not slot.told)
        ]
        if any(self._open[start][name].told for start, name in found):
            self._again_at = now
        return found

    async def _write(self, keys: list[tuple[int, str]]) -> None:
        now = self._clock()
        recent = now - _SAID_SECONDS
        self._again = {key: at for key, at in self._again.items() if at > recent}
        self._marked = {quarter: at for quarter, at in self._marked.items() if at > recent}
        waiting: dict[str, dict[str, int]] = {}
        for node, count in self._waiting().items():
            if count > 0:
                waiting.setdefault(wire.slot_of(node), {})[node] = count
        for first in range(0, len(keys), _ROWS_AT_ONCE):
            batch = keys[first : first + _ROWS_AT_ONCE]
            rows = [
                packed(
                    self._gathered(start, name, waiting.get(name, {})),
                    self._part.site,
                    name,
                    self._part.name,
                    start,
                )
                for start, name in batch
            ]
            slots = [self._open[start][name] for start, name in batch]
            for slot in slots:
                slot.untold = False
            try:
                self._tell_refused(await self._store.write(rows))
            except BaseException:
                for slot in slots:
                    slot.untold = True
                raise
            old = now - self._pace.length_seconds - self._pace.grace_seconds - _LOOKED_AT_SECONDS
            for (start, name), slot in zip(batch, slots, strict=True):
                if slot.told or start < old:
                    # Now, for what is said before it is there would be read too soon.
                    self._again[name, start] = self._clock()
                slot.told = True

    def _tell_refused(self, rejections: Sequence[Rejection]) -> None:
        if rejections and not self._told_refused:
            # The ledger has them, so quarters will be whole; live their devices are unknown.
            _LOG.error("the store refused %d slots: %s", len(rejections), rejections[0].reason)
        self._told_refused = bool(rejections)

    def _gathered(self, start: int, name: str, waiting: dict[str, int]) -> Gathered:
        slot = self._open[start][name]
        return Gathered(
            began_seconds=self._began,
            readers=slot.readers,
            waiting=waiting,
            again={s: at for (n, s), at in self._again.items() if n == name and s != start},
            marked=self._marked,
        )


def _with(told: Told, thing: str, row: NodeRow | MeterRow | EngineRow) -> Told:
    if isinstance(row, NodeRow):
        return replace(told, node=row)
    if isinstance(row, MeterRow):
        return replace(told, meters={**told.meters, thing: row})
    return replace(told, engines={**told.engines, thing: row})
