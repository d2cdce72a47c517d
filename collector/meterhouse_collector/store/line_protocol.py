"""Rows as InfluxDB's line protocol, exact to the last character or refused.

A tag cannot hold everything: InfluxDB has no escape for a backslash there, so one at the end or
before a space is refused, as is an empty tag, a control character and NaN.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from math import isfinite
from typing import Final, NamedTuple

from meterhouse_collector.rows import PackedRow, Readings, Series, Single, Table

MAX_LINE_BYTES: Final = 1_000_000
_MAX_SERIES_BYTES: Final = 60_000
_MAX_SECONDS: Final = 9_223_372_036
_MAX_INTEGER: Final = 2**63 - 1
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
# At the end it would swallow the separator; before a space it makes the server take what follows
# for fields, so that a quote further on swallows the next line (found with 2.7.12).
_SWALLOWS: Final = re.compile(r"\\(?: |\Z)")
_MEASUREMENT: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_ESCAPED: Final = re.compile(r"([,= ])")
# What most names are made of: nothing in it is escaped or refused.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:-]+")
_RESERVED: Final = frozenset({"time", "_field", "_measurement"})
_COLON_TO_EQUALS: Final = bytes.maketrans(b":", b"=")
_FORMATS: Final[dict[type, str]] = {float: "%r", int: "%di", bool: "%s", str: '"%s"'}

Value = float | int | str | bool


class _Plan(NamedTuple):
    """How the fields of one shape are written."""

    template: str
    integers: tuple[str, ...]
    strings: tuple[str, ...]


class LineEncoder:
    """Writes rows as lines; remembers the text of at most ``series_kept`` series of each kind."""

    def __init__(self, series_kept: int = 131_072) -> None:
        # Of nodes by their name alone, which is there anyway: each reads itself.
        self._node_series: dict[tuple[str, str], dict[str, str]] = {}
        self._series_kept = series_kept
        self._packed_series = lru_cache(maxsize=series_kept)(_packed_series)
        self._point_series = lru_cache(maxsize=series_kept)(_point_series)
        self._table_heads = lru_cache(maxsize=series_kept)(_table_heads)
        self._table_pattern = lru_cache(maxsize=1024)(_table_pattern)
        self._plan = lru_cache(maxsize=1024)(_plan)

    def lines(self, table: Table) -> bytes:
        """Return the lines of all series that have any reading; raise ``ValueError`` for a bad one.

        Each is what ``line`` returns of it alone.
        """
        text, start = table.columns, table.start_seconds
        if b"null" in text or not -_MAX_SECONDS <= start <= _MAX_SECONDS:
            return b"\n".join(map(self.line, table.readings()))
        # What the encoder writes has no spaces, and numbers have neither comma nor bracket.
        parts = text[2:-2].split(b"],[")
        lacking: tuple[int, ...] = ()
        if b"" in parts:
            lacking = tuple(number for number, part in enumerate(parts) if not part)
            parts = [part for part in parts if part]
        values = b",".join(parts).split(b",")
        first, pattern = self._table_pattern(table.series.names, lacking)
        heads = self._table_heads(table.measurement, table.series, first).split(b"\n")
        count, columns = len(heads), len(pattern) // 2
        if len(values) != count * columns or not values[0]:
            return b"\n".join(map(self.line, table.readings()))
        pieces = pattern * count
        pieces[:: 2 * columns + 1] = heads
        for number in range(columns):
            column = values[number * count : (number + 1) * count]
            pieces[2 * number + 1 :: 2 * columns + 1] = column
        pieces[2 * columns :: 2 * columns + 1] = [b" %d\n" % start] * count
        return b"".join(pieces)[:-1]

    def line(self, row: Single) -> bytes:
        """Return the line of a row; raise ``ValueError``, naming the row, where it has none."""
        if isinstance(row, PackedRow):
            return self.packed(row)
        try:
            series = self._point_series(row.measurement, row.tags)
            fields = _floats(row.row) if isinstance(row, Readings) else self._fields(row.fields)
            return _line(series, fields, row.start_seconds)
        except ValueError as error:
            raise ValueError(f"{_name(row)}: {error}") from None

    def packed(self, row: PackedRow) -> bytes:
        """Return the line of a packed row, as ``line`` does."""
        try:
            if row.policy != "ledger" or row.measurement == "dirty":
                # It comes so seldom that to make it again is cheaper than to keep it.
                series = _packed_series(row.measurement, row.site, row.thing, row.reader)
            elif row.thing == row.reader:
                series = self._own_series(row)
            else:
                series = self._packed_series(row.measurement, row.site, row.thing, row.reader)
            return _line(series, f'row="{_quoted(row.row)}"', row.start_seconds)
        except ValueError as error:
            raise ValueError(f"{_name(row)}: {error}") from None

    def _own_series(self, row: PackedRow) -> str:
        key = (row.measurement, row.site)
        known = self._node_series.get(key)
        if known is None:
            known = self._node_series[key] = {}
        series = known.get(row.thing)
        if series is None:
            if len(known) >= self._series_kept:
                known.clear()
            series = known[row.thing] = _packed_series(*key, row.thing, row.reader)
        return series

    def _fields(self, fields: dict[str, Value]) -> str:
        plan = self._plan(tuple(fields), tuple(map(type, fields.values())))
        for name in plan.integers:
            if not -_MAX_INTEGER <= fields[name] <= _MAX_INTEGER:  # type: ignore[operator] # int by plan
                raise ValueError(f"field {name} = {fields[name]} is out of range")
        if plan.strings:
            fields = fields | {name: _quoted(str(fields[name])) for name in plan.strings}
        text = plan.template % tuple(fields.values())
        # One look at the whole text is cheaper than one at each value; a string may look alike.
        if "=nan" in text or "=inf" in text or "=-inf" in text:
            _refuse_not_finite(fields)
        return text


def _line(series: str, fields: str, start: int) -> bytes:
    if not -_MAX_SECONDS <= start <= _MAX_SECONDS:
        raise ValueError(f"start {start} is out of range")
    line = f"{series} {fields} {start}".encode()
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"{len(line)} bytes, at most {MAX_LINE_BYTES} are allowed")
    return line


def _floats(row: bytes) -> str:
    # Plain names and numbers: nothing else has a colon, quotes or braces.
    fields = row.translate(_COLON_TO_EQUALS, b'"{}').decode()
    if not fields:
        raise ValueError("there is no field")
    # JSON's word for what is not finite.
    if "null" in fields:
        raise ValueError("a field is not finite")
    return fields


def _packed_series(measurement: str, site: str, thing: str, reader: str) -> str:
    return _series(measurement, (("reader", reader), ("site", site), ("thing", thing)))


def _point_series(measurement: str, tags: tuple[tuple[str, str], ...]) -> str:
    if len({key for key, _ in tags}) != len(tags):
        raise ValueError("a tag is there twice")
    # InfluxDB sorts them otherwise, for each row again.
    return _series(measurement, sorted(tags))


def _table_heads(measurement: str, series: Series, first: str) -> bytes:
    """Return how the line of each series begins, as one text: apart they weigh a third more."""
    heads = (_point_series(measurement, tags) for tags in series.tags)
    return b"\n".join(f"{head} {first}=".encode() for head in heads)


def _table_pattern(names: tuple[str, ...], lacking: tuple[int, ...]) -> tuple[str, list[bytes]]:
    """Return the first field of a line, and room for its pieces: by turns its text and a value.

    The text before the first value is the series', that after the last the time.
    """
    first, *others = [name for number, name in enumerate(names) if number not in lacking] or [""]
    pieces = [b"", b""]
    for name in others:
        pieces += [f",{name}=".encode(), b""]
    return first, [*pieces, b""]


def _series(measurement: str, tags: Iterable[tuple[str, str]]) -> str:
    if _MEASUREMENT.fullmatch(measurement) is None:
        raise ValueError("its measurement is no plain name")
    parts = [measurement]
    for key, value in tags:
        if key in _RESERVED:
            raise ValueError(f"tag {key} is reserved")
        parts.append(f"{_escaped('name of a tag', key)}={_escaped(f'tag {key}', value)}")
    series = ",".join(parts)
    if len(series.encode()) > _MAX_SERIES_BYTES:
        raise ValueError(f"its tags have more than {_MAX_SERIES_BYTES} bytes")
    return series


def _plan(names: tuple[str, ...], types: tuple[type, ...]) -> _Plan:
    if not names:
        raise ValueError("there is no field")
    parts = []
    for name, kind in zip(names, types, strict=True):
        if name in _RESERVED:
            raise ValueError(f"field {name} is reserved")
        if kind not in _FORMATS:
            raise ValueError(f"field {name} is a {kind.__name__}")
        key = _escaped("name of a field", name).replace("%", "%%")
        parts.append(f"{key}={_FORMATS[kind]}")
    kinds = list(zip(names, types, strict=True))
    return _Plan(
        ",".join(parts),
        tuple(name for name, kind in kinds if kind is int),
        tuple(name for name, kind in kinds if kind is str),
    )


def can_be_tag(text: str) -> bool:
    """Tell whether a text can be the value of a tag, exact to the last character."""
    if _PLAIN.fullmatch(text) is not None:
        return True
    return bool(text) and not (_CONTROL.search(text) or _SWALLOWS.search(text))


def _escaped(what: str, text: str) -> str:
    if _PLAIN.fullmatch(text) is not None:
        return text
    if not text:
        raise ValueError(f"{what} is empty")
    if _CONTROL.search(text):
        raise ValueError(f"{what} {text!r} holds a control character")
    if _SWALLOWS.search(text):
        raise ValueError(f"{what} {text!r} holds a backslash where none can be written")
    return _ESCAPED.sub(r"\\\1", text)


def _quoted(text: str) -> str:
    # Faster than a regular expression, and this runs for every row of the ledger.
    if "\n" in text or "\r" in text or "\0" in text:
        raise ValueError("a text holds a line break")
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _refuse_not_finite(fields: dict[str, Value]) -> None:
    for name, value in fields.items():
        if isinstance(value, float) and not isfinite(value):
            raise ValueError(f"field {name} is {value}")


def _name(row: Single) -> str:
    if isinstance(row, PackedRow):
        return f"{row.measurement} of {row.thing!r} read by {row.reader!r} at {row.start_seconds}"
    tags = " ".join(f"{key}={value!r}" for key, value in row.tags)
    return f"{row.measurement} {tags} at {row.start_seconds}"[:500]
