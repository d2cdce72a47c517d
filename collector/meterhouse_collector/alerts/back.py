"""What was written of the events at the end of the last run."""

from collections.abc import Callable
from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.rows import POLICY_DAYS, Point
from meterhouse_collector.store import Store

MEASUREMENT: Final = "event"
_DAY_SECONDS: Final = 86_400
_QUARTER: Final = wire.QUARTER_SECONDS
# So much of the events is read, going back, until one of those wanted is found.
_BACK_SECONDS: Final = tuple(days * _DAY_SECONDS for days in (1, 7, 35, POLICY_DAYS["event"]))


async def last_points(store: Store, wanted: Callable[[Point], bool], now: int) -> list[Point]:
    """Read the wanted events at the end of the last run; raises ``StoreUnavailableError``.

    What was open then has a point in its last two quarters: the newest point is looked for, and
    then what was written before it.
    """
    end = now + _DAY_SECONDS
    for back in _BACK_SECONDS:
        begin = now - back
        found = await _points(store, wanted, begin, end)
        if found:
            newest = max(point.start_seconds for point in found)
            if newest - 2 * _QUARTER < begin:
                found = await _points(store, wanted, begin - 2 * _QUARTER, end)
            return found
    return []


async def _points(
    store: Store, wanted: Callable[[Point], bool], begin: int, end: int
) -> list[Point]:
    read = await store.points("event", MEASUREMENT, start_seconds=begin, end_seconds=end)
    return [point for point in read if wanted(point)]
