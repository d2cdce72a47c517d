"""The command ``reconcile``: invoices of suppliers against what accrued."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from meterhouse_collector.commands.books import period_of, with_books
from meterhouse_collector.settlement.books import Books
from meterhouse_collector.settlement.columns import columns, money_text
from meterhouse_collector.settlement.invoices import Invoice, load_invoices
from meterhouse_collector.settlement.reconcile import (
    Reconciliation,
    reconcile,
    write_reconciliations,
)


def add_parser(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command ``reconcile`` to the program."""
    parser = commands.add_parser(
        "reconcile",
        parents=parents,
        help="set invoices of suppliers against what accrued: variance, reason, true-up",
    )
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="TOML or CSV, as sample-config --invoices shows it"
    )
    parser.add_argument(
        "--store", action="store_true", help="keep it, so that statements show it in their notes"
    )
    parser.set_defaults(do=_reconcile)


def _reconcile(options: argparse.Namespace) -> int:
    invoices = load_invoices(options.file)

    async def work(books: Books) -> list[Reconciliation]:
        found = await _all(books, invoices)
        if options.store:
            await write_reconciliations(books.store, books.index.site, found)
        return found

    sys.stdout.write("\n".join(_told(with_books(options, work))) + "\n")
    return 0


async def _all(books: Books, invoices: Sequence[Invoice]) -> list[Reconciliation]:
    # All names are looked at before anything is read.
    periods = {invoice.period: period_of(invoice.period, books) for invoice in invoices}
    found: list[Reconciliation] = []
    for name, period in periods.items():
        account = await books.account(period.window)
        mine = [invoice for invoice in invoices if invoice.period == name]
        found += reconcile(books.index.model, mine, account, period)
    return found


def _told(found: Sequence[Reconciliation]) -> Iterator[str]:
    head = ["period", "kind", "invoiced", "accrued", "variance", "per cent", "reason"]
    rows = [
        [
            each.period,
            each.kind,
            money_text(each.invoiced),
            money_text(each.accrued),
            money_text(each.variance),
            each.per_cent,
            f"{each.reason}: {each.detail}",
        ]
        for each in found
    ]
    yield from columns([head, *rows], texts=2, remark=True)
    yield ""
    yield "True-up"
    for each in found:
        yield f"  {each.true_up}, for {', '.join(each.invoices)}"
