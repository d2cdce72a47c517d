"""Columns of plain text, as every table of the books has them. Pure."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

NO_VALUE: Final = "-"
Rows = Sequence[Sequence[str]]


def columns(rows: Rows, *, texts: int = 1, remark: bool = False) -> Iterator[str]:
    """Lay out rows: so many columns of text on the left, then numbers, perhaps a remark last."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = len(widths) - 1
    for row in rows:
        cells = [
            cell.ljust(width) if place < texts or (remark and place == last) else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield ("  " + "  ".join(cells)).rstrip()


def money_text(amount: Decimal | None) -> str:
    """Return an amount as tables show it, or that there is none."""
    return NO_VALUE if amount is None else f"{amount:,}"
