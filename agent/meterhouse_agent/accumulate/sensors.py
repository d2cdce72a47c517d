"""Sensor samples in, the sensors of a report out."""

from meterhouse_agent.accumulate.gauges import Coverage, Gauge
from meterhouse_agent.accumulate.timeline import Timeline
from meterhouse_agent.samples import SensorSample
from meterhouse_agent.wire import Sensor


class _Sensor:
    """One sensor's open intervals."""

    def __init__(self) -> None:
        self.coverage = Coverage()
        self.temperature = Gauge()
        # How long the contact meant alarm, of the intervals in which it was read.
        self.alarmed: dict[int, int] = {}


class SensorSums:
    """Accumulates the sensors that one agent reads; a reading stands for the time up to it."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._sensors: dict[str, _Sensor] = {}

    def feed(self, sample: SensorSample, max_gap_milliseconds: float) -> None:
        """Take one sample: it stands for the time since the one before it."""
        sensor = self._sensors.setdefault(sample.sensor, _Sensor())
        slices = sensor.coverage.reach(sample.at_milliseconds, self._timeline, max_gap_milliseconds)
        for interval, milliseconds in slices:
            if sample.temperature_celsius is not None:
                sensor.temperature.add(interval, sample.temperature_celsius, milliseconds)
            if sample.alarmed is not None:
                held = sensor.alarmed.get(interval, 0)
                sensor.alarmed[interval] = held + (milliseconds if sample.alarmed else 0)

    def take(self, interval_milliseconds: int) -> list[Sensor]:
        """Hand out an interval: the sensors that were read in it."""
        taken = []
        for name, sensor in self._sensors.items():
            covered = sensor.coverage.take(interval_milliseconds)
            temperature = sensor.temperature.take(interval_milliseconds)
            alarmed = sensor.alarmed.pop(interval_milliseconds, None)
            if covered == 0:
                continue
            taken.append(
                Sensor(
                    sensor=name,
                    covered_milliseconds=covered,
                    temperature_celsius=None if temperature is None else round(temperature[0], 3),
                    temperature_celsius_max=(
                        None if temperature is None else round(temperature[1], 3)
                    ),
                    contact_milliseconds=alarmed,
                )
            )
        return taken
