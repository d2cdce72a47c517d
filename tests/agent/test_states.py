"""Which state a sample shows: zero is a reading, and contradiction is not idleness."""

import pytest

from meterhouse_agent.samples import AcceleratorSample, Health
from meterhouse_agent.states import PowerRange, state_of
from meterhouse_agent.wire import State


def _state(
    *,
    utilization: float | None = 0.0,
    sm: float | None = None,
    power: float | None = None,
    held: bool | None = False,
    memory: float | None = None,
    health: Health = "ok",
) -> State:
    seen = PowerRange()
    for watts in (70.0, 700.0):
        seen.learn(watts)
    sample = AcceleratorSample(
        device="gpu-0",
        at_milliseconds=0,
        health=health,
        held=held,
        utilization_ratio=utilization,
        sm_activity_ratio=sm,
        power_watts=power,
        memory_used_bytes=memory,
    )
    return state_of(sample, seen)


@pytest.mark.parametrize(
    ("signals", "state"),
    [
        ({}, "free"),
        ({"held": True}, "held_idle"),
        ({"held": None, "memory": 20e9}, "held_idle"),
        ({"held": None, "memory": 0.5e9}, "free"),
        ({"held": None, "memory": None}, "free"),
        ({"utilization": 1.0}, "active"),
        ({"utilization": 0.0, "sm": 0.02}, "active"),
        ({"utilization": None, "sm": 0.0, "held": True}, "held_idle"),
        ({"utilization": None, "sm": None}, "unknown"),
        ({"utilization": 0.99, "sm": 0.0}, "unknown"),
        ({"utilization": 0.99, "sm": 1 / 132}, "active"),
        ({"utilization": 0.0, "power": 70.0}, "free"),
        ({"utilization": 0.0, "power": 120.0, "held": True}, "held_idle"),
        ({"utilization": 0.0, "sm": 0.0, "power": 650.0}, "unknown"),
        ({"health": "lost", "utilization": None}, "unhealthy"),
        ({"health": "failed", "utilization": 1.0}, "unhealthy"),
    ],
)
def test_the_first_match_wins(signals: dict[str, object], state: State) -> None:
    assert _state(**signals) == state  # type: ignore[arg-type] # keyword by keyword


def test_a_device_seen_only_busy_is_not_judged_by_its_power() -> None:
    seen = PowerRange()
    for watts in (400.0, 500.0):
        seen.learn(watts)

    assert not seen.contradicts_idle(500.0)
