"""What idle capacity cost in a window, whole and avoidable, and pools with what spare ones cost.

Pure. Avoidable is its energy, and the rent that could be cancelled; the rest is sunk.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from math import fsum
from typing import Final

from msgspec import Struct

from meterhouse_collector.money.cost import idle_cost
from meterhouse_collector.money.decimals import CONTEXT, ZERO, add, exact, multiply
from meterhouse_collector.money.kinds import KINDS
from meterhouse_collector.money.matrix import loaded_cost
from meterhouse_collector.money.rounding import largest_remainder, round_total
from meterhouse_collector.settlement.accrual import accruals
from meterhouse_collector.settlement.allocation import days
from meterhouse_collector.site.index import GroupKey, SiteIndex

STATES: Final = ("held_idle", "free")
Sums = Mapping[GroupKey, Mapping[str, float]]


class IdleTotal(Struct, frozen=True, kw_only=True):
    """What ``held_idle`` and ``free`` devices cost, and the part that need not have been paid."""

    whole_money: Decimal
    avoidable_money: Decimal
    sunk_money: Decimal


class LoadedPool(Struct, frozen=True, kw_only=True):
    """A pool by itself, and with its part of what spare and shared pools cost."""

    pool: str
    own_money: Decimal
    loaded_money: Decimal


def idle_total(
    index: SiteIndex,
    window: tuple[int, int],
    money: Iterable[tuple[str, str, Decimal]],
    sums: Sums,
) -> IdleTotal:
    """Return what idle capacity cost, from lines of kind, state and money."""
    kinds = dict.fromkeys(KINDS, ZERO)
    for kind, state, amount in money:
        if state in STATES:
            kinds[kind] = CONTEXT.add(kinds[kind], amount)
    currency = index.model.currency
    cancellable = round_total(_cancellable(index, window, sums), currency)
    found = idle_cost(
        kind_money=kinds, cancellable_rent_money=max(ZERO, min(cancellable, kinds["rent"]))
    )
    return IdleTotal(
        whole_money=found.whole_money,
        avoidable_money=found.avoidable_money,
        sunk_money=found.sunk_money,
    )


def _cancellable(index: SiteIndex, window: tuple[int, int], sums: Sums) -> Decimal:
    """Return the idle part of rent that has a notice, by the device-seconds of its pools."""
    parts = []
    for day in days(index, *window):
        for entry in accruals(index, *day):
            if entry.kind != "rent" or not entry.avoidable or entry.amount is None:
                continue
            mine = [s for group, s in sums.items() if not entry.pools or group.pool in entry.pools]
            installed = fsum(each.get("installed_seconds", 0.0) for each in mine)
            idle = fsum(each.get(f"{state}_seconds", 0.0) for each in mine for state in STATES)
            if installed > 0:
                ratio = CONTEXT.divide(exact(idle), exact(installed))
                parts.append(multiply(entry.amount, min(Decimal(1), ratio)))
    return add(parts)


def loaded_pools(
    pool_money: Mapping[str, Decimal],
    pool_seconds: Mapping[str, float],
    spread: frozenset[str],
    currency: str,
) -> tuple[LoadedPool, ...]:
    """Return the pools that are nobody's spare, by themselves and loaded; none where none is.

    What ``spread`` pools cost goes to the others by installed device-seconds, to the cent.
    """
    seconds = {pool: pool_seconds.get(pool, 0.0) for pool in pool_money}
    serving = [pool for pool in pool_money if pool not in spread and seconds[pool] > 0]
    taken = {pool: pool_money[pool] for pool in (*serving, *sorted(spread & pool_money.keys()))}
    if not serving or len(taken) == len(serving):
        return ()
    found = loaded_cost(pool_money=taken, pool_seconds=seconds, serving=serving).pools
    loaded = largest_remainder([found[pool].loaded_money for pool in serving], currency)
    return tuple(
        LoadedPool(pool=pool, own_money=pool_money[pool], loaded_money=money)
        for pool, money in zip(serving, loaded, strict=True)
    )
