"""The power of connections and of pieces of the power path, followed interval by interval."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import fsum
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from meterhouse_collector.alerts.known import DemandKnown, LoadKnown, Supply
from meterhouse_collector.rollup.site_energy import MEASURED, IntervalRows
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.power import GridConnection, PowerNode

RECENT_SECONDS: Final = 60.0
BEFORE_UPS: Final = ("transformer", "switchboard")
_LOAD_SECONDS: Final = 900.0
# What covers less of an interval is no measurement of it.
_COVERED_SHARE: Final = 0.99


def projected_mean_watts(
    *,
    energy_joules: float,
    known_seconds: float,
    recent_watts: float,
    interval_seconds: float,
) -> float:
    """Return (energy so far + recent power * the rest) / interval.

    The rest is all whose energy is not known: what is to come, and what was missed.
    """
    rest = max(0.0, interval_seconds - known_seconds)
    return (energy_joules + recent_watts * rest) / interval_seconds


class Part(NamedTuple):
    """The power of an interval, as far as all that makes it up was measured."""

    start_seconds: int
    length_seconds: int
    mean_watts: float
    maximum_watts: float


class _Recent:
    """The known parts of the last stretch of time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._parts: deque[Part] = deque()
        self._last: Part | None = None

    def add(self, part: Part | None, end_seconds: int) -> None:
        self._last = part
        if part is not None:
            self._parts.append(part)
        while self._parts and self._parts[0].start_seconds < end_seconds - self._seconds:
            self._parts.popleft()

    def mean_watts(self) -> float | None:
        seconds = sum(part.length_seconds for part in self._parts)
        if seconds == 0:
            return None
        return fsum(part.mean_watts * part.length_seconds for part in self._parts) / seconds

    def last_watts(self) -> float | None:
        return None if self._last is None else self._last.mean_watts

    def maximum_watts(self) -> float | None:
        return max((part.maximum_watts for part in self._parts), default=None)


