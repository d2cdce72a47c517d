"""Receipts: what is said to whom, how often, and how credit is divided."""

import logging
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_collector.backlog import Backlog
from meterhouse_collector.receipts import Address, Receipts
from tests.collector.collecting import LENGTH, say

ONE, TWO = Address("site-a", "node-1"), Address("site-a", "node-2")


def receipts(every: float = 30.0) -> Receipts:
    return Receipts(length_seconds=LENGTH, every_seconds=every)


@given(st.sets(st.integers(0, 60).map(lambda n: n * LENGTH)))
def test_ranges_name_exactly_what_was_stored(starts: set[int]) -> None:
    it = receipts()
    for start in starts:
        it.stored(ONE, start)
    said = say(it)
    ranges = said["node-1"].stored if said else []
    named = [s for first, last in ranges for s in range(first, last + 1, LENGTH)]
    assert named == sorted(starts)
    gaps = [ranges[n + 1][0] - ranges[n][1] for n in range(len(ranges) - 1)]
    assert all(gap > LENGTH for gap in gaps)


@given(st.lists(st.integers(0, 20).map(lambda n: n * LENGTH) | st.integers(0, 50)))
def test_what_is_stored_again_is_named_once(starts: list[int]) -> None:
    it = receipts()
    for start in starts:
        it.stored(ONE, start)
    said = say(it)
    ranges = said["node-1"].stored if said else []
    named = [s for first, last in ranges for s in range(first, last + 1, LENGTH)]
    assert sorted(named) == sorted(set(starts))


def test_a_receipt_comes_at_most_every_thirty_seconds_while_all_is_well() -> None:
    it = receipts()
    said_at = []
    for tenth in range(1000):
        now = tenth / 10
        it.waiting(ONE, 0)
        it.stored(ONE, tenth * LENGTH)
        if say(it, now):
            said_at.append(now)
    assert said_at == [0.0, 30.0, 60.0, 90.0]


def test_a_drain_and_a_refusal_are_answered_each_second() -> None:
    it = receipts()
    said = {"node-1": 0, "node-2": 0}
    for tenth in range(100):
        it.waiting(ONE, 1000)
        it.refused(TWO, tenth * LENGTH, "off_grid", final=True)
        for node in say(it, tenth / 10):
            said[node] += 1
    assert said == {"node-1": 10, "node-2": 10}


def test_nothing_to_say_is_not_said() -> None:
    it = receipts()
    it.waiting(ONE, 0)
    assert say(it) == {}
    it.waiting(ONE, 10)
    assert say(it, room=0) == {}


def test_what_no_connection_took_is_kept() -> None:
    it = receipts()
    it.stored(ONE, 5)
    it.refused(ONE, 10, "foreign", final=True)
    it.stored(TWO, 5)
    went = it.say(0.0, room=0, send=lambda topic, _: "/node-2/" in topic)
    assert went == 1
    said = say(it, 1.0)
    assert said["node-1"].stored == [(5, 5)]
    assert [r.start_seconds for r in said["node-1"].refused] == [10]
    assert "node-2" not in said


def test_stored_after_all_is_no_longer_refused() -> None:
    it = receipts()
    it.refused(ONE, 5, "unknown_inventory", final=False)
    it.stored(ONE, 5)
    said = say(it)["node-1"]
    assert (said.stored, said.refused) == ([(5, 5)], [])


def test_everything_is_said_at_the_end_and_without_credit() -> None:
    it = receipts()
    it.stored(ONE, 5)
    assert len(say(it, 0.0)) == 1
    it.stored(ONE, 10)
    it.waiting(ONE, 100)
    found: list[wire.Receipt] = []

    def send(_: str, payload: bytes) -> bool:
        found.append(wire.decode_receipt(payload))
        return True

    assert it.say(0.1, room=0, send=send, everything=True) == 1
    assert (found[0].stored, found[0].credit) == ([(10, 10)], 0)


