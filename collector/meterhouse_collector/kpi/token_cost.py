"""Formulas of the cost per token, over output, all and computed tokens."""

import math
from typing import Final

from meterhouse_collector.kpi.numbers import not_negative
from meterhouse_collector.kpi.value import Reasoned

TOKENS_PER_UNIT: Final = 1_000_000.0


def cost_per_million_output_tokens(*, serving_money: float, output_tokens: float) -> Reasoned:
    """Return 1e6 * cost of what served / output tokens (InferenceMAX formula)."""
    return _per_million(serving_money, output_tokens=output_tokens)


def cost_per_million_tokens(
    *, serving_money: float, input_tokens: float, output_tokens: float
) -> Reasoned:
    """Return 1e6 * cost of what served / tokens, cached input included (InferenceMAX formula)."""
    return _per_million(serving_money, input_tokens=input_tokens, output_tokens=output_tokens)


def cost_per_million_computed_tokens(
    *, serving_money: float, input_tokens: float, cached_input_tokens: float, output_tokens: float
) -> Reasoned:
    """Return 1e6 * cost of what served / tokens, cached input excluded (InferenceMAX formula)."""
    not_negative(cached_input_tokens=cached_input_tokens)
    return _per_million(
        serving_money,
        computed_input_tokens=input_tokens - cached_input_tokens,
        output_tokens=output_tokens,
    )


def per_million(money: float, tokens: float) -> float | None:
    """Return 1e6 * money / tokens, or None where there are no tokens (InferenceMAX formula)."""
    return TOKENS_PER_UNIT * money / tokens if tokens > 0 else None


def _per_million(money: float, **tokens: float) -> Reasoned:
    not_negative(**tokens)
    # Not above zero by nature: an hour of negative prices can pay for what served.
    if not math.isfinite(money):
        raise ValueError(f"serving_money is {money}: a finite number")
    value = per_million(money, sum(tokens.values()))
    return Reasoned(value, "no tokens" if value is None else None)
