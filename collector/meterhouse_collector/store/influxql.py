"""Reading rows back through InfluxQL: the texts of the queries, and rows from the answers.

Packed rows are asked for flat, tags as columns: half the server's time of one series per thing.
Plain points are asked for by series, because only there is a tag told from a field.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from meterhouse_collector.rows import PackedRow, Point, Policy

CHUNK_ROWS: Final = 2000
_MAX_SECONDS: Final = 9_223_372_036


class _Series(Struct):
    columns: list[str]
    values: list[list[Any]] = []
    tags: dict[str, str] = {}


class _Result(Struct):
    statement_id: int = 0
    series: list[_Series] = []
    error: str | None = None
    partial: bool = False


class _Answer(Struct):
    results: list[_Result] = []
    error: str | None = None


class AnswerError(Exception):
    """The server answered with an error, or broke off; the text says what it said."""


_DECODER: Final = msgspec.json.Decoder(_Answer)


def identifier(name: str) -> str:
    """Quote a name for InfluxQL."""
    return '"' + _escaped(name).replace('"', '\\"') + '"'


def literal(text: str) -> str:
    """Quote a string for InfluxQL."""
    return "'" + _escaped(text).replace("'", "\\'") + "'"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def window(start_seconds: int, end_seconds: int) -> str:
    """Return the condition for a time in [start, end)."""
    start, end = (
        max(-_MAX_SECONDS, min(_MAX_SECONDS, seconds)) for seconds in (start_seconds, end_seconds)
    )
    return f"time >= {start}s AND time < {end}s"


def probe_query(policies: tuple[Policy, ...]) -> str:
    """Return a query that finds nothing, or fails where a policy cannot be read."""
    return "; ".join(f"SELECT x FROM {identifier(policy)}.probe" for policy in policies)  # noqa: S608 - quoted


def packed_query(policy: Policy, measurement: str, times: str, thing: str | None) -> str:
    """Return the query for packed rows: time, row, site, thing and reader."""
    only = "" if thing is None else f' AND "thing" = {literal(thing)}'
    source = f"{identifier(policy)}.{identifier(measurement)}"
    return f'SELECT "row", "site", "thing", "reader" FROM {source} WHERE {times}{only}'  # noqa: S608 - quoted


def points_query(policy: Policy, measurement: str, times: str, node: str | None = None) -> str:
    """Return the query for plain points: first the types of the fields, then all series."""
    source = f"{identifier(policy)}.{identifier(measurement)}"
    where = times if node is None else f'{times} AND "node" = {literal(node)}'
    return f"SHOW FIELD KEYS FROM {source}; SELECT *::field FROM {source} WHERE {where} GROUP BY *"  # noqa: S608 - quoted


def oldest_query(policy: Policy, measurement: str) -> str:
    """Return the query for the oldest row."""
    source = f"{identifier(policy)}.{identifier(measurement)}"
    return f"SELECT *::field FROM {source} ORDER BY time ASC LIMIT 1"  # noqa: S608 - quoted


class _Lines:
    """Takes an answer as it comes in, one JSON text per line."""

    def __init__(self) -> None:
        self._rest = b""
        self._broken_off = True

    def feed(self, data: bytes) -> None:
        """Take the next bytes; raise ``AnswerError`` where they tell of one."""
        *lines, rest = data.split(b"\n")
        if not lines:
            self._rest += rest
            return
        lines[0] = self._rest + lines[0]
        self._rest = rest
        for line in lines:
            self._take_line(line)

    def end(self) -> None:
        """Say that nothing follows; raise ``AnswerError`` where something should have."""
        self._take_line(self._rest)
        if self._broken_off:
            raise AnswerError("the answer broke off")

    def _take_line(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            answer = _DECODER.decode(line)
        except msgspec.MsgspecError as error:
            raise AnswerError(f"the answer is not InfluxQL's: {error}") from None
        if answer.error is not None:
            raise AnswerError(answer.error)
        for result in answer.results:
            if result.error is not None:
                raise AnswerError(result.error)
            self._broken_off = result.partial
            for series in result.series:
                self.take(result.statement_id, series)

    def take(self, statement: int, series: _Series) -> None:
        """Take one series of a statement's result."""


class NoAnswer(_Lines):
    """Of an answer only whether there was an error."""


class PackedAnswer(_Lines):
    """The packed rows of an answer."""

    def __init__(self, policy: Policy, measurement: str) -> None:
        super().__init__()
        self._policy = policy
        self._measurement = measurement
        self._found: list[PackedRow] = []

    def take(self, statement: int, series: _Series) -> None:  # noqa: ARG002 - of the protocol
        """Take rows, whose columns are those asked for."""
        policy, measurement = self._policy, self._measurement
        # A row that someone else wrote may be no text: it goes to the decoder, which counts it.
        self._found += [
            PackedRow(policy, measurement, site, thing, reader, start, str(row))
            for start, row, site, thing, reader in series.values
        ]

    def rows(self) -> list[PackedRow]:
        """Return the rows by thing, reader and start."""
        return sorted(self._found, key=lambda row: (row.thing, row.reader, row.start_seconds))


class PointsAnswer(_Lines):
    """The plain points of an answer."""

    def __init__(self, policy: Policy, measurement: str) -> None:
        super().__init__()
        self._policy = policy
        self._measurement = measurement
        self._floats: set[str] = set()
        self._found: list[Point] = []

    def take(self, statement: int, series: _Series) -> None:
        """Take the types of the fields, then points."""
        if statement == 0:
            # JSON shows a whole float as an integer.
            self._floats |= {name for name, kind in series.values if kind == "float"}
            return
        tags = tuple(sorted((key, value) for key, value in series.tags.items() if value))
        names = series.columns[1:]
        for start, *values in series.values:
            fields = {
                name: float(value) if name in self._floats else value
                for name, value in zip(names, values, strict=True)
                if value is not None
            }
            self._found.append(Point(self._policy, self._measurement, tags, fields, start))

    def rows(self) -> list[Point]:
        """Return the points by start and tags."""
        return sorted(self._found, key=lambda point: (point.start_seconds, point.tags))


class OldestAnswer(_Lines):
    """The oldest time of an answer, whatever the columns."""

    def __init__(self) -> None:
        super().__init__()
        self.start_seconds: int | None = None

    def take(self, statement: int, series: _Series) -> None:  # noqa: ARG002 - of the protocol
        """Take a row, whose first column is its time."""
        for start, *_ in series.values:
            known = self.start_seconds
            self.start_seconds = start if known is None else min(known, start)


AnyAnswer = NoAnswer | PackedAnswer | PointsAnswer | OldestAnswer
