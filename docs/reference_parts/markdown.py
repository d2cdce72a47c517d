"""Pieces of Markdown."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return (
        "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def paragraph(documented: object) -> str:
    """Return what documents a thing, as a paragraph."""
    text = (documented.__doc__ or "").replace("``", "`")
    return "\n".join(line.strip() for line in text.strip().splitlines()) + "\n"
