"""What sensors of the facility read, as is known here."""

from typing import Final

from meterhouse_agent import wire
from tests.grafana.plain_events import number

SENSORS: Final = """
[[sensor]]
name = "row-1"
kind = "inlet"
class = "A2"
cluster = "c1"
[[sensor]]
name = "row-2"
kind = "inlet"
class = "A1"
[[sensor]]
name = "loop"
kind = "coolant"
class = "W32"
[[sensor]]
name = "floor"
kind = "leak"
"""


def celsius(sensor: str, start: int) -> float | None:
    """Return what a sensor reads: one falls silent, and one leaves its class."""
    if sensor == "row-2":
        return 14.0 + number(start) / 8 if number(start) < 40 else None
    return {"row-1": 20.0, "loop": 27.0}[sensor] + number(start) / 8


def sensors(start: int) -> list[wire.Sensor]:
    """Return what the sensors of the facility say in an interval."""
    found = [wire.Sensor(sensor="floor", covered_milliseconds=5000, contact_milliseconds=0)]
    for name in ("row-1", "row-2", "loop"):
        read = celsius(name, start)
        if read is not None:
            found.append(
                wire.Sensor(sensor=name, covered_milliseconds=5000, temperature_celsius=read)
            )
    return found
