"""What is to be told now: the alerts that fire, held against what was told. Pure.

Nothing is queued: what waits for a receiver is the difference of two tables, so it is bounded as
these are, and what fired and ended while nobody could be told is told to nobody.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from meterhouse_collector.alerts.book import Open
from meterhouse_collector.alerts.state import Key
from meterhouse_collector.notify.message import Message, message_of

# So many are told in one request.
BATCH: Final = 200


class Told(NamedTuple):
    """What one receiver was told last of one alert, and when; it fires by its word."""

    message: Message
    at_seconds: float


def due(
    open_alerts: Mapping[Key, Open],
    told: Mapping[Key, Told],
    now_seconds: float,
    repeat_seconds: float | None,
) -> list[Message]:
    """Return what a receiver is to be told: first what ends, then what fires, then what repeats."""
    firing = {key: entry for key, entry in open_alerts.items() if entry.state.phase == "firing"}
    ended = [
        word.message._replace(ends_seconds=max(now_seconds, word.message.starts_seconds))
        for key, word in told.items()
        if key not in firing
    ]
    fresh, again = [], []
    for key, entry in firing.items():
        word = told.get(key)
        if word is None or word.message.starts_seconds != entry.state.since_seconds:
            fresh.append(message_of(key, entry))
        # A clock that was set back repeats at once.
        elif repeat_seconds is not None and not (
            0 <= now_seconds - word.at_seconds < repeat_seconds
        ):
            again.append(message_of(key, entry))
    return [*ended, *fresh, *again]
