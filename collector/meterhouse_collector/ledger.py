"""Reports into ledger rows. Pure: the site model says who may speak for what and who holds what."""

from collections.abc import Iterator, Mapping
from math import fsum
from operator import attrgetter
from typing import Final, get_args

import msgspec

from meterhouse_agent import wire
from meterhouse_collector.device_states import state_numbers
from meterhouse_collector.kpi.catalogue import (
    DETAIL_FIELDS,
    DETAIL_STATE,
    HOST_FIELDS,
    QUEUE_FIELDS,
    SENSOR_FIELDS,
)
from meterhouse_collector.rollup.points import tag_value
from meterhouse_collector.rows import (
    NOBODY,
    POLICY_DAYS,
    DirtyRow,
    EngineRow,
    MeterRow,
    NodeRow,
    PackedRow,
    Point,
    Row,
    Series,
    SpanRow,
    Table,
    Tags,
    pack,
    pack_columns,
)
from meterhouse_collector.shares import (
    ReportError,
    engine_rows,
    meter_rows,
    node_row,
    sensors_of,
)
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.xids import NO_XIDS, Xids, xid_points, xids_of

QUARTER: Final = wire.QUARTER_SECONDS
_DAY_SECONDS: Final = 86_400
# A gateway of a thousand meters may have been away for two days.
_MAX_MARKS: Final = 200_000
_KINDS: Final[tuple[wire.ThingKind, ...]] = get_args(wire.ThingKind)
_MARKS: Final = {kind: pack(DirtyRow(kind)) for kind in _KINDS}
HOST_FIELD_NAMES: Final = tuple(field.name for field in HOST_FIELDS)
QUEUE_FIELD_NAMES: Final = tuple(field.name for field in QUEUE_FIELDS)
SENSOR_FIELD_NAMES: Final = tuple(field.name for field in SENSOR_FIELDS)
_COLUMNS: Final = tuple(f.name for f in DETAIL_FIELDS if f.name != "energy_joules")
_columns_of: Final = attrgetter(*_COLUMNS)
# The columns of a ``Table`` of devices, in their order.
DETAIL_NAMES: Final = (DETAIL_STATE.name, "energy_joules", *_COLUMNS)
# Of nearly all reports; nobody changes what an entry holds.
_NO_METERS: Final[dict[str, MeterRow]] = {}
_NO_ENGINES: Final[dict[str, EngineRow]] = {}
_NO_SENSORS: Final[dict[str, wire.Sensor]] = {}


class ForeignError(ValueError):
    """A report that speaks for something its agent may not; the text names it."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One report as the ledger takes it: its rows by thing, and all that is to be written.

    Of its ``sensors`` the ledger has nothing: alerts look at them, and detail keeps them; ``xids``
    are the fault codes that it tells of.
    """

    site: str
    node: str
    start_seconds: int
    node_row: NodeRow | None
    meters: dict[str, MeterRow]
    engines: dict[str, EngineRow]
    rows: list[Row]
    sensors: dict[str, wire.Sensor] = {}
    xids: Xids = NO_XIDS


class Installed(msgspec.Struct, frozen=True, gc=False):
    """What a node has, and the series of its devices' detail."""

    inventory: wire.Inventory
    series: Series


class _DeviceTags(msgspec.Struct, frozen=True, gc=False):
    """The tags of each device of an inventory, made anew each time."""

    site: str
    node: str
    inventory: wire.Inventory

    def __iter__(self) -> Iterator[Tags]:
        for device in self.inventory.devices:
            yield (
                ("site", self.site),
                ("node", self.node),
                ("device", device.device or NOBODY),
                ("vendor", device.vendor or NOBODY),
                ("accelerator_model", device.accelerator_model or NOBODY),
            )


def installed(site: str, node: str, inventory: wire.Inventory) -> Installed:
    """Prepare an inventory for the reports that refer to it."""
    return Installed(inventory, Series(_DeviceTags(site, node, inventory), DETAIL_NAMES))


