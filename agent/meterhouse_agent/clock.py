"""The agent's time: UTC that only moves forward, and the notice of a step."""

import asyncio
import time
from typing import Final

_STEP_MILLISECONDS: Final = 500
_NAP_SECONDS: Final = 1.0


class Clock:
    """Wall time, watched against the monotonic clock."""

    def __init__(self) -> None:
        self._offset = self._measure()

    @staticmethod
    def now_milliseconds() -> int:
        """Return UTC in Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def _measure(self) -> int:
        return (time.time_ns() - time.monotonic_ns()) // 1_000_000

    def step_milliseconds(self) -> int:
        """Return by how much the wall clock was stepped since the last call, 0 if it was not."""
        offset = self._measure()
        step, self._offset = offset - self._offset, offset
        return step if abs(step) >= _STEP_MILLISECONDS else 0

    async def sleep_until(self, at_milliseconds: int) -> None:
        """Sleep until the wall clock shows a time, in naps, so that a step is noticed."""
        while (left := at_milliseconds - self.now_milliseconds()) > 0:  # noqa: ASYNC110 - no event tells of the wall clock
            await asyncio.sleep(min(left / 1000, _NAP_SECONDS))
