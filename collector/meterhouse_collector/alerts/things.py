"""What is followed of single nodes, meters and devices, interval by interval."""

import re
from collections.abc import Collection, Mapping
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from meterhouse_agent import wire
from meterhouse_collector import rows as stored
from meterhouse_collector.alerts.known import Lost, Readings, Silence
from meterhouse_collector.ledger import DETAIL_NAMES, Entry
from meterhouse_collector.rollup.site_energy import MEASURED, IntervalRows
from meterhouse_collector.rows import MeterRow, NodeRow
from meterhouse_collector.site.downtime import wholly_down
from meterhouse_collector.site.index import SiteIndex

_UNHEALTHY: Final = wire.STATES.index("unhealthy")
# Detail comes at least every few minutes; what is older says nothing of now.
DETAIL_SECONDS: Final = 300.0
NEVER_CALM: Final = Readings("")


_Column = list[float | None]
# Of the columns of detail those that any rule minds; the others are not even read.
_MINDED: Final = ("temperature_celsius", "throttled_milliseconds", "ecc_uncorrected_errors")
_columns_of: Final = attrgetter(*_MINDED)
_DETAIL: Final = msgspec.json.Decoder(
    msgspec.defstruct(
        "_Detail",
        [(name, _Column if name in _MINDED else msgspec.Raw) for name in DETAIL_NAMES],
        array_like=True,
        gc=False,
    )
)
_DIGIT: Final = re.compile(rb"\d")


class _Heard:
    """Of some things those that were not heard last, and since when they are silent."""

    def __init__(self) -> None:
        # Since when, and whether nothing was ever heard before.
        self._silent: dict[str, tuple[int, bool]] = {}
        self._expected: Collection[str] = ()
        self._end = 0

    def add(self, expected: Collection[str], heard: Collection[str], start: int, end: int) -> None:
        silent = set(expected).difference(heard)
        self._silent = {name: self._since(name, start) for name in sorted(silent)}
        self._expected, self._end = expected, end

    def _since(self, name: str, start: int) -> tuple[int, bool]:
        known = self._silent.get(name)
        if known is not None:
            return known
        # What was expected before and was not silent was heard until then.
        return (self._end, False) if name in self._expected else (start, True)

    def silences(self, still_open: Collection[str]) -> tuple[Silence, ...]:
        end = self._end
        calm = [n for n in still_open if n in self._expected and n not in self._silent]
        return (
            *(Silence(name, 0.0) for name in sorted(calm)),
            *(
                Silence(name, float(end - since), at_least=never)
                for name, (since, never) in self._silent.items()
            ),
        )


