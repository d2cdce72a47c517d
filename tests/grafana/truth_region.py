"""What the panels of the local grid must show, from what was put in."""

from collections.abc import Mapping
from math import fsum
from typing import Final

from tests.grafana.asking import Choice
from tests.grafana.plain_region import AVAILABLE, KNOWN_SECONDS, grid_joules
from tests.grafana.truth_plain import Made, Plain


def taken(starts: list[int]) -> tuple[float, float]:
    """Return the energy from the grid and the seconds of which it is known."""
    some = [start for start in KNOWN_SECONDS if start in starts]
    return fsum(map(grid_joules, some)), fsum(KNOWN_SECONDS[start] for start in some)


def _share(starts: list[int], _: Choice) -> Made:
    joules, seconds = taken(starts)
    if seconds == 0:
        return {}
    return {
        (region, "share"): joules / (joules + watts * seconds)
        for region, watts in AVAILABLE.items()
    }


def _table(starts: list[int], choices: Choice) -> Made:
    joules, seconds = taken(starts)
    found = _share(starts, choices)
    for region, watts in AVAILABLE.items():
        found[region, "taken"] = joules / seconds
        found[region, "could still give"] = watts
        found[region, "source"] = f"{region}: capacity map"
    return found


REGION: Final[Mapping[str, Plain]] = {
    "Share of the local grid": Plain(_share, ("region",)),
    "Share of the local grid over time": Plain(_share, ("region",), over_time=True),
    "Local grid": Plain(_table, ("region",)),
}
