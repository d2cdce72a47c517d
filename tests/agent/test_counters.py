"""Counters become deltas in one place: every kind of jump."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_agent.counters import CounterTrack, Verdict, judge
from meterhouse_agent.samples import Counter


def _counter(ticks: int, **more: object) -> Counter:
    return Counter(ticks=ticks, unit=1.0, **more)  # type: ignore[arg-type] # keyword by keyword


def _increase(readings: list[int]) -> int:
    """Sum what a track counts over readings one second apart."""
    track = CounterTrack()
    total = 0
    for second, ticks in enumerate(readings):
        delta = track.feed(_counter(ticks), second * 1000)
        if delta is not None and delta.ticks is not None:
            total += delta.ticks
    return total


@pytest.mark.parametrize(
    ("before", "after", "elapsed", "verdict", "ticks"),
    [
        (_counter(100), _counter(100), 1, Verdict.GROWTH, 0),
        (_counter(100), _counter(160), 1, Verdict.GROWTH, 60),
        (_counter(100, rate_max=50.0), _counter(190, rate_max=50.0), 1, Verdict.GROWTH, 90),
        (_counter(100, rate_max=50.0), _counter(900, rate_max=50.0), 1, Verdict.JUMP, None),
        (_counter(100, rate_max=50.0), _counter(900, rate_max=50.0), None, Verdict.GROWTH, 800),
        (_counter(250), _counter(5, modulus_ticks=256), 1, Verdict.ROLLOVER, 11),
        (_counter(0), _counter(255, modulus_ticks=256), 1, Verdict.GROWTH, 255),
        (_counter(1000), _counter(7), 1, Verdict.RESTART, 7),
        (_counter(1000, epoch="a"), _counter(2000, epoch="b"), 1, Verdict.RESTART, 2000),
        (_counter(1000, epoch="a"), _counter(1001, epoch=""), 1, Verdict.GROWTH, 1),
        (_counter(1000, rate_max=9.0), _counter(990, rate_max=9.0), 1, Verdict.JITTER, None),
        (_counter(10**9, rate_max=9.0), _counter(10**8, rate_max=9.0), 1, Verdict.SWAP, None),
    ],
)
def test_each_kind_of_reading(
    before: Counter, after: Counter, elapsed: float | None, verdict: Verdict, ticks: int | None
) -> None:
    judgement = judge(before, after, elapsed)

    assert (judgement.verdict, judgement.ticks) == (verdict, ticks)


def test_a_jittered_reading_costs_nothing_once_it_is_over() -> None:
    assert _increase([1000, 1010, 1005, 1020]) == 20


@pytest.mark.parametrize("before", [0, 4, 100_000])
def test_a_register_below_zero_was_read_wrongly(before: int) -> None:
    judged = judge(Counter(ticks=before, unit=1.0), Counter(ticks=-3, unit=1.0), 1.0)
    assert (judged.verdict, judged.ticks) == (Verdict.JITTER, None)


def test_one_junk_reading_costs_nothing() -> None:
    track = CounterTrack()
    readings = [1000, 1010, 10**9, 1030, 1040]
    deltas = [
        track.feed(_counter(ticks, rate_max=50.0), n * 1000) for n, ticks in enumerate(readings)
    ]

    assert sum(d.ticks for d in deltas if d is not None and d.ticks is not None) == 40


def test_a_swapped_meter_is_believed_after_a_few_readings() -> None:
    track = CounterTrack()
    readings = [10**6, 10**6 + 5, 10**9, 10**9 + 5, 10**9 + 10, 10**9 + 15]
    deltas = [
        track.feed(_counter(ticks, rate_max=50.0), n * 1000) for n, ticks in enumerate(readings)
    ]
    verdicts = [None if d is None else d.verdict for d in deltas]

    assert verdicts[2:] == [Verdict.JUMP, Verdict.JUMP, Verdict.SWAP, Verdict.GROWTH]
    assert sum(d.ticks for d in deltas if d is not None and d.ticks is not None) == 5 + 5


@given(st.lists(st.integers(0, 10**15), min_size=2, max_size=30))
def test_growing_counters_telescope_exactly(readings: list[int]) -> None:
    readings = sorted(readings)

    assert _increase(readings) == readings[-1] - readings[0]


@given(
    start=st.integers(0, 2**32 - 1),
    steps=st.lists(st.integers(0, 2**24), min_size=1, max_size=50),
)
def test_a_wrapping_counter_loses_nothing(start: int, steps: list[int]) -> None:
    positions = [start]
    for step in steps:
        positions.append(positions[-1] + step)
    counted = 0
    for before, after in pairwise(positions):
        reading = _counter(after % 2**32, modulus_ticks=2**32, rate_max=2.0**24)
        counted += judge(_counter(before % 2**32), reading, 1.0).ticks or 0

    assert counted == sum(steps)


@given(
    before=st.integers(0, 10**12),
    after=st.integers(0, 10**12),
    rate=st.one_of(st.none(), st.floats(1, 1e9)),
    elapsed=st.one_of(st.none(), st.floats(0, 1e6)),
)
def test_what_is_counted_is_never_negative_nor_above_the_bound(
    before: int, after: int, rate: float | None, elapsed: float | None
) -> None:
    judgement = judge(_counter(before), _counter(after, rate_max=rate), elapsed)

    if judgement.ticks is not None:
        assert judgement.ticks >= 0
        if rate is not None and elapsed is not None:
            assert judgement.ticks <= rate * (elapsed + 1) + 1
