"""The classifier of counters against published vectors, and against reference 4.3 and 4.4.

The vectors RESET-PROM and RESET-FLUX are tested here, by the agent's own code.
"""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_agent.accumulate.amount import Amount
from meterhouse_agent.accumulate.gauges import Coverage
from meterhouse_agent.accumulate.timeline import Timeline, Whose
from meterhouse_agent.counters import CounterTrack, Verdict, judge
from meterhouse_agent.samples import Counter

METER = Whose(kind="meter", thing="m1", quantity="energy_joules")
RAPL_MODULUS = 262_143_328_850 + 1


def reading(ticks: int, **more: object) -> Counter:
    return Counter(ticks=ticks, unit=1.0, **more)  # type: ignore[arg-type] # keyword by keyword


def counted(readings: list[Counter], step_milliseconds: int = 60_000) -> list[int]:
    """Return what a track has counted by each reading."""
    track = CounterTrack()
    deltas = [track.feed(each, at * step_milliseconds) for at, each in enumerate(readings)]
    ticks = [0 if d is None or d.ticks is None else d.ticks for d in deltas]
    return list(accumulate(ticks))


def verdicts(readings: list[Counter]) -> list[Verdict]:
    """Return what each reading but the first was judged to be."""
    track = CounterTrack()
    deltas = [track.feed(each, at * 60_000) for at, each in enumerate(readings)]
    return [delta.verdict for delta in deltas if delta is not None]


def test_reset_prom_vector() -> None:
    """RESET-PROM: promql/promqltest/testdata/functions.test."""
    assert counted([reading(n) for n in (0, 1, 2, 3, 2, 3, 4)])[-1] == 7


@pytest.mark.parametrize(
    ("readings", "flux", "ours"),
    [
        ((-2, 10, 7, 17, 15, 4), [0, 12, 19, 29, 44, 48], [0, 12, 19, 29, 29, 33]),
        # Below zero no energy can be: sources do not hand the -3 on.
        ((19, 4, 19, 13, 1), [0, 4, 26, 39, 40], [0, 4, 19, 32, 33]),
    ],
)
def test_reset_flux_vector_is_never_produced(
    readings: tuple[int, ...], flux: list[int], ours: list[int]
) -> None:
    """RESET-FLUX, a counterexample: 15 kWh after 17 are no 15 kWh of energy."""
    found = counted([reading(n) for n in readings])

    assert found == ours
    assert found[-1] < flux[-1]


def test_reference_4_3_restart_counts_from_zero() -> None:
    assert counted([reading(1000), reading(7), reading(9)]) == [0, 7, 9]


@pytest.mark.parametrize(
    ("before", "after", "modulus"),
    [
        (RAPL_MODULUS - 5, 7, RAPL_MODULUS),
        (65_535, 0, 2**16),
        (2**32 - 100, 50, 2**32),
        (2**31 - 1, 2, 2**31),
    ],
)
def test_reference_4_3_rollover_with_known_modulus(before: int, after: int, modulus: int) -> None:
    largest = modulus - 1
    found = judge(reading(before), reading(after, modulus_ticks=modulus), 60.0)

    assert (found.verdict, found.ticks) == (Verdict.ROLLOVER, largest - before + after + 1)
    unknown = judge(reading(before), reading(after), 60.0)
    assert (unknown.verdict, unknown.ticks) == (Verdict.RESTART, after)


def test_reference_4_3_rollover_beyond_what_is_physical_is_a_restart() -> None:
    """From the middle of a 32-bit register back to 5: 2 GJ in a minute at 1 kW is no rollover."""
    more = {"modulus_ticks": 2**32, "rate_max": 1000.0}
    found = judge(reading(2**31, **more), reading(5, **more), 60.0)

    assert (found.verdict, found.ticks) == (Verdict.RESTART, 5)


