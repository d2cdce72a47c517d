"""An explanation as text: what was divided by what, and where each part of it came from. Pure."""

import json
from collections.abc import Iterator, Sequence
from math import fsum
from textwrap import wrap
from typing import Final

from meterhouse_collector.explain.model import Explanation, Line, Money, Side, ThingRows
from meterhouse_collector.explain.sides import number, parse

_WIDTH: Final = 100
_NAME_CELLS: Final = 24
_LABELS: Final = 13
_INDENT: Final = "    "
_SIDES: Final = ("numerator", "denominator")
_NO: Final = ("", "", "")


def text(found: Explanation, top: int) -> str:
    """Return the whole text; of each table the ``top`` lines that bring most, and the sum."""
    parts = [_head(found), _arithmetic(found), _stored(found), _things(found, top)]
    if found.money is not None:
        parts.append(_money(found, found.money, top))
    parts += [_rows(rows, found) for rows in found.rows]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _head(found: Explanation) -> Iterator[str]:
    value = "no value" if found.value is None else f"{number(found.value)} {found.unit}"
    yield f"{found.kpi}: {value}"
    yield from _labelled("label", found.label)
    if found.reason is not None:
        yield from _labelled("reason", found.reason)
    group = " ".join(f"{tag}={name}" for tag, name in found.group.items())
    yield from _labelled("site", f"{found.site} {group}".strip())
    period = found.period
    yield from _labelled(period.kind, f"{period.local} ({period.start_utc}, {period.time_zone})")
    yield from _labelled("coverage", f"{found.coverage:.2%}")
    if found.low is not None and found.high is not None:
        yield from _labelled("bounds", f"{number(found.low)} to {number(found.high)}")
    yield from _labelled("formula", found.formula)
    yield from _labelled("source", found.source)
    yield from _labelled("made from", found.rows_from)
    for note in found.notes:
        yield from _labelled("note", note)
    if found.silent:
        yield from _labelled("silent", ", ".join(found.silent))


def _arithmetic(found: Explanation) -> Iterator[str]:
    over, under = found.numerator, found.denominator
    scale = "" if found.scale == 1 else f"{found.scale:.10g} * "
    yield "figure"
    names = f"{bracketed(over.expression)} / {bracketed(under.expression)}"
    yield from _wrapped(f"{found.kpi} = {scale}{names}")
    written = [f"{scale}{_written(over)} {over.unit} / {_written(under)} {under.unit}"]
    if len(over.fields) > 1 or len(under.fields) > 1:
        plain = f"{number(over.value)} {over.unit} / {number(under.value)} {under.unit}"
        written.append(f"{scale}{plain}")
    for line in written:
        yield from _wrapped(f"= {line}", deeper=True)
    if under.value == 0:
        yield f"{_INDENT * 2}= nothing: the denominator is 0"
    else:
        ratio = found.scale * over.value / under.value
        shown = "" if found.value is not None else ", which is not shown: see the reason"
        yield f"{_INDENT * 2}= {number(ratio)}{shown}"
    others = [field for field in found.also_read if field.value != 0]
    if others:
        yield f"{_INDENT}what else it was computed with:"
        width = max(len(field.name) for field in others)
        for field in others:
            yield f"{_INDENT * 2}{field.name:<{width}}  {number(field.value):>16} {field.unit}"


def _stored(found: Explanation) -> Iterator[str]:
    stored = found.stored
    if not stored.found:
        yield f"stored: {stored.place} has no row of this window"
    elif stored.same:
        yield f"stored: {stored.place} has the same sums"
    else:
        value = "no value" if stored.value is None else number(stored.value)
        yield f"stored: {stored.place} has other sums, which make {value}"
    for note in stored.notes:
        yield from _wrapped(note)


def _things(found: Explanation, top: int) -> Iterator[str]:
    over, under = found.numerator, found.denominator
    yield f"where it comes from: numerator in {over.unit}, denominator in {under.unit}"
    heads = ("thing", "numerator", "denominator", "covered", "method", "quality")
    yield _cells(heads)
    for line in found.things[:top]:
        covered = "-" if line.covered_ratio is None else f"{line.covered_ratio:.2%}"
        yield _cells(
            (
                f"{line.kind} {line.thing}",
                number(line.numerator),
                number(line.denominator),
                covered,
                line.method or "-",
                line.quality or "-",
            )
        )
        notes = [*line.notes]
        if line.readers and line.readers != (line.thing,):
            notes.append(f"read by {', '.join(line.readers)}")
        if notes:
            yield from _wrapped("; ".join(notes), deeper=True)
    yield from _rest(found.things, top)


