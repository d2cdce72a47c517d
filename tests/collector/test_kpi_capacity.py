"""Capacity: the waterfall, idleness and its bounds, what could be taken back, and delivery."""

import math
from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.kpi import idleness, reclaimable, waterfall
from meterhouse_collector.kpi.reclaimable import HeldInterval, Reclaimable
from meterhouse_collector.kpi.waterfall import Waterfall

STATES = ("active", "held_idle", "free", "unhealthy", "unknown")
# Whole seconds, so that every sum is exact and tests may ask for equality.
SECONDS = st.integers(0, 10**12)


@st.composite
def levels(draw: st.DrawFn) -> Waterfall:
    """Return the waterfall of some interval."""
    states = {f"{state}_seconds": draw(SECONDS) for state in STATES}
    powerable = draw(st.none() | SECONDS)
    return waterfall.waterfall(**states, powerable_seconds=powerable)


@given(st.lists(SECONDS, min_size=5, max_size=5))
def test_states_sum_to_installed_exactly(seconds: list[int]) -> None:
    states = {f"{s}_seconds": n for s, n in zip(STATES, seconds, strict=True)}

    assert waterfall.waterfall(**states).installed_seconds == sum(seconds)


@given(levels())
def test_each_level_of_the_waterfall_is_within_the_one_above(found: Waterfall) -> None:
    assert found.installed_seconds >= found.available_seconds >= found.usable_seconds
    assert found.usable_seconds >= found.known_seconds >= 0
    assert found.available_seconds == found.usable_seconds + found.stranded_seconds


@given(st.lists(levels(), max_size=6), st.lists(levels(), max_size=6))
def test_waterfalls_add_up_over_disjoint_windows_and_groups(
    one: list[Waterfall], other: list[Waterfall]
) -> None:
    whole = waterfall.add_waterfalls(waterfalls=[*one, *other])
    parts = [waterfall.add_waterfalls(waterfalls=part) for part in (one, other)]

    assert waterfall.add_waterfalls(waterfalls=parts) == whole
    assert waterfall.add_waterfalls(waterfalls=[*other, *one]) == whole


def test_room_in_one_interval_does_not_power_devices_in_another() -> None:
    def at(free: float) -> Waterfall:
        return waterfall.waterfall(
            active_seconds=0,
            held_idle_seconds=0,
            free_seconds=free,
            unhealthy_seconds=0,
            unknown_seconds=0,
            powerable_seconds=8,
        )

    assert waterfall.add_waterfalls(waterfalls=[at(10), at(5)]).stranded_seconds == 2
    assert at(15 / 2).stranded_seconds == 0


def test_activity_that_is_not_known_widens_what_is_effective() -> None:
    found = waterfall.waterfall(
        active_seconds=100,
        held_idle_seconds=0,
        free_seconds=0,
        unhealthy_seconds=0,
        unknown_seconds=0,
        activity_covered_seconds=60,
        activity_seconds=30,
    )

    assert (found.effective_seconds, found.effective_high_seconds) == (30, 70)
    with pytest.raises(ValueError, match="activity_seconds is 61: at most"):
        waterfall.waterfall(
            active_seconds=100,
            held_idle_seconds=0,
            free_seconds=0,
            unhealthy_seconds=0,
            unknown_seconds=0,
            activity_covered_seconds=60,
            activity_seconds=61,
        )


def test_room_for_900_with_900_active_and_100_free_is_not_idle() -> None:
    room = waterfall.powerable_devices(at_n_watts=900 * 1500, device_peak_watts=1500)
    found = waterfall.waterfall(
        active_seconds=900,
        held_idle_seconds=0,
        free_seconds=100,
        unhealthy_seconds=0,
        unknown_seconds=0,
        powerable_seconds=room,
    )
    ratio = idleness.idle_capacity_ratio(
        active_seconds=900,
        held_idle_seconds=0,
        free_seconds=100,
        stranded_seconds=found.stranded_seconds,
    )

    assert found.stranded_seconds == 100
    assert ratio.value == 0


def test_ratio_does_not_fall_from_30_to_10_percent_without_bounds_when_200_go_silent() -> None:
    before = idleness.idle_capacity_bounds(
        idle_seconds=300, active_seconds=700, unknown_seconds=0, available_seconds=1000
    )
    silent = idleness.idle_capacity_bounds(
        idle_seconds=100, active_seconds=700, unknown_seconds=200, available_seconds=1000
    )

    assert before == (0.3, 0.3, 1.0, None)
    assert silent == (0.1, 0.3, 0.8, None)


@given(SECONDS, SECONDS, SECONDS, st.floats(0, 1))
def test_bounds_contain_whatever_the_silent_devices_really_did(
    active: int, idle: int, unknown: int, idle_share: float
) -> None:
    silent_idle = int(unknown * idle_share)
    available = active + idle + unknown
    bounds = idleness.idle_capacity_bounds(
        idle_seconds=idle,
        active_seconds=active,
        unknown_seconds=unknown,
        available_seconds=available,
    )
    truth = idleness.idle_capacity_ratio(
        active_seconds=active + unknown - silent_idle,
        held_idle_seconds=idle,
        free_seconds=silent_idle,
    )

    if available == 0:
        assert bounds.low_ratio is None
        assert truth == (None, "nothing is known of any available device")
        return
    assert bounds.low_ratio is not None
    assert bounds.high_ratio is not None
    assert truth.value is not None
    assert bounds.low_ratio <= float(truth.value) * (1 + 1e-12)
    assert float(truth.value) <= bounds.high_ratio * (1 + 1e-12)


