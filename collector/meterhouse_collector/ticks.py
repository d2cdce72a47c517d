"""Ticks that fall together: to wake a process costs more than most of what it then does."""

import asyncio
from contextlib import suppress
from typing import Final

# A timer may fire a little early, and the tick that it was for is not waited for again.
_EARLY: Final = 0.1


def next_tick(now: float, seconds: float) -> float:
    """Return the next multiple of some seconds."""
    return (now // seconds + (2 if now % seconds > (1 - _EARLY) * seconds else 1)) * seconds


async def tick(seconds: float) -> None:
    """Sleep until the loop's clock is at a multiple of some seconds, as all do who call this."""
    now = asyncio.get_running_loop().time()
    await asyncio.sleep(next_tick(now, seconds) - now)


async def tick_or(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, at most until the next tick."""
    with suppress(TimeoutError):
        async with asyncio.timeout_at(next_tick(asyncio.get_running_loop().time(), seconds)):
            await event.wait()
