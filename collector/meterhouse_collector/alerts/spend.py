"""What budgets and commitments ask of the sums: spend and use so far, rates, and windows. Pure."""

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from math import fsum
from typing import Final, NamedTuple

from meterhouse_agent import wire
from meterhouse_collector.alerts.amounts import QUARTER, Amounts, Found, KeptAmounts, Place, Wanted
from meterhouse_collector.alerts.conditions.budget import Spend, Window
from meterhouse_collector.alerts.known import Use, is_whole, scope_sums, within
from meterhouse_collector.kpi.value import COVERAGE_FLOOR, below_floor
from meterhouse_collector.money.bill_lines import NoAmount
from meterhouse_collector.money.burn import SpendSample
from meterhouse_collector.money.currency import convert_currency
from meterhouse_collector.money.decimals import CONTEXT, exact
from meterhouse_collector.money.kinds import KINDS
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.settlement.cash import cash_beyond_accrual
from meterhouse_collector.site.contracts import CapacityContract, Commitment
from meterhouse_collector.site.index import GroupKey, SiteIndex
from meterhouse_collector.site.most import most_burn
from meterhouse_collector.site.targets import Budget, Scope

_HOUR: Final = 3600
_DAY: Final = 86_400
_SAMPLED_SECONDS: Final = 3 * _DAY
# Quarters are summed some minutes after their end; without them for so long nothing is recent.
BEHIND_SECONDS: Final = 3600
_MONEY: Final = tuple(f"{state}_{kind}_money" for state in wire.STATES for kind in KINDS)
_NOTHING: Final = "no quarter is summed yet"


class LiveWindow(NamedTuple):
    """The sums of the last live window, for what is shorter than a quarter."""

    seconds: float
    groups: Mapping[GroupKey, Sums]


def recent_seconds(model_budgets: tuple[Budget, ...]) -> float:
    """Return for how long quarters are needed one by one: the longest window of a burn."""
    longest = max((burn.long for b in model_budgets for burn in b.burn), default=0.0)
    return max(longest, float(_SAMPLED_SECONDS))


def period(day: date, length: str) -> tuple[date, date]:
    """Return the first day of the period that a day is in, and of the next."""
    if length == "year":
        return date(day.year, 1, 1), date(day.year + 1, 1, 1)
    first = day.month if length == "month" else (day.month - 1) // 3 * 3 + 1
    last = first + (0 if length == "month" else 2)
    after = date(day.year, last, 28) + timedelta(days=4)
    return date(day.year, first, 1), after.replace(day=1)


def spend_begins(index: SiteIndex, budget: Budget, now_seconds: float) -> float:
    """Return from when on the spend of a budget's running period counts."""
    begins, _ = period(index.model.day(now_seconds), budget.period)
    return index.model.instant(max(begins, budget.valid_from))


def spend_of(
    index: SiteIndex, budget: Budget, kept: KeptAmounts, live: LiveWindow, now_seconds: float
) -> Spend:
    """Return what is known of a budget's money."""
    model = index.model
    first, after = period(model.day(now_seconds), budget.period)
    begins, ends = spend_begins(index, budget, now_seconds), kept.newest_end()
    spend = Spend(
        begins_seconds=model.instant(first),
        ends_seconds=model.instant(after),
        until_seconds=begins if ends is None else float(ends),
        spent=None,
        reason=_NOTHING,
        samples=(),
        committed_per_hour=None,
        windows={},
        most_ratio=most_burn(index, budget),
    )
    if ends is None or ends <= begins:
        return spend
    wanted = in_scope(budget.scope)
    found = kept.found(wanted, begins, ends)
    reason = below_floor(found.coverage, COVERAGE_FLOOR)
    spend = spend._replace(
        spent=None if reason is not None else exact(found.amounts.money), reason=reason
    )
    if budget.basis == "cash":
        # What is bought at once has no pace: nothing of it is forecast, and nothing burns.
        return spend if reason is not None else _in_cash(index, budget, begins, spend, found)
    if now_seconds - ends > BEHIND_SECONDS:
        return spend
    return spend._replace(
        samples=_samples(kept, wanted, ends),
        committed_per_hour=_committed(kept, wanted, ends),
        windows={
            seconds: _window(kept, live, budget, seconds, ends)
            for burn in budget.burn
            for seconds in (burn.long, burn.short)
        },
    )


def _in_cash(index: SiteIndex, budget: Budget, begins: float, spend: Spend, found: Found) -> Spend:
    """Return the spend with what was bought in place of what it costs by the day."""
    until, scope = int(spend.until_seconds), budget.scope

    def is_paid_for(name: str) -> bool:
        pool = index.dated.pool.get(name, until)
        return pool is not None and within(
            scope, cluster=pool.cluster, pool=pool.name, tenant=pool.tenant
        )

    paid = cash_beyond_accrual(
        index, int(begins), until, is_paid_for=is_paid_for, whole=is_whole(scope)
    )
    if isinstance(paid, NoAmount):
        return spend._replace(spent=None, reason=paid.reason)
    accrued = exact(found.amounts.money - found.amounts.capital_money)
    return spend._replace(spent=CONTEXT.add(accrued, paid))


def in_scope(scope: Scope) -> Wanted:
    """Return what tells whether a place is in a scope."""

    def wanted(place: Place) -> bool:
        return within(scope, cluster=place.cluster, pool=place.pool, tenant=place.tenant)

    return wanted


