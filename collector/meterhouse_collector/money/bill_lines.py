"""What a bill is made of: the energy of quarter hours in, lines with an amount for each out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

from meterhouse_collector.money.billing_month import QUARTER_SECONDS
from meterhouse_collector.money.decimals import ZERO, add


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarterEnergy:
    """What crossed the boundary in a UTC quarter hour; None is not measured, and never zero.

    ``import_kwh`` is what the grid tariff bills, without what a PPA delivers over the same meter.
    ``supplied`` holds kWh by source for PPA and on-site, and litres by generator for fuel. Raise
    ``ValueError`` for an amount that is not finite or below zero, or another start.
    """

    start_seconds: int
    import_kwh: Decimal | None
    export_kwh: Decimal | None = None
    supplied: Mapping[str, Decimal | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.start_seconds % QUARTER_SECONDS:
            raise ValueError(f"found start {self.start_seconds}, allowed: a UTC quarter hour")
        for amount in (self.import_kwh, self.export_kwh, *self.supplied.values()):
            if amount is not None and (not amount.is_finite() or amount < 0):
                raise ValueError(f"found {amount}, allowed: a finite amount from 0")


class NoAmount(NamedTuple):
    """Why a quarter hour has no amount on a line."""

    reason: str


Amount = Decimal | NoAmount


class PeakInterval(NamedTuple):
    """The interval whose mean power a charge goes by: which charge, from when, how long, kW."""

    charge: str
    begins_seconds: int
    length_seconds: int
    kw: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class BillLine:
    """One line of a bill, with its amount in each quarter hour; credits are below zero.

    ``kind`` is that of the component or source. Where ``amounts`` has None, ``reasons`` says why,
    by position. A ``provisional`` line changes while its month is open; ``notes`` qualify it.
    """

    name: str
    kind: str
    currency: str
    amounts: tuple[Decimal | None, ...]
    reasons: Mapping[int, str] = field(default_factory=dict)
    provisional: bool = False
    notes: tuple[str, ...] = ()
    peaks: tuple[PeakInterval, ...] = ()

    @property
    def known(self) -> Decimal:
        """The sum of the amounts that are known."""
        return add(amount for amount in self.amounts if amount is not None)

    @property
    def total(self) -> Decimal | None:
        """The sum over all quarter hours, or None where one of them has no amount."""
        return None if self.reasons else self.known


@dataclass(frozen=True, slots=True)
class Draft:
    """A line in the making: an amount, or the reason why there is none, for each quarter hour."""

    name: str
    kind: str
    amounts: Sequence[Amount]
    provisional: bool = False
    notes: tuple[str, ...] = ()
    peaks: tuple[PeakInterval, ...] = ()

    def line(self, currency: str) -> BillLine:
        """Return the line."""
        return BillLine(
            name=self.name,
            kind=self.kind,
            currency=currency,
            amounts=tuple(None if isinstance(a, NoAmount) else a for a in self.amounts),
            reasons={i: a.reason for i, a in enumerate(self.amounts) if isinstance(a, NoAmount)},
            provisional=self.provisional,
            notes=self.notes,
            peaks=self.peaks,
        )


def total_of(amounts: Sequence[Amount]) -> Amount:
    """Return the sum, or the first reason why there is none."""
    missing = next((amount for amount in amounts if isinstance(amount, NoAmount)), None)
    return missing or add(amount for amount in amounts if isinstance(amount, Decimal))


def joined(drafts: Sequence[Draft]) -> Draft:
    """Return one line from those of tariffs that follow each other: their sum."""
    first = drafts[0]
    if len(drafts) == 1:
        return first
    return Draft(
        first.name,
        first.kind,
        [total_of(amounts) for amounts in zip(*(d.amounts for d in drafts), strict=True)],
        provisional=any(draft.provisional for draft in drafts),
        notes=tuple(dict.fromkeys(note for draft in drafts for note in draft.notes)),
        peaks=tuple(dict.fromkeys(peak for draft in drafts for peak in draft.peaks)),
    )


def masked(draft: Draft, in_force: Sequence[bool]) -> Draft:
    """Return the line with nothing due where its contract is not in force."""
    amounts = [a if on else ZERO for a, on in zip(draft.amounts, in_force, strict=True)]
    return replace(draft, amounts=amounts)


def check_consecutive(starts: Sequence[int]) -> None:
    """Raise ``ValueError`` unless each quarter hour follows the one before it.

    One that is not in the list would cost nothing; one that is not measured has an entry and None.
    """
    for before, after in pairwise(starts):
        if after != before + QUARTER_SECONDS:
            raise ValueError(f"found {after} after {before}, allowed: {before + QUARTER_SECONDS}")