def entry_of(report: wire.Report, has: Installed, index: SiteIndex, *, detail: bool) -> Entry:
    """Turn a report into its ledger rows, with those of single devices where these are due.

    Raises ``ReportError`` (a ``ValueError``) where it contradicts itself, ``ForeignError`` where it
    speaks for what its agent may not.
    """
    columns, site, name = report.accelerators, report.site, report.node
    start, xids = report.start_seconds, NO_XIDS
    node: NodeRow | None = None
    rows: list[Row] = []
    if columns is not None:
        _check_columns(columns, len(has.inventory.devices))
    if columns is not None or report.host is not None:
        node = node_row(report, has.inventory, index)
        rows.append(PackedRow("ledger", "node", site, name, name, start, pack(node)))
    meters, engines, sensors = _NO_METERS, _NO_ENGINES, _NO_SENSORS
    if report.meters or report.engines or report.spans or report.sensors:
        _check_things(report, index)
        meters, engines, sensors = meter_rows(report), engine_rows(report), sensors_of(report)
        rows.extend(_thing_rows(report, meters, engines))
    if columns is not None and columns.xids:
        xids = xids_of(columns, has.inventory)
        rows.extend(xid_points(site, name, start, xids))
    if detail:
        rows.extend(_detail(report, has, engines, index))
    return Entry(site, name, start, node, meters, engines, rows, sensors, xids)


def _thing_rows(
    report: wire.Report, meters: Mapping[str, MeterRow], engines: Mapping[str, EngineRow]
) -> Iterator[PackedRow]:
    key = (report.site, report.node, report.start_seconds)
    for name, meter in meters.items():
        yield _ledger("meter", name, key, pack(meter))
    for name, engine in engines.items():
        yield _ledger("engine", name, key, pack(engine))
    yield from _spans(report, key)
    yield from _registers(report)


def late_marks(entry: Entry) -> Iterator[PackedRow]:
    """Mark the quarters of what an entry brings as changed: it came after they may be summed."""
    quarter = entry.start_seconds - entry.start_seconds % QUARTER
    key = (entry.site, entry.node, quarter)
    if entry.node_row is not None:
        yield _dirty("node", entry.node, key)
    for meter in entry.meters:
        yield _dirty("meter", meter, key)
    for engine in entry.engines:
        yield _dirty("engine", engine, key)


def _check_things(report: wire.Report, index: SiteIndex) -> None:
    named: set[tuple[wire.ThingKind, str]] = set()
    named.update(("meter", meter.meter) for meter in report.meters)
    named.update(("engine", engine.engine) for engine in report.engines)
    named.update((span.kind, span.thing) for span in report.spans)
    for kind, name in named:
        # The contract's pattern lets a line break at the end through.
        if not wire.is_name(name):
            raise ReportError(f"{kind} {name!r} is no name")
        if not index.may_read(kind, name, report.node):
            raise ForeignError(f"{kind} {name} is not {report.node}'s to read")
    for sensor in report.sensors:
        if not wire.is_name(sensor.sensor):
            raise ReportError(f"sensor {sensor.sensor!r} is no name")
        if not index.may_read_sensor(sensor.sensor, report.node):
            raise ForeignError(f"sensor {sensor.sensor} is not {report.node}'s to read")


def _check_columns(columns: wire.Accelerators, devices: int) -> None:
    if {0, devices}.issuperset(map(len, _columns_of(columns))):
        return
    for name, column in zip(_COLUMNS, _columns_of(columns), strict=True):
        if column and len(column) != devices:
            raise ReportError(f"{name} has {len(column)} entries for {devices} devices")


def _ledger(measurement: str, thing: str, key: tuple[str, str, int], row: str) -> PackedRow:
    site, reader, start = key
    return PackedRow("ledger", measurement, site, thing, reader, start, row)


def _spans(report: wire.Report, key: tuple[str, str, int]) -> Iterator[PackedRow]:
    by_thing: dict[tuple[wire.ThingKind, str], list[wire.Span]] = {}
    for span in report.spans:
        if span.to_milliseconds < span.from_milliseconds:
            raise ReportError(f"a span of {span.kind} {span.thing} ends before it begins")
        by_thing.setdefault((span.kind, span.thing), []).append(span)
    marks = 0
    for (kind, thing), spans in by_thing.items():
        yield _ledger("span", f"{kind}/{thing}", key, pack(SpanRow(tuple(spans))))
        quarters = {q for span in spans for q in _quarters(span, report)}
        marks += len(quarters)
        if marks > _MAX_MARKS:
            raise ReportError(f"its spans change more than {_MAX_MARKS} quarters")
        for quarter in sorted(quarters):
            yield _dirty(kind, thing, (report.site, report.node, quarter))


