"""The table of formulas: pure functions of plain numbers, which production and the command call.

Parameters are keyword-only and end in their unit; the rows of the catalogue have the same names.
"""

from collections.abc import Callable
from typing import Final

from meterhouse_collector.kpi import energy, idleness, token_cost

FORMULAS: Final[dict[str, Callable[..., object]]] = {
    "pue": energy.pue,
    "idle_capacity_ratio": idleness.idle_capacity_ratio,
    "cost_per_million_output_tokens": token_cost.cost_per_million_output_tokens,
    "cost_per_million_tokens": token_cost.cost_per_million_tokens,
    "cost_per_million_computed_tokens": token_cost.cost_per_million_computed_tokens,
}
