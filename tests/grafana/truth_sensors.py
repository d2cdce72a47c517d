"""What the panels of the halls' temperatures must show, from what was put in."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from tests.grafana import plain_sensors
from tests.grafana.asking import Choice
from tests.grafana.truth_plain import Made, Plain, mean


class Place(NamedTuple):
    """Where a sensor is, and what its class allows."""

    cluster: str
    kind: str
    low: float | None
    high: float


# ASHRAE: A2 is 10 to 35, A1 is 15 to 32, and W32 is up to 32 degrees Celsius.
PLACES: Final = {
    "row-1": Place("c1", "inlet", 10.0, 35.0),
    "row-2": Place("none", "inlet", 15.0, 32.0),
    "loop": Place("none", "coolant", None, 32.0),
}


def read(sensor: str, starts: list[int]) -> list[float]:
    """Return what a sensor said in these intervals."""
    return [said for s in starts if (said := plain_sensors.celsius(sensor, s)) is not None]


def _table(starts: list[int], _: Choice) -> Made:
    found: Made = {}
    for name, (cluster, kind, low, high) in PLACES.items():
        last = read(name, starts)[-1]
        key = (cluster, name, kind)
        found |= {(*key, "last"): last, (*key, "to"): high, (*key, "too warm by"): last - high}
        if low is not None:
            found |= {(*key, "from"): low, (*key, "too cold by"): low - last}
    return found


def _over_time(starts: list[int], _: Choice) -> Made:
    found: Made = {}
    for name, place in PLACES.items():
        said = read(name, starts)
        if said:
            found |= {(name, "mean"): mean(said), (name, "at most"): place.high}
        if said and place.low is not None:
            found[name, "at least"] = place.low
    return found


SENSORS: Final[Mapping[str, Plain]] = {
    "Temperatures of the halls": Plain(_table, ("cluster", "sensor", "kind")),
    "Temperatures of the halls over time": Plain(_over_time, ("sensor",), over_time=True),
}
