"""The command ``rerate``: what the past costs by the site model of today, or by another one."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from decimal import Decimal
from math import fsum
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from meterhouse_agent import wire
from meterhouse_collector.commands.books import UsageError, with_books
from meterhouse_collector.installed import learn_installed
from meterhouse_collector.money.billing_month import QUARTER_SECONDS
from meterhouse_collector.money.decimals import ZERO, add, exact
from meterhouse_collector.money.kinds import KINDS
from meterhouse_collector.money.rounding import largest_remainder
from meterhouse_collector.quarters.settle import Settlement
from meterhouse_collector.settlement.books import Books
from meterhouse_collector.settlement.columns import columns, money_text
from meterhouse_collector.settlement.periods import local_text, parse_instant
from meterhouse_collector.settlement.reading import read_kept
from meterhouse_collector.settlement.records import read_records
from meterhouse_collector.settlement.revision import model_revision
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import load_site
from meterhouse_collector.store import Store
from meterhouse_collector.store.overlay import OverlayStore


class Rating(NamedTuple):
    """What the rollups of a window say that it cost by kind, and by which site model."""

    money: dict[str, Decimal]
    unpriced_seconds: float
    revision: int


class Rerated(NamedTuple):
    """What a window cost before and after; nothing is ``stored`` where it was only asked for."""

    starts: Sequence[int]
    before: Rating
    after: Rating
    rated_by: SiteIndex
    stored: bool


def add_parser(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command ``rerate`` to the program."""
    parser = commands.add_parser(
        "rerate",
        parents=parents,
        help="price the past by the site model of today; what it cost before is kept as history",
    )
    instant = "a date or an instant by the site's clock"
    parser.add_argument("--from", dest="begins", required=True, metavar="WHEN", help=instant)
    parser.add_argument(
        "--to", dest="ends", metavar="WHEN", help=f"{instant}; by default the last quarter summed"
    )
    parser.add_argument(
        "--what-if",
        type=Path,
        metavar="FILE",
        help="another site model: only show what it would come to, and store nothing",
    )
    parser.set_defaults(do=_rerate)


def _rerate(options: argparse.Namespace) -> int:
    async def work(books: Books) -> Rerated:
        return await rerate(books, options.begins, options.ends, options.what_if)

    sys.stdout.write("\n".join(_told(with_books(options, work))) + "\n")
    return 0


async def rerate(books: Books, begins: str, ends: str | None, what_if: Path | None) -> Rerated:
    """Rate a window again, and return what it cost before and after.

    Raise ``UsageError`` where the window is none, or no quarter of it was summed.
    """
    starts = await _starts(books, begins, ends)
    index, store = books.index, books.store
    before = await _rating(store, index, starts)
    if what_if is not None:
        index, store = SiteIndex(load_site(what_if)), OverlayStore(books.store)
        if index.site != books.index.site:
            raise UsageError([f"{what_if}: name: found {index.site}, allowed: {books.index.site}"])
        await learn_installed(books.store, index)

    def told(count: int) -> None:
        books.progress(count / len(starts), "rating quarters")

    settled = await Settlement(store, index).rerate(starts, told)
    if settled.refused:
        raise UsageError([f"{settled.refused} rows were refused: {settled.refusal}"])
    after = await _rating(store, index, starts)
    return Rerated(starts, before, after, index, stored=what_if is None)


async def _rating(store: Store, index: SiteIndex, starts: Sequence[int]) -> Rating:
    window = (starts[0], starts[-1] + QUARTER_SECONDS)
    rows = await read_kept(store, index, window)
    records = await read_records(store, index.site, *window)
    sums = [group for groups in rows.values() for group in groups.values()]
    money = {
        kind: fsum(each[f"{state}_{kind}_money"] for each in sums for state in wire.STATES)
        for kind in KINDS
    }
    # As in a statement: the kinds sum to their rounded total.
    amounts = largest_remainder([exact(each) for each in money.values()], index.model.currency)
    rounded = dict(zip(money, amounts, strict=True))
    unpriced = fsum(each["unpriced_seconds"] for each in sums)
    revision = max(record.revision for record in records.values())
    return Rating({k: amount for k, amount in rounded.items() if amount}, unpriced, revision)


async def _starts(books: Books, begins: str, ends: str | None) -> list[int]:
    zone = ZoneInfo(books.index.model.time_zone)
    try:
        first = parse_instant(begins, zone)
        last = int(books.now_seconds) if ends is None else parse_instant(ends, zone)
    except ValueError as error:
        raise UsageError([f"--from, --to: {error}"]) from None
    if ends is not None and last <= first:
        raise UsageError(["--from, --to: allowed: a window that ends after it begins"])
    records = await read_records(books.store, books.index.site, first, last)
    if not records:
        raise UsageError([f"no quarter hour is summed from {local_text(first, zone)} on"])
    return sorted(records)


def _told(of: Rerated) -> Iterator[str]:
    zone = ZoneInfo(of.rated_by.model.time_zone)
    begins, ends = of.starts[0], of.starts[-1] + QUARTER_SECONDS
    verb = "rated again" if of.stored else "would be rated again; nothing was stored"
    yield f"{of.rated_by.site}, {local_text(begins, zone)} to {local_text(ends, zone)}"
    yield f"{len(of.starts)} quarter hours {verb}"
    yield f"site model {model_revision(of.rated_by.model)}, revision {of.after.revision}"
    yield ""
    before, after = of.before.money, of.after.money
    rows = [
        _row(kind, before.get(kind, ZERO), after.get(kind, ZERO))
        for kind in KINDS
        if kind in before or kind in after
    ]
    total = _row("total", add(before.values()), add(after.values()))
    head = [f"kind, {of.rated_by.model.currency}", "before", "after", "difference"]
    yield from columns([head, *rows, total])
    if of.after.unpriced_seconds > 0:
        hours = of.after.unpriced_seconds / 3600
        yield f"{hours:,.1f} device-hours have no price, and no cost here"


def _row(name: str, before: Decimal, after: Decimal) -> list[str]:
    return [name, *(money_text(amount) for amount in (before, after, after - before))]
