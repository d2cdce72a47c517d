"""Burn of a spend budget: alerts, forecast, and when it is exhausted.

An error budget normally burns near 0, a spend budget near 1, and a fixed cluster cannot burn
faster than all of it at work: the thresholds of site reliability, 14.4 and 6, would never fire.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.value import Reasoned
from meterhouse_collector.money.exact import Number, amount, positive, precise, signed, total

# Below what is possible, so that a threshold can fire at all.
REACHABLE: Final = Decimal("0.9")
_FIT_POINTS: Final = 2


class BurnRule(NamedTuple):
    """A threshold of burn that must hold over a long and over a short window."""

    threshold_ratio: Number
    long_seconds: Number
    short_seconds: Number


class ReachableRule(NamedTuple):
    """A rule with the threshold that can fire, None where none can; ``reason`` says why."""

    rule: BurnRule
    threshold_ratio: Decimal | None
    reason: str | None


class SpendSample(NamedTuple):
    """A cumulative spend; a new ``epoch_count`` means that its counter began again from zero.

    A drop within one epoch is a credit.
    """

    at_seconds: Number
    cumulative_money: Number
    epoch_count: int


class Forecast(NamedTuple):
    """The spend at the end of the period, and when the budget is exhausted, from now."""

    end_money: Decimal | None
    exhausted_seconds: Decimal | None
    reason: str | None


RULES: Final = (
    BurnRule(Decimal(2), 3600, 300),
    BurnRule(Decimal("1.25"), 6 * 3600, 1800),
    BurnRule(Decimal("1.05"), 3 * 86400, 6 * 3600),
)


@precise
def burn_rate_ratio(
    *,
    spend_money: Number,
    window_seconds: Number,
    budget_money: Number,
    period_seconds: Number,
) -> Reasoned:
    """Return spend / (budget * window / period): at 1 a budget lasts just its period.

    Source: SRE workbook, Alerting on SLOs; reference 4.6 for spend.
    """
    spend = signed("spend_money", spend_money)
    window = positive("window_seconds", window_seconds)
    budget = amount("budget_money", budget_money)
    planned = budget * window / positive("period_seconds", period_seconds)
    return Reasoned(spend / planned) if planned else Reasoned(None, "the budget is zero")


@precise
def max_burn_rate_ratio(
    *, max_money_per_hours: Number, budget_money: Number, period_seconds: Number
) -> Reasoned:
    """Return the burn when all that can cost money does: max rate / (budget / period)."""
    return burn_rate_ratio(
        spend_money=amount("max_money_per_hours", max_money_per_hours),
        window_seconds=3600,
        budget_money=budget_money,
        period_seconds=period_seconds,
    )


@precise
def reachable_burn_rules(
    *, max_ratio: Number, rules: Sequence[BurnRule]
) -> tuple[ReachableRule, ...]:
    """Return rules capped to 0.9 of the possible burn; an unreachable threshold is said.

    Where that cap is a burn within the budget, there is nothing to alert on.
    """
    possible = amount("max_ratio", max_ratio)
    cap = REACHABLE * possible
    found = []
    for rule in rules:
        wanted = positive("threshold_ratio", rule.threshold_ratio)
        threshold: Decimal | None = wanted
        reason = None
        if wanted > cap:
            reason = f"{wanted} is unreachable: at most {possible} is possible"
            if wanted <= possible:
                reason = f"{wanted} is close to {possible}, the most possible"
            threshold = cap if cap > 1 else None
            reason += f"; {cap} instead" if threshold else "; no alert, for it is within the budget"
        found.append(ReachableRule(rule, threshold, reason))
    return tuple(found)


def burn_alert_fires(
    *, long_ratio: Decimal | None, short_ratio: Decimal | None, threshold_ratio: Decimal | None
) -> bool | None:
    """Tell whether long and short window are both at the threshold; None where that is not known.

    None neither fires nor resolves (``definitions.md``, Alerts).
    """
    if long_ratio is None or short_ratio is None or threshold_ratio is None:
        return None
    return long_ratio >= threshold_ratio and short_ratio >= threshold_ratio


@precise
def budget_used_ratio(
    *, burn_ratio: Number, window_seconds: Number, period_seconds: Number
) -> Decimal:
    """Return the part of a budget that a burn uses up in a window: burn * window / period."""
    window = amount("window_seconds", window_seconds)
    return amount("burn_ratio", burn_ratio) * window / positive("period_seconds", period_seconds)


@precise
def budget_exhaustion_seconds(
    *, remaining_money: Number, spend_money_per_hours: Number
) -> Reasoned:
    """Return how long what is left lasts at a rate: remaining / rate; 0 where it is overspent."""
    remaining = signed("remaining_money", remaining_money)
    rate = signed("spend_money_per_hours", spend_money_per_hours)
    if remaining <= 0:
        return Reasoned(Decimal(0), "the budget is exhausted")
    if rate <= 0:
        return Reasoned(None, "nothing is spent")
    return Reasoned(remaining / rate * 3600)


@precise
def cumulative_spend(*, samples: Sequence[SpendSample]) -> tuple[tuple[Decimal, Decimal], ...]:
    """Return (instant, spend since the first sample), corrected for counters that began again.

    Source: Prometheus ``increase``, but by epoch: a drop alone does not tell a restart from a
    credit. Raise ``ValueError`` for samples out of order.
    """
    spent = Decimal(0)
    found: list[tuple[Decimal, Decimal]] = []
    before: tuple[Decimal, Decimal, int] | None = None
    for sample in samples:
        at = signed("at_seconds", sample.at_seconds)
        money = signed("cumulative_money", sample.cumulative_money)
        if before is not None:
            if at <= before[0]:
                raise ValueError(
                    f"found at_seconds {at}, allowed: after {before[0]}, the one before"
                )
            spent += money if sample.epoch_count != before[2] else money - before[1]
        found.append((at, spent))
        before = (at, money, sample.epoch_count)
    return tuple(found)


@precise
def fitted_spend_money_per_hours(*, samples: Sequence[SpendSample]) -> Reasoned:
    """Return the slope of the least-squares line through reset-corrected cumulative spend."""
    points = cumulative_spend(samples=samples)
    if len(points) < _FIT_POINTS:
        return Reasoned(None, "a line needs two samples")
    count = len(points)
    mean_at = total(at for at, _ in points) / count
    mean_money = total(money for _, money in points) / count
    across = total((at - mean_at) ** 2 for at, _ in points)
    along = total((at - mean_at) * (money - mean_money) for at, money in points)
    return Reasoned(along / across * 3600)


@precise
def spend_forecast(
    *,
    samples: Sequence[SpendSample],
    spent_money: Number,
    budget_money: Number,
    committed_money_per_hours: Number,
    remaining_seconds: Number,
) -> Forecast:
    """Return the spend at the end of a period: so far, and committed and fitted rate for the rest.

    ``samples`` are of what is not committed, for what is has a rate already; ``spent_money`` is
    all spend of the period so far.
    """
    spent, budget = signed("spent_money", spent_money), amount("budget_money", budget_money)
    committed = amount("committed_money_per_hours", committed_money_per_hours)
    remaining = amount("remaining_seconds", remaining_seconds)
    fitted = fitted_spend_money_per_hours(samples=samples)
    if fitted.value is None:
        return Forecast(None, None, fitted.reason)
    rate = committed + signed("fitted rate", fitted.value)
    lasts = budget_exhaustion_seconds(remaining_money=budget - spent, spend_money_per_hours=rate)
    seconds = None if lasts.value is None else signed("exhaustion_seconds", lasts.value)
    return Forecast(spent + rate * remaining / 3600, seconds, lasts.reason)


KPIS: Final = (
    Kpi(
        "burn_rate_ratio",
        "ratio",
        "spend_money",
        "budget_money * window_seconds / period_seconds",
        "spend / planned spend of the window",
        "SRE workbook, Alerting on SLOs; reference 4.6",
    ),
    Kpi(
        "max_burn_rate_ratio",
        "ratio",
        "max_money_per_hours",
        "budget_money / period",
        "burn when all that costs money is at work",
        "SRE workbook, Alerting on SLOs; reference 4.6",
    ),
    Kpi(
        "reachable_burn_rules",
        "by name",
        "0.9 * max_ratio",
        "1",
        "thresholds capped to what is possible, and which were unreachable",
        "reference 4.6",
    ),
    Kpi(
        "budget_used_ratio",
        "ratio of the budget",
        "burn_ratio * window_seconds",
        "period_seconds",
        "part of a budget that a burn uses in a window",
        "SRE workbook, Alerting on SLOs; reference 4.6",
    ),
    Kpi(
        "budget_exhaustion_seconds",
        "seconds",
        "remaining_money",
        "spend_money_per_hours",
        "how long what is left of a budget lasts",
        "SRE workbook, Alerting on SLOs; reference 4.6",
    ),
    Kpi(
        "fitted_spend_money_per_hours",
        "currency per hour",
        "covariance of instant and spend",
        "variance of instant",
        "least-squares rate of spend, corrected for resets",
        "linear regression, as Prometheus predict_linear with resets corrected",
    ),
    Kpi(
        "spend_forecast",
        "by name",
        "spent_money + (committed + fitted rate) * remaining_seconds",
        "1",
        "spend at the end of the period, and when the budget is exhausted",
        "definitions of this project",
    ),
)
