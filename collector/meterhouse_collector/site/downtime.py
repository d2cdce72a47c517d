"""What an operator says is down: the word that turns silence into ``unhealthy`` with a reason."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Annotated, NamedTuple

from pydantic import AwareDatetime, Field, model_validator

from meterhouse_agent.wire import MAX_DEVICES, UnhealthyReason
from meterhouse_collector.settings import Section
from meterhouse_collector.site.base import Name, Text


class Downtime(Section):
    """Nodes that are down for a while, by hand: so many devices of each, or all of them.

    Without ``ends`` they still are. ``said_by`` is who says so: an operator, a ticket, a scheduler.
    """

    nodes: Annotated[tuple[Name, ...], Field(min_length=1)]
    devices: Annotated[int, Field(ge=1, le=MAX_DEVICES)] | None = None
    reason: UnhealthyReason
    begins: AwareDatetime
    ends: AwareDatetime | None = None
    said_by: Text

    @model_validator(mode="after")
    def _consistent(self) -> "Downtime":
        if self.ends is not None and self.ends <= self.begins:
            raise ValueError(f"an ends after begins, {self.begins}")
        if len(set(self.nodes)) < len(self.nodes):
            raise ValueError("each node once in nodes")
        return self

    def seconds_within(self, begins: float, ends: float) -> float:
        """Return how much of a stretch of Unix seconds it lasted."""
        last = ends if self.ends is None else min(ends, self.ends.timestamp())
        return max(0.0, last - max(begins, self.begins.timestamp()))


class SaidDown(NamedTuple):
    """How long a node was said to be down in an interval, and why; None ``devices`` are all."""

    reason: UnhealthyReason
    milliseconds: float
    devices: int | None
    said_by: str = ""


SaidOf = Mapping[str, tuple[SaidDown, ...]]


def said_down(entries: Iterable[Downtime], start_seconds: int, length_seconds: int) -> SaidOf:
    """Return what is said of each node in an interval, in the order of the entries."""
    found: dict[str, tuple[SaidDown, ...]] = {}
    for entry in entries:
        lasted = entry.seconds_within(start_seconds, start_seconds + length_seconds)
        if lasted > 0:
            said = SaidDown(entry.reason, lasted * 1000, entry.devices, entry.said_by)
            found |= {node: (*found.get(node, ()), said) for node in entry.nodes}
    return found


def wholly_down(said: SaidOf) -> frozenset[str]:
    """Return the nodes of which all devices are said to be down."""
    return frozenset(
        node for node, parts in said.items() if any(each.devices is None for each in parts)
    )


def overlapping(entries: Iterable[Downtime]) -> Iterator[tuple[str, Downtime, Downtime]]:
    """Yield nodes of which two entries speak at once."""
    by_node: dict[str, list[Downtime]] = {}
    for entry in entries:
        for node in entry.nodes:
            by_node.setdefault(node, []).append(entry)
    for node, mine in by_node.items():
        mine.sort(key=lambda entry: entry.begins)
        for at, one in enumerate(mine):
            for other in islice(mine, at + 1, None):
                if one.ends is not None and other.begins >= one.ends:
                    break
                yield node, one, other