def _samples(kept: KeptAmounts, wanted: Wanted, ends: int) -> tuple[SpendSample, ...]:
    """Return what joules have cost hour by hour, added up, as far back as nothing is missing."""
    hours = []
    for number in range(_SAMPLED_SECONDS // _HOUR):
        until = ends - number * _HOUR
        found = kept.found(wanted, until - _HOUR, until)
        if found.coverage < COVERAGE_FLOOR:
            break
        hours.append((until, exact(found.amounts.drawn_money)))
    if not hours:
        return ()
    sum_so_far = Decimal(0)
    samples = [SpendSample(Decimal(hours[-1][0] - _HOUR), sum_so_far, 0)]
    for until, money in reversed(hours):
        sum_so_far = CONTEXT.add(sum_so_far, money)
        samples.append(SpendSample(Decimal(until), sum_so_far, 0))
    return tuple(samples)


def _committed(kept: KeptAmounts, wanted: Wanted, ends: int) -> Decimal | None:
    for seconds in (_DAY, _HOUR):
        found = kept.found(wanted, ends - seconds, ends)
        if found.coverage >= COVERAGE_FLOOR:
            return CONTEXT.divide(exact(found.amounts.accrued_money), Decimal(seconds // _HOUR))
    return None


def _window(
    kept: KeptAmounts, live: LiveWindow, budget: Budget, seconds: float, ends: int
) -> Window:
    if seconds < QUARTER:
        return _live_window(live, budget.scope)
    whole = seconds // QUARTER * QUARTER
    found = kept.found(in_scope(budget.scope), ends - whole, ends)
    known = found.coverage >= COVERAGE_FLOOR
    return Window(whole, exact(found.amounts.money) if known else None)


def _live_window(live: LiveWindow, scope: Scope) -> Window:
    sums = scope_sums(live.groups, scope)
    whole = scope_sums(live.groups, Scope())["interval_seconds"]
    priced = sums["installed_seconds"] - sums["unpriced_seconds"]
    low = sums["installed_seconds"] > 0 and priced < COVERAGE_FLOOR * sums["installed_seconds"]
    if live.seconds <= 0 or whole < COVERAGE_FLOOR * live.seconds or low:
        return Window(live.seconds, None)
    return Window(live.seconds, exact(fsum(sums[name] for name in _MONEY)))


def uses_of(index: SiteIndex, kept: KeptAmounts, now_seconds: float) -> tuple[Use, ...]:
    """Return the use of every commitment in force, so far in its running interval."""
    commitments = index.dated.commitment.at(now_seconds).values()
    return tuple(
        _use(index, commitment, contract, kept, now_seconds)
        for commitment in commitments
        if (contract := index.dated.contract.get(commitment.contract, now_seconds)) is not None
    )


def use_begins(index: SiteIndex, commitment: Commitment, now_seconds: float) -> tuple[float, float]:
    """Return the interval of a commitment that is running."""
    model = index.model
    if commitment.interval == "hour":
        begins = now_seconds // _HOUR * _HOUR
        return begins, begins + _HOUR
    if commitment.interval == "term":
        ends = commitment.valid_to
        begins = model.instant(commitment.valid_from)
        return begins, float("inf") if ends is None else model.instant(ends)
    first, after = period(model.day(now_seconds), commitment.interval)
    return model.instant(max(first, commitment.valid_from)), model.instant(after)


def _use(
    index: SiteIndex,
    commitment: Commitment,
    contract: CapacityContract,
    kept: KeptAmounts,
    now_seconds: float,
) -> Use:
    begins, ends = use_begins(index, commitment, now_seconds)
    newest = kept.newest_end()
    until = begins if newest is None else float(newest)
    use = Use(commitment, None, Decimal(0), None, 0.0, until, ends, _NOTHING)
    if newest is None or newest <= begins:
        return use
    if ends == float("inf"):
        return use._replace(reason="the term has no end: give the commitment a valid_to")

    def wanted(place: Place) -> bool:
        return place.pool in contract.pools

    committed, reason = _committed_amount(index, commitment, now_seconds)
    found = kept.found(wanted, begins, newest)
    recent = kept.found(wanted, newest - _HOUR, newest)
    of_day = kept.found(wanted, newest - _DAY, newest)
    recent, seconds = (of_day, _DAY) if of_day.coverage >= COVERAGE_FLOOR else (recent, _HOUR)
    per_second = None
    if recent.coverage >= COVERAGE_FLOOR and now_seconds - newest <= BEHIND_SECONDS:
        per_second = CONTEXT.divide(_used(commitment, recent.amounts), Decimal(seconds))
    return use._replace(
        committed=committed,
        used=_used(commitment, found.amounts),
        per_second=per_second,
        coverage=found.coverage,
        reason=reason,
    )


def _used(commitment: Commitment, amounts: Amounts) -> Decimal:
    if commitment.category == "spend":
        return exact(amounts.rent_money)
    return CONTEXT.divide(exact(amounts.used_seconds), Decimal(_HOUR))


def _committed_amount(
    index: SiteIndex, commitment: Commitment, now_seconds: float
) -> tuple[Decimal | None, str | None]:
    if commitment.amount is None:
        return commitment.device_hours, None
    currencies = (commitment.currency or index.model.currency, index.model.currency)
    day = index.model.day(now_seconds)
    found = convert_currency(commitment.amount, currencies, day, index.model.exchange_rate)
    return found.amount, found.reason
