"""What a store costs over time: the bytes of an hour, and a month's panel from quarter rollups."""

import time
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from meterhouse_agent import wire
from meterhouse_collector.ledger import entry_of, installed
from meterhouse_collector.rollup.points import kept_points, live_point
from meterhouse_collector.rollup.roll_up import roll_up
from meterhouse_collector.rollup.site_energy import IntervalRows
from meterhouse_collector.rows import POLICY_DAYS, NodeRow, Row, singles
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import load_site
from meterhouse_collector.store.line_protocol import LineEncoder
from tests.bench import fleet
from tests.bench.consumers import site_model
from tests.bench.fleet import DEVICES, SITE, Fleet
from tests.servers import InfluxDB

_LENGTH_SECONDS: Final = 5
_DETAIL_SECONDS: Final = 60
_HOUR_SECONDS: Final = 3600
_QUARTER_SECONDS: Final = 900
_DAYS: Final = 30
_ASKED: Final = 7
_RECORDED: Final = 4
_LINES: Final = 5_000
# What is in memory and in the log goes into files once nothing was written for so long.
_COLD_SECONDS: Final = 2
_SETTLED_SECONDS: Final = 12.0
# The idle-capacity ratio by the hour, as a board asks for it.
_PANEL: Final = (
    "SELECT idle / could FROM (SELECT sum(free_seconds) + sum(held_idle_seconds) "
    "- sum(stranded_seconds) AS idle, sum(active_seconds) + sum(held_idle_seconds) "
    "+ sum(free_seconds) - sum(stranded_seconds) AS could FROM kept.rollup "
    "WHERE site = '{site}' AND time >= {begin}s AND time < {end}s GROUP BY time(1h)) "
    "WHERE could > 0"
)


class Kept(NamedTuple):
    """Bytes on disk of an accelerator's hour, and the milliseconds of a panel over 30 days."""

    bytes_per_accelerator_hour: float
    query_ms_30d: float
    rows_30d: int


class _Store(InfluxDB):
    def _arguments(self) -> list[str]:
        cold = f"{_COLD_SECONDS}s"
        return [*super()._arguments(), "--storage-cache-snapshot-write-cold-duration", cold]


def measure_kept(folder: Path, *, nodes: int, quarter_nodes: int) -> Kept:
    """Write an hour of a small fleet and 30 days of a large one's rollups, and measure both."""
    folder.mkdir(parents=True, exist_ok=True)
    with _Store(folder / "influxdb") as influx:
        for policy in POLICY_DAYS:
            influx.make_bucket(f"meterhouse/{policy}")
        empty = _bytes(influx)
        _write_hour(influx, _index(folder, nodes), Fleet(nodes, _LENGTH_SECONDS))
        time.sleep(_SETTLED_SECONDS)
        hour = (_bytes(influx) - empty) / (nodes * DEVICES)
        end = int(time.time()) // _QUARTER_SECONDS * _QUARTER_SECONDS
        quarters = _DAYS * 24 * _HOUR_SECONDS // _QUARTER_SECONDS
        begin = end - quarters * _QUARTER_SECONDS
        rows = _write_month(influx, _index(folder, quarter_nodes), quarter_nodes, (begin, end))
        asked = _PANEL.format(site=SITE, begin=begin, end=end)
        took = [_milliseconds(influx, asked) for _ in range(_ASKED)]
    return Kept(hour, median(took), rows)


def _index(folder: Path, nodes: int) -> SiteIndex:
    path = folder / f"site-{nodes}.toml"
    path.write_text(site_model(Fleet(nodes, _LENGTH_SECONDS)))
    return SiteIndex(load_site(path))


def _bytes(influx: InfluxDB) -> int:
    return sum(path.stat().st_size for path in (influx.folder / "engine").rglob("*.tsm"))


def _write_hour(influx: InfluxDB, index: SiteIndex, described: Fleet) -> None:
    """Write what a collector as shipped writes of an hour: ledger, detail and live rollups."""
    nodes = range(described.nodes)
    has = [installed(SITE, described.node(node), described.inventory(node)) for node in nodes]
    recorded = [[described.report(node, n) for node in nodes] for n in range(_RECORDED)]
    encoder, lines = LineEncoder(), _Lines(influx)
    begin = int(time.time()) // _HOUR_SECONDS * _HOUR_SECONDS - _HOUR_SECONDS
    for start in range(begin, begin + _HOUR_SECONDS, _LENGTH_SECONDS):
        payloads = recorded[start // _LENGTH_SECONDS % _RECORDED]
        rows: dict[str, NodeRow] = {}
        for payload, devices in zip(payloads, has, strict=True):
            report = wire.decode_report(fleet.at(payload, start))
            entry = entry_of(report, devices, index, detail=start % _DETAIL_SECONDS == 0)
            if entry.node_row is not None:
                rows[entry.node] = entry.node_row
            lines.add(encoder, entry.rows)
        sums = roll_up(IntervalRows(start, _LENGTH_SECONDS, rows, {}, {}), index)
        lines.add(encoder, [live_point(group, fields, start) for group, fields in sums.items()])
    lines.send()


def _write_month(influx: InfluxDB, index: SiteIndex, nodes: int, window: tuple[int, int]) -> int:
    """Write the rollups of a site's quarters; one quarter's sums stand for all."""
    names = [Fleet(nodes, _LENGTH_SECONDS).node(node) for node in range(nodes)]
    silent = IntervalRows(window[0], _QUARTER_SECONDS, {}, {}, {})
    sums = roll_up(silent, index)
    encoder, lines, rows = LineEncoder(), _Lines(influx), 0
    for number, start in enumerate(range(*window, _QUARTER_SECONDS)):
        told = {
            group: {
                # Each field differs, and none by so much that a sum less one of them falls below 0.
                name: len(names) * (1.0 + number % 96 / 96 + 1 / (2 + place))
                if value == 0
                else value
                for place, (name, value) in enumerate(fields.items())
            }
            for group, fields in sums.items()
        }
        points = kept_points(start, told)
        lines.add(encoder, list(points))
        rows += len(points)
    lines.send()
    return rows


class _Lines:
    """Lines by bucket, written in batches."""

    def __init__(self, influx: InfluxDB) -> None:
        self._influx = influx
        self._lines: dict[str, list[bytes]] = {}

    def add(self, encoder: LineEncoder, rows: list[Row]) -> None:
        for row in rows:
            mine = self._lines.setdefault(row.policy, [])
            mine += [encoder.line(single) for single in singles(row)]
            if len(mine) >= _LINES:
                self.send()

    def send(self) -> None:
        for policy, lines in self._lines.items():
            if lines:
                self._influx.write(f"meterhouse/{policy}", b"\n".join(lines).decode())
                lines.clear()


def _milliseconds(influx: InfluxDB, query: str) -> float:
    began = time.perf_counter()
    if len(influx.influxql("meterhouse", query)) < _DAYS * 24 - 1:
        raise ValueError("the panel lacks hours")
    return (time.perf_counter() - began) * 1000