class ThingWatch:
    """Takes the rows of each interval once, in their order, and the detail as it comes.

    Of a large site hardly anything is silent, lost or hot: only what is costs more than a look.
    ``calm`` is what no rule ever minds. A node that somebody says is down, whole, is neither silent
    nor lost: it is known.
    """

    def __init__(self, index: SiteIndex, calm: Readings = NEVER_CALM) -> None:
        self._index = index
        self._calm = calm
        self._nodes = _Heard()
        self._meters = _Heard()
        self._end = 0
        self._registered: Collection[str] = ()
        self._lost: dict[str, float | None] = {}
        self._details: dict[str, tuple[int, Readings]] = {}
        self._oldest_detail = 0
        # Of nodes that are not calm, until a detail changes.
        self._restless: dict[str, Readings] | None = None

    def add(self, rows: IntervalRows) -> None:
        """Take an interval."""
        start, end = rows.start_seconds, rows.start_seconds + rows.length_seconds
        plans, nodes = self._index.plans(start), rows.nodes
        if plans is not self._registered:
            self._restless = None
        self._end, self._registered = end, plans
        down = wholly_down(self._index.said_down(start, rows.length_seconds))
        self._nodes.add(plans, nodes.keys() | down if down else nodes, start, end)
        # A slow meter tells of spans, not of intervals.
        meters = [m.name for m in self._index.metering(start).meters.values() if m.step is None]
        good = {name for name, row in rows.meters.items() if _is_good(row)}
        self._meters.add(meters, good, start, end)
        hurt = {
            name: row
            for name, row in nodes.items()
            for share in row.shares
            if share.milliseconds[_UNHEALTHY]
        }
        self._lost = {name: _unhealthy_devices(row) for name, row in hurt.items() if name in plans}
        self._lost |= dict.fromkeys(sorted(plans.keys() - nodes.keys()))
        for name in down & self._lost.keys():
            del self._lost[name]

    def add_detail(self, entry: Entry) -> None:
        """Take what an entry says of single devices, unless it is older than what is known."""
        for row in entry.rows:
            if type(row) is stored.Table and row.measurement == "accelerator":
                self._add_columns(entry, row.columns)

    def _add_columns(self, entry: Entry, columns: bytes) -> None:
        known = self._details.get(entry.node)
        if known is not None and known[0] > entry.start_seconds:
            return
        if _DIGIT.search(columns) is None:
            # Of no device anything was read.
            return
        temperature, throttled, errors = map(_most, _columns_of(_DETAIL.decode(columns)))
        length = 0 if entry.node_row is None else entry.node_row.length_milliseconds
        self._restless = None
        self._details[entry.node] = (
            entry.start_seconds,
            Readings(
                entry.node,
                temperature,
                None if throttled is None or length <= 0 else min(1.0, throttled / length),
                errors,
            ),
        )

    def seen(self, still_open: frozenset[str] = frozenset()) -> "Seen":
        """Return what is known after the last interval; of what is calm only what is open."""
        calm = {name for name in still_open if name in self._registered} - self._lost.keys()
        return Seen(
            self._nodes.silences(still_open),
            self._meters.silences(still_open),
            (*map(Lost._make, self._lost.items()), *(Lost(name, 0.0) for name in sorted(calm))),
            self._latest_readings(still_open),
        )

    def _latest_readings(self, still_open: frozenset[str]) -> tuple[Readings, ...]:
        oldest = self._end - DETAIL_SECONDS
        if self._restless is None or self._oldest_detail < oldest:
            for name in self._details.keys() - self._registered:
                del self._details[name]
            fresh = [each for each in self._details.values() if each[0] >= oldest]
            self._oldest_detail = min([start for start, _ in fresh], default=self._end)
            self._restless = {r.node: r for _, r in fresh if _beyond(r, self._calm)}
        known = {**self._restless}
        for name in still_open.intersection(self._registered):
            # Also of a node that has told nothing since the start: that ends no alert.
            start, readings = self._details.get(name, (oldest, Readings(name)))
            known[name] = readings if start >= oldest else Readings(name)
        return tuple(known.values())


class Seen(NamedTuple):
    """What a ``ThingWatch`` knows."""

    nodes: tuple[Silence, ...]
    meters: tuple[Silence, ...]
    lost: tuple[Lost, ...]
    readings: tuple[Readings, ...]


def _beyond(readings: Readings, calm: Readings) -> bool:
    _, *values = readings
    _, *levels = calm
    return any(
        value is not None and (level is None or value > level)
        for value, level in zip(values, levels, strict=True)
    )


def _is_good(row: MeterRow) -> bool:
    measured = row.energy_joules is not None or row.volume_litres is not None
    return measured and row.covered_milliseconds > 0 and row.quality in MEASURED


def _unhealthy_devices(row: NodeRow) -> float:
    milliseconds = 0
    for share in row.shares:
        milliseconds += share.milliseconds[_UNHEALTHY]
    if milliseconds == 0 or row.length_milliseconds <= 0:
        return 0.0
    return milliseconds / row.length_milliseconds


def _most(values: _Column) -> float | None:
    if None in values:
        values = [value for value in values if value is not None]
    return max(values, default=None)  # type: ignore[type-var] # no None


def waiting_seconds(waiting: Mapping[str, int], length_seconds: int) -> dict[str, float]:
    """Return how much time's reports each spool holds."""
    return {name: float(count * length_seconds) for name, count in waiting.items()}
