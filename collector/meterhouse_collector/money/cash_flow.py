"""Return on investment, payback, net present value and total cost of ownership.

All of them go by cash flows, never by an annuity or by depreciation: those spread a payment that
is already there, and would count it twice (``definitions.md``, Capital).
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, Literal, NamedTuple, get_args

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.value import Reasoned
from meterhouse_collector.money.exact import Number, amount, precise, signed, total

CashKind = Literal[
    "hardware",
    "network",
    "storage",
    "building",
    "grid_connection",
    "cooling",
    "rent",
    "energy",
    "operations",
    "licence",
    "decommissioning",
    "salvage",
]
CASH_KINDS: Final = get_args(CashKind)
# A total without these is not total; it says so.
REQUIRED_KINDS: Final = ("building", "grid_connection", "decommissioning")
SECONDS_PER_YEAR: Final = Decimal(365 * 86400)


class CashFlow(NamedTuple):
    """Money at an instant: positive comes in, negative goes out."""

    at_seconds: Number
    flow_money: Number


class Payment(NamedTuple):
    """A cost at an instant, or salvage where it is negative; what is no cash has no kind here."""

    kind: CashKind
    at_seconds: Number
    cost_money: Number


class Tco(NamedTuple):
    """Total cost of ownership; ``missing_kinds`` are those that it must have and has not."""

    actual_money: Decimal
    planned_money: Decimal
    nominal_money: Decimal
    discounted_money: Decimal
    kind_money: dict[str, Decimal]
    missing_kinds: tuple[str, ...]


@precise
def npv_money(*, flows: Sequence[CashFlow], interest_ratio: Number, now_seconds: Number) -> Decimal:
    """Return the sum of flow / (1 + r)^((t - now) / year), a year being 365 days.

    Source: net present value with dated flows, as spreadsheets' XNPV; r is for a year. Raise
    ``ValueError`` without a flow.
    """
    if not flows:
        raise ValueError("flows: at least one is needed")
    growth = 1 + amount("interest_ratio", interest_ratio)
    now = signed("now_seconds", now_seconds)
    return sum(
        (
            signed("flow_money", flow.flow_money) / _growth(growth, flow.at_seconds, now)
            for flow in flows
        ),
        Decimal(0),
    )


@precise
def roi_ratio(*, net_benefit_money: Number, invested_money: Number) -> Reasoned:
    """Return net benefit / invested: what came in less what running it cost and was invested."""
    benefit = signed("net_benefit_money", net_benefit_money)
    invested = amount("invested_money", invested_money)
    if invested == 0:
        return Reasoned(None, "nothing was invested")
    return Reasoned(benefit / invested)


@precise
def payback_months(*, invested_money: Number, net_money_per_months: Number) -> Reasoned:
    """Return invested / monthly net: payback where every month brings the same."""
    invested = amount("invested_money", invested_money)
    net = signed("net_money_per_months", net_money_per_months)
    return Reasoned(invested / net) if net > 0 else Reasoned(None, "a month brings nothing")


@precise
def payback_seconds(*, flows: Sequence[CashFlow]) -> Reasoned:
    """Return when the sum of dated flows first comes back to zero, from the first flow on."""
    if not flows:
        return Reasoned(None, "no cash flow")
    ordered = sorted(
        (signed("at_seconds", flow.at_seconds), signed("flow_money", flow.flow_money))
        for flow in flows
    )
    balance, spent = Decimal(0), False
    for position, (at, money) in enumerate(ordered):
        balance += money
        spent = spent or balance < 0
        last_of_instant = position + 1 == len(ordered) or ordered[position + 1][0] != at
        if spent and balance >= 0 and last_of_instant:
            return Reasoned(at - ordered[0][0])
    return Reasoned(None, f"{-balance} not paid back yet" if spent else "nothing was invested")


@precise
def tco(
    *,
    actual: Sequence[Payment],
    planned: Sequence[Payment],
    now_seconds: Number,
    interest_ratio: Number,
) -> Tco:
    """Return what was paid to date and what is planned from now to the end.

    A plan for the past is left out, for the actual stands for it. Discounted to now, the past
    carries interest. ``definitions.md``, Capital. Raise ``ValueError`` for an actual payment in the
    future, and for a kind that is no cash, like an annuity.
    """
    now = signed("now_seconds", now_seconds)
    growth = 1 + amount("interest_ratio", interest_ratio)
    for payment in (*actual, *planned):
        if payment.kind not in CASH_KINDS:
            raise ValueError(f"{payment.kind} is no cash flow: one of {', '.join(CASH_KINDS)}")
    if any(signed("at_seconds", payment.at_seconds) > now for payment in actual):
        raise ValueError("an actual payment lies after now_seconds")
    ahead = [p for p in planned if signed("at_seconds", p.at_seconds) > now]
    counted = (*actual, *ahead)
    paid = total(signed("cost_money", payment.cost_money) for payment in actual)
    plan = total(signed("cost_money", payment.cost_money) for payment in ahead)
    by_kind = {
        kind: total(signed("cost_money", p.cost_money) for p in counted if p.kind == kind)
        for kind in CASH_KINDS
        if any(p.kind == kind for p in counted)
    }
    discounted = (
        signed("cost_money", p.cost_money) / _growth(growth, p.at_seconds, now) for p in counted
    )
    return Tco(
        actual_money=paid,
        planned_money=plan,
        nominal_money=total((paid, plan)),
        discounted_money=sum(discounted, Decimal(0)),
        kind_money=by_kind,
        missing_kinds=tuple(kind for kind in REQUIRED_KINDS if kind not in by_kind),
    )


def _growth(growth: Decimal, at_seconds: Number, now: Decimal) -> Decimal:
    return growth ** ((signed("at_seconds", at_seconds) - now) / SECONDS_PER_YEAR)


KPIS: Final = (
    Kpi(
        "npv_money",
        "currency",
        "sum of flow / (1 + interest)^years",
        "1",
        "cash flows discounted to now, a year being 365 days",
        "net present value with dated flows, as the XNPV of spreadsheets",
    ),
    Kpi(
        "roi_ratio",
        "ratio",
        "net_benefit_money",
        "invested_money",
        "net benefit / invested, by cash flows",
        "return on investment; definitions of this project",
    ),
    Kpi(
        "payback_months",
        "months",
        "invested_money",
        "net_money_per_months",
        "invested / monthly net",
        "simple payback; definitions of this project",
    ),
    Kpi(
        "payback_seconds",
        "seconds",
        "first instant without a net outlay - first flow",
        "1",
        "how long until the sum of dated flows is back at zero",
        "payback by cash flows; definitions of this project",
    ),
    Kpi(
        "tco",
        "by name",
        "actual to date + planned to the end",
        "1",
        "cost to own, nominal and discounted, with building, grid and decommissioning",
        "definitions of this project",
    ),
)
