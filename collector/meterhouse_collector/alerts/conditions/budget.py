"""Budgets: spend to date, the forecast to the end of the period, and how fast the money goes.

A spend budget normally burns near 1, and a site cannot burn faster than all of it at work: each
threshold is lowered to what can be reached (``kpis.md``, 4.6).
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

from meterhouse_collector.alerts.known import scope_labels
from meterhouse_collector.alerts.state import Labels, Observation, Rule
from meterhouse_collector.money.burn import (
    BurnRule,
    SpendSample,
    burn_rate_ratio,
    reachable_burn_rules,
    spend_forecast,
)
from meterhouse_collector.site.targets import Budget, Burn

# A forecast over the budget ends where it is so far below it, and must last.
FORECAST_CLEARS_RATIO: Final = 0.98
FORECAST_FOR_SECONDS: Final = 3600.0


class Window(NamedTuple):
    """What was spent in a window of this length; None where too little of it is known."""

    seconds: float
    money: Decimal | None


class Spend(NamedTuple):
    """What is known of a budget's money in its period, until an instant, or why nothing is.

    ``samples`` are of what is not committed, ``committed_per_hour`` is what time alone costs;
    ``windows`` are by the length that a burn asks for, ``most_ratio`` is the most it can burn.
    """

    begins_seconds: float
    ends_seconds: float
    until_seconds: float
    spent: Decimal | None
    reason: str | None
    samples: tuple[SpendSample, ...]
    committed_per_hour: Decimal | None
    windows: Mapping[float, Window]
    most_ratio: float | None


class Seen(NamedTuple):
    """A rule of a budget and what it sees."""

    rule: Rule
    observation: Observation


def budget_rules(budget: Budget) -> list[Rule]:
    """Return the rules of a budget; no name of a site file has a colon."""
    name = f"budget:{budget.name}"
    return [
        Rule(f"{name}:spent", "budget_spent", "ticket", 0.0),
        Rule(f"{name}:forecast", "budget_forecast", "ticket", FORECAST_FOR_SECONDS),
        *(_burn_rule(budget, burn) for burn in budget.burn),
    ]


def _burn_rule(budget: Budget, burn: Burn) -> Rule:
    name = f"budget:{budget.name}:burn:{burn.long:g}s:{burn.short:g}s"
    return Rule(name, "budget_burn", burn.severity, 0.0)


def look_at(budget: Budget, spend: Spend, *, site: str, currency: str) -> list[Seen]:
    """Hold what is known of a budget's money against it, in the order of ``budget_rules``.

    Money that is known says whether it is amortised or cash.
    """
    about = scope_labels(site, budget.scope, budget=budget.name)
    observations = [
        _spent(budget, spend, about, currency),
        _forecast(budget, spend, about, currency),
        *_burns(budget, spend, about),
    ]
    pairs = zip(budget_rules(budget), observations, strict=True)
    return [Seen(rule, observation) for rule, observation in pairs]


def _spent(budget: Budget, spend: Spend, about: Labels, currency: str) -> Observation:
    return Observation(
        labels=about,
        value=None if spend.spent is None else float(spend.spent),
        limit=float(budget.amount),
        unit=currency,
        reason=spend.reason or budget.basis,
    )


def _forecast(budget: Budget, spend: Spend, about: Labels, currency: str) -> Observation:
    value, reason = None, spend.reason
    evidence = {}
    if spend.spent is not None and spend.committed_per_hour is None:
        reason = "nothing recent is known"
    elif spend.spent is not None and spend.committed_per_hour is not None:
        found = spend_forecast(
            samples=spend.samples,
            spent_money=spend.spent,
            budget_money=budget.amount,
            committed_money_per_hours=spend.committed_per_hour,
            remaining_seconds=max(0.0, spend.ends_seconds - spend.until_seconds),
        )
        value = None if found.end_money is None else float(found.end_money)
        reason = found.reason
        evidence = {"spent_money": float(spend.spent)}
        if found.exhausted_seconds is not None:
            evidence["exhausted_in_seconds"] = float(found.exhausted_seconds)
    return Observation(
        labels=about,
        value=value,
        limit=float(budget.amount),
        clear=FORECAST_CLEARS_RATIO * float(budget.amount),
        unit=currency,
        reason=reason or budget.basis,
        evidence=evidence,
    )


def _burns(budget: Budget, spend: Spend, about: Labels) -> list[Observation]:
    return [
        _burn(budget, spend, about, burn, threshold)
        for burn, threshold in zip(
            budget.burn, burn_thresholds(budget, spend.most_ratio), strict=True
        )
    ]


class Reached(NamedTuple):
    """The burn at which an alert fires, None where none can; ``reason`` says why it was lowered."""

    ratio: Decimal | None
    reason: str | None


def burn_thresholds(budget: Budget, most_ratio: float | None) -> list[Reached]:
    """Return the threshold of each burn of a budget, lowered to what can be reached."""
    rules = [
        BurnRule(Decimal(str(burn.factor)), round(burn.long), round(burn.short))
        for burn in budget.burn
    ]
    if most_ratio is None:
        return [Reached(Decimal(rule.threshold_ratio), None) for rule in rules]
    found = reachable_burn_rules(max_ratio=most_ratio, rules=rules)
    return [
        Reached(
            None if each.threshold_ratio is None else Decimal(each.threshold_ratio), each.reason
        )
        for each in found
    ]


def _burn(
    budget: Budget, spend: Spend, about: Labels, burn: Burn, threshold: Reached
) -> Observation:
    long, short = (
        _burn_ratio(budget, spend, spend.windows.get(seconds))
        for seconds in (burn.long, burn.short)
    )
    value = None if long is None or short is None else float(min(long, short))
    reason = threshold.reason if value is not None else "too little is known of a window"
    limit = None if threshold.ratio is None else float(threshold.ratio)
    evidence = {"factor_ratio": burn.factor}
    if long is not None and short is not None:
        evidence |= {"long_ratio": float(long), "short_ratio": float(short)}
    return Observation(
        labels=about,
        value=value,
        limit=limit,
        # Half-way back to the even pace: a budget that is spent evenly burns at 1.
        clear=None if limit is None or limit <= 1 else 1 + (limit - 1) / 2,
        reason=reason,
        evidence=evidence,
        reached=True,
    )


def _burn_ratio(budget: Budget, spend: Spend, window: Window | None) -> Decimal | None:
    if window is None or window.money is None or window.seconds <= 0:
        return None
    found = burn_rate_ratio(
        spend_money=window.money,
        window_seconds=window.seconds,
        budget_money=budget.amount,
        period_seconds=spend.ends_seconds - spend.begins_seconds,
    ).value
    return None if found is None else Decimal(found)
