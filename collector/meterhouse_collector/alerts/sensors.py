"""What is followed of the facility's sensors, as their reports come."""

from collections.abc import Mapping
from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.alerts.known import SensorKnown, Silence
from meterhouse_collector.ledger import Entry
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.sensors import Sensor

# What is older says nothing of now; of long intervals that is the last two.
FRESH_SECONDS: Final = 60
_FRESH_INTERVALS: Final = 2


class SensorWatch:
    """Keeps the newest reading of each sensor of the site model; what others say is left out."""

    def __init__(self, index: SiteIndex) -> None:
        self._index = index
        # With the start of its interval.
        self._latest: dict[str, tuple[int, wire.Sensor]] = {}
        self._expected: Mapping[str, Sensor] = {}
        self._since: dict[str, int] = {}
        self._end = 0
        self._length = 0

    def add(self, entry: Entry) -> None:
        """Take what a report says of sensors; of two at one time the one that covers more."""
        for name, sensor in entry.sensors.items():
            if name not in self._index.sensors or not _is_good(sensor):
                continue
            known = self._latest.get(name)
            new = (entry.start_seconds, sensor.covered_milliseconds)
            if known is None or new >= (known[0], known[1].covered_milliseconds):
                self._latest[name] = (entry.start_seconds, sensor)

    def go_on(self, start_seconds: int, length_seconds: int) -> None:
        """Take notice that an interval has ended, whoever spoke in it."""
        self._end, self._length = start_seconds + length_seconds, length_seconds
        self._expected = self._index.dated.sensor.at(start_seconds)
        self._since = {name: self._since.get(name, start_seconds) for name in self._expected}
        for name in self._latest.keys() - self._expected.keys():
            del self._latest[name]

    def known(self) -> tuple[SensorKnown, ...]:
        """Return what each sensor says now."""
        return tuple(self._known(sensor) for sensor in self._expected.values())

    def _known(self, sensor: Sensor) -> SensorKnown:
        oldest = self._end - max(FRESH_SECONDS, _FRESH_INTERVALS * self._length)
        start, read = self._latest.get(sensor.name, (0, None))
        if read is None or start < oldest:
            return SensorKnown(sensor)
        alarmed = read.contact_milliseconds
        ratio = None if alarmed is None else alarmed / read.covered_milliseconds
        return SensorKnown(sensor, read.temperature_celsius, ratio)

    def silences(self) -> tuple[Silence, ...]:
        """Return for how long each sensor has said nothing good."""
        return tuple(self._silence(name) for name in self._expected)

    def _silence(self, name: str) -> Silence:
        known = self._latest.get(name)
        if known is None:
            return Silence(name, float(self._end - self._since[name]), at_least=True)
        return Silence(name, float(max(0, self._end - known[0] - self._length)))


def _is_good(sensor: wire.Sensor) -> bool:
    says = sensor.temperature_celsius is not None or sensor.contact_milliseconds is not None
    return says and sensor.covered_milliseconds > 0