def test_reference_4_3_meter_swap_breaks_the_series_and_invents_nothing() -> None:
    readings = [reading(n, rate_max=10.0) for n in (10**6, 10**6 + 60, *range(40_000, 40_400, 60))]

    assert verdicts(readings)[1:5] == [Verdict.SWAP, Verdict.SWAP, Verdict.SWAP, Verdict.GROWTH]
    assert counted(readings)[-1] == 60 + (40_360 - 40_120)


def test_reference_4_3_jitter_is_ignored_and_costs_nothing() -> None:
    readings = [reading(n) for n in (17_000, 16_998, 17_003, 17_010)]

    assert verdicts(readings)[0] is Verdict.JITTER
    assert counted(readings) == [0, 0, 3, 10]


def test_reference_4_3_physical_bound_holds_for_growth_and_for_a_restart() -> None:
    jump = judge(reading(0, rate_max=10.0), reading(700, rate_max=10.0), 60.0)
    swap = judge(reading(10**6, rate_max=10.0), reading(700, rate_max=10.0), 60.0)
    within = judge(reading(0, rate_max=10.0), reading(600, rate_max=10.0), 60.0)

    assert (jump.verdict, jump.ticks) == (Verdict.JUMP, None)
    assert (swap.verdict, swap.ticks) == (Verdict.SWAP, None)
    assert (within.verdict, within.ticks) == (Verdict.GROWTH, 600)


def test_reference_4_3_restart_above_the_old_value_shows_by_its_epoch_alone() -> None:
    readings = [reading(100, epoch="boot-1"), reading(500, epoch="boot-2")]

    assert counted(readings) == [0, 500]
    assert counted([reading(100), reading(500)]) == [0, 400]


def test_reference_4_3_first_reading_after_a_gap_is_kept_and_spread_over_the_gap() -> None:
    """All in the last interval would be a false demand peak, none at all lost energy."""
    timeline = Timeline(5000)
    amount = Amount(METER)
    amount.feed(reading(0), 0, timeline, 10_000)
    laid = amount.feed(reading(600), 60_000, timeline, 10_000)
    (span,) = timeline.waiting_spans

    assert laid.pieces == ()
    assert (span.from_milliseconds, span.to_milliseconds) == (0, 60_000)
    assert (span.amount, span.method, span.reason) == (600.0, "interpolated", "gap")


@given(st.lists(st.lists(st.integers(0, 10**6), min_size=1, max_size=8), min_size=1, max_size=5))
def test_reference_4_3_every_life_of_a_counter_is_counted_whole(lives: list[list[int]]) -> None:
    readings = [
        reading(ticks, epoch=f"boot-{life}")
        for life, steps in enumerate(lives)
        for ticks in accumulate(steps)
    ]

    assert counted(readings)[-1] == sum(map(sum, lives)) - lives[0][0]


def test_reference_4_4_nothing_is_extrapolated_to_the_edges_of_a_window() -> None:
    """Ten readings of a window, 16 apart: 144 were measured, which Prometheus makes 160."""
    timeline = Timeline(1000)
    amount = Amount(METER)
    pieces = [
        piece
        for at in range(10)
        for piece in amount.feed(
            reading(16 * at), 500 + 1000 * at, timeline, max_gap_milliseconds=3000
        ).pieces
    ]

    assert sum(piece.ticks for piece in pieces) == 144
    assert (pieces[0].from_milliseconds, pieces[-1].to_milliseconds) == (500, 9500)


def test_reading_stands_no_longer_than_its_own_age_allows() -> None:
    """A source that serves its last reading again and again covers nothing by it."""
    timeline = Timeline(5000)
    coverage = Coverage()
    coverage.reach(0, timeline, 3000)
    first = coverage.reach(2000, timeline, 3000)
    again = [coverage.reach(2000, timeline, 3000) for _ in range(5)]
    late = coverage.reach(5001, timeline, 3000)

    assert first == [(0, 2000)]
    assert again == [[]] * 5
    assert late == []
    assert coverage.take(0) == 2000
