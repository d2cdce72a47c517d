"""Rows made up from bytes: each is a line that says the same when read back, or a refusal."""

import json
import math
from collections.abc import Callable
from typing import Final

from meterhouse_collector.rows import (
    PackedRow,
    Point,
    Readings,
    Row,
    Series,
    Single,
    Table,
    pack_columns,
)
from meterhouse_collector.store.line_protocol import LineEncoder
from tests.collector.line_parser import Value, parse
from tests.fuzz.draw import Draw

_ENCODER: Final = LineEncoder(series_kept=16)


def check_row(row: Row) -> bool:
    """Tell whether what the collector made can be written; assert that it says what was meant."""
    return check_table(row) if isinstance(row, Table) else check_line(row)


def check_table(table: Table) -> bool:
    """Tell whether a table has lines; assert that they are those of its readings, one by one."""
    for reading in table.readings():
        check_line(reading)
    try:
        lines_of_it = _ENCODER.lines(table)
    except ValueError:
        return False
    assert lines_of_it == b"\n".join(map(_ENCODER.line, table.readings())), table
    return True


def check_line(row: Single) -> bool:
    """Tell whether a row has a line; assert that the line is one and says what the row says."""
    try:
        line = _ENCODER.line(row)
    except ValueError:
        return False
    assert b"\n" not in line, line
    assert b"\r" not in line, line
    measurement, tags, fields, start = parse(line)
    assert (measurement, start) == (row.measurement, row.start_seconds), line
    if isinstance(row, PackedRow):
        assert tags == {"reader": row.reader, "site": row.site, "thing": row.thing}, line
        assert fields == {"row": row.row}, line
        return True
    assert tags == dict(row.tags), line
    said = row.fields if isinstance(row, Point) else row.point().fields
    assert list(map(_typed, fields.items())) == list(map(_typed, said.items())), line
    return True


def _typed(field: tuple[str, Value]) -> tuple[str, type, str]:
    name, value = field
    if isinstance(value, float):
        assert math.isfinite(value), field
    return name, type(value), repr(value)


def drawn_row(draw: Draw) -> Row:
    """Make up a row of one of the four kinds."""
    kind, start = draw.below(4), draw.integer() if draw.chance(4) else draw.integer(4)
    if kind == 0:
        texts = [draw.text() for _ in range(4)]
        return PackedRow("ledger", "node", texts[0], texts[1], texts[2], start, texts[3])
    tags = tuple((draw.text(), draw.text()) for _ in range(draw.below(4)))
    if kind == 1:
        return Point("detail", draw.pick(("host", draw.text())), tags, _drawn_fields(draw), start)
    if kind == 2:
        return Readings("detail", "accelerator", tags, _drawn_readings(draw), start)
    devices, names = draw.below(4), tuple(f"f{number}" for number in range(draw.below(4)))
    series = Series([(*tags, ("device", draw.text())) for _ in range(devices)], names)
    columns = [_drawn_column(draw, devices) for _ in names]
    return Table("detail", "accelerator", series, pack_columns(columns), start)


def _drawn_column(draw: Draw, devices: int) -> list[float | None]:
    if draw.chance(4):
        return []
    return [None if draw.chance(8) else draw.number() for _ in range(devices)]


def _drawn_readings(draw: Draw) -> bytes:
    # What the collector packs itself: plain names, and the encoder writes null for NaN.
    names = [f"f{number}" for number in range(draw.below(4))]
    numbers = {name: draw.number() for name in names}
    row = {name: number if math.isfinite(number) else None for name, number in numbers.items()}
    return json.dumps(row, separators=(",", ":")).encode()


def _drawn_fields(draw: Draw) -> dict[str, Value]:
    fields: dict[str, Value] = {}
    for _ in range(draw.below(5)):
        makers: tuple[Callable[[], Value], ...] = (
            draw.number,
            draw.integer,
            draw.text,
            draw.chance,
        )
        fields[draw.text()] = draw.pick(makers)()
    return fields


def lines(data: bytes) -> None:
    """Write rows one after the other, as one encoder does that remembers series."""
    draw = Draw(data)
    while draw.left:
        check_row(drawn_row(draw))
