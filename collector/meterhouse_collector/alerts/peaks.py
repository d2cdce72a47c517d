"""The most that each limit carried in a year: what planned load is added to.

It is kept month by month as plain points, so a restart does not lose it.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from meterhouse_collector.alerts.known import LiveKnown
from meterhouse_collector.rows import Point
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.store import Store

PEAK: Final = "peak"
_YEAR_SECONDS: Final = 366 * 86_400
# Before so much of a demand interval is over and known, its mean is a projection of a minute.
_KNOWN_RATIO: Final = 0.9


class Peaks:
    """Takes what is known after each interval, and answers with the peak of each limit."""

    def __init__(self, index: SiteIndex) -> None:
        self._index = index
        self._seen: dict[tuple[int, str], float] = {}

    def see(self, known: LiveKnown) -> None:
        """Take the load of each limit; of a connection the mean of its whole demand interval."""
        month = _month(known.at_seconds)
        connections = self._index.dated.grid_connection.at(known.at_seconds)
        partly_known = {
            each.connection
            for each in known.demand
            if each.connection in connections
            and each.known_seconds < _KNOWN_RATIO * connections[each.connection].demand_interval
        }
        for limit in known.limits:
            if limit.load_watts is not None and limit.name not in partly_known:
                key = month, limit.name
                self._seen[key] = max(limit.load_watts, self._seen.get(key, 0.0))

    async def year(self, store: Store, now_seconds: float) -> dict[str, float]:
        """Return the peak of each limit over a year; raise ``StoreUnavailableError``."""
        now, site = int(now_seconds), self._index.site
        found = await store.points(
            "event", PEAK, start_seconds=now - _YEAR_SECONDS, end_seconds=now + 1
        )
        for point in found:
            name, watts = dict(point.tags).get("limit"), point.fields.get("load_watts")
            if ("site", site) in point.tags and name is not None and isinstance(watts, float):
                key = point.start_seconds, name
                self._seen[key] = max(watts, self._seen.get(key, 0.0))
        since = now - _YEAR_SECONDS
        self._seen = {key: watts for key, watts in self._seen.items() if key[0] >= since}
        peaks: dict[str, float] = {}
        for (_, name), watts in self._seen.items():
            peaks[name] = max(watts, peaks.get(name, 0.0))
        return peaks

    def points(self, now_seconds: float) -> Iterator[Point]:
        """Yield what keeps the peaks of the running month, and of the one that just ended."""
        since = _month(_month(now_seconds) - 1)
        for (month, name), watts in self._seen.items():
            if month >= since:
                tags = (("limit", name), ("site", self._index.site))
                yield Point("event", PEAK, tags, {"load_watts": watts}, month)


def _month(at_seconds: float) -> int:
    first = datetime.fromtimestamp(at_seconds, UTC).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    return int(first.timestamp())
