"""Invoices of suppliers as they are entered by hand: a TOML or a CSV file into models."""

import csv
import io
import tomllib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from meterhouse_collector.settings import Section
from meterhouse_collector.site.base import Currency, Text

Kind = Literal["capital", "rent", "energy", "demand", "operations", "water", "carbon"]


class InvoiceError(ValueError):
    """A file of invoices that cannot be used; ``faults`` says why, one line each."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class Invoice(Section):
    """An invoice, or a credit below zero; ``quantity`` is in kWh, or in cubic metres of water."""

    supplier: Text
    kind: Kind
    period: Text
    amount: Decimal = Field(allow_inf_nan=False)
    currency: Currency | None = None
    number: Text
    quantity: Decimal | None = Field(None, ge=0, allow_inf_nan=False)
    note: str = Field("", max_length=500)

    @model_validator(mode="after")
    def _measured(self) -> "Invoice":
        if self.quantity is not None and self.kind not in ("energy", "water"):
            raise ValueError("a quantity with kind energy or water only")
        return self


def sample() -> str:
    """Return the commented sample of a file of invoices."""
    package = resources.files("meterhouse_collector")
    return package.joinpath("invoices.sample.toml").read_text("utf-8")


def load_invoices(path: Path) -> tuple[Invoice, ...]:
    """Read a file of invoices, CSV by its name, else TOML; raise ``InvoiceError`` for faults."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvoiceError([f"{path}: {error.strerror or error}"]) from None
    except UnicodeDecodeError as error:
        raise InvoiceError([f"{path}: {error}"]) from None
    return parse_invoices(text, str(path), is_csv=path.suffix.lower() == ".csv")


def parse_invoices(text: str, source: str, *, is_csv: bool = False) -> tuple[Invoice, ...]:
    """Return the invoices of a text, each number of a supplier once; faults name ``source``."""
    tables = _csv_tables(text, source) if is_csv else _toml_tables(text, source)
    if not tables:
        raise InvoiceError([f"{source}: no invoices"])
    found: list[Invoice] = []
    faults: list[str] = []
    for place, table in enumerate(tables, 1):
        try:
            found.append(Invoice.model_validate(table))
        except ValidationError as error:
            faults += [_fault(f"{source}: invoice {place}", each) for each in error.errors()]
    seen: set[tuple[str, str]] = set()
    for invoice in found:
        key = invoice.supplier, invoice.number
        if key in seen:
            faults.append(
                f"{source}: invoice {invoice.number} of {invoice.supplier} is there twice"
            )
        seen.add(key)
    if faults:
        raise InvoiceError(faults)
    return tuple(found)


def _toml_tables(text: str, source: str) -> list[Any]:
    try:
        # Amounts stay the decimals that were written.
        table = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise InvoiceError([f"{source}: not TOML: {error}"]) from None
    if other := sorted(table.keys() - {"invoice"}):
        raise InvoiceError([f"{source}: {other[0]}: allowed: [[invoice]]"])
    tables = table.get("invoice", [])
    return tables if isinstance(tables, list) else [tables]


def _csv_tables(text: str, source: str) -> list[Any]:
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise InvoiceError([f"{source}: not CSV: {error}"]) from None
    # A cell that is empty is not given.
    return [{key or "more cells": cell for key, cell in row.items() if cell} for row in rows]


def _fault(where: str, details: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in details["loc"]) or "all"
    return f"{where}: {key}: {details['msg'].removeprefix('Value error, ')}"
