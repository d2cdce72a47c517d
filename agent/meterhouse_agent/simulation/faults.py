"""Which faults are on one device or meter, and when, in milliseconds since the origin."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, Literal, NamedTuple

from meterhouse_agent.simulation.fleet import FleetSpec
from meterhouse_agent.simulation.steps import Window, inside, merged

Overlay = Literal["silent", "lost", "contradict"]
# First match wins: what is silent shows nothing, so nobody can see that it is lost.
_OVERLAYS: Final[tuple[Overlay, ...]] = ("silent", "lost", "contradict")


class DeviceFaults(NamedTuple):
    """The faults of one device; ``idle`` changes what it does, the rest what is seen of it."""

    idle: tuple[Window, ...]
    overlays: tuple[tuple[Overlay, tuple[Window, ...]], ...]
    resets: tuple[int, ...]

    def overlay(self, at: int) -> Overlay | None:
        """Return what hides the device's own state in that millisecond, if anything does."""
        return next((name for name, windows in self.overlays if inside(windows, at)), None)

    def pieces(self, start: int, end: int) -> Iterator[tuple[int, int, Overlay | None]]:
        """Cut a stretch where overlays begin and end, each piece with its overlay."""
        edges = {start, end}
        for _, windows in self.overlays:
            edges.update(edge for window in windows for edge in window if start < edge < end)
        cuts = sorted(edges)
        for first, last in pairwise(cuts):
            yield first, last, self.overlay(first)

    def continuous(self, start: int, end: int) -> bool:
        """Tell whether the counter could be read at every tick from start to end, with no reset."""
        if any(start <= reset < end for reset in self.resets):
            return False
        gaps = [windows for name, windows in self.overlays if name != "contradict"]
        return all(untouched(windows, start, end) for windows in gaps)


def untouched(windows: Sequence[Window], start: int, end: int) -> bool:
    """Tell whether every tick from start to end, both with it, is outside of the windows."""
    return not any(first < end and last >= start for first, last in windows)


def windows_of(
    spec: FleetSpec, kind: str, node: str, device: str | None = None
) -> tuple[Window, ...]:
    """Return when one kind of fault is on a node, device or meter, merged."""
    origin = spec.origin_milliseconds
    return merged(
        [
            (fault.from_milliseconds - origin, fault.to_milliseconds - origin)
            for fault in spec.faults
            if fault.hits(kind, node, device)
        ]
    )


def instants_of(
    spec: FleetSpec, kind: str, node: str, device: str | None = None
) -> tuple[int, ...]:
    """Return when one kind of fault without duration happens, sorted, each time once."""
    origin = spec.origin_milliseconds
    times = {
        fault.from_milliseconds - origin for fault in spec.faults if fault.hits(kind, node, device)
    }
    return tuple(sorted(times))


def device_faults(spec: FleetSpec, node: str, device: str) -> DeviceFaults:
    """Return the faults of one device."""
    overlays = ((name, windows_of(spec, name, node, device)) for name in _OVERLAYS)
    return DeviceFaults(
        idle=windows_of(spec, "idle_pool", node, device),
        overlays=tuple((name, windows) for name, windows in overlays if windows),
        resets=instants_of(spec, "counter_reset", node, device),
    )
