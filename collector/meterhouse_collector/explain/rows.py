"""The rows themselves, for people: decoded, with what lies around them."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import asdict, replace

from meterhouse_agent import wire
from meterhouse_collector.explain.decode import decode, readable
from meterhouse_collector.explain.model import Explanation, LedgerRow, Line, Period, ThingRows
from meterhouse_collector.explain.read import packed
from meterhouse_collector.explain.request import utc
from meterhouse_collector.rollup.spans import stretch_of
from meterhouse_collector.rows import PackedRow
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.store import Store

_DAY_SECONDS: Final = 86_400
_FOR_EVER: Final = 2**33
_THINGS: Final = ("node", "meter", "engine")


async def with_readers(store: Store, index: SiteIndex, found: Explanation, top: int) -> Explanation:
    """Return a quarter's explanation with the readers of what brings most, from the ledger."""
    lines: list[Line] = []
    for line in found.things:
        readers = line.readers
        if len(lines) < top and line.kind in _THINGS and not readers:
            rows = await _ledger(store, index, found.period, line)
            readers = tuple(sorted({row.reader for row in rows}))
        lines.append(replace(line, readers=readers))
    return replace(found, things=tuple(lines))


async def with_rows(store: Store, index: SiteIndex, found: Explanation, top: int) -> Explanation:
    """Return an explanation with the rows of what brings most."""
    shown: dict[tuple[str, str], Line] = {}
    for lines in (found.things, () if found.money is None else found.money.nodes):
        mine = [line for line in lines if line.kind in _THINGS]
        shown |= {(line.kind, line.thing): line for line in mine[:top]}
    rows = [await _of_thing(store, index, found.period, line) for line in shown.values()]
    return replace(found, rows=tuple(rows))


async def _of_thing(store: Store, index: SiteIndex, period: Period, line: Line) -> ThingRows:
    start, ends = period.start_seconds, period.end_seconds
    ledger = await _ledger(store, index, period, line)
    shown = ledger
    if period.kind == "quarter":
        shown = await packed(
            store, index, ("quarter", line.kind), (start, start + 1), thing=line.thing
        )
    spans = await packed(
        store,
        index,
        ("ledger", "span"),
        (start - wire.QUARTER_SECONDS, _FOR_EVER),
        thing=f"{line.kind}/{line.thing}",
    )
    registers: Sequence[PackedRow] = ()
    if line.kind == "meter":
        around = (start - _DAY_SECONDS, ends + _DAY_SECONDS)
        registers = await packed(store, index, ("quarter", "register"), around, thing=line.thing)
    counts = Counter(row.start_seconds for row in ledger)
    return ThingRows(
        kind=line.kind,
        thing=line.thing,
        rows=tuple(_row(row) for row in shown),
        intervals={utc(at): counts[at] for at in sorted(counts)},
        spans=tuple(_spans(spans, (start * 1000, ends * 1000))),
        registers=tuple(_registers(registers, (start, ends))),
    )


async def _ledger(store: Store, index: SiteIndex, period: Period, line: Line) -> list[PackedRow]:
    window = (period.start_seconds, period.end_seconds)
    return await packed(store, index, ("ledger", line.kind), window, thing=line.thing)


def _row(row: PackedRow) -> LedgerRow:
    decoded = decode(row.measurement, row.row)
    return LedgerRow(
        place=f"{row.policy}.{row.measurement}",
        reader=row.reader,
        start=utc(row.start_seconds),
        row=None if decoded is None else readable(decoded),
    )


def _spans(rows: Sequence[PackedRow], within: tuple[int, int]) -> list[dict[str, object]]:
    decoded = [decode("span", row.row) for row in rows]
    touching = [
        span
        for row in decoded
        if row is not None
        for span in row.spans
        if stretch_of(span)[0] < within[1] and within[0] < stretch_of(span)[1]
    ]
    return [
        {name: value for name, value in asdict(span).items() if value is not None}
        for span in touching
    ]


def _registers(rows: Sequence[PackedRow], within: tuple[int, int]) -> list[dict[str, Any]]:
    """Return the readings of a window with the last before it and the first after it."""
    before = [row for row in rows if row.start_seconds <= within[0]]
    inside = [row for row in rows if within[0] < row.start_seconds < within[1]]
    after = [row for row in rows if row.start_seconds >= within[1]]
    found = []
    for row in (*before[-1:], *inside, *after[:1]):
        decoded = decode("register", row.row)
        if decoded is not None:
            told = {name: value for name, value in asdict(decoded).items() if value is not None}
            found.append({"at": utc(row.start_seconds), "reader": row.reader, **told})
    return found
