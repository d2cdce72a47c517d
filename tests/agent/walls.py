"""A wall clock that a test can step."""

import time


class Wall:
    """Tells the time as the machine does, and a step beside."""

    def __init__(self) -> None:
        self._offset = 0

    def time_ns(self) -> int:
        return time.time_ns() + self._offset

    def step(self, seconds: float) -> None:
        """Step the clock, backward where negative."""
        self._offset += round(seconds * 1e9)
