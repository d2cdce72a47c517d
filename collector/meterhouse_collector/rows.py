"""What stands in the database: the packed rows of the ledger, and the plain points beside it.

A ledger row is one thing, read by one reader, in one interval; packed as JSON in one string field
it is written whole or not at all. ``milliseconds`` and ``joules`` are in the order of
``wire.STATES``, reasons in that of ``wire.UNHEALTHY_REASONS``. The rows held for a large site are
left out of garbage collection: they form no cycles, and a full collection over them would stop the
loop.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec import Struct

from meterhouse_agent import wire

Policy = Literal["detail", "ledger", "quarter", "live", "kept", "event", "part"]
POLICY_DAYS: Final[dict[Policy, int]] = {
    "detail": 14,
    "ledger": 35,
    "quarter": 400,
    "live": 35,
    "kept": 3650,
    "event": 400,
    "part": 1,
}
NOBODY: Final = "none"

StateMilliseconds = tuple[int, int, int, int, int]
StateJoules = tuple[float | None, float | None, float | None, float | None, float | None]
ReasonMilliseconds = tuple[int, int, int, int]


class Share(Struct, array_like=True, frozen=True, gc=False):
    """The devices of one node that share a model and a holder; joules sum what was measured.

    ``holder`` is ``engine:NAME``, ``tenant:NAME`` or ``none``, or ``unregistered`` for devices that
    the asset register lacks. ``energy_quality`` is ``missing`` where a device that was in a state
    had no energy for it. ``unhealthy_milliseconds`` has the unhealthy time by its reason, as far as
    one was told.
    """

    accelerator_model: str
    holder: str
    milliseconds: StateMilliseconds
    joules: StateJoules
    energy_method: wire.Method
    energy_quality: wire.Quality
    unhealthy_milliseconds: ReasonMilliseconds | None = None


class NodeRow(Struct, frozen=True, omit_defaults=True, gc=False):
    """A node in one interval; ``energy_joules`` is the whole node's where it is metered.

    ``spanned_milliseconds`` is the ``unknown`` device time whose energy a span brought. A quarter
    says for how long any of its devices was down, and for how long that is unclear.
    """

    length_milliseconds: int
    shares: tuple[Share, ...] = ()
    host_covered_milliseconds: int = 0
    energy_joules: float | None = None
    energy_method: wire.Method = "counter"
    cpu_energy_joules: float | None = None
    spanned_milliseconds: int = 0
    down_milliseconds: int | None = None
    unclear_milliseconds: int | None = None


class MeterRow(Struct, frozen=True, omit_defaults=True, gc=False):
    """A meter in one interval; it counts energy or a volume, never both."""

    length_milliseconds: int
    covered_milliseconds: int
    energy_joules: float | None = None
    volume_litres: float | None = None
    energy_method: wire.Method = "counter"
    quality: wire.Quality = "ok"
    power_watts: float | None = None
    power_watts_max: float | None = None


class Served(Struct, frozen=True, omit_defaults=True):
    """What one engine served of one model in one interval."""

    served_model: str
    covered_milliseconds: int
    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    output_tokens: int | None = None
    requests: dict[str, int] = {}
    running_requests: float | None = None
    waiting_requests: float | None = None
    latency: dict[str, wire.Histogram] = {}
    quality: wire.Quality = "ok"


class EngineRow(Struct, frozen=True, omit_defaults=True):
    """An engine in one interval."""

    length_milliseconds: int
    served: tuple[Served, ...] = ()


class SpanRow(Struct, frozen=True):
    """The spans of one thing that one report carried; the row stands at the report's start."""

    spans: tuple[wire.Span, ...]


class DirtyRow(Struct, frozen=True, omit_defaults=True):
    """A mark: this thing's quarter has changed since it was summed; ``marks`` says how it ends."""

    kind: wire.ThingKind
    stamp: int = 0


class ClearedRow(Struct, frozen=True):
    """The mark of the same key was worked off, if it still has this stamp."""

    stamp: int


class PackedRow(Struct, frozen=True, gc=False):
    """One packed row: its key, and the JSON of one of the structs above.

    Each report makes one: a struct takes a quarter of the time that a named tuple takes.
    """

    policy: Policy
    measurement: str
    site: str
    thing: str
    reader: str
    start_seconds: int
    row: str


class Point(NamedTuple):
    """One plain point; a field keeps one type for ever, so floats stay floats when whole."""

    policy: Policy
    measurement: str
    tags: tuple[tuple[str, str], ...]
    fields: dict[str, float | int | str | bool]
    start_seconds: int


class Readings(NamedTuple):
    """A plain point with nothing but floats, under plain names: ``row`` is their JSON object."""

    policy: Policy
    measurement: str
    tags: tuple[tuple[str, str], ...]
    row: bytes
    start_seconds: int

    def point(self) -> Point:
        """Return the same point with its fields apart."""
        fields: dict[str, float | int | str | bool] = {**_FLOATS.decode(self.row)}
        return Point(self.policy, self.measurement, self.tags, fields, self.start_seconds)


Tags = tuple[tuple[str, str], ...]


class Series:
    """The series that are written together, again and again, and the names of their fields.

    They are equal only to themselves. Their tags are made of what it is given each time that they
    are asked for: of a large site they would weigh as much as all else that is known of its
    devices.
    """

    __slots__ = ("_tags", "names")

    def __init__(self, tags: Iterable[Tags], names: tuple[str, ...]) -> None:
        self._tags = tags
        self.names: Final = names

    @property
    def tags(self) -> tuple[Tags, ...]:
        """The tags of each series, in the order of a table's columns."""
        return tuple(self._tags)


class Table(NamedTuple):
    """Readings of several series at one time: ``columns`` is JSON, a list for each field.

    It has an entry for each series, ``null`` where that has no reading, or none where no series
    has one. What a report says of its devices stays so up to the store, which writes it as such.
    """

    policy: Policy
    measurement: str
    series: Series
    columns: bytes
    start_seconds: int

    def readings(self) -> Iterator[Readings]:
        """Return the rows of all series that have any reading."""
        series = self.series.tags
        lacking = [None] * len(series)
        columns = [column or lacking for column in _COLUMNS.decode(self.columns)]
        for tags, *values in zip(series, *columns, strict=True):
            named = zip(self.series.names, values, strict=True)
            fields = {name: value for name, value in named if value is not None}
            if fields:
                row = _ENCODER.encode(fields)
                yield Readings(self.policy, self.measurement, tags, row, self.start_seconds)


Single = PackedRow | Point | Readings
Row = Single | Table


def singles(row: Row) -> Iterable[Single]:
    """Return a row, or the rows that it consists of."""
    return row.readings() if isinstance(row, Table) else (row,)


_ENCODER: Final = msgspec.json.Encoder()
_FLOATS: Final = msgspec.json.Decoder(dict[str, float])
_COLUMNS: Final = msgspec.json.Decoder(list[list[float | int | None]])


def pack(row: Struct) -> str:
    """Encode a ledger row for its one string field."""
    return _ENCODER.encode(row).decode()


def pack_columns(columns: Sequence[Sequence[float | None]]) -> bytes:
    """Encode the columns of a ``Table``."""
    return _ENCODER.encode(columns)
