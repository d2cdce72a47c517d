"""Ticks fall together, on multiples of their length."""

import asyncio

import pytest

from meterhouse_collector.ticks import next_tick, tick, tick_or


@pytest.mark.parametrize(
    ("now", "seconds", "then"),
    [
        (10.0, 0.5, 10.5),
        (10.2, 0.5, 10.5),
        # That timer fired a little early: its tick is over.
        (10.499, 0.5, 11.0),
        (7.0, 5.0, 10.0),
        (10.001, 0.25, 10.25),
    ],
)
def test_the_next_tick_is_a_multiple_and_not_the_one_at_hand(
    now: float, seconds: float, then: float
) -> None:
    assert next_tick(now, seconds) == then


async def test_two_that_tick_alike_wake_together() -> None:
    loop = asyncio.get_running_loop()
    woken = []

    async def note(seconds: float) -> None:
        await tick(seconds)
        woken.append(round(loop.time() / 0.05, 0))

    await asyncio.gather(note(0.05), note(0.05))
    assert woken[0] == woken[1]


async def test_an_event_ends_the_wait_for_a_tick() -> None:
    event = asyncio.Event()
    event.set()
    await asyncio.wait_for(tick_or(event, 3600.0), 10.0)
    event.clear()
    await tick_or(event, 0.01)
    assert not event.is_set()
