"""The steward's ear: what the intakes tell of their slots, from the store into the live part.

An interval is read once its grace is over, until every slot was told of or a while has passed;
after that only where an intake says that it told it again. Two intakes that tell of one slot do no
harm but for the work, for their rows are the same; that nobody tells of a slot leaves its devices
``unknown``. Both are said, as either is a fault of some config.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, NamedTuple

from meterhouse_agent.wire import QUARTER_SECONDS
from meterhouse_collector.agents import Agent
from meterhouse_collector.gathered import (
    MEASUREMENT,
    POLICY,
    SLOT_NAMES,
    Gathered,
    slots_text,
    unpacked,
)
from meterhouse_collector.ledger import Entry
from meterhouse_collector.live import Live
from meterhouse_collector.rows import PackedRow
from meterhouse_collector.store import Store, StoreUnavailableError
from meterhouse_collector.telemetry import Telemetry
from meterhouse_collector.ticks import tick

_LOG: Final = logging.getLogger(__name__)
# From the end of an intake's grace until what it tells can be read.
TOLD_SECONDS: Final = 2.0
_TICK_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 2.0
_UNTOLD_AFTER_SECONDS: Final = 10.0
# A range that moves from one intake to the next may be told by both for so long.
_HAND_OVER_SECONDS: Final = 30.0
_INTERVALS_AT_ONCE: Final = 8


class News(NamedTuple):
    """Who wants to know what the intakes say beside their rows.

    ``entry`` takes each report, ``marked`` the quarters that were marked, and ``began`` is called
    for an intake that has begun anew.
    """

    entry: Callable[[Entry], None]
    marked: Callable[[Iterable[int]], None]
    began: Callable[[], None]
    heard: Callable[[str, float, int], None]


class _Twice(NamedTuple):
    """Since when a slot was told by more than one part, when last, and by which."""

    since: float
    last: float
    parts: frozenset[str]


class Feed:
    """Reads what is told of the slots of one site."""

    def __init__(
        self,
        store: Store,
        live: Live,
        telemetry: Telemetry,
        *,
        site: str,
        grace_seconds: float,
        news: News,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._site = site
        self._live = live
        self._telemetry = telemetry
        self._grace = grace_seconds
        self._news = news
        self._clock = clock
        self._next: int | None = None
        self._open: dict[int, dict[str, set[str]]] = {}
        self._due_again: set[int] = set()
        self._seen: dict[tuple[int, str, str], int] = {}
        self._again_seen: dict[tuple[int, str], float] = {}
        self._marked_seen: dict[tuple[int, str], float] = {}
        self._lives: dict[str, int] = {}
        self._judged_from = clock()
        self._twice: dict[str, _Twice] = {}
        self._said_twice: frozenset[str] = frozenset()
        self._said_untold: frozenset[str] = frozenset()

    async def read_back(self, start_seconds: int, end_seconds: int) -> AsyncIterator[Entry]:
        """Yield what was told of a window; for ``Live.read_back``."""
        self._next = start_seconds
        step = _INTERVALS_AT_ONCE * self._live.pace.length_seconds
        for begin in range(start_seconds, end_seconds, step):
            for row in await self._read(begin, min(begin + step, end_seconds)):
                gathered = unpacked(row)
                if gathered is not None:
                    for entry in gathered.entries(self._site, row.start_seconds):
                        yield entry

    async def _read(self, start: int, end: int) -> list[PackedRow]:
        rows = await self._store.packed(POLICY, MEASUREMENT, start_seconds=start, end_seconds=end)
        return [row for row in rows if row.site == self._site]

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            wait = _TICK_SECONDS
            try:
                await self.look()
            except StoreUnavailableError as error:
                # The writer tells of the outage.
                _LOG.debug("slots wait for the store: %s", error)
                wait = _RETRY_SECONDS
            except Exception:  # noqa: BLE001 - what is measured goes on without what is live
                self._telemetry.bug("feed")
                wait = _RETRY_SECONDS
            await tick(wait)

    async def look(self) -> None:
        """Read what is due; raise ``StoreUnavailableError``."""
        now, length = self._clock(), self._live.pace.length_seconds
        due = int(now - self._grace) // length * length
        held = now - self._live.pace.held_seconds
        if self._next is None or self._next > due + self._live.pace.held_seconds:
            self._next = due - length
        first = int(max(self._next, held)) // length * length
        self._open.update({start: {} for start in range(first, due, length)})
        self._next = max(self._next, due)
        again, self._due_again = self._due_again, set()
        wanted = sorted(again | self._open.keys())
        try:
            for start in wanted:
                if start >= held:
                    self._take(start, await self._read(start, start + length))
        except BaseException:
            self._due_again |= again
            raise
        for start in sorted(self._open):
            told, age = self._open[start], now - start - length - self._grace
            whole = len(told) == len(SLOT_NAMES) and age >= TOLD_SECONDS
            if whole or age >= _UNTOLD_AFTER_SECONDS:
                self._judge(start, self._open.pop(start), now)
        self._forget(held, now)

    def _take(self, start: int, rows: list[PackedRow]) -> None:
        told = self._open.get(start, {})
        for row in rows:
            told.setdefault(row.thing, set()).add(row.reader)
            key, digest = (start, row.thing, row.reader), hash(row.row)
            if self._seen.get(key) == digest:
                continue
            gathered = unpacked(row)
            if gathered is None:
                self._telemetry.unread_rows.inc()
                continue
            self._seen[key] = digest
            for entry in gathered.entries(self._site, start):
                self._tell(entry)
            self._hear(gathered, start, row.reader)

    def _tell(self, entry: Entry) -> None:
        """Hand on a report; one that cannot be taken must not silence the others of its slot."""
        try:
            self._news.entry(entry)
        except Exception:  # noqa: BLE001 - see above
            self._telemetry.bug("feed")

    def _judge(self, start: int, told: dict[str, set[str]], now: float) -> None:
        """Note which slots were told by none, or by two, in an interval that nobody adds to."""
        if start < self._judged_from:
            return
        self._judged_from = start
        self._note_twice({slot: parts for slot, parts in told.items() if len(parts) > 1}, now)
        self._note_untold(frozenset(SLOT_NAMES) - told.keys())

    def _hear(self, gathered: Gathered, start: int, part: str) -> None:
        ends = float(start + self._live.pace.length_seconds)
        for reader in gathered.readers:
            self._news.heard(reader, ends, gathered.waiting.get(reader, 0))
        if self._lives.get(part) != gathered.began_seconds:
            known = part in self._lives
            self._lives[part] = gathered.began_seconds
            if known:
                # It may have marked what it could not tell of before it ended.
                self._news.began()
        marked = {
            q: at for q, at in gathered.marked.items() if self._marked_seen.get((q, part)) != at
        }
        self._marked_seen.update({(quarter, part): at for quarter, at in marked.items()})
        if marked:
            self._news.marked(marked)
        again = {
            s: at for s, at in gathered.again.items() if self._again_seen.get((s, part), 0.0) < at
        }
        self._again_seen.update({(s, part): at for s, at in again.items()})
        self._due_again.update(again)

    def _note_twice(self, twice: dict[str, set[str]], now: float) -> None:
        for slot, parts in twice.items():
            since = self._twice[slot].since if slot in self._twice else now
            self._twice[slot] = _Twice(since, now, frozenset(parts))
        # One of both may be late: an interval in which one lacks says nothing yet.
        gone = now - _UNTOLD_AFTER_SECONDS
        self._twice = {slot: seen for slot, seen in self._twice.items() if seen.last > gone}
        self._telemetry.slots_told_twice.set(len(self._twice))
        long_ago = now - _HAND_OVER_SECONDS
        lasting = frozenset(slot for slot, seen in self._twice.items() if seen.since <= long_ago)
        if lasting - self._said_twice:
            names = sorted({name for slot in lasting for name in self._twice[slot].parts})
            _LOG.error(
                "slots %s are told by %s: nothing is counted twice, but all is done twice; "
                "let their [slots] not overlap",
                slots_text(lasting),
                " and ".join(names),
            )
        self._said_twice = lasting

    def _note_untold(self, untold: frozenset[str]) -> None:
        self._telemetry.slots_untold.set(len(untold))
        if untold and untold != self._said_untold:
            _LOG.error(
                "slots %s are told by no intake: their devices count as unknown; "
                "start a collector that has them",
                slots_text(untold),
            )
        elif self._said_untold and not untold:
            _LOG.info("all slots are told of again")
        self._said_untold = untold

    def _forget(self, held: float, now: float) -> None:
        self._seen = {key: value for key, value in self._seen.items() if key[0] >= held}
        self._again_seen = {key: value for key, value in self._again_seen.items() if key[0] >= held}
        recent = now - QUARTER_SECONDS
        self._marked_seen = {key: at for key, at in self._marked_seen.items() if at > recent}


def hear_agent(agents: dict[str, Agent], node: str, at_seconds: float, waiting: int) -> None:
    """Note on an agent's entry that one of its reports was told of."""
    agent = agents.get(node)
    if agent is not None and at_seconds >= agent.report_seconds:
        agent.report_seconds, agent.waiting = at_seconds, waiting