def _rest(lines: Sequence[Line], top: int) -> Iterator[str]:
    for name, part in ((f"{len(lines) - top} more", lines[top:]), ("sum", lines)):
        if part:
            over, under = (fsum(getattr(line, side) for line in part) for side in _SIDES)
            yield _cells((name, number(over), number(under), *_NO))


def _cells(cells: Sequence[str]) -> str:
    name, over, under, covered, method, quality = cells
    columns = f"{over:>17} {under:>17} {covered:>8}  {method:<12}  {quality}"
    if len(name) <= _NAME_CELLS:
        return f"{_INDENT}{name:<{_NAME_CELLS}}{columns}".rstrip()
    return f"{_INDENT}{name}\n{_INDENT}{'':<{_NAME_CELLS}}{columns}".rstrip()


def _money(found: Explanation, money: Money, top: int) -> Iterator[str]:
    currency = money.currency
    [name] = parse(found.numerator.expression).names
    accrued = _sum_of(money.nodes, name.replace("_money", "_accrued_money"))
    drawn = _sum_of(money.nodes, name.replace("_money", "_drawn_joules"))
    due = fsum(money.due_money.values())
    yield f"money, in {currency}"
    yield from _wrapped(
        f"{name} = what accrues by device-seconds + joules / joules drawn in all * what is due"
    )
    written = f"{number(accrued)} + {number(drawn)} J / {number(money.drawn_joules)} J"
    yield from _wrapped(
        f"= {written} * {number(due)} = {number(found.numerator.value)}", deeper=True
    )
    kinds = ", ".join(f"{kind} {number(amount)}" for kind, amount in money.due_money.items())
    billed = f"{number(money.billed_joules)} J billed, {money.due_from}"
    yield from _wrapped(f"due for joules: {kinds or 'not known'} ({billed})")
    for title, entries in (
        ("accrues in this window", money.accruals),
        ("lines of the month's bill in this quarter", money.bill),
    ):
        if entries:
            yield f"{_INDENT}{title}:"
        for entry in entries:
            amount = entry.reason or "not known" if entry.amount is None else f"{entry.amount:.10f}"
            yield from _wrapped(
                f"{entry.kind} {entry.name}: {amount}, split by {entry.split_by}", deeper=True
            )
    yield f"{_INDENT}what the devices of each node bring to it: {currency}, and J"
    for line in money.nodes[:top]:
        yield _cells((f"node {line.thing}", number(line.numerator), number(line.denominator), *_NO))
    yield from _rest(money.nodes, top)


def _sum_of(lines: Sequence[Line], field: str) -> float:
    return fsum(line.fields.get(field, 0.0) for line in lines)


def _rows(rows: ThingRows, found: Explanation) -> Iterator[str]:
    yield f"rows of {rows.kind} {rows.thing}"
    for row in rows.rows:
        yield f"{_INDENT}{row.place} at {row.start}, read by {row.reader}"
        if row.row is None:
            yield f"{_INDENT}cannot be read"
        else:
            shown = json.dumps(row.row, indent=2, ensure_ascii=False).splitlines()
            yield from (f"{_INDENT}{line}" for line in shown)
    if found.period.kind == "quarter":
        yield from _intervals(rows)
    for title, entries in (("span", rows.spans), ("register", rows.registers)):
        for entry in entries:
            told = ", ".join(f"{name} {value}" for name, value in entry.items())
            yield from _wrapped(f"{title}: {told}")


def _intervals(rows: ThingRows) -> Iterator[str]:
    """Yield how many rows of the ledger the quarter has, stretch by stretch of equal counts."""
    if not rows.intervals:
        yield f"{_INDENT}the ledger has no rows of it"
    stretches: list[tuple[str, str, int, int]] = []
    for start, count in rows.intervals.items():
        if stretches and stretches[-1][2] == count:
            first, _, _, many = stretches[-1]
            stretches[-1] = first, start, count, many + 1
        else:
            stretches.append((start, start, count, 1))
    for first, last, count, many in stretches:
        yield (
            f"{_INDENT}{many} intervals of the ledger, from {first} to {last}: {count} row"
            f"{'s' if count > 1 else ''} each"
        )


def _written(side: Side) -> str:
    return parse(side.expression).written({field.name: field.value for field in side.fields})


def bracketed(expression: str) -> str:
    """Return an expression in brackets where it has more than one term."""
    return f"({expression})" if " " in expression else expression


def _labelled(label: str, words: str) -> Iterator[str]:
    first, *more = wrap(words, _WIDTH - _LABELS - 1) or [""]
    yield f"{label:<{_LABELS}} {first}"
    yield from (f"{'':<{_LABELS}} {line}" for line in more)


def _wrapped(words: str, *, deeper: bool = False) -> Iterator[str]:
    indent = _INDENT * 2 if deeper else _INDENT
    yield from wrap(words, _WIDTH, initial_indent=indent, subsequent_indent=indent + "  ")
