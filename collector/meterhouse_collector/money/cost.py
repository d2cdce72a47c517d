"""What a token, a request and a task cost, and what idle capacity costs; in decimals.

Each quotient names its denominator. Without one there is no value but a reason, and the cost of
what stood idle beside it; never zero, never infinite. The live path divides floats in ``kpi/cost``.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.value import Reasoned
from meterhouse_collector.money.exact import Number, amount, precise, signed, total

TOKENS_PER_UNIT: Final = Decimal(1_000_000)


class TokenCosts(NamedTuple):
    """Cost per million tokens over three denominators, each None where it has no tokens.

    What stood idle is in the cost, and shown beside it.
    """

    money_per_million_output_tokens: Decimal | None
    money_per_million_tokens: Decimal | None
    money_per_million_computed_tokens: Decimal | None
    idle_money: Decimal
    reason: str | None


class IdleCost(NamedTuple):
    """The cost of idle capacity; the rest is sunk, for it is paid either way."""

    whole_money: Decimal
    avoidable_money: Decimal
    sunk_money: Decimal


class TaskInterval(NamedTuple):
    """What one allocation to a task cost, up to its end; a failed attempt is one too."""

    task: str
    ends_seconds: Number
    cost_money: Number


class TaskCost(NamedTuple):
    """Tasks that completed in a window with all they ever cost; the others stand apart."""

    task_money: dict[str, Decimal]
    in_progress_money: dict[str, Decimal]
    unit_money: Decimal | None
    reason: str | None


@precise
def token_costs(
    *,
    cost_money: Number,
    input_tokens: Number,
    cached_input_tokens: Number,
    output_tokens: Number,
    idle_money: Number,
) -> TokenCosts:
    """Return 1e6 * cost / output, / all and / computed (input not cached, and output) tokens.

    For statements: all cost, idle included (InferenceMAX formula with measured tokens). Raise
    ``ValueError`` where more input was cached than there was.
    """
    cost, idle = signed("cost_money", cost_money), amount("idle_money", idle_money)
    read, cached = amount("input_tokens", input_tokens), cached_input_tokens
    written = amount("output_tokens", output_tokens)
    computed = read - amount("cached_input_tokens", cached) + written
    if computed < written:
        raise ValueError(f"found cached_input_tokens {cached}, allowed: at most {read}, the input")
    denominators = (written, read + written, computed)
    output, every, fresh = (
        TOKENS_PER_UNIT * cost / tokens if tokens > 0 else None for tokens in denominators
    )
    words = ("output tokens", "tokens", "computed tokens")
    none = [f"no {word}" for word, n in zip(words, denominators, strict=True) if n == 0]
    reason = f"{', '.join(none)}; idle capacity cost {idle}" if none else None
    return TokenCosts(output, every, fresh, idle, reason)


@precise
def cost_per_million_weighted_tokens(
    *,
    cost_money: Number,
    kind_tokens: Mapping[str, Number],
    kind_weights: Mapping[str, Number],
    idle_money: Number,
) -> Reasoned:
    """Return 1e6 * cost / sum(weight * tokens), with declared weights, as from a price list.

    Raise ``ValueError`` where a kind of tokens has no weight.
    """
    if missing := sorted(kind_tokens.keys() - kind_weights.keys()):
        raise ValueError(f"no weight is declared for {', '.join(missing)}")
    weighted = total(
        amount(f"{kind}_tokens", tokens) * amount(f"weight of {kind}", kind_weights[kind])
        for kind, tokens in kind_tokens.items()
    )
    return _quotient(cost_money, weighted / TOKENS_PER_UNIT, idle_money, "weighted tokens")


@precise
def cost_per_request(*, cost_money: Number, requests: Number, idle_money: Number) -> Reasoned:
    """Return cost / requests of any outcome."""
    return _quotient(cost_money, amount("requests", requests), idle_money, "requests")


@precise
def cost_per_success(
    *, cost_money: Number, succeeded_requests: Number, idle_money: Number
) -> Reasoned:
    """Return all cost / requests that succeeded: what failed or was retried stays in the cost."""
    succeeded = amount("succeeded_requests", succeeded_requests)
    return _quotient(cost_money, succeeded, idle_money, "successful requests")


@precise
def cost_per_step(*, cost_money: Number, steps_count: Number, idle_money: Number) -> Reasoned:
    """Return cost / training steps: what a window of a long task has, for it does not complete."""
    return _quotient(cost_money, amount("steps_count", steps_count), idle_money, "steps")


@precise
def cost_per_million_trained_tokens(
    *, cost_money: Number, trained_tokens: Number, idle_money: Number
) -> Reasoned:
    """Return 1e6 * cost / tokens trained on."""
    tokens = amount("trained_tokens", trained_tokens) / TOKENS_PER_UNIT
    return _quotient(cost_money, tokens, idle_money, "tokens")


@precise
def task_cost(
    *,
    intervals: Sequence[TaskInterval],
    completed_seconds: Mapping[str, Number],
    begins_seconds: Number,
    ends_seconds: Number,
) -> TaskCost:
    """Return the cost of each task that completed in a window, from all its intervals ever.

    ``completed_seconds`` is when each task completed. One that had not by the end of the window is
    in progress, with what it cost until then; one that completed before the window is in neither.
    ``definitions.md``, Cost per task.
    """
    begins, ends = signed("begins_seconds", begins_seconds), signed("ends_seconds", ends_seconds)
    done_at = {task: signed("completed_seconds", at) for task, at in completed_seconds.items()}
    complete = {task for task, at in done_at.items() if begins <= at < ends}
    earlier = {task for task, at in done_at.items() if at < begins}
    completed: dict[str, list[Decimal]] = {task: [] for task in sorted(complete)}
    open_tasks: dict[str, list[Decimal]] = {}
    for interval in intervals:
        cost = signed("cost_money", interval.cost_money)
        if interval.task in complete:
            completed[interval.task].append(cost)
        elif interval.task not in earlier and signed("ends_seconds", interval.ends_seconds) <= ends:
            open_tasks.setdefault(interval.task, []).append(cost)
    task_money = {task: total(costs) for task, costs in completed.items()}
    return TaskCost(
        task_money=task_money,
        in_progress_money={task: total(costs) for task, costs in open_tasks.items()},
        unit_money=total(task_money.values()) / len(task_money) if task_money else None,
        reason=None if task_money else "no task completed",
    )


@precise
def idle_cost(*, kind_money: Mapping[str, Number], cancellable_rent_money: Number) -> IdleCost:
    """Return what idle capacity costs, whole and what could be avoided: energy, cancellable rent.

    ``kind_money`` is the cost of ``held_idle`` and ``free`` by kind. ``definitions.md``, Capacity.
    Raise ``ValueError`` where more rent could be cancelled than is paid.
    """
    money = {kind: signed(f"{kind}_money", value) for kind, value in kind_money.items()}
    cancellable = amount("cancellable_rent_money", cancellable_rent_money)
    rent = max(Decimal(0), money.get("rent", Decimal(0)))
    if cancellable > rent:
        raise ValueError(f"found cancellable_rent_money {cancellable}, allowed: at most {rent}")
    whole = total(money.values())
    avoidable = money.get("energy", Decimal(0)) + cancellable
    return IdleCost(whole, avoidable, whole - avoidable)


@precise
def underutilization_penalty_ratio(
    *, money_per_million_tokens: Number, saturated_money_per_million_tokens: Number
) -> Reasoned:
    """Return actual / saturated cost per million tokens (arXiv 2606.11690)."""
    actual = amount("money_per_million_tokens", money_per_million_tokens)
    saturated = amount("saturated_money_per_million_tokens", saturated_money_per_million_tokens)
    if saturated == 0:
        return Reasoned(None, "no cost at saturation to compare with")
    return Reasoned(actual / saturated)


def _quotient(cost_money: Number, units: Decimal, idle_money: Number, word: str) -> Reasoned:
    cost, idle = signed("cost_money", cost_money), amount("idle_money", idle_money)
    if units == 0:
        return Reasoned(None, f"no {word}; idle capacity cost {idle}")
    return Reasoned(cost / units)


KPIS: Final = (
    Kpi(
        "token_costs",
        "by name",
        "cost_money",
        "output, all and computed tokens",
        "1e6 * cost / tokens over three denominators, idle cost beside",
        "InferenceMAX formula with measured tokens and all cost, idle included",
    ),
    Kpi(
        "cost_per_million_weighted_tokens",
        "currency per million tokens",
        "cost_money",
        "sum of weight * tokens",
        "1e6 * cost / tokens weighted by declared prices",
        "definitions of this project",
    ),
    Kpi(
        "cost_per_request",
        "currency per request",
        "cost_money",
        "requests",
        "cost / requests of any outcome",
        "definitions of this project",
    ),
    Kpi(
        "cost_per_success",
        "currency per request",
        "cost_money",
        "succeeded_requests",
        "all cost / requests that succeeded",
        "reference 4.10; definitions of this project",
    ),
    Kpi(
        "cost_per_step",
        "currency per step",
        "cost_money",
        "steps_count",
        "cost / training steps",
        "definitions of this project",
    ),
    Kpi(
        "cost_per_million_trained_tokens",
        "currency per million tokens",
        "cost_money",
        "trained_tokens",
        "1e6 * cost / tokens trained on",
        "definitions of this project",
    ),
    Kpi(
        "task_cost",
        "by name",
        "all intervals of tasks that completed",
        "tasks that completed",
        "cost of a task, failed attempts included",
        "definitions of this project",
    ),
    Kpi(
        "idle_cost",
        "by name",
        "held_idle and free money",
        "1",
        "cost of idle capacity, whole and avoidable",
        "definitions of this project",
    ),
    Kpi(
        "underutilization_penalty_ratio",
        "ratio",
        "money_per_million_tokens",
        "saturated_money_per_million_tokens",
        "actual cost / cost at saturation",
        "arXiv 2606.11690",
    ),
)
