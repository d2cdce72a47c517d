"""The agent's time: UTC that only moves forward, and the notice of a step."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

STEP_MILLISECONDS: Final = 500
_NAP_MILLISECONDS: Final = 1000
_BETWEEN_NANOSECONDS: Final = 50_000_000


def is_step(before_milliseconds: int, after_milliseconds: int) -> bool:
    """Tell whether the clock was stepped between two looks at its offset."""
    return abs(after_milliseconds - before_milliseconds) >= STEP_MILLISECONDS


class Clock:
    """Wall time, watched against the monotonic clock; ``wall_ns`` reads it."""

    def __init__(self, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._wall_ns = wall_ns
        self._offset = self.offset_milliseconds()

    def now_milliseconds(self) -> int:
        """Return UTC in Unix milliseconds."""
        return self._wall_ns() // 1_000_000

    def offset_milliseconds(self) -> int:
        """Return UTC less the monotonic time, which only a step of the clock changes by much."""
        while True:
            before, wall, after = time.monotonic_ns(), self._wall_ns(), time.monotonic_ns()
            # Held up in between, the process would see a step where there was none.
            if after - before < _BETWEEN_NANOSECONDS:
                return (wall - before) // 1_000_000

    def step_milliseconds(self) -> int:
        """Return by how much the wall clock was stepped since the last call, 0 if it was not."""
        before, self._offset = self._offset, self.offset_milliseconds()
        return self._offset - before if is_step(before, self._offset) else 0

    async def nap_until(self, at_milliseconds: int) -> bool:
        """Sleep for a nap, at most until the wall clock shows a time; tell whether it does."""
        now = self.now_milliseconds()
        left = at_milliseconds - now
        if left > 0:
            # All naps end at the same moments: to wake up costs more than what is done then.
            await asyncio.sleep(min(left, _NAP_MILLISECONDS - now % _NAP_MILLISECONDS) / 1000)
        return left <= 0

    async def sleep_until(self, at_milliseconds: int) -> None:
        """Sleep until the wall clock shows a time, in naps, so that a step is noticed."""
        while not await self.nap_until(at_milliseconds):
            pass
