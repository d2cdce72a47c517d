"""The state that each device of a report was in for most of its interval, as a number. Pure."""

from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.site.devices import ENGINE_PREFIX, Grouping

_PLACES: Final = {state: place for place, state in enumerate(wire.STATES)}
_HELD_IDLE: Final = _PLACES["held_idle"]
_FREE: Final = _PLACES["free"]
_UNKNOWN: Final = _PLACES["unknown"]


def state_numbers(
    accelerators: wire.Accelerators, grouping: Grouping, length_seconds: int
) -> list[float | None]:
    """Return the place in ``wire.STATES`` of each device's longest state, as a float.

    As in the ledger, what no state covers is ``unknown``, and what an engine holds is never
    ``free``. A device of which nothing is told has None. Columns have an entry for every device.
    """
    times = accelerators.state_milliseconds
    if not times:
        return [None] * grouping.devices
    places = [_PLACES[state] for state in times]
    held = {
        column
        for part in grouping.parts
        if part.holder.startswith(ENGINE_PREFIX)
        for column in part.columns
    }
    found: list[float | None] = []
    for column, parts in enumerate(zip(*times.values(), strict=True)):
        most = max(parts)
        if most == 0:
            found.append(None)
            continue
        uncovered = length_seconds * 1000 - sum(parts)
        place = places[parts.index(most)] if most > uncovered else _UNKNOWN
        found.append(float(_HELD_IDLE if place == _FREE and column in held else place))
    return found
