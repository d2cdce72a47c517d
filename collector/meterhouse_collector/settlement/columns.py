"""Columns of plain text, as every table of the books has them. Pure."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

NO_VALUE: Final = "-"
_WHOLE_FROM: Final = 99_999.5
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


def figure_text(figure: float | None) -> str:
    """Return a figure to six digits, a large one whole: never a power of ten, nor a guess."""
    if figure is None:
        return NO_VALUE
    return f"{figure:,.0f}" if abs(figure) >= _WHOLE_FROM else f"{figure:.6g}"


def money_text(amount: Decimal | None) -> str:
    """Return an amount as tables show it, or that there is none."""
    return NO_VALUE if amount is None else f"{amount:,}"
