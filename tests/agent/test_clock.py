"""The agent's clock, on a wall clock that the test steps."""

import time

import pytest

from meterhouse_agent.clock import Clock, is_step
from tests.agent.walls import Wall


def test_a_clock_that_runs_is_not_stepped() -> None:
    clock = Clock()

    assert abs(clock.now_milliseconds() - time.time_ns() // 1_000_000) < 60_000
    assert clock.step_milliseconds() == 0


@pytest.mark.parametrize("seconds", [3600.0, -3600.0, 0.6, -0.6])
def test_a_step_is_told_once_with_its_direction(seconds: float) -> None:
    wall = Wall()
    clock = Clock(wall.time_ns)
    wall.step(seconds)

    assert abs(clock.step_milliseconds() - seconds * 1000) < 100
    assert clock.step_milliseconds() == 0


def test_a_slew_is_no_step() -> None:
    wall = Wall()
    clock = Clock(wall.time_ns)
    for _ in range(100):
        wall.step(0.05)
        assert clock.step_milliseconds() == 0


def test_a_step_is_half_a_second_or_more() -> None:
    assert is_step(0, 500)
    assert is_step(0, -500)
    assert not is_step(0, 499)


async def test_sleep_ends_when_the_wall_clock_is_stepped_past_its_end() -> None:
    wall = Wall()
    clock = Clock(wall.time_ns)
    end = clock.now_milliseconds() + 3_600_000

    assert not await clock.nap_until(end)
    wall.step(3600)
    await clock.sleep_until(end)
    assert await clock.nap_until(end)
    assert clock.now_milliseconds() >= end
