"""What is followed of single nodes, meters and devices, interval by interval."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from meterhouse_agent import wire
from meterhouse_collector import rows as stored
from meterhouse_collector.alerts.known import Lost, Readings, Silence
from meterhouse_collector.ledger import Entry
from meterhouse_collector.rollup.site_energy import MEASURED, IntervalRows
from meterhouse_collector.rows import MeterRow, NodeRow
from meterhouse_collector.site.index import SiteIndex

_UNHEALTHY: Final = wire.STATES.index("unhealthy")
# Detail comes at least every few minutes; what is older says nothing of now.
DETAIL_SECONDS: Final = 300.0


class _Detail(msgspec.Struct, gc=False):
    temperature_celsius: float | None = None
    throttled_milliseconds: float | None = None
    ecc_uncorrected_errors: float | None = None


_DETAIL: Final = msgspec.json.Decoder(_Detail)


class _Heard:
    """When each of some things was last heard, and since when it is watched in vain."""

    def __init__(self) -> None:
        self._heard: dict[str, int] = {}
        self._watched: dict[str, int] = {}

    def add(self, expected: Iterable[str], heard: set[str], start: int, end: int) -> None:
        names = set(expected)
        for name in names:
            if name in heard:
                self._heard[name] = end
            else:
                self._watched.setdefault(name, start)
        for known in (self._heard, self._watched):
            for name in known.keys() - names:
                del known[name]

    def silences(self, end: int) -> tuple[Silence, ...]:
        never = self._watched.keys() - self._heard.keys()
        return (
            *(Silence(name, float(end - heard)) for name, heard in self._heard.items()),
            *(Silence(n, float(end - self._watched[n]), at_least=True) for n in sorted(never)),
        )


class ThingWatch:
    """Takes the rows of each interval once, in their order, and the detail as it comes."""

    def __init__(self, index: SiteIndex) -> None:
        self._index = index
        self._nodes = _Heard()
        self._meters = _Heard()
        self._end = 0
        self._lost: dict[str, float | None] = {}
        self._details: dict[str, tuple[int, Readings]] = {}

    def add(self, rows: IntervalRows) -> None:
        """Take an interval."""
        start, end = rows.start_seconds, rows.start_seconds + rows.length_seconds
        self._end = end
        plans = self._index.plans(start)
        self._nodes.add(plans, {*rows.nodes}, start, end)
        # A slow meter tells of spans, not of intervals.
        meters = [m.name for m in self._index.metering(start).meters.values() if m.step is None]
        good = {name for name, row in rows.meters.items() if _is_good(row)}
        self._meters.add(meters, good, start, end)
        nodes = rows.nodes
        self._lost = {
            name: _unhealthy_devices(nodes[name]) if name in nodes else None for name in plans
        }

    def add_detail(self, entry: Entry) -> None:
        """Take what an entry says of single devices, unless it is older than what is known."""
        tables = [row for row in entry.rows if isinstance(row, stored.Table)]
        if not tables:
            return
        found = [
            each
            for row in tables
            if row.measurement == "accelerator"
            for each, line in zip(
                _DETAIL.decode_lines(row.rows), row.rows.splitlines(), strict=True
            )
            if line != b"{}"
        ]
        if not found or self._details.get(entry.node, (0,))[0] > entry.start_seconds:
            return
        length = 0 if entry.node_row is None else entry.node_row.length_milliseconds
        throttled = _most([each.throttled_milliseconds for each in found])
        self._details[entry.node] = (
            entry.start_seconds,
            Readings(
                entry.node,
                _most([each.temperature_celsius for each in found]),
                None if throttled is None or length <= 0 else min(1.0, throttled / length),
                _most([each.ecc_uncorrected_errors for each in found]),
            ),
        )

    def seen(self) -> "Seen":
        """Return what is known after the last interval."""
        registered = self._lost.keys()
        for name in self._details.keys() - registered:
            del self._details[name]
        oldest = self._end - DETAIL_SECONDS
        return Seen(
            self._nodes.silences(self._end),
            self._meters.silences(self._end),
            tuple(map(Lost._make, self._lost.items())),
            tuple(
                readings if start >= oldest else Readings(name)
                for name, (start, readings) in self._details.items()
            ),
        )


class Seen(NamedTuple):
    """What a ``ThingWatch`` knows."""

    nodes: tuple[Silence, ...]
    meters: tuple[Silence, ...]
    lost: tuple[Lost, ...]
    readings: tuple[Readings, ...]


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


def _most(values: Iterable[float | None]) -> float | None:
    return max([value for value in values if value is not None], default=None)


def waiting_seconds(waiting: Mapping[str, int], length_seconds: int) -> dict[str, float]:
    """Return how much time's reports each spool holds."""
    return {name: float(count * length_seconds) for name, count in waiting.items() if count > 0}
