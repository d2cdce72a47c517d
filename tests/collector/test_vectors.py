"""Every formula by its vectors, through the command; and nothing without row, vector or docs."""

import inspect
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_type_hints

import pytest

from meterhouse_collector.formula import FormulaError, answer, listing
from meterhouse_collector.kpi.formulas import FORMULAS
from meterhouse_collector.kpi.kpis import KPIS
from tests.collector.vectors import Vector, vectors

GIVEN_IDS = [
    "EU-CORE",
    "PUE-BUILD",
    "PUE-WEIGHT",
    "PUE-CATEGORY",
    "CUE-ELEC",
    "FUEL-CONV",
    "UPS-2N",
    "POWER-FACTOR",
    "COOL-Q",
    "DEMAND",
    "RESET-PROM",
    "RESET-FLUX",
    "TTFT-QUANTILE",
    "LLAMACPP-RATE",
    "TRITON-MEAN",
    "CPM-LOAD",
    "NVIDIA-TCO",
    "FOCUS-75",
    "FOCUS-TOKENS",
    "GPU-SWEEP",
    "CAPEX",
    "SCI-EMBODIED",
    "BURN",
    "AVAIL",
]
VECTORS = vectors()
REFERENCE = Path(__file__).parents[2] / "docs/reference.md"


def close(found: object, expected: object, rel_tol: float) -> bool:
    """Return whether all that is expected was found; an object may have more names."""
    if isinstance(expected, Mapping):
        return isinstance(found, Mapping) and all(
            close(found[name], each, rel_tol) for name, each in expected.items()
        )
    if isinstance(expected, Sequence) and not isinstance(expected, str):
        return (
            isinstance(found, Sequence)
            and len(found) == len(expected)
            and all(close(f, e, rel_tol) for f, e in zip(found, expected, strict=True))
        )
    if isinstance(expected, int | float) and not isinstance(expected, bool):
        return isinstance(found, int | float) and math.isclose(
            found, expected, rel_tol=rel_tol, abs_tol=1e-12
        )
    return found == expected


def none_of(found: object, must_not: object, rel_tol: float) -> bool:
    """Return whether nothing that must not come out did."""
    if isinstance(must_not, Mapping) and isinstance(found, Mapping):
        return not any(close(found[name], each, rel_tol) for name, each in must_not.items())
    return not close(found, must_not, rel_tol)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v.id}-{v.formula}")
def test_vector(vector: Vector) -> None:
    text = json.dumps(vector.inputs)
    if vector.fault is not None:
        with pytest.raises(FormulaError, match=vector.fault):
            answer(vector.formula, text)
        return
    found = answer(vector.formula, text)
    assert close(found["value"], vector.expected, vector.rel_tol), found
    assert found["reason"] == vector.reason
    if vector.must_not is not None:
        assert none_of(found["value"], vector.must_not, vector.rel_tol), found


def test_every_formula_has_row_and_every_row_a_function() -> None:
    names = [row.name for row in KPIS]
    assert sorted(names) == sorted(FORMULAS)
    for row in KPIS:
        assert all(row[:6]), f"{row.name}: an empty cell in the catalogue"


def test_every_formula_has_a_vector_and_every_vector_a_formula() -> None:
    # A vector that is turned down says nothing of the value.
    assert {v.formula for v in VECTORS if v.fault is None} == set(FORMULAS)
    assert all(vector.source for vector in VECTORS)


def test_every_formula_has_a_line_in_the_docs() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    assert [name for name in FORMULAS if f"`{name}`" not in text] == []


def test_every_formula_is_listed_with_what_it_is_for() -> None:
    lines = list(listing())
    assert len(lines) == len(FORMULAS) + 1
    for function in FORMULAS.values():
        assert (inspect.getdoc(function) or "").partition("\n")[0].endswith(".")


@pytest.mark.parametrize("name", FORMULAS)
def test_formula_has_its_own_name_and_takes_inputs_by_name(name: str) -> None:
    function = FORMULAS[name]
    assert function.__name__ == name
    parameters = inspect.signature(function).parameters
    assert {p.kind for p in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert parameters.keys() | {"return"} == get_type_hints(function).keys()


def test_given_vectors_are_all_there() -> None:
    assert set(GIVEN_IDS) <= {vector.id for vector in VECTORS}
