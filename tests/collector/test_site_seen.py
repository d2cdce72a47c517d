"""What is installed where no register says it: the most that was seen, lowered only by hand."""

from datetime import UTC, datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_collector.site.devices import UNREGISTERED, Part
from meterhouse_collector.site.index import GroupKey, SiteIndex
from meterhouse_collector.site.seen import NO_DEVICES, WORDS_MAX, Seen, Word
from tests.collector.sites import BASE, HEAD, IN_2026, faults, index, inventory

DAY = 86_400
# In Berlin it begins two hours earlier than in UTC.
RETIRED = int(datetime(2026, 5, 31, 22, tzinfo=UTC).timestamp())
NODE = "n1"

model_counts = st.dictionaries(st.sampled_from("AB"), st.integers(1, 8), max_size=2)
words_of_a_node = st.lists(
    st.builds(
        lambda at, devices: Word(RETIRED + at, tuple(sorted(devices.items()))),
        st.integers(-50, 50),
        model_counts,
    ),
    max_size=12,
)


def retire(devices: int | None = None, on: str = "2026-06-01") -> str:
    count = "" if devices is None else f"devices = {devices}\n"
    return f'[[retire]]\nnode = "{NODE}"\n{count}on = {on}\n'


def known(*more: str) -> SiteIndex:
    return index(HEAD + "".join(more))


def seen(*more: str) -> Seen:
    found = known(*more).seen
    assert found is not None
    return found


def word(at: int, **devices: int) -> Word:
    return Word(at, tuple(sorted(devices.items())))


def installed(of: SiteIndex | Seen, at: float, node: str = NODE) -> dict[str, int]:
    plan = of.plan(node, at)
    return {} if plan is None else {model: h.devices for (model, _), h in plan.holdings.items()}


def count(of: SiteIndex | Seen, at: float) -> int:
    return sum(installed(of, at).values())


@given(words_of_a_node)
def test_what_is_installed_never_falls_by_itself_and_is_all_that_was_seen(
    words: list[Word],
) -> None:
    it = seen()
    it.learn(NODE, words)
    counts = [(at, count(it, at)) for at in range(RETIRED - 51, RETIRED + 52)]
    for at, found in counts:
        shown = [sum(n for _, n in each.devices) for each in words if each.at_seconds <= at]
        assert found == max(shown, default=0)


@given(words_of_a_node, st.randoms(use_true_random=False), st.none() | st.integers(1, 9))
def test_the_order_of_learning_does_not_matter(
    words: list[Word], chance: Random, retired: int | None
) -> None:
    text = retire(retired)
    one, other = seen(text), seen(text)
    one.learn(NODE, words)
    shuffled = [*words]
    chance.shuffle(shuffled)
    for each in shuffled:
        other.learn(NODE, [each])
    assert one.changes == other.changes
    for at in range(RETIRED - 51, RETIRED + 52):
        assert installed(one, at) == installed(other, at)


@given(words_of_a_node, st.none() | st.integers(1, 9))
def test_a_retirement_alone_lowers_it_and_what_is_shown_afterwards_counts(
    words: list[Word], retired: int | None
) -> None:
    it, without = seen(retire(retired)), seen()
    it.learn(NODE, words)
    without.learn(NODE, words)
    before = max(
        (sum(n for _, n in each.devices) for each in words if each.at_seconds < RETIRED), default=0
    )
    left = 0 if retired is None else max(0, before - retired)
    for at in range(RETIRED - 51, RETIRED + 52):
        if at < RETIRED:
            assert installed(it, at) == installed(without, at)
        else:
            later = [
                sum(n for _, n in each.devices)
                for each in words
                if RETIRED <= each.at_seconds <= at
            ]
            assert count(it, at) == max([left, *later])


def test_a_swapped_card_is_no_second_card() -> None:
    it = seen()
    it.learn(NODE, [word(100, A=8), word(200, A=7, B=1), word(300, B=7)])
    assert installed(it, 99) == {}
    assert installed(it, 100) == {"A": 8}
    assert installed(it, 200) == installed(it, 1e12) == {"A": 7, "B": 1}
    assert it.changes == (100, 200)


def test_two_retirements_of_one_node_add_up_and_no_more_goes_than_is_there() -> None:
    it = seen(retire(2), retire(1), retire(9, on="2027-01-01"))
    it.learn(NODE, [word(100, A=8)])
    assert [count(it, RETIRED - 1), count(it, RETIRED)] == [8, 5]
    assert it.plan(NODE, RETIRED + 400 * DAY) is None
    assert NODE not in it.plans(RETIRED + 400 * DAY)


def test_a_retirement_of_a_node_that_was_never_seen_says_nothing() -> None:
    it = seen(retire())
    assert it.plans(RETIRED) == {}
    assert (it.nodes, it.changes) == ((), ())


