"""An accelerator in parts: which slices are in which state, and sums that stay exact."""

from collections.abc import Mapping
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_agent.accumulate.node import NodeSums
from meterhouse_agent.partitions import apportion, apportion_energy, shares_of
from meterhouse_agent.samples import (
    AcceleratorSample,
    Counter,
    Health,
    Partition,
    Partitioning,
    Readings,
)
from meterhouse_agent.states import PowerRange
from meterhouse_agent.wire import STATES, State

BASE = 1_780_000_000
GAP = 2500.0
INVENTORY = wire.Inventory(
    devices=[wire.Device(device="gpu-0", vendor="nvidia", accelerator_model="h100")]
)
BUSY, IDLE = 0.9, 0.0

slices = st.dictionaries(st.sampled_from(STATES), st.integers(1, 7), min_size=1)


def part(
    number: int,
    of: int,
    activity: float | None = None,
    *,
    held: bool | None = False,
    memory: float | None = None,
) -> Partition:
    return Partition(
        slices=of, instance=number, held=held, memory_used_bytes=memory, sm_activity_ratio=activity
    )


def _shares(
    *parts: Partition,
    whole: int = 7,
    complete: bool = True,
    power: float | None = None,
    health: Health = "ok",
) -> Mapping[State, int]:
    seen = PowerRange()
    for watts in (70.0, 700.0):
        seen.learn(watts)
    sample = AcceleratorSample(
        device="gpu-0",
        at_milliseconds=0,
        health=health,
        power_watts=power,
        partitioning=Partitioning(slices=whole, partitions=parts, complete=complete),
    )
    return shares_of(sample, seen)


def test_what_nobody_was_given_is_free() -> None:
    assert _shares() == {"free": 7}
    assert _shares(part(1, 3, BUSY, held=True)) == {"active": 3, "free": 4}
    assert _shares(part(1, 2, IDLE, held=True), part(2, 4, BUSY)) == {
        "held_idle": 2,
        "active": 4,
        "free": 1,
    }


@pytest.mark.parametrize(
    ("activity", "held", "memory", "state"),
    [
        (BUSY, True, None, "active"),
        (BUSY, False, None, "active"),
        (BUSY, None, None, "active"),
        (IDLE, True, None, "held_idle"),
        (IDLE, False, None, "free"),
        (IDLE, None, 9e9, "held_idle"),
        (IDLE, None, 0.1e9, "free"),
        # Whoever holds it may compute, and nobody says whether they do.
        (None, True, None, "unknown"),
        (None, None, None, "unknown"),
        (None, None, 9e9, "unknown"),
        (None, False, None, "free"),
        (None, None, 0.1e9, "free"),
    ],
)
def test_a_partition_alone_in_its_instance(
    activity: float | None, memory: float | None, state: State, *, held: bool | None
) -> None:
    found = _shares(part(1, 7, activity, held=held, memory=memory))
    assert found == {state: 7}


def test_what_drivers_keep_for_themselves_is_by_slices() -> None:
    # Two GiB of a whole accelerator are 293 MiB of a seventh.
    assert _shares(part(1, 1, IDLE, held=None, memory=300 * 2**20), whole=7) == {
        "held_idle": 1,
        "free": 6,
    }
    assert _shares(part(1, 7, IDLE, held=None, memory=300 * 2**20)) == {"free": 7}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (True, False, {"active": 1, "free": 6}),
        (None, False, {"active": 1, "free": 6}),
        (True, True, {"unknown": 3, "free": 4}),
        (True, None, {"unknown": 3, "free": 4}),
        (False, False, {"unknown": 3, "free": 4}),
    ],
)
def test_which_of_an_instance_computes_is_known_only_where_one_is_held(
    expected: dict[State, int], *, first: bool | None, second: bool | None
) -> None:
    assert _shares(part(1, 1, BUSY, held=first), part(1, 2, BUSY, held=second)) == expected


def test_several_idle_partitions_of_an_instance() -> None:
    found = _shares(part(1, 1, IDLE, held=True), part(1, 2, IDLE))
    assert found == {"held_idle": 1, "free": 6}


def test_partitions_of_unknown_instances_are_not_one() -> None:
    alone = [
        Partition(slices=2, held=True, sm_activity_ratio=BUSY),
        Partition(slices=1, held=True, sm_activity_ratio=IDLE),
    ]
    assert _shares(*alone) == {"active": 2, "held_idle": 1, "free": 4}


