"""The command ``close``: freezes the statement of a period under the next number."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, Final

from meterhouse_collector.commands.books import period_of, with_books
from meterhouse_collector.settlement.account import Account
from meterhouse_collector.settlement.books import Books, NotClosableError
from meterhouse_collector.settlement.periods import ALLOWED

_FAILED: Final = 1


def add_parser(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command ``close`` to the program."""
    parser = commands.add_parser(
        "close",
        parents=parents,
        help="freeze the statement of a period; what changes later is adjusted in the next",
    )
    parser.add_argument("period", metavar="PERIOD", help=ALLOWED)
    parser.set_defaults(do=_close)


def _close(options: argparse.Namespace) -> int:
    async def work(books: Books) -> Account:
        return await books.close(period_of(options.period, books))

    try:
        account = with_books(options, work)
    except NotClosableError as error:
        sys.stderr.write(f"{error}\n")
        return _FAILED
    sys.stdout.write("\n".join(_told(account)) + "\n")
    return 0


def _told(account: Account) -> list[str]:
    closing = account.closing
    if closing is None:
        raise AssertionError("BUG: what close returns is closed")
    total = account.known + account.adjusted
    lines = [
        f"statement {closing.number}: {closing.period} of {account.site} is closed",
        f"total      {total:,} {account.currency}",
        f"ledger     {closing.ledger_hash}",
        f"site model {account.model_revision}, time zone {account.time_zone}",
    ]
    if account.adjustments:
        periods = ", ".join(dict.fromkeys(a.period for a in account.adjustments))
        lines.insert(2, f"of it      {account.adjusted:,} adjusts {periods}")
    if account.reasons:
        lines[1] = f"total      - {account.currency}: {account.reasons[0]}"
    return lines