def test_devices_are_in_the_group_of_what_nobody_registered() -> None:
    it = known()
    it.learn(NODE, [word(100, A=2, B=1)])
    plan = it.plan(NODE, 100)
    assert plan is not None
    assert len(plan.slots) == 3
    assert {slot.capital_per_second for slot in plan.slots} == {None}
    [placement] = plan.holdings["A", UNREGISTERED].placements
    assert placement.group == GroupKey("site", pool=UNREGISTERED, accelerator_model="A")
    assert placement.group == it.unregistered_group("A")


def test_a_row_has_what_was_told_and_nothing_of_what_was_once_seen() -> None:
    it, seven = known(), inventory(*"abcdefg")
    whole = (Part("M", UNREGISTERED, tuple(range(7)), 0),)
    assert it.grouping(NODE, seven, 200).parts == whole
    it.learn(NODE, [word(100, M=8)])
    assert it.grouping(NODE, seven, 200).parts == whole
    other = inventory("a", model="N")
    assert it.grouping(NODE, other, 200).parts == (Part("N", UNREGISTERED, (0,), 0),)


def test_what_many_nodes_have_in_common_is_kept_once() -> None:
    it = seen()
    for number in range(3):
        it.learn(f"n{number}", [word(100 + number, A=8)])
    one, two, three = (it.plan(f"n{number}", 200) for number in range(3))
    assert one is not None
    assert two is not None
    assert three is not None
    assert one.slots is two.slots is three.slots
    assert one.holdings is three.holdings
    assert it.nodes == ("n0", "n1", "n2")
    assert set(it.plans(101)) == {"n0", "n1"}
    assert it.plans(300) is it.plans(400)


def test_only_what_changes_something_is_news() -> None:
    it, eight, seven = seen(retire(1)), inventory(*"abcdefgh"), inventory(*"abcdefg")
    words = it.news(NODE, 100, eight)
    assert words == (word(100, M=8),)
    it.learn(NODE, words)
    assert it.news(NODE, 100, eight) == it.news(NODE, 105, seven) == it.news(NODE, 110, eight) == ()
    # Of a backlog: it was there earlier than anybody knew.
    assert it.news(NODE, 95, seven) == (word(95, M=7), word(100, M=8))
    # One is retired, and all of them are still there.
    assert it.news(NODE, RETIRED + 5, seven) == ()
    assert it.news(NODE, RETIRED + 5, eight) == (word(100, M=8), word(RETIRED + 5, M=8))
    assert it.news("n2", 100, wire.Inventory()) == ()
    swapped = inventory(*"abcdefgh", model="N")
    assert it.news(NODE, 115, swapped)[-1] == word(115, N=8)


def test_a_node_that_shows_another_inventory_in_each_report_is_held_in_bounds() -> None:
    it = seen()
    it.learn(NODE, [word(50, A=7)])
    for at in range(100, 100 + 3 * WORDS_MAX):
        it.learn(NODE, [word(at, **{"AB"[at % 2]: 8})])
    assert len(it.changes) <= WORDS_MAX
    assert [count(it, at) for at in (49, 50, 100, 1000)] == [0, 7, 8, 8]
    assert len(it.news(NODE, 2000, inventory(*"abcdefgh", model="C"))) <= WORDS_MAX


def test_with_a_register_nothing_is_learned_from_what_is_seen() -> None:
    it = index(BASE)
    assert it.seen is None
    it.learn("n9", [word(100, M=8)])
    assert it.plan("n9", IN_2026) is None
    assert it.nodes == ("n1", "n2", "n3")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (BASE + retire(), "retire.0: found node 'n1' beside an asset register, allowed: the date"),
        (HEAD + retire(-1), "retire.0.devices: found -1, allowed:"),
        (HEAD + retire(0), "retire.0.devices: found 0, allowed:"),
        (HEAD + retire(on='"soon"'), "retire.0.on: found 'soon', allowed:"),
        (HEAD + retire().replace("n1", "N 1"), "retire.0.node: found 'N 1', allowed:"),
        (HEAD + retire() + "why = 1\n", "retire.0.why: "),
        (HEAD + '[[retire]]\nnode = "n1"\n', "retire.0.on: "),
    ],
)
def test_a_fault_of_a_retirement_is_told_in_one_line(text: str, fault: str) -> None:
    found = faults(text)
    assert [line for line in found if fault in line], found
    assert not any("\n" in line for line in found)


def test_no_devices_are_none() -> None:
    it = seen()
    it.learn(NODE, [Word(100, NO_DEVICES)])
    assert it.plan(NODE, 200) is None
    assert it.changes == ()
