"""The cost per million tokens, over three denominators, and what idle capacity cost."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from meterhouse_collector.kpi.token_cost import per_million
from meterhouse_collector.kpi.value import COVERAGE_FLOOR, KpiValue, below_floor, share
from meterhouse_collector.money.kinds import KINDS

IDLE_MONEY: Final = tuple(
    f"{state}_{kind}_money" for state in ("held_idle", "free") for kind in KINDS
)


class _Ratio(NamedTuple):
    name: str
    label: str
    money: float
    tokens: float
    covered_seconds: float


def idle_money(sums: Mapping[str, float]) -> float:
    """Return what ``held_idle`` and ``free`` devices cost, all kinds together."""
    return sum(sums[name] for name in IDLE_MONEY)


def cost_per_million_output_tokens(
    sums: Mapping[str, float],
    *,
    currency: str,
    floor: float = COVERAGE_FLOOR,
    boundary_metered: bool = True,
) -> KpiValue:
    """Return the cost of what served per million output tokens."""
    tokens = sums["serving_output_tokens"]
    return _value(sums, _serving(sums, "output", tokens), currency, floor, whole=boundary_metered)


def cost_per_million_tokens(
    sums: Mapping[str, float],
    *,
    currency: str,
    floor: float = COVERAGE_FLOOR,
    boundary_metered: bool = True,
) -> KpiValue:
    """Return the cost of what served per million tokens, input and output, cached included."""
    tokens = sums["serving_input_tokens"] + sums["serving_output_tokens"]
    return _value(sums, _serving(sums, "", tokens), currency, floor, whole=boundary_metered)


def cost_per_million_computed_tokens(
    sums: Mapping[str, float],
    *,
    currency: str,
    floor: float = COVERAGE_FLOOR,
    boundary_metered: bool = True,
) -> KpiValue:
    """Return the cost of what served per million tokens, without those read from a cache."""
    ratio = _Ratio(
        name="cost_per_million_computed_tokens",
        label="cost per million computed tokens",
        money=sums["serving_computed_money"],
        tokens=sums["serving_computed_tokens"],
        covered_seconds=sums["engine_computed_covered_seconds"],
    )
    return _value(sums, ratio, currency, floor, whole=boundary_metered)


def _serving(sums: Mapping[str, float], word: str, tokens: float) -> _Ratio:
    kind = f"{word}_tokens" if word else "tokens"
    return _Ratio(
        name=f"cost_per_million_{kind}",
        label=f"cost per million {kind.replace('_', ' ')}",
        money=sums["serving_money"],
        tokens=tokens,
        covered_seconds=sums["engine_covered_seconds"],
    )


def _value(
    sums: Mapping[str, float], ratio: _Ratio, currency: str, floor: float, *, whole: bool
) -> KpiValue:
    installed = sums["engine_installed_seconds"]
    coverage = share(ratio.covered_seconds, installed)
    reason = None
    if installed <= 0:
        reason = "no engine holds a device here"
    elif (low := below_floor(coverage, floor)) is not None:
        reason = low + ": tokens, cache hits or prices are missing"
        if sums["unpriced_seconds"] > 0:
            reason += f"; {sums['unpriced_seconds']:g} device-seconds have no price"
    elif ratio.tokens <= 0:
        reason = "no tokens"
    if reason is not None:
        # What has no price is not in it: it may be more, and zero would be a guess.
        least = "at least " if sums["unpriced_seconds"] > 0 else ""
        reason += f"; idle capacity cost {least}{idle_money(sums):.2f} {currency}"
    return KpiValue(
        name=ratio.name,
        unit=f"{currency} per million tokens",
        label=ratio.label if whole else f"{ratio.label}, energy of IT only: lower bound",
        value=per_million(ratio.money, ratio.tokens) if reason is None else None,
        numerator=ratio.money,
        denominator=ratio.tokens,
        coverage=coverage,
        reason=reason,
    )
