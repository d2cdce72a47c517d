"""Invoices of suppliers against what accrued: variance, the reason for it, and a true-up. Pure."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from math import fsum
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec import Struct

from meterhouse_collector.money.currency import Conversion, convert_currency
from meterhouse_collector.money.decimals import (
    CONTEXT,
    ZERO,
    add,
    exact,
    kwh_from_joules,
    multiply,
)
from meterhouse_collector.money.rounding import round_total
from meterhouse_collector.rows import PackedRow
from meterhouse_collector.settlement.account import Account
from meterhouse_collector.settlement.invoices import Invoice, Kind
from meterhouse_collector.settlement.periods import Period
from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.store import Store, StoreUnavailableError

Reason = Literal[
    "agrees",
    "currency",
    "not accrued",
    "missing quarters",
    "estimated share",
    "quantity or meter",
    "rate",
    "rate or quantity",
]
_MEASUREMENT: Final = "reconciliation"
_READER: Final = "reconcile"
_LITRES_PER_CUBIC_METRE: Final = Decimal(1000)
_PER_CENT: Final = Decimal(100)


class Reconciliation(Struct, frozen=True, kw_only=True):
    """Invoices of one kind and period against what accrued, in the reporting currency.

    ``variance`` is invoiced less accrued, and what a true-up adds; None where an amount has no
    exchange rate. ``variance_ratio`` is None where nothing accrued. ``invoices`` names them, each
    of another currency with its original amount.
    """

    period: str
    begins_seconds: int
    kind: Kind
    currency: str
    invoices: tuple[str, ...]
    invoiced: Decimal | None
    accrued: Decimal
    variance: Decimal | None
    variance_ratio: Decimal | None
    reason: Reason
    detail: str

    @property
    def per_cent(self) -> str:
        """The variance in per cent of what accrued, or that there is none."""
        if self.variance_ratio is None:
            return "-"
        return f"{multiply(self.variance_ratio, _PER_CENT):+.2f} %"

    @property
    def true_up(self) -> str:
        """The line that makes the books agree with the invoices."""
        if self.variance is None:
            return "none: no value"
        if self.variance == 0:
            return "none"
        return f"{self.kind} of {self.period}: {self.variance:+,} {self.currency}"

    @property
    def note(self) -> str:
        """What a statement says of it."""
        if self.invoiced is None or self.variance is None:
            return f"{self.kind} of {self.period} is invoiced, with no value: {self.detail}"
        return (
            f"{self.kind} of {self.period}: invoiced {self.invoiced:,}, accrued {self.accrued:,},"
            f" variance {self.variance:+,} ({self.per_cent}): {self.reason}"
        )


class _Finding(NamedTuple):
    reason: Reason
    detail: str


def reconcile(
    model: SiteModel, invoices: Iterable[Invoice], account: Account, period: Period
) -> list[Reconciliation]:
    """Set invoices of one period against its account, kind by kind."""
    kinds: dict[Kind, list[Invoice]] = {}
    for invoice in invoices:
        kinds.setdefault(invoice.kind, []).append(invoice)
    return [_of_kind(model, kind, found, account, period) for kind, found in kinds.items()]


def _of_kind(
    model: SiteModel, kind: Kind, invoices: Sequence[Invoice], account: Account, period: Period
) -> Reconciliation:
    # At the rate of the period's last day: an invoice is for what was used by then.
    day = model.day(period.ends - 1)
    amounts = [
        convert_currency(
            i.amount, (i.currency or account.currency, account.currency), day, model.exchange_rate
        )
        for i in invoices
    ]
    without = [amount.reason for amount in amounts if amount.amount is None]
    accrued = _accrued(kind, account)
    invoiced = variance = ratio = None
    if without:
        finding = _Finding("currency", without[0] or "no exchange rate")
    else:
        invoiced = round_total(
            add(a.amount for a in amounts if a.amount is not None), account.currency
        )
        variance = CONTEXT.subtract(invoiced, accrued)
        ratio = CONTEXT.divide(variance, abs(accrued)) if accrued != 0 else None
        finding = _finding(kind, invoices, account, (invoiced, metered(model, kind, account)))
    return Reconciliation(
        period=period.name,
        begins_seconds=period.begins,
        kind=kind,
        currency=account.currency,
        invoices=tuple(map(_named, invoices, amounts)),
        invoiced=invoiced,
        accrued=accrued,
        variance=variance,
        variance_ratio=ratio,
        reason=finding.reason,
        detail=finding.detail,
    )


def _named(invoice: Invoice, amount: Conversion) -> str:
    """Return whose invoice it is, with what it says in its own currency, and the rate."""
    name = f"{invoice.supplier} {invoice.number}"
    if amount.original_currency == amount.currency:
        return name
    rate = "no rate" if amount.rate is None else f"{amount.rate.normalize():f}, {amount.source}"
    return f"{name} ({amount.original:,} {amount.original_currency} at {rate})"


def _finding(
    kind: Kind,
    invoices: Sequence[Invoice],
    account: Account,
    amounts: tuple[Decimal, Decimal | None],
) -> _Finding:
    """Return the first cause that can explain the variance, the surest before the others.

    ``amounts`` are the money that was invoiced, and the quantity that was metered.
    """
    invoiced, measured = amounts
    accrued = _accrued(kind, account)
    variance = CONTEXT.subtract(invoiced, accrued)
    if variance == 0:
        return _Finding("agrees", "to the minor unit")
    if accrued == 0:
        return _Finding("not accrued", f"nothing accrued for {kind}: has the site model its price?")
    if account.missing_quarters or account.reasons:
        missing = f"{account.missing_quarters} quarter hours have no rollup"
        return _Finding("missing quarters", next(iter(account.reasons), missing))
    estimated = estimated_money(account) if kind == "energy" else ZERO
    if abs(variance) <= estimated:
        return _Finding("estimated share", f"{estimated:,.2f} of the energy filled gaps of meters")
    if kind not in ("energy", "water"):
        return _Finding("rate", "it accrues by contract and register: compare their terms")
    stated = [invoice.quantity for invoice in invoices if invoice.quantity is not None]
    quantity = add(stated) if len(stated) == len(invoices) else None
    return _by_quantity(kind, (quantity, measured), (invoiced, accrued))


def _by_quantity(
    kind: Kind,
    quantities: tuple[Decimal | None, Decimal | None],
    amounts: tuple[Decimal, Decimal],
) -> _Finding:
    """Split a variance into quantity at the accrued rate, and rate at the invoiced quantity."""
    (stated, measured), (invoiced, accrued) = quantities, amounts
    if stated is None or measured is None or measured == 0:
        return _Finding("rate or quantity", "the invoices, or the meters, do not say the quantity")
    unit = "kWh" if kind == "energy" else "m3"
    by_quantity = multiply(CONTEXT.subtract(stated, measured), CONTEXT.divide(accrued, measured))
    by_rate = CONTEXT.subtract(CONTEXT.subtract(invoiced, accrued), by_quantity)
    detail = (
        f"invoiced {stated:,.3f} {unit}, metered {measured:,.3f}:"
        f" {by_quantity:+,.2f} by quantity, {by_rate:+,.2f} by rate"
    )
    larger: Reason = "quantity or meter" if abs(by_quantity) > abs(by_rate) else "rate"
    return _Finding(larger, detail)


def _accrued(kind: Kind, account: Account) -> Decimal:
    return add(line.money for line in account.lines if line.kind == kind)


def metered(model: SiteModel, kind: Kind, account: Account) -> Decimal | None:
    """Return the kWh that were billed, or cubic metres of water; None where they are not known."""
    if kind == "energy":
        if any(found.sums.get("unbilled_seconds", 0.0) for found in account.sums):
            return None
        return kwh_from_joules(fsum(f.sums.get("billed_joules", 0.0) for f in account.sums))
    if kind != "water":
        return None
    meters = {meter for water in model.water for meter in water.meters}
    litres = [r.summed for r in account.registers if r.meter in meters]
    known = [amount for amount in litres if amount is not None]
    if len(known) < len(meters) or not known:
        return None
    return CONTEXT.divide(exact(fsum(known)), _LITRES_PER_CUBIC_METRE)


def estimated_money(account: Account) -> Decimal:
    """Return what of the accrued energy filled gaps: its share of the billed joules."""
    billed = fsum(found.sums.get("billed_joules", 0.0) for found in account.sums)
    filled = fsum(found.sums.get("estimated_billed_joules", 0.0) for found in account.sums)
    if billed <= 0 or filled <= 0:
        return ZERO
    energy = add(line.money for line in account.lines if line.kind == "energy")
    return multiply(abs(energy), CONTEXT.divide(exact(filled), exact(billed)))


def reconciliation_row(site: str, found: Reconciliation) -> PackedRow:
    """Return the row of a reconciliation: done again, it is replaced."""
    return PackedRow(
        "kept",
        _MEASUREMENT,
        site,
        f"{found.period}/{found.kind}",
        _READER,
        found.begins_seconds,
        msgspec.json.encode(found).decode(),
    )


async def read_reconciliations(
    store: Store, site: str, window: tuple[int, int]
) -> list[Reconciliation]:
    """Read those of the periods that begin in a window."""
    rows = await store.packed("kept", _MEASUREMENT, start_seconds=window[0], end_seconds=window[1])
    return [_DECODER.decode(row.row) for row in rows if row.site == site]


async def write_reconciliations(store: Store, site: str, found: Iterable[Reconciliation]) -> None:
    """Write reconciliations; raise ``StoreUnavailableError`` where one is refused."""
    rejections = await store.write([reconciliation_row(site, each) for each in found])
    if rejections:
        raise StoreUnavailableError(f"the reconciliation was refused: {rejections[0].reason}")


_DECODER: Final = msgspec.json.Decoder(Reconciliation)
