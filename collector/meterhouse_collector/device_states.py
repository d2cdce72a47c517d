"""The state that each device of a report was in for most of its interval, as a number. Pure."""

from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.site.devices import ENGINE_PREFIX, Grouping

_PLACES: Final = {state: place for place, state in enumerate(wire.STATES)}
_HELD_IDLE: Final = float(_PLACES["held_idle"])
_FREE: Final = float(_PLACES["free"])
_UNKNOWN: Final = float(_PLACES["unknown"])


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
    length = length_seconds * 1000
    places = [float(_PLACES[state]) for state in times]
    found: list[float | None] = []
    for parts in zip(*times.values(), strict=True):
        most = max(parts)
        if most == 0:
            found.append(None)
        elif most > length - sum(parts):
            found.append(places[parts.index(most)])
        else:
            found.append(_UNKNOWN)
    if "free" in times:
        for part in grouping.parts:
            if part.holder.startswith(ENGINE_PREFIX):
                for column in part.columns:
                    found[column] = _HELD_IDLE if found[column] == _FREE else found[column]
    return found
