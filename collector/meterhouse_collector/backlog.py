"""How far behind the agents' spools are: said once, each minute while it lasts, and at its end."""

import logging
from typing import Final

_LOG: Final = logging.getLogger(__name__)
_BEHIND_SECONDS: Final = 60.0
_TELL_AGAIN_SECONDS: Final = 60.0


class Backlog:
    """Follows what waits in all spools together."""

    def __init__(self) -> None:
        self._told_at: float | None = None

    def note(self, waiting: int, since_seconds: int | None, *, now: float, tick: float) -> float:
        """Return how old the oldest report that waits is, in seconds, and log it where it is old.

        ``now`` is Unix time, ``tick`` monotonic.
        """
        behind = 0.0
        if waiting > 0 and since_seconds is not None:
            behind = max(0.0, now - since_seconds)
        if behind >= _BEHIND_SECONDS:
            if self._told_at is None or tick - self._told_at >= _TELL_AGAIN_SECONDS:
                self._told_at = tick
                minutes = behind / 60
                text = "%d reports wait in the agents' spools, the oldest of %.0f min ago"
                _LOG.warning(text, waiting, minutes)
        elif self._told_at is not None:
            self._told_at = None
            _LOG.info("the agents' spools are caught up with")
        return behind
