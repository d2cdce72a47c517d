"""Contracts for capacity, bought or sold: the same formulas, and who pays whom differs.

A fulfilment interval is what a contract settles by. In a continuous one what is not used is lost
hour by hour; a discontinuous one is trued up at the end of its interval (FOCUS, Contract
Commitment: Model).
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, Literal, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.value import Reasoned
from meterhouse_collector.money.exact import Number, amount, precise, share, signed, total

Model = Literal["continuous", "discontinuous"]


class CommitmentUse(NamedTuple):
    """A commitment over hours; used and unused money sum to what is paid."""

    used_money: Decimal
    unused_money: Decimal
    total_money: Decimal
    list_value_money: Decimal
    net_saving_money: Decimal
    utilization_ratio: Decimal | None
    reason: str | None


class TakeOrPay(NamedTuple):
    """What is billed; ``shortfall_money`` is the part of it that nothing was taken for."""

    consumed_money: Decimal
    billed_money: Decimal
    shortfall_money: Decimal


class RampStep(NamedTuple):
    """The capacity committed from an instant until the next step."""

    from_seconds: Number
    committed_devices: Number


@precise
def commitment_use(
    *,
    committed_hours: Number,
    used_hours: Number,
    committed_money_per_hours: Number,
    list_money_per_hours: Number,
) -> CommitmentUse:
    """Return what of a commitment was used, what not, and what it saved against the list.

    Utilization = used / committed. Source: FOCUS specification, flexible spend plan example.
    Raise ``ValueError`` where more is used than committed: the rest is not under the commitment.
    Vector FOCUS-75.
    """
    committed = amount("committed_hours", committed_hours)
    used = amount("used_hours", used_hours)
    if used > committed:
        raise ValueError(f"found used_hours {used}, allowed: at most {committed}, the commitment")
    rate = amount("committed_money_per_hours", committed_money_per_hours)
    listed = used * amount("list_money_per_hours", list_money_per_hours)
    return CommitmentUse(
        used_money=used * rate,
        unused_money=(committed - used) * rate,
        total_money=committed * rate,
        list_value_money=listed,
        net_saving_money=listed - committed * rate,
        utilization_ratio=used / committed if committed else None,
        reason=None if committed else "nothing is committed",
    )


@precise
def commitment_coverage_ratio(*, committed_used_hours: Number, all_used_hours: Number) -> Reasoned:
    """Return committed usage / all usage: not utilization, which is used / committed.

    Raise ``ValueError`` where more was used under the commitment than in all.
    """
    part = amount("committed_used_hours", committed_used_hours)
    whole = amount("all_used_hours", all_used_hours)
    if part > whole:
        raise ValueError(f"found committed_used_hours {part}, allowed: at most {whole}, all usage")
    return Reasoned(part / whole) if whole else Reasoned(None, "nothing was used")


@precise
def take_or_pay(
    *,
    delivered_hours: Sequence[Number],
    committed_hours: Sequence[Number],
    floor_ratio: Number,
    price_money_per_hours: Number,
    model: Model,
) -> TakeOrPay:
    """Return max(delivered, floor * committed) * price, by the contract's own intervals.

    Both sequences hold one amount of device-hours for each hour of one fulfilment interval.
    Continuous settles each hour, so a shortfall cannot be netted by the next; discontinuous only
    their sums. Source: FOCUS, Contract Commitment. Raise ``ValueError`` for sequences of different
    lengths, and without an hour.
    """
    if not committed_hours:
        raise ValueError("committed_hours: at least one hour is needed")
    if len(delivered_hours) != len(committed_hours):
        raise ValueError(
            f"found {len(delivered_hours)} delivered_hours, "
            f"allowed: {len(committed_hours)}, as committed_hours"
        )
    floor = share("floor_ratio", floor_ratio)
    price = amount("price_money_per_hours", price_money_per_hours)
    delivered = [amount("delivered_hours", hours) for hours in delivered_hours]
    floors = [floor * amount("committed_hours", hours) for hours in committed_hours]
    taken = total(delivered)
    if model == "continuous":
        billed = total(max(pair) for pair in zip(delivered, floors, strict=True))
    else:
        billed = max(taken, total(floors))
    return TakeOrPay(taken * price, billed * price, (billed - taken) * price)


@precise
def committed_device_seconds(
    *, steps: Sequence[RampStep], begins_seconds: Number, ends_seconds: Number
) -> Decimal:
    """Return the device-seconds that a ramp commits in a window; nothing before its first step.

    Raise ``ValueError`` where a window ends before it begins, and for two steps at one instant.
    """
    begins, ends = signed("begins_seconds", begins_seconds), signed("ends_seconds", ends_seconds)
    if ends < begins:
        raise ValueError(f"found ends_seconds {ends}, allowed: from {begins}, where it begins")
    ramp = sorted(
        (signed("from_seconds", s.from_seconds), amount("committed_devices", s.committed_devices))
        for s in steps
    )
    starts = [start for start, _ in ramp]
    if len(set(starts)) < len(starts):
        raise ValueError("found two steps from one instant, allowed: one")
    # The last step lasts; without any step there is nothing that could.
    until = [*starts[1:], ends][: len(ramp)]
    return total(
        devices * max(Decimal(0), min(end, ends) - max(start, begins))
        for (start, devices), end in zip(ramp, until, strict=True)
    )


KPIS: Final = (
    Kpi(
        "commitment_use",
        "by name",
        "used_hours",
        "committed_hours",
        "used, unused, utilization and saving of a commitment",
        "FOCUS specification, flexible spend plan example",
    ),
    Kpi(
        "commitment_coverage_ratio",
        "ratio of all usage",
        "committed_used_hours",
        "all_used_hours",
        "committed usage / all usage",
        "FOCUS specification; reference 4.15",
    ),
    Kpi(
        "take_or_pay",
        "by name",
        "max(delivered, floor * committed) * price",
        "1",
        "what is billed by interval of fulfilment, with its shortfall",
        "FOCUS specification, Contract Commitment",
    ),
    Kpi(
        "committed_device_seconds",
        "device-seconds",
        "sum of committed_devices * seconds of each step",
        "1",
        "what a ramp commits in a window",
        "definitions of this project",
    ),
)
