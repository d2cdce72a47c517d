"""Lines of a statement as rows of FOCUS 1.2, the FinOps Open Cost and Usage Specification.

1.2 is pinned: of later versions, 1.3 renames the provider columns. Columns of our own begin with
``x_``, as the specification asks, and stand last.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal, NamedTuple

from meterhouse_collector.money.decimals import CONTEXT
from meterhouse_collector.money.exact import signed
from meterhouse_collector.money.kinds import KINDS

VERSION: Final = "1.2"
Value = str | Decimal | None
CommitmentStatus = Literal["purchase", "used", "unused"]

COLUMNS: Final = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountCategory",
    "CommitmentDiscountId",
    "CommitmentDiscountQuantity",
    "CommitmentDiscountStatus",
    "CommitmentDiscountType",
    "CommitmentDiscountUnit",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceId",
    "InvoiceIssuerName",
    "ListCost",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "SkuMeter",
    "SubAccountId",
    "SubAccountName",
    "x_AcceleratorModel",
    "x_CostKind",
    "x_DeviceState",
    "x_Pool",
    "x_ServedModel",
)


class Unit(NamedTuple):
    """How FOCUS names a unit of ours, what it prices by, and how many of ours that is."""

    consumed: str
    consumed_size: Decimal
    pricing: str
    pricing_size: Decimal


_QUANTITY_STEP: Final = Decimal("1e-9")
UNITS: Final[dict[str, Unit]] = {
    "tokens": Unit("Tokens", Decimal(1), "1000000 Tokens", Decimal(1_000_000)),
    "requests": Unit("Requests", Decimal(1), "Requests", Decimal(1)),
    "device-seconds": Unit("GPU-Hours", Decimal(3600), "GPU-Hours", Decimal(3600)),
    "joules": Unit("kWh", Decimal(3_600_000), "kWh", Decimal(3_600_000)),
    "litres": Unit("m3", Decimal(1000), "m3", Decimal(1000)),
}


class Commitment(NamedTuple):
    """The commitment that a line buys, uses or leaves unused."""

    name: str
    status: CommitmentStatus
    category: Literal["Spend", "Usage"] = "Usage"


class StatementLine(NamedTuple):
    """A line of a statement; ``none`` stands where a part does not apply.

    ``quantity`` is in ``unit``, a key of ``UNITS``; both are None for what has none, like a month
    of rent. An ``adjustment`` differs from what an earlier period was billed.
    """

    begins: datetime
    ends: datetime
    pool: str
    tenant: str
    accelerator_model: str
    served_model: str
    kind: str
    state: str
    amount_money: Decimal
    currency: str
    quantity: Decimal | None = None
    unit: str | None = None
    adjustment: bool = False
    commitment: Commitment | None = None


class Statement(NamedTuple):
    """What all rows of a statement share."""

    number: str
    begins: datetime
    ends: datetime
    account: str
    provider: str


def focus_rows(
    lines: Iterable[StatementLine], statement: Statement
) -> tuple[dict[str, Value], ...]:
    """Return a row with all ``COLUMNS`` for each line; amounts are those of the line, unrounded.

    Billed and effective cost are two series, cash and amortised: their sum would count twice.
    Raise ``ValueError`` for a unit, kind or amount that no row can have.
    """
    return tuple(_row(line, statement) for line in lines)


def _row(line: StatementLine, statement: Statement) -> dict[str, Value]:
    _check(line)
    given = {
        **_shared(statement),
        **_period(line),
        **_costs(line),
        **_charge(line),
        **_quantities(line),
        **_groups(line),
    }
    return {column: given.get(column) for column in COLUMNS}


def _check(line: StatementLine) -> None:
    signed("amount_money", line.amount_money)
    if line.kind not in KINDS:
        raise ValueError(f"found kind {line.kind}, allowed: {', '.join(KINDS)}")
    if (line.quantity is None) != (line.unit is None):
        raise ValueError("found a quantity or a unit alone, allowed: both or neither")
    if line.quantity is not None:
        signed("quantity", line.quantity)
    if line.unit is not None and line.unit not in UNITS:
        raise ValueError(f"found unit {line.unit}, allowed: {', '.join(UNITS)}")
    unused = line.commitment is not None and line.commitment.status == "unused"
    if unused and not line.adjustment and line.amount_money <= 0:
        raise ValueError(f"found amount_money {line.amount_money} unused, allowed: above 0")


def _shared(statement: Statement) -> dict[str, Value]:
    return {
        "BillingAccountId": statement.account,
        "BillingAccountName": statement.account,
        "BillingPeriodStart": _instant(statement.begins),
        "BillingPeriodEnd": _instant(statement.ends),
        "InvoiceId": statement.number,
        "InvoiceIssuerName": statement.provider,
        "ProviderName": statement.provider,
        "PublisherName": statement.provider,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "Accelerator capacity",
    }


def _period(line: StatementLine) -> dict[str, Value]:
    return {
        "BillingCurrency": line.currency,
        "ChargePeriodStart": _instant(line.begins),
        "ChargePeriodEnd": _instant(line.ends),
    }


def _costs(line: StatementLine) -> dict[str, Value]:
    """Return the four costs: a purchase is billed and has no effect, its use the other way."""
    money, status = line.amount_money, _status(line)
    billed = Decimal(0) if status in {"used", "unused"} else money
    effective = Decimal(0) if status == "purchase" else money
    # What is unused has no list price, for nothing was priced.
    priced = Decimal(0) if status == "unused" else money
    return {
        "BilledCost": billed,
        "EffectiveCost": effective,
        "ContractedCost": priced,
        "ListCost": priced,
    }


def _charge(line: StatementLine) -> dict[str, Value]:
    status = _status(line)
    row: dict[str, Value] = {
        "ChargeCategory": "Purchase" if status == "purchase" else "Usage",
        "ChargeClass": "Correction" if line.adjustment else None,
        "ChargeDescription": f"{line.kind} of {line.state} devices in pool {line.pool}",
        "ChargeFrequency": "One-Time" if status == "purchase" else "Usage-Based",
        "PricingCategory": "Committed" if status in {"used", "unused"} else "Standard",
    }
    if line.commitment is not None:
        row["CommitmentDiscountId"] = line.commitment.name
        row["CommitmentDiscountCategory"] = line.commitment.category
        row["CommitmentDiscountType"] = "Capacity contract"
        if status != "purchase":
            row["CommitmentDiscountStatus"] = "Used" if status == "used" else "Unused"
    return row


def _quantities(line: StatementLine) -> dict[str, Value]:
    if line.quantity is None or line.unit is None:
        # A line without a quantity is one of itself: pricing columns may not be empty.
        return {"PricingQuantity": Decimal(1), "PricingUnit": "Units", **_consumed_unit(line)}
    unit = UNITS[line.unit]
    consumed = _shown(CONTEXT.divide(line.quantity, unit.consumed_size))
    row: dict[str, Value] = {
        "PricingQuantity": _shown(CONTEXT.divide(line.quantity, unit.pricing_size)),
        "PricingUnit": unit.pricing,
        "SkuMeter": unit.consumed,
    }
    if line.commitment is not None:
        row["CommitmentDiscountQuantity"] = consumed
        row["CommitmentDiscountUnit"] = unit.consumed
    if _status(line) not in {"purchase", "unused"}:
        row["ConsumedQuantity"] = consumed
        row["ConsumedUnit"] = unit.consumed
    return row


def _shown(quantity: Decimal) -> Decimal:
    """Return a quantity to a billionth of its unit, which no meter resolves."""
    rounded = quantity.quantize(_QUANTITY_STEP, context=CONTEXT)
    return quantity if rounded == quantity else rounded


def _consumed_unit(line: StatementLine) -> dict[str, Value]:
    if _status(line) in {"purchase", "unused"}:
        return {}
    return {"ConsumedQuantity": Decimal(1), "ConsumedUnit": "Units"}


def _groups(line: StatementLine) -> Mapping[str, Value]:
    return {
        "ResourceId": line.pool,
        "ResourceType": "Pool",
        "SubAccountId": line.tenant,
        "SubAccountName": line.tenant,
        "x_AcceleratorModel": line.accelerator_model,
        "x_CostKind": line.kind,
        "x_DeviceState": line.state,
        "x_Pool": line.pool,
        "x_ServedModel": line.served_model,
    }


def _status(line: StatementLine) -> CommitmentStatus | None:
    return None if line.commitment is None else line.commitment.status


def _instant(at: datetime) -> str:
    """Return an instant as FOCUS writes it; raise ``ValueError`` for one that is not in UTC."""
    offset = at.utcoffset()
    if offset is None or offset.total_seconds() != 0:
        raise ValueError(f"found {at}, allowed: an instant in UTC")
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
