"""What an explanation says: the document of ``--format json``, and what the text is made of."""

from decimal import Decimal

from msgspec import Struct


class FieldSum(Struct, frozen=True, kw_only=True):
    """A field of the rollup; ``stored`` is what the database has, None where it has no row."""

    name: str
    unit: str
    meaning: str
    value: float
    stored: float | None


class Side(Struct, frozen=True, kw_only=True):
    """Numerator or denominator: an expression of fields, and what it comes to."""

    expression: str
    value: float
    unit: str
    fields: tuple[FieldSum, ...]


class Line(Struct, frozen=True, kw_only=True):
    """What one thing brings to a figure; ``fields`` has what is not zero of each field."""

    kind: str
    thing: str
    numerator: float
    denominator: float
    fields: dict[str, float]
    readers: tuple[str, ...] = ()
    method: str | None = None
    quality: str | None = None
    covered_ratio: float | None = None
    notes: tuple[str, ...] = ()


class Entry(Struct, frozen=True, kw_only=True):
    """A line of money: what it is for, its amount as an exact decimal, and what splits it."""

    kind: str
    name: str
    amount: Decimal | None
    split_by: str
    reason: str | None = None


class Money(Struct, frozen=True, kw_only=True):
    """Where money comes from: what is due for joules, what accrues by time, and the bill.

    ``billed_joules`` is of the whole site, ``drawn_joules`` of all devices with their nodes.
    """

    currency: str
    due_money: dict[str, float]
    due_from: str
    billed_joules: float
    drawn_joules: float
    accruals: tuple[Entry, ...]
    bill: tuple[Entry, ...]
    nodes: tuple[Line, ...]


class Stored(Struct, frozen=True, kw_only=True):
    """What stands in the database beside what was computed here from rows."""

    place: str
    found: bool
    same: bool
    value: float | None
    notes: tuple[str, ...] = ()


class LedgerRow(Struct, frozen=True, kw_only=True):
    """One row as it stands in the database, decoded; ``row`` is None where it cannot be read."""

    place: str
    reader: str
    start: str
    row: dict[str, object] | None


class ThingRows(Struct, frozen=True, kw_only=True):
    """The rows of one thing, how many there are in each interval, and what lies around."""

    kind: str
    thing: str
    rows: tuple[LedgerRow, ...]
    intervals: dict[str, int]
    spans: tuple[dict[str, object], ...] = ()
    registers: tuple[dict[str, object], ...] = ()


class Period(Struct, frozen=True, kw_only=True):
    """The stretch that is explained: ``kind`` is ``quarter`` or ``interval``."""

    kind: str
    start_seconds: int
    end_seconds: int
    start_utc: str
    local: str
    time_zone: str


class Explanation(Struct, frozen=True, kw_only=True):
    """One figure with all that it came from; the contributions of ``things`` sum to its sums."""

    kpi: str
    site: str
    group: dict[str, str]
    label: str
    unit: str
    value: float | None
    reason: str | None
    low: float | None
    high: float | None
    coverage: float
    formula: str
    source: str
    period: Period
    rows_from: str
    scale: float
    numerator: Side
    denominator: Side
    also_read: tuple[FieldSum, ...]
    stored: Stored
    notes: tuple[str, ...]
    things: tuple[Line, ...]
    silent: tuple[str, ...]
    money: Money | None = None
    rows: tuple[ThingRows, ...] = ()
