"""Looks through the code of a program."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


def calls(program: str) -> Iterator[tuple[ast.Call, str]]:
    """Return every call, and the last name of what is called."""
    for node in _nodes(program):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func).rpartition(".")[2]


def subscripts(program: str) -> Iterator[tuple[str, str]]:
    """Return every constant key of what is named dropped or events, after that name."""
    for node in _nodes(program):
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            holder = ast.unparse(node.value).rpartition(".")[2]
            if holder in {"dropped", "events"}:
                yield holder, str(node.slice.value)


def _nodes(program: str) -> Iterator[ast.AST]:
    for path in sorted((ROOT / program).rglob("*.py")):
        yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))
