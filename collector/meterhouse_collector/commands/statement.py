"""The command ``statement``: what a window cost, as a table, JSON, CSV or FOCUS rows."""

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from meterhouse_collector.commands.books import UsageError, period_of, with_books
from meterhouse_collector.settlement.account import Account, whole_quarters
from meterhouse_collector.settlement.books import Books
from meterhouse_collector.settlement.documents import as_csv, as_focus, as_json
from meterhouse_collector.settlement.periods import ALLOWED, local_text, parse_instant
from meterhouse_collector.settlement.reconcile import read_reconciliations
from meterhouse_collector.settlement.statement import BYS, By, statement
from meterhouse_collector.settlement.table import as_table

_BY: Final[By] = "pool"
FORMATS: Final[dict[str, Callable[[Account, By], str]]] = {
    "table": lambda account, by: as_table(statement(account, by)),
    "json": lambda account, by: as_json(statement(account, by)),
    "csv": lambda account, by: as_csv(statement(account, by)),
    "focus": lambda account, _: as_focus(account),
}


def add_parser(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command ``statement`` to the program."""
    parser = commands.add_parser(
        "statement",
        parents=parents,
        help="what a window cost, to the cent, with the figures and registers it rests on",
    )
    instant = "a date or an instant by the site's clock"
    parser.add_argument("--from", dest="begins", metavar="WHEN", help=instant)
    parser.add_argument("--to", dest="ends", metavar="WHEN", help=f"{instant}, not in it any more")
    parser.add_argument("--period", metavar="PERIOD", help=f"instead of both: {ALLOWED}")
    parser.add_argument(
        "--by",
        choices=BYS,
        help=f"the groups of the lines, by default {_BY}; focus is always by the finest",
    )
    parser.add_argument("--format", choices=tuple(FORMATS), default="table")
    parser.add_argument(
        "--recomputed",
        action="store_true",
        help="today's figures, also of a period that is closed",
    )
    parser.set_defaults(do=_statement)


def _statement(options: argparse.Namespace) -> int:
    if (options.period is None) == (options.begins is None and options.ends is None):
        raise UsageError(["give either --from and --to, or --period"])
    if options.period is None and None in (options.begins, options.ends):
        raise UsageError(["give both --from and --to"])
    if options.format == "focus" and options.by is not None:
        raise UsageError([f"found --by {options.by}, allowed with --format focus: no --by"])

    async def work(books: Books) -> Account:
        window = _window(options, books)
        account = await books.account(window, recomputed=options.recomputed)
        found = await read_reconciliations(books.store, account.site, window)
        notes = (*account.notes, *(each.note for each in found))
        return msgspec.structs.replace(account, notes=notes)

    account = with_books(options, work)
    sys.stdout.write(FORMATS[options.format](account, options.by or _BY))
    return 0


def _window(options: argparse.Namespace, books: Books) -> tuple[int, int]:
    zone = ZoneInfo(books.index.model.time_zone)
    if options.period is not None:
        window = period_of(options.period, books).window
    else:
        try:
            window = whole_quarters(
                parse_instant(options.begins, zone), parse_instant(options.ends, zone)
            )
        except ValueError as error:
            raise UsageError([f"--from, --to: {error}"]) from None
    if window[1] > books.now_seconds:
        now = local_text(books.now_seconds // 900 * 900, zone)
        raise UsageError([f"the window ends in the future: allowed: at most {now}"])
    return window
