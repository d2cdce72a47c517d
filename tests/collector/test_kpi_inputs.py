"""Formulas of capacity and service turn down every single amount below zero, wherever it stands."""

import json
from typing import Any

import pytest

from meterhouse_collector.formula import FormulaError, answer
from meterhouse_collector.kpi.formulas import FORMULAS
from tests.collector.vectors import Vector, vectors

SUBJECTS = (
    *("waterfall", "idleness", "reclaimable", "availability", "headroom", "redundancy", "runway"),
    *("reliability", "latency", "throughput", "success", "slo"),
)
# Instants have no zero that one could be below.
INSTANTS = ("start_seconds", "sent_seconds", "first_token_seconds", "finished_seconds")


def negated(inputs: Any) -> list[Any]:  # noqa: ANN401 - JSON of any shape
    """Return the inputs once for each amount in them, with that one below zero."""
    if isinstance(inputs, dict):
        return [
            {**inputs, name: wrong}
            for name, value in inputs.items()
            if name not in INSTANTS
            for wrong in negated(value)
        ]
    if isinstance(inputs, list):
        return [
            [*inputs[:at], wrong, *inputs[at + 1 :]]
            for at, value in enumerate(inputs)
            for wrong in negated(value)
        ]
    return [-1 - inputs] if isinstance(inputs, int | float) and not isinstance(inputs, bool) else []


@pytest.mark.parametrize(
    "vector",
    [
        vector
        for vector in vectors()
        if vector.fault is None
        and FORMULAS[vector.formula].__module__.rpartition(".")[2] in SUBJECTS
    ],
    ids=lambda vector: f"{vector.id}-{vector.formula}",
)
def test_no_formula_takes_an_amount_below_zero(vector: Vector) -> None:
    for inputs in negated(vector.inputs):
        with pytest.raises(FormulaError):
            answer(vector.formula, json.dumps(inputs))
