"""The test vectors: for each formula, inputs with what must and must not come out."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter

FOLDER = Path(__file__).parents[1] / "vectors"


class Vector(NamedTuple):
    """A vector; with a ``fault`` the inputs must be turned down with these words."""

    id: str
    formula: str
    inputs: dict[str, Any]
    rel_tol: float
    source: str
    expected: Any = None
    must_not: Any = None
    reason: str | None = None
    fault: str | None = None


def vectors() -> list[Vector]:
    """Return the vectors of all subjects."""
    reader = TypeAdapter(list[Vector])
    return [
        vector
        for path in sorted(FOLDER.glob("*.json"))
        for vector in reader.validate_python(json.loads(path.read_text(encoding="utf-8")))
    ]
