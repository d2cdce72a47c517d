"""All there is to know of a window of quarter hours: what it cost and what was measured in it.

By the finest groups, and rounded once: statements are views of it, so they agree to the cent.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct

from meterhouse_agent import wire
from meterhouse_collector.kpi.pue import EnergyBasis, energy_basis
from meterhouse_collector.money.billing_month import QUARTER_SECONDS
from meterhouse_collector.money.decimals import ZERO, add
from meterhouse_collector.money.kinds import KINDS
from meterhouse_collector.money.rounding import largest_remainder, round_total
from meterhouse_collector.settlement.allocation import Key, Settled
from meterhouse_collector.settlement.capacity import ContractTotal, contract_totals
from meterhouse_collector.settlement.dues import Bill, DueLine
from meterhouse_collector.settlement.exchange import Original, RateUsed, originals, rates_used
from meterhouse_collector.settlement.figures import declared_models
from meterhouse_collector.settlement.idleness import IdleTotal, idle_total
from meterhouse_collector.settlement.outages import downtime_notes
from meterhouse_collector.settlement.peaks import DemandPeak
from meterhouse_collector.settlement.registers import MeterRegister
from meterhouse_collector.settlement.sales import Sale, sales, token_originals
from meterhouse_collector.settlement.traded import NOTHING_TRADED, Traded
from meterhouse_collector.site.index import GroupKey, SiteIndex


class Line(NamedTuple):
    """The money of one kind and state of one of the finest groups, in whole minor units."""

    group: GroupKey
    kind: str
    state: str
    money: Decimal


class Adjustment(NamedTuple):
    """What a line of a closed period differs by, since statement ``number`` froze it."""

    period: str
    number: int
    begins_seconds: int
    ends_seconds: int
    line: Line


class GroupSums(NamedTuple):
    """The sums of one of the finest groups over the window; what is zero is left out."""

    group: GroupKey
    sums: dict[str, float]


class BillTotal(Struct, frozen=True, kw_only=True):
    """One line of the bill over the window; without an amount there is a reason."""

    name: str
    kind: str
    component: str
    money: Decimal | None
    provisional: bool
    reason: str | None
    notes: tuple[str, ...]


class Closing(Struct, frozen=True, kw_only=True):
    """What a closed period was frozen with; the hash is of the quarter rows."""

    number: int
    period: str
    closed_at_seconds: int
    ledger_hash: str


class Account(Struct, frozen=True, kw_only=True):
    """What a window cost and what was measured in it, by the finest groups.

    With ``reasons`` the money is not all there is. ``revision`` is the highest of the rollups,
    ``model_revision`` the fingerprint of the site model. What ``declared_models`` cost is split by
    declared weights.
    """

    site: str
    begins_seconds: int
    ends_seconds: int
    time_zone: str
    currency: str
    basis: EnergyBasis
    lines: tuple[Line, ...]
    adjustments: tuple[Adjustment, ...] = ()
    sums: tuple[GroupSums, ...]
    bill: tuple[BillTotal, ...]
    registers: tuple[MeterRegister, ...]
    missing_quarters: int
    revision: int
    model_revision: str
    provisional: bool
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    contracts: tuple[ContractTotal, ...] = ()
    sales: tuple[Sale, ...] = ()
    idle: IdleTotal | None = None
    spread_pools: tuple[str, ...] = ()
    peaks: tuple[DemandPeak, ...] = ()
    rates: tuple[RateUsed, ...] = ()
    originals: tuple[Original, ...] = ()
    declared_models: tuple[str, ...] = ()
    closing: Closing | None = None

    @property
    def window(self) -> tuple[int, int]:
        """Its beginning and end, in Unix seconds."""
        return self.begins_seconds, self.ends_seconds

    @property
    def known(self) -> Decimal:
        """The money of the window that is known, without adjustments."""
        return add(line.money for line in self.lines)

    @property
    def adjusted(self) -> Decimal:
        """The money of the adjustments."""
        return add(adjustment.line.money for adjustment in self.adjustments)


class Sources(NamedTuple):
    """What an account is made of: sums by group, money, the bill, and the registers of meters."""

    sums: Mapping[GroupKey, Mapping[str, float]]
    money: Settled
    bill: Bill
    registers: Sequence[MeterRegister]
    revision: int
    model_revision: str
    traded: Traded = NOTHING_TRADED
    peaks: Sequence[DemandPeak] = ()


def account(index: SiteIndex, window: tuple[int, int], sources: Sources) -> Account:
    """Return the account of a window of whole quarter hours."""
    model, money = index.model, sources.money
    totals = _kind_totals(money.money, model.currency)
    contracts = contract_totals(index, window, sources.traded)
    lines = _lines(money.money, totals, model.currency)
    return Account(
        site=index.site,
        begins_seconds=window[0],
        ends_seconds=window[1],
        time_zone=model.time_zone,
        currency=model.currency,
        basis=energy_basis(index, window),
        lines=lines,
        sums=_sums(sources.sums),
        bill=_bill(sources.bill, totals, model.currency),
        registers=tuple(sources.registers),
        missing_quarters=money.missing_quarters,
        revision=sources.revision,
        model_revision=sources.model_revision,
        provisional=any(line.provisional for line in sources.bill.lines),
        reasons=money.reasons,
        notes=(
            *money.notes,
            *_missing(money.missing_quarters),
            *downtime_notes(model, window),
            *(note for contract in contracts for note in contract.notes),
        ),
        contracts=contracts,
        sales=sales(index, sources.traded, contracts),
        idle=idle_total(index, window, (line[1:] for line in lines), sources.sums),
        spread_pools=tuple(sorted({pool.name for pool in model.pool if pool.kind != "own"})),
        peaks=tuple(sources.peaks),
        rates=rates_used(index, window),
        originals=(
            *originals(index, window, sources.bill.lines),
            *token_originals(index, sources.traded),
        ),
        declared_models=declared_models(index, window),
    )


def _kind_totals(money: Mapping[Key, Decimal], currency: str) -> dict[str, Decimal]:
    """Round what each kind costs, such that the kinds sum to the rounded total."""
    kinds = [kind for kind in KINDS if any(key[1] == kind for key in money)]
    exact = [add(m for key, m in money.items() if key[1] == kind) for kind in kinds]
    return dict(zip(kinds, largest_remainder(exact, currency), strict=True))


def _lines(
    money: Mapping[Key, Decimal], totals: Mapping[str, Decimal], currency: str
) -> tuple[Line, ...]:
    lines: list[Line] = []
    for kind, total in totals.items():
        keys = [key for key in money if key[1] == kind]
        keys.sort(key=lambda key: (key[0], wire.STATES.index(key[2])))
        rounded = largest_remainder([money[key] for key in keys], currency, total)
        lines += [Line(*key, amount) for key, amount in zip(keys, rounded, strict=True)]
    return tuple(line for line in lines if line.money != 0)


def _sums(sums: Mapping[GroupKey, Mapping[str, float]]) -> tuple[GroupSums, ...]:
    return tuple(
        GroupSums(group, {name: value for name, value in sums[group].items() if value != 0})
        for group in sorted(sums)
    )


def _missing(quarters: int) -> Iterable[str]:
    if quarters:
        yield f"{quarters} quarter hours have no rollup: what they cost is under unknown"


def _bill(bill: Bill, totals: Mapping[str, Decimal], currency: str) -> tuple[BillTotal, ...]:
    """Round the lines of a bill, such that those of a kind sum to it where all are known."""
    found: list[BillTotal] = []
    for kind in dict.fromkeys(line.kind for line in bill.lines):
        lines = [line for line in bill.lines if line.kind == kind]
        exact = [add(a for a in line.amounts if a is not None) for line in lines]
        if any(line.reasons for line in bill.lines):
            rounded = tuple(round_total(amount, currency) for amount in exact)
        else:
            rounded = largest_remainder(exact, currency, totals.get(kind, ZERO))
        found += map(_bill_total, lines, rounded)
    return tuple(found)


def _bill_total(line: DueLine, money: Decimal) -> BillTotal:
    reason = next(iter(line.reasons.values()), None)
    return BillTotal(
        name=line.name,
        kind=line.kind,
        component=line.component,
        money=money if reason is None else None,
        provisional=line.provisional,
        reason=reason,
        notes=line.notes,
    )


def whole_quarters(begins: int, ends: int) -> tuple[int, int]:
    """Return a window of whole quarter hours; raise ``ValueError`` where it is none."""
    if begins % QUARTER_SECONDS or ends % QUARTER_SECONDS or begins >= ends:
        raise ValueError("allowed: a window that ends after it begins, at full quarter hours")
    return begins, ends
