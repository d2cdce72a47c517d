"""What every group owes for every kind and state: exact totals, split by what was measured.

The totals come from the site model and the bill alone, in decimals; the rollups only say how they
are split. So a statement adds up to what is paid, whatever the floats of the rollups lost.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from math import fsum
from typing import Final, NamedTuple

from meterhouse_agent import wire
from meterhouse_collector.money.billing_month import QUARTER_SECONDS
from meterhouse_collector.money.decimals import CONTEXT, ZERO, add, even_share, exact
from meterhouse_collector.money.kinds import JOULES_KINDS, SECONDS_KINDS
from meterhouse_collector.money.matrix import allocate
from meterhouse_collector.rollup.pricing import DRAWN
from meterhouse_collector.settlement.accrual import accruals
from meterhouse_collector.settlement.dues import Due
from meterhouse_collector.site.index import GroupKey, SiteIndex

Key = tuple[GroupKey, str, str]
Groups = Mapping[GroupKey, Mapping[str, float]]
Rows = Mapping[int, Groups]
# Floats of many quarter hours lose digits; a price that was changed is further off than this.
_SAME_RATIO: Final = 1e-6


class Settled(NamedTuple):
    """Money by group, kind and state, unrounded, and why some of it is not known or not placed."""

    money: dict[Key, Decimal]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    missing_quarters: int


def settled(index: SiteIndex, window: tuple[int, int], rows: Rows, dues: Sequence[Due]) -> Settled:
    """Split what a window of whole quarter hours costs over its rollups.

    The time of quarter hours that have none is nobody's: it stands under the site, ``unknown``.
    """
    money: dict[Key, list[Decimal]] = defaultdict(list)
    reasons: dict[str, None] = {}
    notes: dict[str, None] = {}
    for day in days(index, *window):
        for kind, key, amount in _accrued(index, day, rows, reasons, notes):
            money[key[0], kind, key[1]].append(amount)
    for due in dues:
        for kind, key, amount in _joules(index, due, rows.get(due.start_seconds, {}), reasons):
            money[key[0], kind, key[1]].append(amount)
    missing = sum(start not in rows for start in range(*window, QUARTER_SECONDS))
    return Settled(_known(money), tuple(reasons), tuple(notes), missing)


def joined(parts: Sequence[Settled]) -> Settled:
    """Return what windows that follow each other cost together."""
    money: dict[Key, list[Decimal]] = defaultdict(list)
    for part in parts:
        for key, amount in part.money.items():
            money[key].append(amount)
    return Settled(
        _known(money),
        tuple(dict.fromkeys(reason for part in parts for reason in part.reasons)),
        tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        sum(part.missing_quarters for part in parts),
    )


def _known(money: Mapping[Key, Sequence[Decimal]]) -> dict[Key, Decimal]:
    sums = {key: add(amounts) for key, amounts in money.items()}
    return {key: amount for key, amount in sums.items() if amount != 0}


def days(index: SiteIndex, begins: int, ends: int) -> Iterator[tuple[int, int]]:
    """Cut a window at the midnights of the site, where what it costs may change."""
    while begins < ends:
        midnight = int(index.model.instant(index.model.day(begins) + timedelta(days=1)))
        yield begins, min(ends, midnight)
        begins = midnight


def _accrued(
    index: SiteIndex,
    day: tuple[int, int],
    rows: Rows,
    reasons: dict[str, None],
    notes: dict[str, None],
) -> Iterator[tuple[str, tuple[GroupKey, str], Decimal]]:
    quarters = range(*day, QUARTER_SECONDS)
    present = [rows[start] for start in quarters if start in rows]
    totals = dict.fromkeys(SECONDS_KINDS, ZERO)
    for entry in accruals(index, *day):
        if entry.amount is None:
            reasons[entry.reason or f"{entry.name}: no price"] = None
        else:
            totals[entry.kind] = CONTEXT.add(totals[entry.kind], entry.amount)
    for kind, whole in totals.items():
        # Within a day all quarter hours cost the same.
        due = add(even_share(whole, part, len(quarters)) for part in range(len(present)))
        weights = _weights(present, f"_{kind}_money")
        stored = fsum(weights.values())
        if abs(stored - float(due)) > _SAME_RATIO * max(stored, float(due)):
            notes["rollups were priced by another site model than today's: run rerate"] = None
        yield from _split(index, kind, due, weights)
        yield kind, (index.site_group, "unknown"), CONTEXT.subtract(whole, due)


def _weights(present: Sequence[Groups], ending: str) -> dict[tuple[GroupKey, str], float]:
    terms: dict[tuple[GroupKey, str], list[float]] = defaultdict(list)
    for groups in present:
        for group, sums in groups.items():
            for state in wire.STATES:
                if sums[state + ending] > 0:
                    terms[group, state].append(sums[state + ending])
    return {key: fsum(values) for key, values in terms.items()}


def _joules(
    index: SiteIndex, due: Due, groups: Groups, reasons: dict[str, None]
) -> Iterator[tuple[str, tuple[GroupKey, str], Decimal]]:
    if due.energy is None:
        reasons[due.reason or "no price of energy"] = None
    reasons.update(dict.fromkeys(due.missing))
    weights: dict[tuple[GroupKey, str], float] = {
        (group, state): sums[name]
        for group, sums in groups.items()
        for state, name in zip(wire.STATES, DRAWN, strict=True)
        if sums[name] > 0
    }
    for kind in JOULES_KINDS:
        amount = getattr(due, kind)
        if amount is not None and amount != 0:
            yield from _split(index, kind, amount, weights)


def _split(
    index: SiteIndex, kind: str, amount: Decimal, weights: Mapping[tuple[GroupKey, str], float]
) -> Iterator[tuple[str, tuple[GroupKey, str], Decimal]]:
    if not weights:
        yield kind, (index.site_group, "unknown"), amount
        return
    shares = {key: exact(weight) for key, weight in weights.items()}
    for key, part in allocate(amount, shares).items():
        yield kind, key, part
