"""A statement as JSON, CSV and FOCUS rows; decimals are strings, so no reader rounds them. Pure."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from msgspec.structs import asdict

from meterhouse_agent import wire
from meterhouse_collector.kpi.value import KpiValue
from meterhouse_collector.money import focus
from meterhouse_collector.money.decimals import exact
from meterhouse_collector.money.kinds import JOULES_KINDS
from meterhouse_collector.settlement.account import Account, BillTotal, Line
from meterhouse_collector.settlement.capacity import ContractTotal
from meterhouse_collector.settlement.idleness import IdleTotal, LoadedPool
from meterhouse_collector.settlement.peaks import PeakShares
from meterhouse_collector.settlement.periods import utc_text
from meterhouse_collector.settlement.registers import MeterRegister
from meterhouse_collector.settlement.sales import Sale
from meterhouse_collector.settlement.statement import Cell, Statement

SCHEMA: Final = 1
CSV_COLUMNS: Final = (
    "site",
    "begins",
    "ends",
    "currency",
    "by",
    "group",
    "kind",
    "state",
    "money",
    "adjusts",
)
_METERS: Final[Mapping[str, str]] = {
    "input_tokens": "Input Tokens",
    "cached_input_tokens": "Cached Input Tokens",
    "output_tokens": "Output Tokens",
}


def as_json(of: Statement) -> str:
    """Return the whole statement as a JSON object."""
    return json.dumps(document(of), indent=2, ensure_ascii=False) + "\n"


def document(of: Statement) -> dict[str, Any]:
    """Return what the JSON says: money as strings, instants in UTC, quantities in SI units."""
    account, closing = of.account, of.account.closing
    return {
        "schema": SCHEMA,
        "site": account.site,
        "begins": utc_text(account.begins_seconds),
        "ends": utc_text(account.ends_seconds),
        "time_zone": account.time_zone,
        "currency": account.currency,
        "number": None if closing is None else closing.number,
        "closed_at": None if closing is None else utc_text(closing.closed_at_seconds),
        "ledger_hash": None if closing is None else closing.ledger_hash,
        "revision": account.revision,
        "model_revision": account.model_revision,
        "provisional": account.provisional,
        "missing_quarters": account.missing_quarters,
        "by": of.by,
        "money": str(of.known),
        "adjusted_money": str(of.adjusted),
        "total_money": _money(of.total),
        "cells": [_cell(cell) for cell in of.cells],
        "adjustments": [{"adjusts": cell.adjusts, **_cell(cell)} for cell in of.adjustments],
        "bill": [_bill(line) for line in account.bill],
        "peaks": [_peak(peak) for peak in of.peaks],
        "idle": None if account.idle is None else _idle(account.idle),
        "loaded": [_loaded(each) for each in of.loaded],
        "contracts": [_contract(contract) for contract in account.contracts],
        "sales": [_sale(sale) for sale in account.sales],
        "exchange_rates": [
            {**rate, "rate": str(rate["rate"]), "valid_from": str(rate["valid_from"])}
            for rate in map(asdict, account.rates)
        ],
        "originals": [
            {**each, "money": str(each["money"])} for each in map(asdict, account.originals)
        ],
        "quantities": {group: dict(sums) for group, sums in of.quantities.items()},
        "figures": {
            group: [_figure(value, account.revision) for value in values]
            for group, values in of.figures.items()
        },
        "registers": [_register(register) for register in account.registers],
        "reasons": list(account.reasons),
        "notes": list(account.notes),
    }


def _cell(cell: Cell) -> dict[str, str]:
    return {
        "group": cell.group,
        "kind": cell.kind,
        "state": cell.state,
        "money": str(cell.money),
    }


def _bill(line: BillTotal) -> dict[str, Any]:
    return {
        "name": line.name,
        "kind": line.kind,
        "component": line.component,
        "money": _money(line.money),
        "provisional": line.provisional,
        "reason": line.reason,
        "notes": list(line.notes),
    }


def _peak(peak: PeakShares) -> dict[str, Any]:
    return {
        "charge": peak.charge,
        "begins": utc_text(peak.begins_seconds),
        "mean_watts": float(peak.kw) * 1000,
        "ratios": dict(peak.ratios),
    }


def _contract(contract: ContractTotal) -> dict[str, Any]:
    return {
        "name": contract.name,
        "side": contract.side,
        "tenant": contract.tenant,
        "counterparty": contract.counterparty,
        "contracted_seconds": contract.contracted_seconds,
        "delivered_low_seconds": contract.low_seconds,
        "delivered_high_seconds": contract.high_seconds,
        "delivered_low_ratio": contract.ratios[0],
        "delivered_high_ratio": contract.ratios[1],
        "planned_seconds": contract.planned_seconds,
        "tenant_caused_seconds": contract.tenant_caused_seconds,
        "excluded_seconds": contract.excluded_seconds,
        "counted_low_seconds": contract.counted_low_seconds,
        "counted_high_seconds": contract.counted_high_seconds,
        "counted_low_ratio": contract.counted_ratios[0],
        "counted_high_ratio": contract.counted_ratios[1],
        "rate_money": _money(contract.rate_money),
        "currency": contract.currency,
        "original_rate_money": _money(contract.original_rate_money),
        "due_low_money": _money(contract.low_due_money),
        "due_high_money": _money(contract.high_due_money),
        "credit_high_money": _money(contract.high_credit_money),
        "provisional": contract.provisional,
        "reason": contract.reason,
    }


def _idle(idle: IdleTotal) -> dict[str, str]:
    return {
        "whole_money": str(idle.whole_money),
        "avoidable_money": str(idle.avoidable_money),
        "sunk_money": str(idle.sunk_money),
    }


def _loaded(each: LoadedPool) -> dict[str, str]:
    return {
        "pool": each.pool,
        "money": str(each.own_money),
        "loaded_money": str(each.loaded_money),
    }


def _sale(sale: Sale) -> dict[str, Any]:
    return {
        "tenant": sale.tenant,
        "what": sale.what,
        "name": sale.name,
        "low_money": _money(sale.low_money),
        "high_money": _money(sale.high_money),
        "reason": sale.reason,
    }


def _money(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)


def _figure(value: KpiValue, revision: int) -> dict[str, Any]:
    return {
        "name": value.name,
        "label": value.label,
        "unit": value.unit,
        "value": value.value,
        "numerator": value.numerator,
        "denominator": value.denominator,
        "coverage": value.coverage,
        "low": value.low,
        "high": value.high,
        "reason": value.reason,
        "revision": revision,
    }


def _register(register: MeterRegister) -> dict[str, Any]:
    return {
        "meter": register.meter,
        "unit": register.unit,
        "opening": register.opening,
        "opening_at": _instant(register.opening_at_milliseconds),
        "closing": register.closing,
        "closing_at": _instant(register.closing_at_milliseconds),
        "counted": register.counted,
        "summed": register.summed,
        "difference": register.difference,
        "note": register.note,
    }


def _instant(at_milliseconds: int | None) -> str | None:
    return None if at_milliseconds is None else utc_text(at_milliseconds / 1000)


def as_csv(of: Statement) -> str:
    """Return a line for each group, kind and state, those of adjustments last."""
    account = of.account
    shared = (
        account.site,
        utc_text(account.begins_seconds),
        utc_text(account.ends_seconds),
        account.currency,
        of.by,
    )
    rows = [(*shared, *cell[:3], cell.money, cell.adjusts) for cell in (*of.cells, *of.adjustments)]
    return _csv([CSV_COLUMNS, *rows])


def as_focus(account: Account) -> str:
    """Return the rows of an account in the columns of FOCUS, by the finest groups."""
    rows = [tuple(row.values()) for row in focus_rows(account)]
    return _csv([focus.COLUMNS, *rows])


def focus_rows(account: Account) -> tuple[dict[str, focus.Value], ...]:
    """Return a row for each line and each adjustment, and those of the tokens that were served.

    An invoice that is not closed says so in its number, and one that lacks a price, too.
    """
    window = account.begins_seconds, account.ends_seconds
    statement = focus.Statement(
        number=_number(account),
        begins=_utc(window[0]),
        ends=_utc(window[1]),
        account=account.site,
        provider=account.site,
    )
    lines = [
        *(_focus_line(account, line, window) for line in account.lines),
        *(
            _focus_line(account, a.line, (a.begins_seconds, a.ends_seconds))._replace(
                adjustment=True, quantity=None, unit=None
            )
            for a in account.adjustments
        ),
    ]
    return (*focus.focus_rows(lines, statement), *_meters(account, statement))


def _number(account: Account) -> str:
    closing = account.closing
    number = "open" if closing is None else f"{closing.period}-{closing.number}"
    return f"{account.site}-{number}" + ("-incomplete" if account.reasons else "")


def _focus_line(account: Account, line: Line, window: tuple[int, int]) -> focus.StatementLine:
    """Return a line with what it was split by: joules, or device-seconds."""
    sums = next((found.sums for found in account.sums if found.group == line.group), {})
    by_joules = line.kind in JOULES_KINDS
    quantity = sums.get(f"{line.state}_drawn_joules" if by_joules else f"{line.state}_seconds")
    unit = "joules" if by_joules else "device-seconds"
    return focus.StatementLine(
        begins=_utc(window[0]),
        ends=_utc(window[1]),
        pool=line.group.pool,
        tenant=line.group.tenant,
        accelerator_model=line.group.accelerator_model,
        served_model=line.group.served_model,
        kind=line.kind,
        state=line.state,
        amount_money=line.money,
        currency=account.currency,
        quantity=None if quantity is None else exact(quantity),
        unit=None if quantity is None else unit,
    )


def _meters(account: Account, statement: focus.Statement) -> Iterator[dict[str, focus.Value]]:
    """Return the tokens of each group as rows that cost nothing: their cost is that of devices."""
    window = account.begins_seconds, account.ends_seconds
    for group, sums in account.sums:
        for field, meter in _METERS.items():
            if field not in sums:
                continue
            line = _focus_line(account, Line(group, "energy", wire.STATES[0], Decimal(0)), window)
            line = line._replace(quantity=exact(sums[field]), unit="tokens")
            (row,) = focus.focus_rows([line], statement)
            yield {
                **row,
                "ChargeDescription": f"{meter} of {group.served_model} in pool {group.pool}",
                "SkuMeter": meter,
                "x_CostKind": None,
                "x_DeviceState": None,
            }


def _utc(at_seconds: int) -> datetime:
    return datetime.fromtimestamp(at_seconds, UTC)


def _csv(rows: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