def test_a_rest_that_may_be_partitions_that_could_not_be_read_is_unknown() -> None:
    assert _shares(part(1, 3, BUSY), complete=False) == {"active": 3, "unknown": 4}


@pytest.mark.parametrize("whole", [0, 2])
def test_more_partitions_than_slices_contradict_each_other(whole: int) -> None:
    assert _shares(part(1, 3, BUSY), whole=whole) == {"unknown": 1}


def test_high_power_that_nobody_draws_is_a_contradiction_of_what_was_given() -> None:
    idle = (part(1, 3, IDLE, held=True), part(2, 2, IDLE))
    assert _shares(*idle, power=650.0) == {"unknown": 5, "free": 2}
    assert _shares(*idle, power=71.0) == {"held_idle": 3, "free": 4}
    assert _shares(*idle, part(3, 1, BUSY), power=650.0) == {
        "held_idle": 3,
        "free": 3,
        "active": 1,
    }
    # One that may compute explains it as well.
    assert _shares(part(1, 1, held=True), part(2, 1), power=650.0) == {"unknown": 1, "free": 6}


@pytest.mark.parametrize("health", ["lost", "failed"])
def test_a_failed_accelerator_has_failed_whole(health: Health) -> None:
    assert _shares(part(1, 3, BUSY), health=health) == {"unhealthy": 1}


def test_the_largest_remainders_get_what_is_left() -> None:
    assert apportion(1000, {"active": 2, "held_idle": 1, "free": 4}) == {
        "active": 286,
        "held_idle": 143,
        "free": 571,
    }
    assert apportion(1, {"active": 1, "free": 1}) == {"active": 1, "free": 0}


