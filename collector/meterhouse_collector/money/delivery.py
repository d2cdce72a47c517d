"""What a contract for capacity delivered, and what is credited or drawn down for it.

Bought or sold, the formulas are the same, and who pays whom differs.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.money.exact import Number, amount, positive, precise, share


class CreditStep(NamedTuple):
    """The part of the fee that is credited below an availability."""

    below_ratio: Number
    credit_ratio: Number


class DrawDown(NamedTuple):
    """What of each charge the prepayment covers, what is billed beside it, and what is left."""

    drawn_money: tuple[Decimal, ...]
    billed_money: tuple[Decimal, ...]
    balance_money: Decimal


class Delivery(NamedTuple):
    """Delivered against contracted capacity; low takes all ``unknown`` as not delivered."""

    low_ratio: Decimal | None
    high_ratio: Decimal | None
    low_money: Decimal
    high_money: Decimal
    contracted_money: Decimal
    reason: str | None


@precise
def service_credit_money(
    *, availability_ratio: Number, fee_money: Number, steps: Sequence[CreditStep]
) -> Decimal:
    """Return the fee times the credit of the lowest step that the availability is below."""
    availability = share("availability_ratio", availability_ratio)
    fee = amount("fee_money", fee_money)
    due = [
        share("credit_ratio", step.credit_ratio)
        for step in steps
        if availability < share("below_ratio", step.below_ratio)
    ]
    return fee * max(due, default=Decimal(0))


@precise
def prepayment_draw_down(*, prepaid_money: Number, charges_money: Sequence[Number]) -> DrawDown:
    """Return charges drawn from a prepayment in their order; what it does not cover is billed."""
    balance = amount("prepaid_money", prepaid_money)
    drawn: list[Decimal] = []
    billed: list[Decimal] = []
    for charge in charges_money:
        money = amount("charges_money", charge)
        part = min(money, balance)
        balance -= part
        drawn.append(part)
        billed.append(money - part)
    return DrawDown(tuple(drawn), tuple(billed), balance)


@precise
def contract_delivery(
    *,
    contracted_hours: Number,
    delivered_hours: Number,
    unknown_hours: Number,
    excluded_hours: Number,
    price_money_per_hours: Number,
) -> Delivery:
    """Return delivered / contracted device-hours, and what they are worth.

    ``excluded_hours`` is planned maintenance and loss that the tenant caused, where the contract
    excludes it: it counts neither way. What is unknown gives a low and a high
    (``definitions.md``, Contracts). Delivered beyond the contract is worth no more. Raise
    ``ValueError`` where more is excluded than contracted.
    """
    contracted = amount("contracted_hours", contracted_hours)
    excluded = amount("excluded_hours", excluded_hours)
    if excluded > contracted:
        raise ValueError(f"found excluded_hours {excluded}, allowed: at most {contracted}")
    due = contracted - excluded
    known = amount("delivered_hours", delivered_hours)
    low = min(due, known)
    high = min(due, known + amount("unknown_hours", unknown_hours))
    price = amount("price_money_per_hours", price_money_per_hours)
    return Delivery(
        low_ratio=low / due if due else None,
        high_ratio=high / due if due else None,
        low_money=low * price,
        high_money=high * price,
        contracted_money=due * price,
        reason=None if due else "nothing is contracted",
    )


@precise
def contract_unit_price_money(*, contract_money: Number, contract_hours: Number) -> Decimal:
    """Return what a device-hour of a contract costs: contract / its device-hours."""
    return amount("contract_money", contract_money) / positive("contract_hours", contract_hours)


KPIS: Final = (
    Kpi(
        "service_credit_money",
        "currency",
        "fee_money * credit_ratio",
        "1",
        "credit of the lowest step that the availability is below",
        "definitions of this project",
    ),
    Kpi(
        "prepayment_draw_down",
        "by name",
        "charges_money within prepaid_money",
        "1",
        "charges drawn from a prepayment in their order",
        "definitions of this project",
    ),
    Kpi(
        "contract_delivery",
        "by name",
        "delivered_hours",
        "contracted_hours - excluded_hours",
        "delivered / contracted, low and high, and in money",
        "definitions of this project",
    ),
    Kpi(
        "contract_unit_price_money",
        "currency per device-hour",
        "contract_money",
        "contract_hours",
        "what a device-hour of a contract costs",
        "FOCUS specification, Contract Commitment",
    ),
)
