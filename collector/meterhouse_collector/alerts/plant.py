"""What is followed of cooling, batteries and generators, interval by interval."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from math import fsum
from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.alerts.known import LoadKnown, Source
from meterhouse_collector.alerts.power import of_meters
from meterhouse_collector.kpi.value import COVERAGE_FLOOR
from meterhouse_collector.money.energy import JOULES_PER_KWH
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.rollup.site_energy import IntervalRows
from meterhouse_collector.site.index import GroupKey, SiteIndex
from meterhouse_collector.site.power import CoolingUnit

# What gives less than this part of its rating gives nothing: meters show a little at rest.
REST_RATIO: Final = 0.01
# A UPS that takes in less than this part of what it gives is on its battery.
FED_RATIO: Final = 0.05
_DRAWN: Final = tuple(f"{state}_drawn_joules" for state in wire.STATES)


class PlantWatch:
    """Takes the rows and sums of each interval once, in their order."""

    def __init__(self, index: SiteIndex) -> None:
        self._index = index
        self._cooling: tuple[LoadKnown, ...] = ()
        self._sources: tuple[Source, ...] = ()

    def add(self, rows: IntervalRows, groups: Mapping[GroupKey, Sums]) -> None:
        """Take an interval."""
        units = self._index.dated.cooling.at(rows.start_seconds).values()
        self._cooling = tuple(_heat_loads(units, groups, rows.length_seconds))
        self._sources = (*self._storage(rows), *self._generators(rows), *self._ups(rows))

    def cooling(self) -> tuple[LoadKnown, ...]:
        """Return what each cooling plant must remove, and what it can after a failure."""
        return self._cooling

    def sources(self) -> tuple[Source, ...]:
        """Return what each battery, UPS and generator gives."""
        return self._sources

    def _storage(self, rows: IntervalRows) -> list[Source]:
        stores = self._index.dated.storage.at(rows.start_seconds).values()
        return [
            self._source("storage", store.name, store.meters, store.rated_watts, rows)._replace(
                full_joules=store.capacity_kwh * JOULES_PER_KWH
            )
            for store in stores
            if store.meters
        ]

    def _generators(self, rows: IntervalRows) -> list[Source]:
        generators = self._index.dated.generator.at(rows.start_seconds).values()
        return [
            self._source("generator", each.name, each.meters, each.rated_watts, rows)
            for each in generators
            if each.meters
        ]

    def _source(
        self, kind: str, name: str, meters: tuple[str, ...], rated_watts: float, rows: IntervalRows
    ) -> Source:
        part = of_meters(self._index, rows, meters)
        if part is None:
            return Source(kind, name, None)
        resting = part.mean_watts <= REST_RATIO * rated_watts
        return Source(kind, name, 0.0 if resting else part.mean_watts)

    def _ups(self, rows: IntervalRows) -> list[Source]:
        tree = self._index.metering(rows.start_seconds)
        sides = [[term.meter.name for term in tree.role(role)] for role in ("ups_in", "ups_out")]
        if not all(sides):
            return []
        taken, given = (of_meters(self._index, rows, names) for names in sides)
        if taken is None or given is None:
            return [Source("ups", "ups", None)]
        fed = taken.mean_watts >= FED_RATIO * given.mean_watts
        return [Source("ups", "ups", 0.0 if fed else given.mean_watts)]


def _heat_loads(
    units: Collection[CoolingUnit], groups: Mapping[GroupKey, Sums], seconds: int
) -> Iterator[LoadKnown]:
    """Yield what each entry must remove; those of one kind for the same clusters share it."""
    together: defaultdict[tuple[str, frozenset[str]], float] = defaultdict(float)
    for unit in units:
        together[unit.kind, frozenset(unit.clusters)] += unit.heat_watts_at_n
    for unit in units:
        limit = unit.heat_watts_at_n
        if limit > 0:
            watts = cluster_watts(groups, unit.clusters, seconds)
            part = limit / together[unit.kind, frozenset(unit.clusters)]
            yield LoadKnown(unit.name, limit, None if watts is None else watts * part, part)


def cluster_watts(
    groups: Mapping[GroupKey, Sums], clusters: tuple[str, ...], seconds: int
) -> float | None:
    """Return the power that clusters drew, all of them where none is named; None if not known."""
    chosen = [s for group, s in groups.items() if not clusters or group.cluster in clusters]
    installed = fsum(sums["installed_seconds"] for sums in chosen)
    unknown = fsum(sums["unknown_seconds"] + sums["unmetered_seconds"] for sums in chosen)
    if installed <= 0 or seconds <= 0 or unknown > (1 - COVERAGE_FLOOR) * installed:
        return None
    return fsum(sums[name] for sums in chosen for name in _DRAWN) / seconds