@pytest.mark.parametrize("weights", [{}, {"free": 0}, {"free": 2, "active": -1}])
def test_weights_that_nothing_can_be_divided_by(weights: dict[State, int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        apportion(5, weights)


@given(st.integers(0, 2**62), slices)
def test_shares_sum_to_the_whole_and_are_off_by_less_than_one(
    total: int, weights: dict[State, int]
) -> None:
    given_out = apportion(total, weights)

    assert sum(given_out.values()) == total
    whole = sum(weights.values())
    for state, weight in weights.items():
        assert abs(given_out[state] - Fraction(total * weight, whole)) < 1


@given(st.integers(0, 2**50), st.none() | st.integers(0, 2**50), slices)
def test_energy_is_divided_without_a_rest(
    ticks: int, idle_ticks: int | None, weights: dict[State, int]
) -> None:
    found = apportion_energy(ticks, idle_ticks, weights)

    assert sum(found.values()) == ticks
    assert found.keys() == weights.keys()
    assert min(found.values()) >= 0
    if "active" in weights and "free" in weights:
        per_slice = {state: found[state] / weights[state] for state in ("active", "free")}
        assert per_slice["active"] >= per_slice["free"] - 1


def test_energy_follows_what_computes() -> None:
    # Half idle: of 100 W in idleness and 400 W now the idle half is worth 50 W, 12.5 %.
    assert apportion_energy(400_000, 100_000, {"active": 1, "held_idle": 1}) == {
        "active": 350_000,
        "held_idle": 50_000,
    }
    halves: dict[State, int] = {"unknown": 2, "free": 2}
    assert apportion_energy(400, 100, halves) == {"unknown": 350, "free": 50}


def test_without_a_better_word_energy_goes_by_slices() -> None:
    assert apportion_energy(700, None, {"active": 2, "free": 5}) == {"active": 200, "free": 500}
    assert apportion_energy(700, 100, {"held_idle": 2, "free": 5}) == {
        "held_idle": 200,
        "free": 500,
    }


@given(
    st.lists(
        st.tuples(
            st.integers(1, 1400),
            st.lists(st.tuples(st.integers(1, 3), st.sampled_from([BUSY, IDLE, None])), max_size=3),
            st.integers(0, 2_000_000),
        ),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from([300.0, None]),
)
def test_a_report_has_all_of_the_time_and_all_of_the_energy(
    steps: list[tuple[int, list[tuple[int, float | None]], int]], power: float | None
) -> None:
    """Whatever the partitions, the states sum to what was covered, the joules to the counter."""
    sums = NodeSums("site-a", "node-1", 5)
    sums.timeline.closed_until_milliseconds = BASE * 1000
    at, ticks = BASE * 1000, 0

    def feed(parts: list[tuple[int, float | None]]) -> None:
        partitions = tuple(
            part(number, of, activity, held=True) for number, (of, activity) in enumerate(parts)
        )
        sample = AcceleratorSample(
            device="gpu-0",
            at_milliseconds=at,
            energy_joules=Counter(ticks=ticks, unit=0.001),
            power_watts=power,
            partitioning=Partitioning(slices=9, partitions=partitions),
        )
        sums.feed(Readings(accelerators=(sample,)), GAP)

    feed([])
    for elapsed, parts, drawn in steps:
        at, ticks = at + elapsed, ticks + drawn
        feed(parts)
    milliseconds, millijoules = 0, 0
    for start in range(BASE, at // 1000 + 1, 5):
        report = sums.close(start, INVENTORY)
        if report is None or report.accelerators is None:
            continue
        covered = sum(column[0] for column in report.accelerators.state_milliseconds.values())
        assert covered == min(5000, at - start * 1000)
        milliseconds += covered
        for column in report.accelerators.state_joules.values():
            value = column[0]
            assert value is not None
            millijoules += round(value * 1000)
    assert milliseconds == at - BASE * 1000
    assert millijoules == ticks


def test_rounding_is_of_an_interval_and_not_of_each_sample() -> None:
    sums = NodeSums("site-a", "node-1", 60)
    sums.timeline.closed_until_milliseconds = BASE * 1000
    start = BASE - BASE % 60 + 60
    for second in range(61):
        sample = AcceleratorSample(
            device="gpu-0",
            at_milliseconds=(start + second) * 1000,
            energy_joules=Counter(ticks=second * 100_000, unit=0.001),
            partitioning=Partitioning(slices=7, partitions=(part(1, 2, BUSY),)),
        )
        sums.feed(Readings(accelerators=(sample,)), GAP)

    report = sums.close(start, INVENTORY)

    assert report is not None
    assert report.accelerators is not None
    # 60,000 · 2 ÷ 7 = 17,142.9; sixty times 285.7 rounded would be 17,160.
    assert report.accelerators.state_milliseconds == {"active": [17_143], "free": [42_857]}
    assert report.accelerators.energy_method == "estimated"


def test_the_least_power_seen_is_what_idleness_draws() -> None:
    sums = NodeSums("site-a", "node-1", 5)
    sums.timeline.closed_until_milliseconds = BASE * 1000
    ticks = 0
    for second in range(11):
        watts = 100 if second < 6 else 400
        ticks += watts * 1000
        parts = (part(1, 4, IDLE if second < 6 else BUSY),)
        sample = AcceleratorSample(
            device="gpu-0",
            at_milliseconds=(BASE + second) * 1000,
            energy_joules=Counter(ticks=ticks, unit=0.001),
            power_watts=watts,
            partitioning=Partitioning(slices=8, partitions=parts),
        )
        sums.feed(Readings(accelerators=(sample,)), GAP)
    joules = []
    for start in (BASE, BASE + 5):
        report = sums.close(start, INVENTORY)
        assert report is not None
        assert report.accelerators is not None
        joules.append(report.accelerators.state_joules)
    assert joules == [{"free": [500.0]}, {"active": [1750.0], "free": [250.0]}]


def test_energy_of_an_accelerator_in_one_state_is_not_estimated() -> None:
    sums = NodeSums("site-a", "node-1", 5)
    sums.timeline.closed_until_milliseconds = BASE * 1000
    for second in range(11):
        parts = (part(1, 7, BUSY),) if second < 6 else (part(1, 4, BUSY),)
        sample = AcceleratorSample(
            device="gpu-0",
            at_milliseconds=(BASE + second) * 1000,
            energy_joules=Counter(ticks=second * 100_000, unit=0.001),
            partitioning=Partitioning(slices=7, partitions=parts),
        )
        sums.feed(Readings(accelerators=(sample,)), GAP)
    methods = []
    for start in (BASE, BASE + 5):
        report = sums.close(start, INVENTORY)
        assert report is not None
        assert report.accelerators is not None
        methods.append(report.accelerators.energy_method)
    assert methods == ["counter", "estimated"]