def _quarters(span: wire.Span, report: wire.Report) -> range:
    """Return the quarters that a span changes, of those that the ledger keeps.

    It may end with a reading that was taken after its report's interval, before that was closed.
    """
    ends = report.start_seconds + report.length_seconds
    oldest = (ends - POLICY_DAYS["ledger"] * _DAY_SECONDS) // QUARTER * QUARTER
    first = span.from_milliseconds // 1000 // QUARTER * QUARTER
    last = max(span.to_milliseconds - 1, span.from_milliseconds) // 1000
    return range(max(first, oldest), min(last, ends + QUARTER - 1) + 1, QUARTER)


def _dirty(kind: wire.ThingKind, thing: str, key: tuple[str, str, int]) -> PackedRow:
    return _ledger("dirty", f"{kind}/{thing}", key, _MARKS[kind])


def _registers(report: wire.Report) -> Iterator[PackedRow]:
    for meter in report.meters:
        for register in meter.registers:
            yield PackedRow(
                "quarter",
                "register",
                report.site,
                meter.meter,
                report.node,
                register.at_milliseconds // 1000,
                pack(register),
            )


def inventory_row(site: str, node: str, at_seconds: int, inventory: wire.Inventory) -> PackedRow:
    """Return the row that says what a node had from this time on."""
    return PackedRow("quarter", "inventory", site, node, node, at_seconds, pack(inventory))


def _detail(
    report: wire.Report, has: Installed, engines: Mapping[str, EngineRow], index: SiteIndex
) -> Iterator[Row]:
    if report.accelerators is not None:
        yield _accelerator_detail(report, report.accelerators, has, index)
    if report.host is not None:
        yield from _host_detail(report, report.host)
    if engines:
        yield from _queues(report, engines)
    if report.sensors:
        yield from _sensor_detail(report, index)


def _accelerator_detail(
    report: wire.Report, columns: wire.Accelerators, has: Installed, index: SiteIndex
) -> Table:
    grouping = index.grouping(report.node, has.inventory, report.start_seconds)
    states: list[float | None] = []
    if columns.state_milliseconds:
        states = state_numbers(columns, grouping, report.length_seconds)
    energies: list[float | None] = []
    joules = tuple(columns.state_joules.values())
    if len(joules) == 1:
        energies = joules[0]
    elif joules:
        by_device = zip(*joules, strict=True)
        energies = [None if None in parts else fsum(parts) for parts in by_device]
    packed = pack_columns((states, energies, *_columns_of(columns)))
    return Table("detail", "accelerator", has.series, packed, report.start_seconds)


def _host_detail(report: wire.Report, host: wire.Host) -> Iterator[Point]:
    readings = {name: getattr(host, name) for name in HOST_FIELD_NAMES}
    fields = {name: float(value) for name, value in readings.items() if value is not None}
    if fields:
        tags = (("site", report.site), ("node", report.node))
        yield Point("detail", "host", tags, {**fields}, report.start_seconds)


def _queues(report: wire.Report, engines: Mapping[str, EngineRow]) -> Iterator[Point]:
    for name, engine in engines.items():
        for served in engine.served:
            fields: dict[str, float | int | str | bool] = {
                field: float(value)
                for field in QUEUE_FIELD_NAMES
                if (value := getattr(served, field)) is not None
            }
            if fields:
                tags = (
                    ("site", report.site),
                    ("engine", name),
                    ("served_model", tag_value(served.served_model)),
                )
                yield Point("detail", "engine", tags, fields, report.start_seconds)


def _sensor_detail(report: wire.Report, index: SiteIndex) -> Iterator[Point]:
    known = index.dated.sensor.at(report.start_seconds)
    for sensor in report.sensors:
        place = known.get(sensor.sensor)
        tags = (
            ("site", report.site),
            ("cluster", NOBODY if place is None else place.cluster or NOBODY),
            ("sensor", sensor.sensor),
            ("kind", NOBODY if place is None else place.kind),
        )
        readings = {name: getattr(sensor, name) for name in SENSOR_FIELD_NAMES}
        if place is not None:
            # So that a board can hold each reading against them.
            readings |= place.allowed._asdict()
        fields = {name: float(value) for name, value in readings.items() if value is not None}
        yield Point("detail", "sensor", tags, {**fields}, report.start_seconds)