def _interval_start(at_seconds: int, interval_seconds: float, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(at_seconds, zone).utcoffset() or timedelta()
    local = at_seconds + offset.total_seconds()
    return int(local // interval_seconds * interval_seconds - offset.total_seconds())


class _Demand:
    """The running demand interval of one grid connection: it begins on the local clock."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._begins = 0
        self._energy: list[float] = []
        self._known_seconds = 0
        self._ends = 0
        self._recent = _Recent(RECENT_SECONDS)

    def add(self, part: Part | None, end_seconds: int, interval_seconds: float) -> None:
        begins = _interval_start(end_seconds - 1, interval_seconds, self._zone)
        if begins != self._begins:
            self._begins, self._energy, self._known_seconds = begins, [], 0
        self._ends = end_seconds
        self._recent.add(part, end_seconds)
        if part is not None:
            self._energy.append(part.mean_watts * part.length_seconds)
            self._known_seconds += part.length_seconds

    def known(self, connection: GridConnection) -> DemandKnown:
        recent = self._recent.mean_watts()
        projected = None
        if recent is not None:
            projected = projected_mean_watts(
                energy_joules=fsum(self._energy),
                known_seconds=self._known_seconds,
                recent_watts=recent,
                interval_seconds=connection.demand_interval,
            )
        return DemandKnown(
            connection=connection.name,
            contracted_watts=connection.limit_watts,
            projected_watts=projected,
            known_seconds=self._known_seconds,
            elapsed_seconds=self._ends - self._begins,
            reason=None if projected is not None else f"nothing known for {RECENT_SECONDS:g} s",
        )


def of_meters(index: SiteIndex, rows: IntervalRows, names: Sequence[str]) -> Part | None:
    """Return the power of some meters together, None unless all of them were measured."""
    means, maxima = [], []
    in_force = index.metering(rows.start_seconds).meters
    for name in names:
        row = rows.meters.get(name)
        meter = in_force.get(name)
        if row is None or meter is None or row.energy_joules is None:
            return None
        known = row.covered_milliseconds >= _COVERED_SHARE * row.length_milliseconds
        if not known or row.quality not in MEASURED:
            return None
        factor = meter.sign * meter.part
        mean = row.energy_joules * 1000 / row.covered_milliseconds
        maximum = mean if row.power_watts_max is None else row.power_watts_max
        means.append(factor * mean)
        maxima.append(factor * maximum)
    return Part(rows.start_seconds, rows.length_seconds, fsum(means), fsum(maxima))


class PowerWatch:
    """Takes the rows and sums of each interval once, in their order."""

    def __init__(self, index: SiteIndex) -> None:
        self._index = index
        self._zone: Final = ZoneInfo(index.model.time_zone)
        self._demands: dict[str, _Demand] = {}
        self._loads: dict[str, _Recent] = {}

    def add(self, rows: IntervalRows, site_sums: Mapping[str, float] | None) -> None:
        """Take an interval; a connection without meters carries what the site is billed for."""
        end = rows.start_seconds + rows.length_seconds
        dated = self._index.dated
        for name, connection in dated.grid_connection.at(rows.start_seconds).items():
            if connection.meters:
                part = of_meters(self._index, rows, connection.meters)
            else:
                part = _of_site(rows, site_sums)
            demand = self._demands.setdefault(name, _Demand(self._zone))
            demand.add(part, end, connection.demand_interval)
        for name, node in dated.power.at(rows.start_seconds).items():
            if node.meters:
                recent = self._loads.setdefault(name, _Recent(_LOAD_SECONDS))
                recent.add(of_meters(self._index, rows, node.meters), end)

    def demand(self, at_seconds: float) -> tuple[DemandKnown, ...]:
        """Return the running demand interval of each grid connection in force."""
        connections = self._index.dated.grid_connection.at(at_seconds)
        return tuple(self._demand(connection) for connection in connections.values())

    def loads(self, at_seconds: float) -> tuple[LoadKnown, ...]:
        """Return every limit of the power path with the load it is compared with."""
        power = self._index.dated.power.at(at_seconds)
        connections = self._index.dated.grid_connection.at(at_seconds)
        return (
            *(self._of_connection(connection) for connection in connections.values()),
            *(self._of_node(node, power, connections) for node in power.values()),
        )

    def supplies(self, at_seconds: float) -> tuple[Supply, ...]:
        """Return what each measured piece of the power path carries now, and carried lately."""
        return tuple(
            Supply(name, recent.last_watts(), recent.maximum_watts())
            for name in self._index.dated.power.at(at_seconds)
            if (recent := self._loads.get(name)) is not None
        )

    def _demand(self, connection: GridConnection) -> DemandKnown:
        return self._demands.get(connection.name, _Demand(self._zone)).known(connection)

    def _of_connection(self, connection: GridConnection) -> LoadKnown:
        watts = self._demand(connection).projected_watts
        load = None if watts is None else max(0.0, watts)
        limit = connection.limit_watts * (1 - connection.margin_ratio)
        return LoadKnown(connection.name, limit, load, connection.marginal_pue)

    def _of_node(
        self,
        node: PowerNode,
        power: Mapping[str, PowerNode],
        connections: Mapping[str, GridConnection],
    ) -> LoadKnown:
        load = self._node_watts(node)
        if load is not None and node.pair is not None:
            # After the failure of its pair it carries the load of both.
            pair = power.get(node.pair)
            other = None if pair is None else self._node_watts(pair)
            load = None if other is None else load + other
        return LoadKnown(node.name, node.watts_at_n, load, _marginal(node, power, connections))

    def _node_watts(self, node: PowerNode) -> float | None:
        recent = self._loads.get(node.name)
        if recent is None:
            return None
        watts = recent.maximum_watts() if node.load == "maximum" else recent.mean_watts()
        return None if watts is None else max(0.0, watts)


def _marginal(
    node: PowerNode, power: Mapping[str, PowerNode], connections: Mapping[str, GridConnection]
) -> float | None:
    """Return what a further watt of IT adds at a piece of the power path.

    Behind the UPS that is IT alone. Before it there is cooling too, as at the connection.
    """
    if node.kind not in BEFORE_UPS:
        return 1.0
    above = node.parent or ""
    while above in power:
        above = power[above].parent or ""
    fed_by = [connections[above]] if above in connections else list(connections.values())
    stated = {connection.marginal_pue for connection in fed_by}
    return stated.pop() if len(stated) == 1 else None


def _of_site(rows: IntervalRows, sums: Mapping[str, float] | None) -> Part | None:
    if sums is None or sums["unbilled_seconds"] > 0 or sums["interval_seconds"] <= 0:
        return None
    watts = sums["billed_joules"] / rows.length_seconds
    if not math.isfinite(watts):
        return None
    return Part(rows.start_seconds, rows.length_seconds, watts, watts)
