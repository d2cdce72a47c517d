"""Every formula of money turns nonsense down, by name, wherever it stands."""

import inspect
from collections.abc import Iterator
from typing import Final

import pytest

from meterhouse_collector.kpi.formulas import FORMULAS
from meterhouse_collector.money import (
    burn,
    capital,
    cash_flow,
    contract,
    cost,
    delivery,
    margin,
    matrix,
    sizing,
)
from tests.collector.vectors import vectors

MODULES: Final = (burn, capital, cash_flow, contract, cost, delivery, margin, matrix, sizing)
NAMES: Final = {row.name for module in MODULES for row in module.KPIS}
# Instants may lie before 1970; what was earned, spent or left may be a loss, a credit or a debt.
SIGNED: Final = {
    "at_seconds",
    "begins_seconds",
    "cost_money",
    "delivered_seconds",
    "ends_seconds",
    "in_service_seconds",
    "net_benefit_money",
    "net_money_per_months",
    "now_seconds",
    "overhead_money",
    "remaining_money",
    "spend_money",
    "spend_money_per_hours",
    "spent_money",
}
# Where these are signed they are not everywhere.
ONLY_POSITIVE: Final = {("capital_position", "spent_money")}


def inputs() -> Iterator[tuple[str, str, dict[str, object]]]:
    """Yield each number that a formula takes, with inputs that it is happy with."""
    seen = set()
    for vector in vectors():
        if vector.formula not in NAMES or vector.fault is not None:
            continue
        parameters = inspect.signature(FORMULAS[vector.formula]).parameters
        if parameters.keys() != vector.inputs.keys():
            continue  # given in other units
        for name, value in vector.inputs.items():
            if isinstance(value, int | float) and (vector.formula, name) not in seen:
                seen.add((vector.formula, name))
                yield vector.formula, name, dict(vector.inputs)


INPUTS: Final = [
    pytest.param(formula, name, given, value, id=f"{formula}-{name}-{value}")
    for formula, name, given in inputs()
    for value in (float("nan"), float("inf"), -1)
    if value != -1 or name not in SIGNED or (formula, name) in ONLY_POSITIVE
]


@pytest.mark.parametrize(("formula", "name", "given", "value"), INPUTS)
def test_nonsense_is_turned_down_by_name(
    formula: str, name: str, given: dict[str, object], value: float
) -> None:
    with pytest.raises(ValueError, match=f"{name} .*allowed"):
        FORMULAS[formula](**{**given, name: value})
