"""Reports into ledger rows. Pure: the site model says who may speak for what and who holds what."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from meterhouse_agent import wire
from meterhouse_collector.kpi.catalogue import DETAIL_FIELDS, HOST_FIELDS
from meterhouse_collector.rows import (
    NOBODY,
    DirtyRow,
    EngineRow,
    MeterRow,
    NodeRow,
    PackedRow,
    Point,
    Row,
    SpanRow,
    pack,
)
from meterhouse_collector.shares import engine_rows, meter_rows, node_row
from meterhouse_collector.site_index import SiteIndex

QUARTER: Final = wire.QUARTER_SECONDS
_MAX_QUARTERS_OF_A_SPAN: Final = 35 * 96
HOST_FIELD_NAMES: Final = tuple(field.name for field in HOST_FIELDS)
_COLUMNS: Final = tuple(f.name for f in DETAIL_FIELDS if f.name != "energy_joules")


class ForeignError(ValueError):
    """A report that speaks for something its agent may not; the text names it."""


class Entry(NamedTuple):
    """One report as the ledger takes it: its rows by thing, and all that is to be written."""

    site: str
    node: str
    start_seconds: int
    node_row: NodeRow | None
    meters: dict[str, MeterRow]
    engines: dict[str, EngineRow]
    rows: list[Row]


class Writing(NamedTuple):
    """How a report is to be written: what is late, and whether device detail is due."""

    late_before_seconds: int
    detail: bool


def entry_of(
    report: wire.Report, inventory: wire.Inventory, index: SiteIndex, writing: Writing
) -> Entry:
    """Turn a report into its ledger rows.

    Raises ``ReportError`` (a ``ValueError``) where it contradicts itself, ``ForeignError`` where it
    speaks for what its agent may not.
    """
    _check_readers(report, index)
    node = None
    if report.accelerators is not None or report.host is not None:
        node = node_row(report, inventory, index)
    meters = meter_rows(report)
    engines = engine_rows(report)
    key = (report.site, report.node, report.start_seconds)
    rows: list[Row] = []
    things: list[tuple[wire.ThingKind, str]] = []
    if node is not None:
        rows.append(_ledger("node", report.node, key, pack(node)))
        things.append(("node", report.node))
    for name, meter in meters.items():
        rows.append(_ledger("meter", name, key, pack(meter)))
        things.append(("meter", name))
    for name, engine in engines.items():
        rows.append(_ledger("engine", name, key, pack(engine)))
        things.append(("engine", name))
    rows.extend(_spans(report, key))
    rows.extend(_registers(report))
    if report.start_seconds < writing.late_before_seconds:
        quarter = report.start_seconds - report.start_seconds % QUARTER
        rows.extend(_dirty(kind, thing, quarter, report) for kind, thing in things)
    if writing.detail:
        rows.extend(_detail(report, inventory))
        rows.extend(_host_detail(report))
    return Entry(*key, node, meters, engines, rows)


def _check_readers(report: wire.Report, index: SiteIndex) -> None:
    for kind, name in (
        *(("meter", meter.meter) for meter in report.meters),
        *(("engine", engine.engine) for engine in report.engines),
        *((span.kind, span.thing) for span in report.spans),
    ):
        if not index.may_read(kind, name, report.node):  # type: ignore[arg-type] # literals above
            raise ForeignError(f"{kind} {name} is not {report.node}'s to read")


def _ledger(measurement: str, thing: str, key: tuple[str, str, int], row: str) -> PackedRow:
    site, reader, start = key
    return PackedRow("ledger", measurement, site, thing, reader, start, row)


def _spans(report: wire.Report, key: tuple[str, str, int]) -> Iterator[PackedRow]:
    by_thing: dict[tuple[wire.ThingKind, str], list[wire.Span]] = {}
    for span in report.spans:
        by_thing.setdefault((span.kind, span.thing), []).append(span)
    for (kind, thing), spans in by_thing.items():
        yield _ledger("span", f"{kind}/{thing}", key, pack(SpanRow(tuple(spans))))
        quarters = {q for span in spans for q in _quarters(span)}
        for quarter in sorted(quarters):
            yield _dirty(kind, thing, quarter, report)


def _quarters(span: wire.Span) -> range:
    first = span.from_milliseconds // 1000 // QUARTER * QUARTER
    last = max(span.to_milliseconds - 1, span.from_milliseconds) // 1000 // QUARTER * QUARTER
    return range(max(first, last - _MAX_QUARTERS_OF_A_SPAN * QUARTER), last + 1, QUARTER)


def _dirty(kind: wire.ThingKind, thing: str, quarter: int, report: wire.Report) -> PackedRow:
    return PackedRow(
        "ledger",
        "dirty",
        report.site,
        f"{kind}/{thing}",
        report.node,
        quarter,
        pack(DirtyRow(kind)),
    )


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


def _detail(report: wire.Report, inventory: wire.Inventory) -> Iterator[Point]:
    columns = report.accelerators
    if columns is None:
        return
    values = {name: getattr(columns, name) for name in _COLUMNS}
    filled = [(name, column) for name, column in values.items() if column]
    energies = list(columns.state_joules.values())
    for position, device in enumerate(inventory.devices):
        fields: dict[str, float | int | str | bool] = {}
        measured = [column[position] for column in energies]
        if measured and None not in measured:
            fields["energy_joules"] = float(sum(m for m in measured if m is not None))
        for name, column in filled:
            value = column[position]
            if value is not None:
                fields[name] = float(value)
        if fields:
            tags = (
                ("site", report.site),
                ("node", report.node),
                ("device", device.device or NOBODY),
                ("vendor", device.vendor or NOBODY),
                ("accelerator_model", device.accelerator_model or NOBODY),
            )
            yield Point("detail", "accelerator", tags, fields, report.start_seconds)


def _host_detail(report: wire.Report) -> Iterator[Point]:
    host = report.host
    if host is None:
        return
    readings = {name: getattr(host, name) for name in HOST_FIELD_NAMES}
    fields = {name: float(value) for name, value in readings.items() if value is not None}
    if fields:
        tags = (("site", report.site), ("node", report.node))
        yield Point("detail", "host", tags, {**fields}, report.start_seconds)