def test_how_far_behind_the_spools_are_is_the_age_of_the_oldest_that_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    it, backlog = receipts(), Backlog()

    def note(tick: float) -> float:
        since = it.waiting_since_seconds
        return backlog.note(it.total_waiting, since, now=10_000.0, tick=tick)

    assert note(0.0) == 0.0
    it.waiting(ONE, 700, 6_400)
    it.waiting(TWO, 20, 9_000)
    assert [note(tick) for tick in (1.0, 2.0, 62.0)] == [3_600.0] * 3
    it.waiting(ONE, 0, None)
    assert (it.total_waiting, note(63.0)) == (20, 1_000.0)
    it.waiting(TWO, 1, 9_990)
    assert [note(tick) for tick in (64.0, 65.0)] == [10.0, 10.0]
    # A clock that is set back makes no negative age.
    it.waiting(TWO, 1, 10_050)
    assert note(66.0) == 0.0
    told = "720 reports wait in the agents' spools, the oldest of 60 min ago"
    assert caplog.messages == [told, told, "the agents' spools are caught up with"]


def test_credit_is_no_more_than_what_waits_and_not_given_twice() -> None:
    it = receipts()
    it.waiting(ONE, 3)
    assert say(it, 0.0, room=1000)["node-1"].credit == 3
    it.waiting(ONE, 10_000)
    assert say(it, 1.0, room=1000)["node-1"].credit == 200
    it.waiting(ONE, 10_000)
    assert say(it, 2.0, room=1000)["node-1"].credit == 200


@pytest.mark.parametrize("room", [1, 37, 1000, 10_000, 500_000])
def test_thousands_that_drain_all_get_their_turn_and_never_more_than_there_is_room(
    room: int,
) -> None:
    it, nodes, most = receipts(), 3000, 0
    fed: set[str] = set()
    held: dict[str, int] = {}
    deadline = time.monotonic() + 60
    now = 0.0
    while len(fed) < min(nodes, 500) and time.monotonic() < deadline:
        for number in range(nodes):
            it.waiting(Address("site-a", f"node-{number}"), 5000)
        # What was granted has come, as that many reports; the rest of the round is theirs.
        for node, credit in held.items():
            for _ in range(credit):
                it.waiting(Address("site-a", node), 5000)
        held = {node: receipt.credit for node, receipt in say(it, now, room=room).items()}
        assert sum(held.values()) <= room
        most = max(most, *held.values()) if held else most
        fed.update(node for node, credit in held.items() if credit)
        now += 1.0
        if room == 1 and len(fed) >= 20:
            break
    assert len(fed) >= 20
    assert most <= 200


def test_credit_that_is_out_counts_against_the_room() -> None:
    it = receipts()
    it.waiting(ONE, 5000)
    assert say(it, 0.0, room=150)["node-1"].credit == 150
    it.waiting(TWO, 5000)
    out = say(it, 0.1, room=150)
    assert out.get("node-2", wire.Receipt(schema=1, node="", length_seconds=5)).credit <= 1
    it.waiting(ONE, 5000)
    both = say(it, 5.0, room=150)
    assert sum(receipt.credit for receipt in both.values()) <= 150


def test_an_agent_that_never_returns_is_let_go_of() -> None:
    it = receipts()
    for number in range(1000):
        address = Address("site-a", f"node-{number}")
        it.waiting(address, 10)
        it.stored(address, 5)
    it.say(0.0, room=100, send=lambda *_: False)
    assert (it.nodes, it.total_waiting) == (1000, 10_000)
    it.waiting(ONE, 1)
    for now in (60.0, 121.0, 130.0):
        it.say(now, room=100, send=lambda *_: False)
    assert (it.nodes, it.total_waiting) == (1, 1)
    it.say(300.0, room=100, send=lambda *_: False)
    assert it.nodes == 0


def test_a_storm_of_refusals_is_bounded() -> None:
    it = receipts()
    for start in range(0, 100_000, LENGTH):
        it.refused(ONE, start, "off_grid", final=True)
        it.want_inventory(ONE, f"{start:016x}")
    said = say(it)["node-1"]
    assert (len(said.refused), len(said.inventory_wanted)) == (500, 16)
    assert len(wire.encode(said)) < wire.MAX_PAYLOAD_BYTES
