"""When what is still to come can come: no sooner than what it waits for."""

from datetime import date
from typing import NamedTuple

from meterhouse_collector.site.contracts import Coming
from meterhouse_collector.site.model import SiteModel


class Due(NamedTuple):
    """A day, and the need that it is the day of; None where it is that of its own promise."""

    day: date
    need: str | None


def due_with_needs(model: SiteModel, coming: Coming) -> Due | None:
    """Return when an entry of the pipeline comes by what is promised, None where nothing is.

    It is the day of its own delivery, or the latest of all that it needs, needs of needs included;
    a need that nobody promised says nothing. Needs have no loop (``checks.meters``).
    """
    own = _own(coming)
    if own is None:
        return None
    found = Due(own, None)
    pipeline = {each.name: each for each in model.pipeline}
    steps = {step.name: step for grid in model.grid_connection for step in grid.increment}
    waiting = list(coming.needs)
    while waiting:
        name = waiting.pop()
        if name in steps:
            day: date | None = steps[name].due
        else:
            day = _own(pipeline[name])
            waiting += pipeline[name].needs
        if day is not None and day > found.day:
            found = Due(day, name)
    return found


def _own(coming: Coming) -> date | None:
    if "delivered" in coming.stages:
        return coming.stages["delivered"]
    return coming.promised[-1].due if coming.promised else None
