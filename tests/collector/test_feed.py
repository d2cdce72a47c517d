"""What intakes tell, and what a steward hears of it: each against the other, with one clock."""

import logging
import time
from collections.abc import Iterable
from typing import Final

import pytest
from prometheus_client import CollectorRegistry

from meterhouse_agent.wire import slot_of
from meterhouse_collector.feed import TOLD_SECONDS, Feed, News
from meterhouse_collector.gather import Gather, Part
from meterhouse_collector.gathered import SLOT_NAMES, Gathered, packed, parse_slots, told_of
from meterhouse_collector.ledger import Entry
from meterhouse_collector.live import Pace
from meterhouse_collector.store import StoreUnavailableError
from meterhouse_collector.telemetry import Telemetry, value_of
from tests.collector.collecting import LENGTH, MemoryStore
from tests.collector.test_live import Clock, Watched, entry, meter

START: Final = int(time.time()) // 60 * 60
GRACE: Final = 3.0
HELD: Final = 300.0
PACE: Final = Pace(LENGTH, GRACE, HELD, 60.0)
BUGS: Final = "meterhouse_collector_bugs_total"


class Split:
    """A steward and its intakes on one store; time passes for all of them at once."""

    def __init__(self, **intakes: str) -> None:
        self.clock = Clock(START)
        self.store = MemoryStore()
        self.intakes: dict[str, Gather] = {}
        for name, slots in intakes.items():
            self.begin(name, slots)
        self.steward()

    def begin(self, name: str, slots: str) -> Gather:
        """Begin an intake, or begin it anew."""
        part = Part(name, "site-a", parse_slots(slots))
        made = Gather(part, PACE, store=self.store, bug=self.bug, clock=self.clock)
        self.intakes[name] = made
        return made

    def steward(self) -> None:
        """Begin a steward, or begin it anew."""
        self.watched = Watched(self.clock.now)
        self.watched.clock = self.clock
        self.watched.live._clock = self.clock
        self.telemetry = Telemetry(CollectorRegistry())
        self.marked: list[int] = []
        self.began = 0
        self.heard: dict[str, tuple[float, int]] = {}
        self.feed = Feed(
            self.store,
            self.watched.live,
            self.telemetry,
            site="site-a",
            grace_seconds=GRACE,
            news=News(self.watched.live.add, self._marked, self._began, self._heard),
            clock=self.clock,
        )

    def bug(self, where: str) -> None:
        raise AssertionError(where)

    def _marked(self, quarters: Iterable[int]) -> None:
        self.marked += quarters

    def _began(self) -> None:
        self.began += 1

    def _heard(self, node: str, at_seconds: float, waiting: int) -> None:
        self.heard[node] = at_seconds, waiting

    def take(self, made: Entry) -> None:
        """Have each intake take an entry that listens to its slot."""
        for intake in self.intakes.values():
            if slot_of(made.node) in intake._part.slots:
                intake.add(made)

    async def pass_seconds(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass: intakes tell, then the steward looks and rolls up."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.clock.now += step
            for intake in self.intakes.values():
                await intake.tell()
            await self.feed.look()
            if self.clock.now >= START + LENGTH + GRACE + TOLD_SECONDS:
                await self.watched.live.roll()

    def active(self, start: int) -> float:
        return self.watched.sums(start)["active_seconds"]


async def test_two_intakes_are_one_site() -> None:
    it = Split(a="00-31", b="32-63")
    assert {slot_of("node-1") < "32", slot_of("node-2") < "32"} == {True, False}
    it.take(entry("node-1", START, meters=meter(5.0)))
    it.take(entry("node-2", START))
    await it.pass_seconds(20)
    sums = it.watched.sums(START)
    assert sums["active_seconds"] == 20
    assert sums["installed_seconds"] == 20
    assert sums["facility_joules"] == 5
    assert it.watched.sums(START + LENGTH)["unknown_seconds"] == 20
    assert it.heard == dict.fromkeys(("node-1", "node-2"), (START + LENGTH, 0))


async def test_slots_that_two_tell_count_once_and_are_said_when_that_lasts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    it = Split(a="00-63", b="32-63")
    for node in ("node-1", "node-2"):
        it.take(entry(node, START))
    await it.pass_seconds(20)
    assert it.active(START) == 20
    assert value_of(it.telemetry.slots_told_twice) == 32
    assert "told by" not in caplog.text
    await it.pass_seconds(60)
    assert caplog.text.count("slots 32-63 are told by a and b: nothing is counted twice") == 1
    del it.intakes["b"]
    await it.pass_seconds(30)
    assert value_of(it.telemetry.slots_told_twice) == 0
    assert caplog.text.count("told by") == 1


async def test_slots_that_nobody_tells_are_unknown_and_are_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    it = Split(a="00-31")
    for node in ("node-1", "node-2"):
        it.take(entry(node, START))
    await it.pass_seconds(40)
    sums = it.watched.sums(START)
    assert (sums["active_seconds"], sums["unknown_seconds"]) == (10, 10)
    assert value_of(it.telemetry.slots_untold) == 32
    assert caplog.text.count("slots 32-63 are told by no intake") == 1
    it.begin("b", "32-63")
    await it.pass_seconds(20)
    assert value_of(it.telemetry.slots_untold) == 0
    assert caplog.text.count("all slots are told of again") == 1


async def test_what_comes_late_is_told_again_and_rolled_up_again() -> None:
    it = Split(a="00-63")
    it.take(entry("node-1", START))
    await it.pass_seconds(100)
    assert it.active(START) == 10
    it.take(entry("node-2", START))
    await it.pass_seconds(20)
    assert it.active(START) == 20


async def test_a_range_that_moves_brings_what_the_ledger_has_of_it() -> None:
    it = Split(a="00-63")
    moved = entry("node-1", START)
    it.take(moved)
    it.take(entry("node-2", START))
    await it.store.write(moved.rows)
    del it.intakes["a"]
    # It was in the ledger, and was not told of.
    new = it.begin("b", "00-63")
    await new.read_back(it.store)
    it.take(entry("node-2", START))
    await it.pass_seconds(20)
    assert it.active(START) == 20


async def test_an_intake_that_begins_anew_takes_up_its_own_and_its_marks_are_looked_for() -> None:
    it = Split(a="00-63")
    told = entry("node-1", START)
    it.take(told)
    await it.store.write(told.rows)
    await it.pass_seconds(12)
    assert it.began == 0
    await it.begin("a", "00-63").read_back(it.store)
    it.take(entry("node-2", START))
    await it.pass_seconds(12)
    assert it.active(START) == 20
    assert it.began == 1


async def test_marks_that_an_intake_wrote_reach_the_steward_once_each() -> None:
    it = Split(a="00-63")
    await it.pass_seconds(20)
    it.intakes["a"].marked([900])
    await it.pass_seconds(30)
    assert it.marked == [900]
    it.intakes["a"].marked([900])
    await it.pass_seconds(30)
    assert it.marked == [900, 900]


async def test_without_the_store_all_waits_and_then_is_told() -> None:
    it = Split(a="00-63")
    it.take(entry("node-1", START))
    it.store.down = "no server"
    it.clock.now += LENGTH + GRACE
    with pytest.raises(StoreUnavailableError):
        await it.intakes["a"].tell()
    with pytest.raises(StoreUnavailableError):
        await it.feed.look()
    it.store.down = ""
    await it.pass_seconds(20)
    assert it.active(START) == 10


async def test_a_slot_that_the_store_refuses_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    it = Split(a="00-63")
    it.store.refuse = lambda row: "too large" if getattr(row, "thing", "") == "07" else None
    await it.pass_seconds(30)
    assert caplog.text.count("the store refused 1 slots: too large") == 1
    assert value_of(it.telemetry.slots_untold) == 1


async def test_a_steward_that_begins_reads_what_was_told() -> None:
    it = Split(a="00-63")
    it.take(entry("node-1", START))
    await it.pass_seconds(20)
    it.steward()
    await it.watched.live.read_back(it.store, it.feed.read_back)
    await it.pass_seconds(5)
    assert it.active(START) == 10


async def test_a_report_that_cannot_be_taken_does_not_silence_the_others_of_its_slot() -> None:
    it = Split()
    heard: list[str] = []

    def take(made: Entry) -> None:
        if made.node == "node-1":
            raise ValueError("a bug of ours")
        heard.append(made.node)

    it.feed._news = it.feed._news._replace(entry=take)
    readers = {node: told_of(entry(node, START)) for node in ("node-1", "node-2")}
    row = packed(Gathered(START, readers), "site-a", slot_of("node-1"), "a", START)
    assert await it.store.write([row]) == []
    await it.pass_seconds(20)
    assert heard == ["node-2"]
    assert it.heard.keys() == {"node-1", "node-2"}
    labels = {"where": "feed"}
    assert it.telemetry.registry.get_sample_value(BUGS, labels) == 1


def test_every_slot_is_named() -> None:
    assert len(SLOT_NAMES) == 64
