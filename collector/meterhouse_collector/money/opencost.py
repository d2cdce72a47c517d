"""Idle cost as OpenCost counts it, to set beside the idle capacity of this project."""

from decimal import Decimal
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.money.exact import Number, amount, precise


class OpencostIdle(NamedTuple):
    """What assets cost beyond workloads, and its share of what is allocated by resource."""

    idle_money: Decimal
    idle_ratio: Decimal | None
    total_money: Decimal
    reason: str | None = None


@precise
def opencost_idle(
    *,
    allocated_money: Number,
    workload_money: Number,
    usage_billed_money: Number = 0,
    overhead_money: Number = 0,
) -> OpencostIdle:
    """Return idle = assets - workloads, its share of cost by allocation, and the total.

    ``allocated_money`` is what assets cost that are paid for by the resource, used or not; what is
    billed by usage is never idle and is in the total only. A workload costs the larger of request
    and use. Source: OpenCost specification. Raise ``ValueError`` for workloads above the assets.
    """
    allocated = amount("allocated_money", allocated_money)
    workload = amount("workload_money", workload_money)
    billed = amount("usage_billed_money", usage_billed_money)
    overhead = amount("overhead_money", overhead_money)
    if workload > allocated:
        raise ValueError(f"found workload_money {workload}, allowed: at most {allocated}")
    idle = allocated - workload
    return OpencostIdle(
        idle_money=idle,
        idle_ratio=idle / allocated if allocated else None,
        total_money=workload + idle + billed + overhead,
        reason=None if allocated else "nothing is allocated",
    )


KPIS: Final = (
    Kpi(
        "opencost_idle",
        "by name",
        "allocated_money - workload_money",
        "allocated_money",
        "asset cost - workload cost; idle cost / cost by allocation",
        "OpenCost specification",
    ),
)