@given(st.lists(st.tuples(st.booleans(), SECONDS, SECONDS), min_size=1, max_size=8))
def test_sold_and_unsold_idle_add_up_to_the_whole_ratio(
    groups: list[tuple[bool, int, int]],
) -> None:
    found = idleness.idle_by_sale(
        groups=[idleness.IdleGroup(sold, idle, idle + active) for sold, idle, active in groups]
    )
    whole = idleness.idle_capacity_ratio(
        active_seconds=sum(active for _, _, active in groups),
        held_idle_seconds=sum(idle for _, idle, _ in groups),
        free_seconds=0,
    )

    if whole.value is None:
        assert found.sold_ratio is found.unsold_ratio is None
        return
    assert found.sold_ratio is not None
    assert found.unsold_ratio is not None
    assert found.sold_ratio + found.unsold_ratio == pytest.approx(whole.value, abs=1e-12)


def test_reserve_is_shown_apart_and_stays_in_the_ratio() -> None:
    assert idleness.pool_reserve(free_seconds=100, reserve_seconds=40) == (40, 0, 60)
    assert idleness.pool_reserve(free_seconds=30, reserve_seconds=40) == (30, 10, 0)


def test_idle_against_contracted_counts_what_is_silent_as_an_upper_bound() -> None:
    found = idleness.idle_of_contracted(
        idle_seconds=100, unknown_seconds=200, contracted_seconds=1000
    )

    assert (found.ratio, found.high_ratio) == (0.1, 0.3)


START = 1_764_000_000.0


def held(
    seconds: Sequence[float], *, length: float = 5.0, devices: int = 1, start: float = START
) -> Reclaimable:
    """Return what is reclaimable of held-idle seconds in intervals that follow one another."""
    return reclaimable.reclaimable(
        intervals=[
            HeldInterval(start + at * length, each, devices * length)
            for at, each in enumerate(seconds)
        ],
        interval_seconds=length,
    )


def test_held_idle_is_reclaimable_once_it_lasted_five_minutes() -> None:
    assert held([5.0] * 59) == (0, 0, 295)
    assert held([5.0] * 60) == (5, 1, 300)
    assert held([5.0] * 72) == (65, 1, 360)


def test_work_ends_a_run_and_what_was_reclaimable_stays_so() -> None:
    assert held([5.0] * 60 + [4.999]) == (5, 0, 300)
    assert held([5.0] * 60 + [0.0] + [5.0] * 59) == (5, 0, 300)


def test_missing_interval_ends_a_run_since_nobody_saw_it() -> None:
    intervals = [HeldInterval(START + n, 1.0, 1.0) for n in range(400) if n != 200]
    found = reclaimable.reclaimable(intervals=intervals, interval_seconds=1.0)

    assert found == (0, 0, 200)


def test_devices_of_one_holder_count_whole() -> None:
    assert held([17.5] * 60, devices=8) == (15, 3, 300)


@given(
    st.lists(
        st.lists(st.sampled_from((0.0, 2.5, 5.0, 5.0, 5.0)), min_size=4, max_size=4), max_size=90
    ),
    st.integers(1, 30),
)
def test_devices_together_say_at_most_what_lasted(rows: list[list[float]], intervals: int) -> None:
    def lasted(seconds: Sequence[float], devices: int) -> Reclaimable:
        return reclaimable.reclaimable(
            intervals=[
                HeldInterval(START + 5 * at, each, 5.0 * devices) for at, each in enumerate(seconds)
            ],
            interval_seconds=5.0,
            idle_after_seconds=5.0 * intervals,
        )

    each = [lasted([row[device] for row in rows], 1) for device in range(4)]
    together = lasted([sum(row) for row in rows], 4)

    assert sum(one.reclaimable_seconds for one in each) <= together.reclaimable_seconds
    assert sum(one.now_devices for one in each) <= together.now_devices
    assert together.reclaimable_seconds <= sum(map(sum, rows))


@given(st.lists(st.sampled_from((0.0, 5.0, 5.0, 5.0)), max_size=150), st.integers(0, 150))
def test_what_is_reclaimable_never_changes_by_what_comes_later(
    seconds: list[float], at: int
) -> None:
    assert held(seconds[:at]).reclaimable_seconds <= held(seconds).reclaimable_seconds


def test_intervals_out_of_order_are_turned_down() -> None:
    with pytest.raises(ValueError, match="start_seconds is 0"):
        reclaimable.reclaimable(
            intervals=[HeldInterval(5, 5, 5), HeldInterval(0, 5, 5)], interval_seconds=5
        )


def test_reference_4_6_idle_alert_has_the_money_at_stake_beside_the_time() -> None:
    found = reclaimable.stake_per_hour(
        idle_devices=held([40.0] * 60, devices=8).now_devices,
        fixed_per_device_hour_money=Decimal("1.10"),
        cancellable_per_device_hour_money=Decimal("0.30"),
        energy_per_device_hour_money=Decimal("0.01"),
    )

    assert found == (Decimal("11.28"), Decimal("2.48"))


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
@pytest.mark.parametrize("state", STATES)
def test_nonsense_is_turned_down_by_name(state: str, wrong: float) -> None:
    states = {f"{each}_seconds": 1.0 for each in STATES} | {f"{state}_seconds": wrong}

    with pytest.raises(ValueError, match=f"^{state}_seconds is"):
        waterfall.waterfall(**states)
